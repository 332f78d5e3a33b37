"""Reminders of projects that are due: a week and a day before, a day and a week after, each once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jobs.projects import remind
from server.clock import HeldClock
from server.context import Context
from server.platform.tables import notifications
from server.projects.tables import project_reminders, projects
from tests.api.projects.conftest import School

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(START)


async def due(school: School, ctx: Context, days: float) -> int:
    """A project of tea with stu as a member, whose state is due in so many days; its id."""
    made = await school.propose(school.tea)
    await school.tea.post(f"/api/projects/{made['id']}/members", {"username": "stu"})
    values = {"due_at": START + timedelta(days=days), "state_since": START - timedelta(days=60), "state": "running"}
    one = projects.update().where(projects.c.id == made["id"])
    await ctx.sql.write(lambda connection: connection.execute(one.values(**values)))
    return int(made["id"])


async def told(ctx: Context) -> list[tuple[int, str]]:
    wanted = sa.select(notifications).where(notifications.c.kind == "project.due").order_by(notifications.c.id)
    rows = await ctx.sql.read(lambda connection: connection.execute(wanted).all())
    return [(row.user_id, row.params["when"]["key"].rpartition(".")[2]) for row in rows]


@pytest.mark.gen_test(timeout=60)
async def test_each_reminder_is_sent_once_to_each_of_its_people(school: School, ctx: Context, clock: HeldClock) -> None:
    await due(school, ctx, 8)
    tea, stu = await school.user_id("tea"), await school.user_id("stu")
    seen = []
    for _ in range(20):
        await remind(ctx)
        await remind(ctx)
        seen.append(len(await told(ctx)))
        clock.advance(days=1)
    assert sorted(await told(ctx)) == sorted((one, when) for one in (tea, stu) for when in ("before", "tomorrow", "yesterday", "after"))
    assert seen == [0, *6 * [2], *2 * [4], *6 * [6], *5 * [8]]


@pytest.mark.gen_test(timeout=60)
async def test_of_two_at_once_one_sends(school: School, ctx: Context) -> None:
    await due(school, ctx, 0.5)
    await asyncio.gather(*(remind(ctx) for _ in range(4)))
    assert len(await told(ctx)) == 2
    counted = sa.select(sa.func.count()).select_from(project_reminders)
    assert await ctx.sql.read(lambda connection: connection.execute(counted).scalar_one()) == 1


@pytest.mark.gen_test(timeout=60)
async def test_what_has_left_its_state_is_not_reminded_of(school: School, ctx: Context) -> None:
    project_id = await due(school, ctx, 0.5)
    await school.act(school.max, project_id, "complete")
    await remind(ctx)
    assert await told(ctx) == []


@pytest.mark.gen_test(timeout=60)
async def test_a_reader_sees_it_in_words(school: School, ctx: Context) -> None:
    await due(school, ctx, 7)
    await remind(ctx)
    english = (await school.stu.get("/api/notifications?kind=project.due", headers={"Accept-Language": "en"})).result["items"][0]["text"]
    assert english == "The project “Cold atoms” is due in 7 days."
    chinese = (await school.stu.get("/api/notifications?kind=project.due")).result["items"][0]["text"]
    assert chinese == "项目“Cold atoms”将于 7 天后到期。"
