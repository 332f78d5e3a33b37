"""Runs of evaluation sets: start one, look at them, carry one out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, DomainError, EngineAway, NotFound
from server.ids import new_id
from server.knowledge import eval_states
from server.knowledge.eval_figures import MODES, Answered, by_kind, distinct, measured, ranks
from server.knowledge.eval_states import RunState
from server.knowledge.evaluation import access_set, questions_of, reader_of
from server.knowledge.evaluation_schemas import EvaluationFigures, EvaluationRun, EvaluationRunQuery
from server.knowledge.indexes import Indexes
from server.knowledge.search import search
from server.knowledge.search_schemas import MOST_HITS, Mode, SearchBody
from server.knowledge.tables import documents, evaluation_runs, evaluation_sets
from server.knowledge.wording import sentence, stored
from server.messages import Text, text
from server.paging import Page, page_of
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued, enqueue

RUN_EVALUATION = "run_evaluation"
MOST_ATTEMPTS = 10

Report = Callable[[int, str], Awaitable[None]]


class EvaluationRunNotFound(NotFound):
    type = "evaluation_run_not_found"


class EvaluationRunning(Conflict):
    """A run of the set has not ended."""

    type = "evaluation_running"


class EvaluationEmpty(Conflict):
    """There is nothing to ask."""

    type = "evaluation_empty"


async def start(ctx: Context, actor: Actor, set_id: int) -> EvaluationRun:
    """Queue a run of a set. Raises EvaluationNotFound, Forbidden, EvaluationEmpty, EvaluationRunning."""
    now, run_id = ctx.clock.now(), new_id()

    def transaction(connection: sa.Connection) -> EvaluationRun:
        found = access_set(connection, actor, set_id, to_change=True)
        if not found.questions:
            raise EvaluationEmpty()
        eval_states.end_lost(connection, set_id, now)
        payload, key = {"run_id": run_id}, f"{RUN_EVALUATION}:{set_id}"
        task_id = enqueue(connection, Queue.MAINTENANCE, RUN_EVALUATION, payload, now=now, max_attempts=MOST_ATTEMPTS, unique_key=key)
        if task_id is None:
            raise EvaluationRunning()
        eval_states.insert(connection, set_id, task_id, run_id, now)
        audit.note(connection, now, actor, "evaluation.run", f"evaluation:{set_id}", run_id=run_id)
        return _shown(connection.execute(sa.select(evaluation_runs).where(evaluation_runs.c.id == run_id)).one(), actor)

    run = await ctx.sql.write(transaction)
    await ctx.events.publish(TaskQueued(Queue.MAINTENANCE.value))
    return run


async def list_runs(ctx: Context, actor: Actor, set_id: int, query: EvaluationRunQuery) -> Page[EvaluationRun]:
    """The runs of a set, newest first, without the ranks of each question. Raises EvaluationNotFound."""
    await _end_lost(ctx, set_id)
    wanted = sa.select(evaluation_runs).where(evaluation_runs.c.set_id == set_id)

    def look(connection: sa.Connection) -> Page[EvaluationRun]:
        access_set(connection, actor, set_id)
        sortable = {"created_at": evaluation_runs.c.created_at, "ended_at": evaluation_runs.c.ended_at}
        return page_of(connection, wanted, query, lambda row: _shown(row, actor, brief=True), sortable=sortable, order="-created_at")

    return await ctx.sql.read(look)


async def get_run(ctx: Context, actor: Actor, run_id: str) -> EvaluationRun:
    """A run with the ranks of each question. Raises EvaluationRunNotFound."""
    await _end_lost(ctx, None)

    def look(connection: sa.Connection) -> EvaluationRun:
        row = connection.execute(sa.select(evaluation_runs).where(evaluation_runs.c.id == run_id)).one_or_none()
        if row is None:
            raise EvaluationRunNotFound()
        try:
            access_set(connection, actor, row.set_id)
        except NotFound:
            raise EvaluationRunNotFound() from None
        return _shown(row, actor)

    return await ctx.sql.read(look)


def _shown(row: Any, actor: Actor, *, brief: bool = False) -> EvaluationRun:
    figures = None if row.figures is None else msgspec.convert(row.figures, EvaluationFigures)
    if figures is not None and brief:
        figures.ranks = []
    return EvaluationRun(
        id=row.id,
        set_id=row.set_id,
        task_id=row.task_id,
        state=row.state,
        model=row.model,
        figures=figures,
        error=sentence(row.error, actor.locale),
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


async def _end_lost(ctx: Context, set_id: int | None) -> None:
    """A cancelled task cannot end its run itself: whoever looks does."""
    if await ctx.sql.read(lambda connection: eval_states.lost(connection, set_id)):
        now = ctx.clock.now()
        await ctx.sql.write(lambda connection: eval_states.end_lost(connection, set_id, now))


async def carry_out(ctx: Context, run_id: str, report: Report, *, last_try: bool) -> dict[str, Any]:
    """Ask every question in every mode and keep the figures. Called again, it starts over. Raises EngineAway, to be called again."""
    row = await ctx.sql.write(lambda connection: _begin(connection, run_id))
    if row is None:
        return {"skipped": "the run has ended, or its set was removed"}
    try:
        figures = await measure_set(ctx, row.set_id, report)
    except EngineAway as away:
        if last_try:
            await _fail(ctx, run_id, away.text)
        raise
    except DomainError as error:
        await _fail(ctx, run_id, error.text)
        return {"state": RunState.FAILED.value, "why": error.text.english()}
    if figures is None:
        await _fail(ctx, run_id, text("evaluation.no_index"))
        return {"state": RunState.FAILED.value}
    now: datetime = ctx.clock.now()
    values = {"figures": msgspec.to_builtins(figures), "model": figures.model, "error": None, "ended_at": now}
    await ctx.sql.write(lambda connection: eval_states.move(connection, run_id, RunState.SUCCEEDED, **values))
    return {"questions": figures.questions, "mrr": figures.overall.hybrid.mrr}


def _begin(connection: sa.Connection, run_id: str) -> Any:
    if not eval_states.move(connection, run_id, RunState.RUNNING):
        return None
    return connection.execute(sa.select(evaluation_runs).where(evaluation_runs.c.id == run_id)).one()


async def _fail(ctx: Context, run_id: str, why: Text) -> None:
    now = ctx.clock.now()
    await ctx.sql.write(lambda connection: eval_states.move(connection, run_id, RunState.FAILED, error=stored(why), ended_at=now))


async def measure_set(ctx: Context, set_id: int, report: Report) -> EvaluationFigures | None:
    """The figures of a set as a reader of its organization gets them; None while nothing is indexed or the set is gone.

    A page is a hit when it is expected; passages of one page are one result. Raises EngineAway.
    """
    began = time.perf_counter()
    index = await ctx.services.get(Indexes).find_active()
    found = await ctx.sql.read(lambda connection: _asked(connection, set_id))
    if index is None or found is None:
        return None
    reader, rows, readers = found
    answered, shown = [], -1
    for number, row in enumerate(rows):
        if (percent := 100 * number // len(rows)) > shown:
            shown = percent
            await report(percent, f"{number}/{len(rows)}")
        expected = frozenset[Hashable]((one["document_id"], page) for one in row.expected for page in one["pages"])
        pages = {mode: await _pages(ctx, reader, row.question, mode) for mode in MODES}
        answered.append(Answered(row.question, row.kind, expected, pages))
    return EvaluationFigures(
        questions=len(answered),
        overall=measured(answered),
        kinds=by_kind(answered),
        model=index.model.name,
        readers=readers,
        took_s=round(time.perf_counter() - began, 2),
        ranks=ranks(answered),
    )


def _asked(connection: sa.Connection, set_id: int) -> tuple[Actor, list[Any], list[int]] | None:
    """The reader to ask as, the questions, and the versions of reading that made the expected documents' passages."""
    place = sa.select(evaluation_sets.c.organization_id).where(evaluation_sets.c.id == set_id)
    organization_id = connection.execute(place).scalar()
    if organization_id is None:
        return None
    rows = list(questions_of(connection, set_id))
    ids = sorted({one["document_id"] for row in rows for one in row.expected})
    versions = sa.select(documents.c.reader).where(documents.c.id.in_(ids)).distinct().order_by(documents.c.reader)
    return reader_of(connection, organization_id), rows, list(connection.execute(versions).scalars()) if ids else []


async def _pages(ctx: Context, reader: Actor, question: str, mode: Mode) -> list[Hashable]:
    """The first ten pages that a mode finds. Raises EngineAway, also where a search would do without the meaning."""
    answer = await search(ctx, reader, SearchBody(q=question, mode=mode, limit=MOST_HITS))
    if answer.degraded:
        raise EngineAway("embedding")
    return list(distinct((hit.document_id, hit.page) for hit in answer.hits))
