"""Delegations: both may decide, who did is kept, what was delegated is not passed on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.people.tables import users
from server.platform.tables import audit_log
from server.projects.tables import audit_delegations, audit_reviewers
from tests.api.client import Api
from tests.api.projects.conftest import School
from tests.api.projects.reviewed import asked, decide, join, publish, queue, submitted

AT = "/api/audits/delegations"


def days(ctx: Context, number: float) -> str:
    return (ctx.clock.now() + timedelta(days=number)).isoformat()


async def delegate(school: School, caller: Api, to: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await caller.post(AT, {"to_username": to, "ends_at": days(school.ctx, 5), **more})).result
    return made


async def shift(ctx: Context, **values: datetime) -> None:
    await ctx.sql.write(lambda connection: connection.execute(audit_delegations.update().values(**values)))


@pytest.fixture
def chained(school: School, api: Api, io_loop: Any) -> School:
    """A school whose projects `rev` decides; `sub` and `far` audit in another organization."""

    async def make() -> School:
        for name in ("sub", "far"):
            await join(school, name, "reviewer", school.elsewhere)
        await publish(api, school, {"name": "Experts", "reviewers": await asked(school, "rev")})
        return school

    made: School = io_loop.run_sync(make, timeout=30)
    return made


@pytest.mark.gen_test(timeout=60)
async def test_a_delegate_decides_and_both_names_are_kept(chained: School) -> None:
    project = await submitted(chained)
    assert await queue(chained.sub) == []
    made = await delegate(chained, chained.rev, "sub")
    assert (made["user"], made["to_user"], made["active"]) == ("rev", "sub", True)
    (found,) = await queue(chained.sub)
    assert (found["for_user"], found["project_id"]) == ("rev", project["id"])
    assert len(await queue(chained.rev)) == 1  # both may
    assert (await chained.sub.get(f"/api/projects/{project['id']}")).status == 200
    seen = (await decide(chained.sub, found)).result
    assert seen["project"]["state"] == "approved"
    said = {one["name"]: (one["decision"], one["delegated_by_name"]) for one in seen["steps"][0]["decisions"]}
    assert said == {"rev": (None, ""), "sub": ("approve", "rev")}
    history = (await chained.tea.get(f"/api/projects/{project['id']}/history")).result["items"]
    entry = next(one for one in history if one["what"] == "audit")
    assert (entry["actor"], entry["detail"]["delegated_by"]) == ("sub", await chained.user_id("rev"))


@pytest.mark.gen_test(timeout=60)
async def test_a_delegate_is_seated_and_told_when_an_audit_opens(chained: School) -> None:
    await delegate(chained, chained.rev, "sub")
    await submitted(chained)
    assert [one["kind"] for one in (await chained.sub.get("/api/notifications")).result["items"]] == ["audit.waiting"]
    assert len(await queue(chained.sub)) == 1


@pytest.mark.gen_test(timeout=60)
async def test_it_begins_and_ends_at_its_times(chained: School, ctx: Context) -> None:
    await submitted(chained)
    made = await delegate(chained, chained.rev, "sub", starts_at=days(ctx, 1))
    assert (made["active"], await queue(chained.sub)) == (False, [])
    await shift(ctx, starts_at=ctx.clock.now() - timedelta(minutes=1))
    (found,) = await queue(chained.sub)
    await shift(ctx, ends_at=ctx.clock.now() - timedelta(seconds=1))
    assert await queue(chained.sub) == []
    assert (await decide(chained.sub, found)).type == "not_asked"
    assert (await chained.sub.get(AT)).result["items"] == []


@pytest.mark.gen_test(timeout=60)
async def test_what_was_delegated_is_not_passed_on(chained: School) -> None:
    await delegate(chained, chained.rev, "sub")
    await delegate(chained, chained.sub, "far")
    await submitted(chained)
    assert (len(await queue(chained.sub)), await queue(chained.far)) == (1, [])


@pytest.mark.gen_test(timeout=60)
async def test_a_delegate_does_not_decide_on_a_project_of_their_own(chained: School) -> None:
    project = await chained.propose(chained.tea)
    await chained.max.post(f"/api/projects/{project['id']}/members", {"username": "sub"})
    await delegate(chained, chained.rev, "sub")
    await chained.act(chained.tea, project, "submit")
    assert await queue(chained.sub) == []
    (audit,) = await queue(chained.rev)
    assert (await decide(chained.sub, audit)).type in ("audit_not_found", "own_project")


@pytest.mark.gen_test(timeout=60)
async def test_of_the_delegate_and_who_delegated_one_counts(school: School, api: Api) -> None:
    await join(school, "sub", "reviewer", school.elsewhere)
    await publish(api, school, {"name": "Both", "mode": "all", "reviewers": await asked(school, "rev", "max")})
    await submitted(school)
    await delegate(school, school.rev, "sub")
    (audit,) = await queue(school.sub)
    assert (await decide(school.sub, audit)).result["state"] == "open"
    assert await queue(school.rev) == []
    assert (await decide(school.rev, audit, "reject")).type == "audit_decided"
    assert (await decide(school.max, audit)).result["state"] == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_who_has_a_seat_does_not_fill_another_one(school: School, api: Api) -> None:
    await publish(api, school, {"name": "Both", "mode": "all", "reviewers": await asked(school, "rev", "max")})
    await submitted(school)
    await delegate(school, school.rev, "max")
    (audit,) = await queue(school.max)
    assert (await decide(school.max, audit)).result["state"] == "open"
    assert (await decide(school.rev, audit)).result["state"] == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_ending_a_delegation_takes_the_open_seats(chained: School, ctx: Context) -> None:
    await submitted(chained)
    made = await delegate(chained, chained.rev, "sub")
    (audit,) = await queue(chained.sub)
    assert (await chained.sub.delete(f"{AT}?id={made['id']}")).type == "delegation_not_found"  # it is not theirs
    assert (await chained.rev.delete(f"{AT}?id={made['id']}")).status == 200
    assert await queue(chained.sub) == []
    assert (await decide(chained.sub, audit)).type == "audit_not_found"
    seats = sa.select(audit_reviewers.c.user_id)
    assert await ctx.sql.read(lambda connection: connection.execute(seats).scalars().all()) == [await chained.user_id("rev")]
    logged = sa.select(audit_log.c.action).where(audit_log.c.action.like("audit.%delegat%")).order_by(audit_log.c.id)
    assert await ctx.sql.read(lambda connection: connection.execute(logged).scalars().all()) == ["audit.delegate", "audit.end_delegation"]


@pytest.mark.gen_test(timeout=60)
async def test_who_was_disabled_delegates_nothing(chained: School, ctx: Context) -> None:
    await submitted(chained)
    await delegate(chained, chained.rev, "sub")
    assert len(await queue(chained.sub)) == 1
    disabled = users.update().where(users.c.username == "rev").values(state="disabled")
    await ctx.sql.write(lambda connection: connection.execute(disabled))
    assert await queue(chained.sub) == []


@pytest.mark.gen_test(timeout=60)
async def test_what_is_wrong_with_a_delegation_is_named(chained: School, ctx: Context) -> None:
    async def fields(**body: Any) -> list[str]:
        return (await chained.rev.post(AT, {"ends_at": days(ctx, 2), **body})).fields

    assert await fields() == ["to_user_id"]
    assert await fields(to_user_id=1, to_username="max") == ["to_user_id"]
    assert await fields(to_username="rev") == ["to_username"]
    assert await fields(to_username="nobody") == ["to_username"]
    assert await fields(to_username="tea") == ["to_username"]  # may not audit
    assert await fields(to_username="max", ends_at=days(ctx, -1)) == ["ends_at"]
    assert await fields(to_username="max", ends_at=days(ctx, 900)) == ["ends_at"]
    assert await fields(to_username="max", starts_at=days(ctx, 3)) == ["ends_at"]
    assert await fields(to_username="max", ends_at="2030-01-01T00:00:00") == ["ends_at"]
    assert (await chained.tea.post(AT, {"to_username": "max", "ends_at": days(ctx, 2)})).status == 403
