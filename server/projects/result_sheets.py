"""The results of a round as a spreadsheet and on paper."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.result_sheets import Cell, Report, Table, write_result_book, write_result_paper
from server.actor import Actor
from server.context import Context
from server.messages import Locale, say
from server.platform import audit
from server.projects import results
from server.projects.result_schemas import ResultItem, ResultQuery, Results, ReviewerItem
from server.projects.tables import reviews

WRITE_S = 300.0
# Column -> (Chinese header, English header).
ITEM_HEADERS: dict[str, tuple[str, str]] = {
    "rank": ("名次", "rank"),
    "title": ("项目", "project"),
    "project_id": ("项目编号", "project id"),
    "total": ("总分", "total"),
    "calibrated": ("校准分", "calibrated"),
    "error": ("标准误", "standard error"),
    "median": ("中位数", "median"),
    "spread": ("标准差", "spread"),
    "raw_rank": ("原始名次", "raw rank"),
    "rank_low": ("名次下限", "rank from"),
    "rank_high": ("名次上限", "rank to"),
    "reviews": ("评审数", "reviews"),
    "accepted": ("入选", "accepted"),
    "accept_chance": ("入选概率", "chance"),
}
REVIEWER_HEADERS: dict[str, tuple[str, str]] = {
    "name": ("评审人", "reviewer"),
    "reviews": ("评审数", "reviews"),
    "mean": ("平均分", "mean"),
    "bias": ("宽严偏差", "leniency"),
    "bias_error": ("标准误", "standard error"),
    "scale": ("尺度", "scale"),
    "mean_shift": ("缺席时平均名次变动", "mean shift without"),
    "most_shift": ("缺席时最大名次变动", "largest shift without"),
    "changes_outcome": ("缺席时改变结果", "changes the outcome"),
}
REVIEW_HEADERS: dict[str, tuple[str, str]] = {
    "project_id": ("项目编号", "project id"),
    "title": ("项目", "project"),
    "name": ("评审人", "reviewer"),
    "total": ("总分", "total"),
}
COMMENT, SUBMITTED_AT = ("评语", "comment"), ("提交时间", "submitted at")


async def sheet(ctx: Context, actor: Actor, round_id: int, query: ResultQuery) -> bytes:
    """An xlsx: results, reviewers, every review with its scores and comment, and a word about the round. Raises RoundNotFound, OwnFirst."""
    found = await results.get_results(ctx, actor, round_id, query)
    wanted = sa.select(reviews)
    given = await results.submitted(ctx, round_id, wanted)

    def put_together() -> bytes:
        report = _report(found, actor.locale)
        report.tables.append(_reviews(found, given, actor.locale))
        return msgspec.json.encode(report)

    return await _write(ctx, actor, round_id, write_result_book, await asyncio.to_thread(put_together))


async def paper(ctx: Context, actor: Actor, round_id: int, query: ResultQuery) -> bytes:
    """A PDF: results, reviewers, and a word about the round. Raises RoundNotFound, OwnFirst."""
    found = await results.get_results(ctx, actor, round_id, query)
    report = await asyncio.to_thread(lambda: msgspec.json.encode(_report(found, actor.locale)))
    return await _write(ctx, actor, round_id, write_result_paper, report)


async def _write(ctx: Context, actor: Actor, round_id: int, write: Callable[[bytes], bytes], report: bytes) -> bytes:
    now = ctx.clock.now()
    await ctx.sql.write(lambda connection: audit.note(connection, now, actor, "round.export", f"round:{round_id}"))
    return await ctx.compute.run(write, report, time_limit_s=WRITE_S, urgent=True)


def _report(found: Results, locale: Locale) -> Report:
    place = 0 if locale == "zh" else 1
    cut = {"accepted", "accept_chance"} if found.accept is None else set()
    columns = [name for name in ITEM_HEADERS if name not in cut]
    about = [name for name in REVIEWER_HEADERS if found.accept is not None or name != "changes_outcome"]
    return Report(
        title=found.name,
        lines=_lines(found, locale),
        tables=[
            Table(
                title=("结果", "results")[place],
                header=[ITEM_HEADERS[name][place] for name in columns],
                rows=[_row(item, columns, locale) for item in found.items],
            ),
            Table(
                title=("评审人", "reviewers")[place],
                header=[REVIEWER_HEADERS[name][place] for name in about],
                rows=[_row(one, about, locale) for one in found.reviewers],
            ),
        ],
    )


def _row(thing: ResultItem | ReviewerItem, columns: list[str], locale: Locale) -> list[Cell]:
    return [_cell(getattr(thing, name), locale) for name in columns]


def _cell(value: Any, locale: Locale) -> Cell:
    if isinstance(value, bool):
        return say("result.yes" if value else "result.no", locale)
    found: Cell = value
    return found


def _lines(found: Results, locale: Locale) -> list[str]:
    lines = [say("result.line.round", locale, state=say(f"score.round_state.{found.state}", locale), reviews=found.reviews)]
    lines.append(say("result.line.computed", locale, at=found.computed_at.isoformat(timespec="seconds"), revision=found.revision))
    if found.alpha is not None:
        lines.append(say("result.line.alpha", locale, alpha=f"{found.alpha:.3f}"))
    if found.deviations:
        lines.append(say("result.line.deviations", locale, **{name: f"{value:.2f}" for name, value in found.deviations.items()}))
    if found.accept is not None:
        outcome = "result.line.changes" if found.one_less_changes_outcome else "result.line.stays"
        lines.append(say(outcome, locale, accept=found.accept))
    return lines + ([found.note] if found.note else [])


def _reviews(found: Results, given: list[Any], locale: Locale) -> Table:
    place = 0 if locale == "zh" else 1
    titles = {item.project_id: item.title for item in found.items}
    names = {one.user_id: one.name for one in found.reviewers}
    criteria = [criterion.name for criterion in found.criteria]
    header = [title[place] for title in REVIEW_HEADERS.values()]
    rows: list[list[Cell]] = []
    for row in sorted(given, key=lambda row: (row.project_id, row.reviewer_id)):
        scores = [row.scores.get(name) for name in criteria]
        at = row.submitted_at.isoformat(timespec="seconds") if row.submitted_at else None
        known: list[Cell] = [row.project_id, titles.get(row.project_id, ""), names.get(row.reviewer_id, ""), row.total]
        rows.append([*known, *scores, row.comment or None, at])
    return Table(title=("评审", "reviews")[place], header=[*header, *criteria, COMMENT[place], SUBMITTED_AT[place]], rows=rows)
