"""Results of rounds on each SQL database: from every page of reviews, kept once by two at once, not when scores have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa

from server.actor import Actor, ActorKind, Grant
from server.clock import HeldClock
from server.context import Context
from server.engines.schema import metadata
from server.engines.sql import SqlDoor
from server.people.tables import users
from server.projects.result_schemas import ResultQuery
from server.projects.results import get_results
from server.projects.tables import audit_reviewers, audits, project_members, projects, reviews, round_projects, round_results, rounds

MANAGER = Actor(
    kind=ActorKind.PERSON, name="王芳", user_id=3, grants=(Grant(frozenset({"rounds:manage", "projects:read", "projects:manage"})),)
)
TABLES = [projects, project_members, audits, audit_reviewers, rounds, round_projects, reviews, round_results, users]
REVIEWERS = (21, 22, 23)
PROJECTS = range(1, 301)


class Compute:
    """Runs the work in a thread; `before` is done first, as what others do meanwhile."""

    def __init__(self) -> None:
        self.times = 0
        self.before: Callable[[], Any] | None = None

    async def run(self, work: Callable[..., Any], *args: Any, time_limit_s: float, urgent: bool = False) -> Any:
        self.times += 1
        if self.before is not None:
            meanwhile, self.before = self.before, None
            await meanwhile()
        return await asyncio.to_thread(work, *args)


async def context(sql: SqlDoor, clock: HeldClock) -> tuple[Context, Compute]:
    now = clock.now()
    one = {
        "id": 1, "name": "评审😀", "organization_id": 1, "rubric_id": 1,
        "rubric": {"criteria": [{"name": "idea", "weight": 1, "max": 100}]},
        "state": "closed", "blind": True, "reviews_per_project": 2, "conflict_years": 0, "revision": 7, "pool_version": 1,
        "created_at": now,
    }  # fmt: skip
    given = [
        {
            "round_id": 1, "project_id": project, "reviewer_id": reviewer, "state": "submitted", "scores": {"idea": 60 + project / 10},
            "total": 60 + project / 7 + place, "assigned_at": now,
        }
        for project in PROJECTS
        for place, reviewer in enumerate(REVIEWERS)
    ]  # fmt: skip

    def fill(connection: sa.Connection) -> None:
        connection.execute(rounds.insert().values(**one))
        connection.execute(round_projects.insert(), [{"round_id": 1, "project_id": number} for number in PROJECTS])
        connection.execute(reviews.insert(), given)

    await sql.write(lambda connection: metadata.create_all(connection, tables=TABLES))
    await sql.write(fill)
    compute = Compute()
    return cast("Context", SimpleNamespace(sql=sql, clock=clock, compute=compute)), compute


async def kept(sql: SqlDoor) -> list[int]:
    return await sql.read(lambda connection: list(connection.execute(sa.select(round_results.c.revision)).scalars()))


@pytest.mark.holds_loop  # on MySQL rows are unpacked on the loop, and scipy is imported beside it
@pytest.mark.gen_test(timeout=120)
async def test_results_are_computed_once_and_kept_once(sql: SqlDoor, clock: HeldClock) -> None:
    ctx, compute = await context(sql, clock)
    first = await get_results(ctx, MANAGER, 1, ResultQuery())
    assert (first.total, first.reviews, first.items[0].project_id) == (300, 900, 300)
    assert first.items[0].total == pytest.approx(61 + 300 / 7, abs=1e-9)  # a double, not a single
    assert await get_results(ctx, MANAGER, 1, ResultQuery()) == first
    assert compute.times == 1
    await asyncio.gather(*(get_results(ctx, MANAGER, 1, ResultQuery(accept=count)) for count in (5, 6)))
    assert (compute.times, await kept(sql)) == (3, [7])


@pytest.mark.holds_loop
@pytest.mark.gen_test(timeout=120)
async def test_results_of_scores_that_have_changed_meanwhile_are_computed_again(sql: SqlDoor, clock: HeldClock) -> None:
    ctx, compute = await context(sql, clock)

    async def score() -> None:
        best = reviews.update().where(reviews.c.project_id == 1).values(total=200)
        await sql.write(lambda connection: connection.execute(best))
        await sql.write(lambda connection: connection.execute(rounds.update().values(revision=8)))

    compute.before = score
    found = await get_results(ctx, MANAGER, 1, ResultQuery())
    assert (found.revision, found.items[0].project_id, compute.times) == (8, 1, 2)
    assert await kept(sql) == [8]
