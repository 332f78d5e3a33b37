"""Results of rounds: computed in a worker process when scores have changed, kept until they change again; and what proposers see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from jobs.cpu.round_results import Computed, GivenReview, RoundScores, compute_results
from server.actor import Actor
from server.context import Context
from server.errors import Forbidden
from server.messages import say
from server.projects.access import access_project, relations, visible
from server.projects.project_schemas import Listed
from server.projects.result_schemas import ProjectScores, ResultItem, ResultQuery, Results, ReviewerItem
from server.projects.review_access import MANAGE_ROUNDS, access_round, check_nothing_owed, within_rounds
from server.projects.round_schemas import ReviewState, RoundState
from server.projects.tables import projects, reviews, round_projects, round_results, rounds
from server.projects.teams import names_of

T = TypeVar("T")

# Two thousand projects with three reviews each take a second, five thousand with twenty by a thousand reviewers a minute.
COMPUTE_S = 300.0
# Rows of one read: on MySQL they are unpacked on the loop.
AT_ONCE = 500
# Raised when results are computed in another way, so that those that are kept are computed again.
FORMAT = 1
_TRIES = 3
_WHY_NOT = {"too_few": "result.why_not.too_few", "all_equal": "result.why_not.all_equal", "too_many": "result.why_not.too_many"}


class Kept(NamedTuple):
    """Results, of which revision of the round, and since when."""

    computed: Computed
    revision: int
    computed_at: datetime


async def get_results(ctx: Context, actor: Actor, round_id: int, query: ResultQuery) -> Results:
    """The results of a round as it stands, for those who manage it. Raises RoundNotFound, OwnFirst."""
    row, kept = await read_results(ctx, actor, round_id, query)
    titles = await titles_of(ctx, actor, [item.project_id for item in kept.computed.items])
    names = await reviewer_names(ctx, [one.user_id for one in kept.computed.reviewers])
    return await asyncio.to_thread(_shown, row, kept, titles, names, actor)


async def read_results(ctx: Context, actor: Actor, round_id: int, query: ResultQuery) -> tuple[Any, Kept]:
    """The round's row and its results, kept or computed now. Raises RoundNotFound, OwnFirst."""
    for _ in range(_TRIES):
        row, kept = await ctx.sql.read(lambda connection: _look(connection, actor, round_id))
        if kept is not None:
            found = await asyncio.to_thread(_unpacked, kept, row.revision, query.accept)
            if found is not None:
                return row, found
        given = await read_scores(ctx, row)
        answer = await ctx.compute.run(compute_results, given, query.accept, time_limit_s=COMPUTE_S, urgent=True)
        now = ctx.clock.now()
        computed, stored = await asyncio.to_thread(_packed, answer, query.accept)
        if await ctx.sql.write(lambda connection, row=row, stored=stored, now=now: _keep(connection, row, stored, now)):  # type: ignore[misc]
            break
    return row, Kept(computed, row.revision, now)


async def read_scores(ctx: Context, row: Any) -> bytes:
    """Everything that was given in a round, as RoundScores in JSON."""
    ids = sa.select(round_projects.c.project_id).where(round_projects.c.round_id == row.id).order_by(round_projects.c.project_id)
    pool = await ctx.sql.read(lambda connection: list(connection.execute(ids).scalars()))
    wanted = sa.select(reviews.c.id, reviews.c.project_id, reviews.c.reviewer_id, reviews.c.total, reviews.c.scores)
    rows = await submitted(ctx, row.id, wanted)
    names = [criterion["name"] for criterion in row.rubric.get("criteria", ())]
    return await asyncio.to_thread(_given, pool, names, rows)


async def submitted(ctx: Context, round_id: int, wanted: sa.Select[Any]) -> list[Any]:
    """The columns of the round's submitted reviews, `id` among them, in order."""
    counted = wanted.where(reviews.c.round_id == round_id, reviews.c.state == ReviewState.SUBMITTED.value, reviews.c.total.is_not(None))
    found: list[Any] = []
    after = 0
    while True:
        piece = counted.where(reviews.c.id > after).order_by(reviews.c.id).limit(AT_ONCE)
        rows = await ctx.sql.read(lambda connection, piece=piece: connection.execute(piece).all())  # type: ignore[misc]
        if not rows:
            return found
        found += rows
        after = rows[-1].id


async def titles_of(ctx: Context, actor: Actor, project_ids: Sequence[int]) -> dict[int, str]:
    """The titles of those projects that the actor may see."""

    def titles(connection: sa.Connection, some: Sequence[int]) -> dict[int, str]:
        wanted = sa.select(projects.c.id, projects.c.title).where(projects.c.id.in_(some), visible(actor))
        return {row.id: row.title for row in connection.execute(wanted)}

    return await _in_pieces(ctx, titles, project_ids)


async def reviewer_names(ctx: Context, user_ids: Sequence[int]) -> dict[int, str]:
    """What the reviewers are called."""
    return await _in_pieces(ctx, lambda connection, some: dict(names_of(connection, some)), user_ids)


async def list_scores(ctx: Context, actor: Actor, project_id: int) -> Listed:
    """What closed rounds gave to a project, newest first, for its own people, and for who manages it or the rounds.

    Raises ProjectNotFound, Forbidden.
    """

    def transaction(connection: sa.Connection) -> Listed:
        project = access_project(connection, actor, project_id)
        wanted = (
            sa.select(rounds.c.id, rounds.c.name, rounds.c.closed_at)
            .join(round_projects, round_projects.c.round_id == rounds.c.id)
            .where(round_projects.c.project_id == project_id, rounds.c.state == RoundState.CLOSED.value)
            .order_by(rounds.c.closed_at.desc(), rounds.c.id.desc())
            .limit(AT_ONCE)
        )
        if not relations(connection, actor, project):
            if not actor.may(MANAGE_ROUNDS):
                raise Forbidden(scope=MANAGE_ROUNDS)
            wanted = wanted.where(within_rounds(actor))
        found = connection.execute(wanted).all()
        given: dict[int, list[Any]] = {row.id: [] for row in found}
        counted = sa.select(reviews.c.round_id, reviews.c.total, reviews.c.comment).where(
            reviews.c.project_id == project_id, reviews.c.state == ReviewState.SUBMITTED.value, reviews.c.round_id.in_(given)
        )
        for review in connection.execute(counted):
            given[review.round_id].append(review)
        return Listed([_score(row, given[row.id]) for row in found], len(found))

    return await ctx.sql.read(transaction)


def _look(connection: sa.Connection, actor: Actor, round_id: int) -> tuple[Any, Any]:
    row = access_round(connection, actor, round_id)
    check_nothing_owed(connection, actor, round_id)
    wanted = sa.select(round_results).where(round_results.c.round_id == round_id, round_results.c.revision == row.revision)
    return row, connection.execute(wanted).one_or_none()


def _unpacked(kept: Any, revision: int, accept: int | None) -> Kept | None:
    """What is kept, when it was computed in today's way and for the same cut."""
    if kept.results.get("format") != FORMAT or kept.results.get("accept") != accept:
        return None
    return Kept(msgspec.convert(kept.results["computed"], Computed), revision, kept.computed_at)


def _packed(answer: bytes, accept: int | None) -> tuple[Computed, dict[str, Any]]:
    stored = {"format": FORMAT, "accept": accept, "computed": msgspec.Raw(answer)}
    return msgspec.json.decode(answer, type=Computed), stored


def _keep(connection: sa.Connection, row: Any, stored: dict[str, Any], now: datetime) -> bool:
    """Put them in place of what was kept; False, and nothing is, when scores have changed meanwhile."""
    same = sa.select(rounds.c.id).where(rounds.c.id == row.id, rounds.c.revision == row.revision).with_for_update()
    if connection.execute(same).first() is None:
        return False
    values = {"revision": row.revision, "results": stored, "computed_at": now}
    if not connection.execute(round_results.update().where(round_results.c.round_id == row.id).values(**values)).rowcount:
        connection.execute(round_results.insert().values(round_id=row.id, **values))
    return True


def _given(pool: list[int], names: list[str], rows: list[Any]) -> bytes:
    given = [
        GivenReview(row.project_id, row.reviewer_id, row.total, {name: row.scores[name] for name in names if name in row.scores})
        for row in rows
    ]
    return msgspec.json.encode(RoundScores(pool, names, given))


async def _in_pieces(ctx: Context, look: Callable[[sa.Connection, Sequence[int]], dict[int, T]], ids: Sequence[int]) -> dict[int, T]:
    found: dict[int, T] = {}
    for first in range(0, len(ids), AT_ONCE):
        found |= await ctx.sql.read(lambda connection, some=ids[first : first + AT_ONCE]: look(connection, some))  # type: ignore[misc]
    return found


def _shown(row: Any, kept: Kept, titles: dict[int, str], names: dict[int, str], actor: Actor) -> Results:
    computed = kept.computed
    return Results(
        round_id=row.id,
        name=row.name,
        state=row.state,
        provisional=row.state != RoundState.CLOSED,
        revision=kept.revision,
        computed_at=kept.computed_at,
        items=[ResultItem(**msgspec.structs.asdict(item), title=titles.get(item.project_id, "")) for item in computed.items],
        total=len(computed.items),
        reviews=computed.reviews,
        alpha=computed.alpha,
        criteria=computed.criteria,
        reviewers=[ReviewerItem(**msgspec.structs.asdict(one), name=names.get(one.user_id, "")) for one in computed.reviewers],
        method=computed.method,
        why_not_calibrated=computed.why_not_calibrated,
        note=note(computed, actor),
        components=computed.components,
        level=computed.level,
        deviations=computed.deviations,
        accept=computed.accept,
        one_less_changes_outcome=computed.one_less_changes_outcome,
    )


def note(computed: Computed, actor: Actor) -> str:
    """What must be known of the results, in a sentence; empty when nothing must."""
    if computed.why_not_calibrated is not None:
        return say(_WHY_NOT[computed.why_not_calibrated], actor.locale)
    return say("result.parts", actor.locale, parts=computed.components) if computed.components > 1 else ""


def _score(row: Any, given: list[Any]) -> ProjectScores:
    totals = [review.total for review in given if review.total is not None]
    return ProjectScores(
        round_id=row.id,
        round=row.name,
        closed_at=row.closed_at,
        reviews=len(given),
        total=sum(totals) / len(totals) if totals else None,
        comments=sorted(review.comment for review in given if (review.comment or "").strip()),
    )
