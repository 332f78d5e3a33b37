"""The command `eval`: how well search finds what it should, in the sets of the database or in manuals given as files."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from jobs.cpu.pdf_errors import PdfError
from server.config import Settings, SettingsError
from server.context import Context
from server.knowledge import evaluation, evaluation_runs
from server.knowledge.eval_figures import ModeFigures, table
from server.knowledge.eval_manual import ManualSearch, question_sets, read_manual
from server.knowledge.evaluation_schemas import EvaluationQuery
from server.messages import text
from server.paging import LARGEST_PAGE
from server.resources import open_context
from server.scopes import system_actor

ACTOR = system_actor("command")
# What a measurement of files must not touch: it has a folder, a database and an index of its own.
OUTSIDE = {"mysql_host": "", "mongodb_host": "", "redis_url": "", "milvus_host": "", "files_dir": ""}

Say = Callable[[str], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", metavar="NAME", help="run the sets of this name alone")
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="measure on made questions about this manual instead")
    parser.add_argument("--parallel", type=Path, metavar="FILE", help="the same manual in another language")


def evaluate(settings: Settings, arguments: argparse.Namespace) -> str:
    """Measure how well search finds what it should: in all evaluation sets, or in a manual given as a file."""
    if arguments.parallel and not arguments.pdf:
        raise SettingsError("--parallel needs --pdf.")
    files = [file.absolute() for file in (arguments.pdf, arguments.parallel) if file]
    for file in files:
        if not file.is_file():
            raise SettingsError(f"There is no file {file}.")
    if files:
        return asyncio.run(report_of_manuals(settings, files, _say))
    return asyncio.run(_report_of_sets(settings, arguments.set))


def _say(line: str) -> None:
    sys.stderr.write(f"eval: {line}\n")
    sys.stderr.flush()


async def _report_of_sets(settings: Settings, name: str | None) -> str:
    async with AsyncExitStack() as stack:
        return await report_of_sets(await open_context(settings, stack), name, _say)


async def report_of_sets(ctx: Context, name: str | None, say: Say) -> str:
    """Run the evaluation sets of the database, or those of one name; a table for each. Nothing is kept."""
    lines: list[str] = []
    number = 1
    while True:
        page = await evaluation.list_sets(ctx, ACTOR, EvaluationQuery(page=number, page_size=LARGEST_PAGE, sort="id"))
        for one in page.items:
            if name is not None and one.name != name:
                continue

            async def report(percent: int, message: str, of: str = one.name) -> None:
                if percent % 10 == 0:
                    say(f"{of}: {message} questions")

            figures = await evaluation_runs.measure_set(ctx, one.id, report) if one.questions else None
            lines += ["", f"{one.name} (set {one.id}, organization {one.organization_id})"]
            if figures is None:
                lines.append("  no questions, or no document is indexed")
                continue
            lines.append(f"  model {figures.model}, reading version {', '.join(map(str, figures.readers))}, {figures.took_s} s")
            lines += [f"  {line}" for line in table({**figures.kinds, "all": figures.overall}, "kind")]
        if number * LARGEST_PAGE >= page.total:
            break
        number += 1
    if not lines:
        return f"There is no evaluation set {name!r}." if name else "There is no evaluation set yet; see docs/search-quality.md."
    return "\n".join(lines[1:])


async def report_of_manuals(settings: Settings, files: list[Path], say: Say) -> str:
    """A table over every kind of question about a manual and, if given, the same one in another language. Raises SettingsError."""
    rows, model = await measure_manuals(settings, files, say)
    short = [name for name, row in rows.items() if not row.holds]
    verdict = "Hybrid is within 0.02 of the better half for every kind." if not short else f"Hybrid falls short for: {', '.join(short)}."
    return "\n".join([f"model {model}", *table(rows, "questions"), verdict])


async def measure_manuals(settings: Settings, files: list[Path], say: Say) -> tuple[dict[str, ModeFigures], str]:
    """The figures of each kind of question and the model's name, from an index in a temporary folder. Raises SettingsError."""
    with tempfile.TemporaryDirectory(prefix="zhihui-eval-") as folder:
        own = msgspec.structs.replace(settings, data_dir=folder, **OUTSIDE)
        async with AsyncExitStack() as stack:
            ctx = await open_context(own, stack)
            manuals = []
            for file in files:
                say(f"reads {file.name}")
                try:
                    manuals.append(await read_manual(ctx, str(file), say))
                except PdfError as error:
                    why = text(f"document.{error.code}", **vars(error))
                    raise SettingsError(f"{file}: {why.english()}") from error
            sets = question_sets(manuals[0], manuals[1] if len(manuals) > 1 else None)
            if not sets:
                raise SettingsError("No questions could be made: the file has no outline and hardly any sentences.")
            return await ManualSearch(ctx, say).measure(sets), (await ctx.embedding.model()).name
