"""Student projects on MariaDB: places that are fought over, lists, loads, milestones and reminders; as on SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import server.engines.sql_mysql  # noqa: F401, the driver is imported here, off the loop, as it takes long
from server import migrating
from server.actor import Actor, ActorKind, Grant
from server.config import Settings
from server.context import Context
from server.errors import DomainError
from server.people.tables import users
from server.projects import applications, mentor_load, milestone_checks, milestones, openings, student_reminders
from server.projects.application_reading import list_applications
from server.projects.milestone_schemas import Check, Delivery, MilestoneBody
from server.projects.opening_schemas import Application, ApplicationBody, ApplicationQuery, Decision, MentorQuery, OpeningBody, OpeningQuery
from server.projects.tables import openings as table
from server.projects.tables import projects
from server.scopes import SYSTEM_ROLES
from tests.embedded import settings_in
from tests.peers.fixtures import mariadb
from tests.peers.mariadb import MariaDb

__all__ = ["mariadb"]


@pytest.fixture
def settings(mariadb: MariaDb, tmp_path: Path) -> Iterator[Settings]:
    for url in ("mysql+aiomysql://", "mysql+pymysql://"):
        sa.make_url(url).get_dialect().import_dbapi()
    with mariadb.database() as database:
        migrating.migrate(settings_in(tmp_path / "migrating", **database))
        yield settings_in(tmp_path / "data", **database)


async def person(ctx: Context, name: str, role: str) -> Actor:
    now = ctx.clock.now()
    row = {"username": name, "username_key": name, "name": name, "kind": "person", "state": "active", "organization_id": 1}
    made = await ctx.sql.write(
        lambda connection: connection.execute(users.insert().values(**row, created_at=now, updated_at=now)).inserted_primary_key
    )
    return Actor(kind=ActorKind.PERSON, name=name, user_id=made[0], grants=(Grant(SYSTEM_ROLES[role], frozenset({1})),))


@pytest.mark.gen_test(timeout=120)
async def test_places_are_never_exceeded_and_a_student_is_in_one_team(ctx: Context) -> None:
    tea = await person(ctx, "tea", "teacher")
    students = [await person(ctx, f"student-{number}", "student") for number in range(6)]
    opening = await openings.create_opening(ctx, tea, OpeningBody(title="激光", places=2))

    async def tried(work: object) -> str:
        try:
            await work  # type: ignore[misc]
        except DomainError as error:
            return error.type
        return "done"

    twice = [applications.apply(ctx, student, opening.id, ApplicationBody(statement="因为")) for student in students for _ in range(2)]
    said = await asyncio.gather(*map(tried, twice))
    assert sorted(said) == 6 * ["applied_already"] + 6 * ["done"]
    sent = (await list_applications(ctx, tea, ApplicationQuery(), opening.id)).items
    accepting = [applications.decide(ctx, tea, one.id, Decision(decision="accept")) for one in sent for _ in range(2)]
    said = await asyncio.gather(*map(tried, accepting))
    assert said.count("done") == 2
    assert set(said) <= {"done", "opening_full", "application_state"}
    after = await openings.get_opening(ctx, tea, opening.id)
    assert (after.places_taken, after.waiting, after.accepting) == (2, 4, False)
    counted = sa.select(sa.func.count()).select_from(projects).where(projects.c.opening_id == opening.id)
    assert await ctx.sql.read(lambda connection: connection.execute(counted).scalar_one()) == 2
    (load,) = (await mentor_load.list_mentors(ctx, tea, MentorQuery(limit=1, q="te"))).items
    assert (load.openings, load.places, load.places_taken, load.projects, load.students, load.above_limit) == (1, 2, 2, 2, 2, True)


@pytest.mark.gen_test(timeout=120)
async def test_two_teams_cannot_have_the_same_person(ctx: Context) -> None:
    tea, ann, ben, cem = [await person(ctx, name, "teacher" if name == "tea" else "student") for name in ("tea", "ann", "ben", "cem")]
    opening = await openings.create_opening(ctx, tea, OpeningBody(title="x", deadline=ctx.clock.now() + timedelta(days=1)))
    sent = [await applications.apply(ctx, one, opening.id, ApplicationBody(usernames=["CEM"])) for one in (ann, ben)]
    said = await asyncio.gather(*(applications.answer(ctx, cem, one.id, join=True) for one in sent), return_exceptions=True)
    assert sorted(type(one).__name__ for one in said) == ["Application", "InAnotherTeam"]
    assert len((await list_applications(ctx, cem, ApplicationQuery(q="x"))).items) == 2
    ended = table.update().values(deadline=ctx.clock.now() - timedelta(days=1, minutes=1))
    await ctx.sql.write(lambda connection: connection.execute(ended))
    assert (await openings.list_openings(ctx, tea, OpeningQuery(undecided=1))).total == 1
    assert (await list_applications(ctx, tea, ApplicationQuery(undecided=1))).total == 2
    assert (await openings.list_openings(ctx, ann, OpeningQuery(accepting=1))).total == 0
    assert [await student_reminders.remind_of_openings(ctx) for _ in range(2)] == [1, 0]


@pytest.mark.gen_test(timeout=120)
async def test_a_milestone_is_checked_once(ctx: Context) -> None:
    tea, stu = await person(ctx, "tea", "teacher"), await person(ctx, "stu", "student")
    opening = await openings.create_opening(ctx, tea, OpeningBody(title="x"))
    application = await applications.apply(ctx, stu, opening.id, ApplicationBody())
    accepted: Application = await applications.decide(ctx, tea, application.id, Decision(decision="accept"))
    project_id = accepted.project_id or 0
    await ctx.sql.write(lambda connection: connection.execute(projects.update().values(state="running")))
    due = ctx.clock.now() + timedelta(days=1, minutes=-1)
    final = await milestones.create_milestone(ctx, tea, project_id, MilestoneBody(title="答辩", kind="final", due_at=due))
    assert await ctx.sql.read(lambda connection: milestones.open_finals(connection, project_id)) == ["答辩"]
    assert await student_reminders.remind_of_milestones(ctx) == 0  # its time had passed when the date was set
    await milestone_checks.deliver(ctx, stu, project_id, final.id, Delivery(note="完成"))
    checks = [Check(decision="pass"), Check(decision="return", comment="no"), Check(decision="pass")]
    said = await asyncio.gather(*(milestone_checks.check(ctx, tea, project_id, final.id, one) for one in checks), return_exceptions=True)
    assert sorted(type(one).__name__ for one in said) == ["Milestone", "WrongMilestoneState", "WrongMilestoneState"]
    listed = await milestones.list_milestones(ctx, stu, project_id)
    assert listed.items[0].checker == "tea"
