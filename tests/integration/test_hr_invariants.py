"""Whatever HR says and whatever is lost on the way: in the end each account is as HR's word wants it, once, and nobody else is touched."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from server.context import Context
from server.people.hr import account_tasks, applying, processing
from server.people.hr.tables import account_attempts, hr_accounts, hr_changes, hr_persons, hr_rows, hr_runs, hr_targets
from server.people.hr.tables import account_tasks as tasks_table
from server.people.tables import users
from tests.api.client import Api
from tests.api.conftest import anonymous, api, app, http_client, http_server
from tests.api.hr import syncs
from tests.api.people import user
from tests.contract.target_sides import LdapSide, LocalSide, ScimSide, WebhookSide, directory, receiver, scim_peer
from tests.peers import hr_server
from tests.peers.hr_server import HrPeer, person, running_hr
from tests.peers.http_peer import HttpPeer
from tests.peers.lossy_proxy import Loss, LossyProxy, running_proxy
from tests.peers.scim_server import ScimServer
from tests.peers.slapd import Slapd

__all__ = ["anonymous", "api", "app", "directory", "http_client", "http_server", "receiver", "scim_peer"]

pytestmark = [pytest.mark.integration, pytest.mark.holds_loop]  # the sides are looked at from the loop

DEPARTMENTS = 3
MADE_BY_HAND = "by-hand"
FEEDS = {
    "html": hr_server.html,
    "half": hr_server.half,
    "cut": hr_server.cut,
    "unauthorized": hr_server.refused(401),
    "no rows": hr_server.changed(items=[], total=0),
}

# What one step does to the people of the HR system, by a number that picks somebody.
somebody = st.integers(0, 30)
changes = st.one_of(
    st.tuples(st.just("join"), somebody),
    st.tuples(st.just("leave"), somebody),
    st.tuples(st.just("vanish"), somebody),
    st.tuples(st.just("return"), somebody),
    st.tuples(st.just("move"), somebody),
    st.tuples(st.just("rename"), somebody),
)
losses: st.SearchStrategy[list[Loss]] = st.lists(st.sampled_from(["none", "request", "answer", "answer", "busy"]), max_size=12)
steps = st.tuples(
    st.lists(changes, max_size=6),
    st.one_of(st.none(), st.sampled_from(sorted(FEEDS))),
    st.booleans(),  # whether applying is broken off
    losses,
    losses,
)


@dataclass
class World:
    """The HR system, our server, and the systems around it, for one story."""

    ctx: Context
    api: Api
    second: Api
    hr: HrPeer
    scim: LossyProxy
    hook: LossyProxy
    sides: dict[str, Any]
    prefix: str
    source_id: int = 0
    gone: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def open(self) -> None:
        self.hr.persons = [self.somebody(number) for number in range(6)]
        self.hr.departments = [
            hr_server.department(number, code=f"{self.prefix}{number}", parent_code=None) for number in range(DEPARTMENTS)
        ]
        scim, hook = self.sides["scim"].settings, self.sides["webhook"].settings
        body = {
            "name": self.prefix,
            "kind": "rest",
            "url": self.hr.url,
            "departments_url": self.hr.departments_url,
            "thresholds": {"disable": {"count": 3, "percent": 90}},
            "targets": [
                "local",
                {"kind": "ldap", "name": "ldap", **self.sides["ldap"].settings},
                {"kind": "scim", "name": "scim", **scim, "url": self.scim.url + "/v2"},
                {"kind": "webhook", "name": "webhook", **hook, "url": f"{self.hook.url}/accounts"},
            ],
        }
        self.source_id = (await self.api.post("/api/hr/sources", body)).result["id"]

    def somebody(self, number: int) -> dict[str, Any]:
        name = f"{self.prefix}{number:03}"
        return person(
            number, employee_no=name, name=f"Person {name}", email=f"{name.lower()}@bupt.example", department_code=self.department(number)
        )

    def department(self, number: int) -> str:
        return f"{self.prefix}{number % DEPARTMENTS}"

    def change(self, kind: str, number: int) -> None:
        persons = self.hr.persons
        if kind == "join":
            fresh = self.somebody(number)
            if fresh["employee_no"] not in {one["employee_no"] for one in persons} | set(self.gone):
                persons.append(fresh)
            return
        if kind == "return":
            if self.gone:
                _, back = self.gone.popitem()
                persons.append(back)
            return
        if len(persons) < 2:
            return
        one = persons[number % len(persons)]
        if kind == "vanish":
            persons.remove(one)
            self.gone[one["employee_no"]] = {**one, "status": "active"}
        elif kind == "leave":
            one["status"] = "left"
        elif kind == "move":
            one["department_code"] = self.department(number + 1)
        else:
            one["name"] = f"{one['name']} x"[:60]

    async def sync(self, *, broken: bool = False) -> str:
        """One sync to its end, approved by somebody else where it waits; broken off in the middle of applying, it goes on."""
        run = await self.start()
        if run["state"] == "awaiting_approval":
            approved = await self.second.post(f"/api/hr/runs/{run['id']}/approve", {"comment": "seen"})
            assert approved.status in (200, 202), approved
            run = await self.carry_out(run["id"], broken=broken)
        return str(run["state"])

    async def start(self) -> dict[str, Any]:
        asked = await self.api.post("/api/hr/sync", {"source": self.source_id})
        assert asked.status == 202, asked
        return await self.carry_out(asked.result["id"])

    async def carry_out(self, run_id: str, *, broken: bool = False) -> dict[str, Any]:
        if broken:

            async def stop(_percent: int, _message: str) -> None:
                raise asyncio.CancelledError

            with suppress(asyncio.CancelledError):
                await applying.apply(self.ctx, run_id, stop)
        return await syncs.carried_out(self.api, self.ctx, run_id)

    async def work(self) -> None:
        """Derive the tasks and work on those that are due, at each target."""
        await account_tasks.derive(self.ctx, self.source_id)
        mine = sa.select(hr_targets.c.id).where(hr_targets.c.source_id == self.source_id).order_by(hr_targets.c.id)
        for target_id in await self.ctx.sql.read(lambda connection: list(connection.execute(mine).scalars())):
            await processing.process(self.ctx, target_id)

    async def settle(self) -> None:
        """Nothing is lost any more: dead letters are tried again, what waits is due, until nothing is left to do."""
        for proxy in (self.scim, self.hook):
            proxy.losses.clear()
        self.hr.mischief.clear()
        assert await self.sync() == "succeeded"
        for _ in range(12):
            await self.api.post("/api/account-tasks/retry", {})
            now = self.ctx.clock.now()
            pending = tasks_table.update().where(tasks_table.c.state == "pending").values(run_at=now)
            running = tasks_table.update().where(tasks_table.c.state == "running").values(lease_until=now)
            await self.ctx.sql.write(lambda connection: [connection.execute(one).rowcount for one in (pending, running)])  # noqa: B023
            await self.work()
            if not await self.left():
                return
        raise AssertionError(await self.left())

    async def left(self) -> list[Any]:
        """Account tasks of this story that are not done."""
        mine = sa.select(hr_persons.c.id).where(hr_persons.c.source_id == self.source_id)
        open_ones = tasks_table.c.state.in_(("pending", "running", "dead"))
        newest = sa.select(sa.func.max(tasks_table.c.id)).group_by(tasks_table.c.person_id, tasks_table.c.target_id)
        wanted = sa.select(tasks_table).where(tasks_table.c.person_id.in_(mine), open_ones, tasks_table.c.id.in_(newest))
        return await self.ctx.sql.read(lambda connection: list(connection.execute(wanted)))

    async def stored(self) -> Any:
        """What we hold of HR's people, to see that nothing was written."""
        mine = sa.select(hr_persons.c.employee_no, hr_persons.c.state, hr_persons.c.hash, hr_persons.c.revision)
        mine = mine.where(hr_persons.c.source_id == self.source_id).order_by(hr_persons.c.id)
        return await self.ctx.sql.read(lambda connection: [tuple(row) for row in connection.execute(mine)])

    async def check(self) -> None:
        """What must be so in the end."""
        wanted = {one["employee_no"]: one for one in self.hr.persons}
        for kind, side in self.sides.items():
            for employee_no, one in wanted.items():
                account = await side.account(employee_no)
                if one["status"] == "active":
                    assert account is not None, f"{kind}: {employee_no} has no account"
                    assert account["active"], f"{kind}: {employee_no} is not active"
                    assert account["name"] == one["name"], f"{kind}: {account}"
                else:
                    assert account is None or not account["active"], f"{kind}: {employee_no} has left and is active"
            for employee_no in self.gone:
                account = await side.account(employee_no)
                assert account is None or not account["active"], f"{kind}: {employee_no} is not named any more, and active"
        await self.check_local(wanted)
        once = Counter(one["userName"] for one in self.sides["scim"]._peer.users() if one["userName"].startswith(self.prefix))
        assert set(once.values()) <= {1}, "an account was made twice over SCIM"

    async def check_local(self, wanted: dict[str, Any]) -> None:
        """Our own: one account each, the number that it had from the first; the plan and its tasks add up; nothing staged is left."""

        def transaction(connection: sa.Connection) -> None:
            local = sa.select(hr_persons.c.employee_no, hr_accounts.c.user_id, users.c.username).join_from(
                hr_accounts, hr_persons, hr_persons.c.id == hr_accounts.c.person_id
            )
            local = local.join(users, users.c.id == hr_accounts.c.user_id).where(hr_persons.c.source_id == self.source_id)
            rows = connection.execute(local).all()
            assert len({row.user_id for row in rows}) == len(rows), "two people share an account"
            assert all(row.username == row.employee_no for row in rows)
            assert {row.employee_no for row in rows} >= {name for name, one in wanted.items() if one["status"] == "active"}
            runs = sa.select(hr_runs.c.id).where(hr_runs.c.source_id == self.source_id)
            assert connection.execute(sa.select(sa.func.count()).select_from(hr_rows).where(hr_rows.c.run_id.in_(runs))).scalar() == 0
            unsettled = sa.select(hr_changes).where(hr_changes.c.run_id.in_(runs), hr_changes.c.state == "pending")
            over = sa.select(hr_runs.c.id).where(hr_runs.c.source_id == self.source_id, hr_runs.c.state == "succeeded")
            assert connection.execute(unsettled.where(hr_changes.c.run_id.in_(over))).first() is None
            for name in ("admin", MADE_BY_HAND):
                state = connection.execute(sa.select(users.c.state, users.c.name).where(users.c.username == name)).one()
                assert state.state == "active", f"{name} was touched"

        await self.ctx.sql.read(transaction)


@pytest.fixture
def around(
    io_loop: IOLoop, ctx: Context, directory: Slapd, scim_peer: ScimServer, receiver: HttpPeer
) -> Iterator[tuple[HrPeer, LossyProxy, LossyProxy, dict[str, Any]]]:
    """The HR system, and the targets: SCIM and the webhook behind proxies that lose things."""
    stack = AsyncExitStack()
    sides = {"local": LocalSide(ctx), "ldap": LdapSide(directory), "scim": ScimSide(scim_peer), "webhook": WebhookSide(receiver)}
    hr = io_loop.run_sync(lambda: stack.enter_async_context(running_hr(0, 0)))
    scim = io_loop.run_sync(lambda: stack.enter_async_context(running_proxy(scim_peer.url.removesuffix("/v2"))))
    hook = io_loop.run_sync(lambda: stack.enter_async_context(running_proxy(receiver.url)))
    yield hr, scim, hook, sides
    io_loop.run_sync(stack.aclose)


def test_in_the_end_every_account_is_as_hr_wants_it(
    io_loop: IOLoop, ctx: Context, api: Api, anonymous: Api, around: tuple[HrPeer, LossyProxy, LossyProxy, dict[str, Any]]
) -> None:
    hr, scim, hook, sides = around
    second = io_loop.run_sync(lambda: user(ctx, anonymous, "second", "administrator"))
    io_loop.run_sync(lambda: user(ctx, anonymous, MADE_BY_HAND, "teacher"))
    stories = itertools.count()
    seen: Counter[str] = Counter()

    @settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
    @given(st.lists(steps, min_size=2, max_size=5))
    def holds(story: list[Any]) -> None:
        world = World(ctx, api, second, hr, scim, hook, sides, prefix=f"S{next(stories)}X")
        io_loop.run_sync(lambda: told(world, story, seen), timeout=240)

    holds()
    assert seen["succeeded"] >= 8
    assert seen["aborted"] >= 1, "no story had a feed that was refused"
    outcomes = io_loop.run_sync(lambda: attempts(ctx))
    assert outcomes["failed"] >= 3, "nothing was lost on the way"
    assert {"done", "already"} <= set(outcomes), outcomes


async def attempts(ctx: Context) -> Counter[str]:
    """How the tries at all targets ended."""
    counted = sa.select(account_attempts.c.outcome, sa.func.count()).group_by(account_attempts.c.outcome)
    return Counter(dict(await ctx.sql.read(lambda connection: [(row[0], row[1]) for row in connection.execute(counted)])))


async def told(world: World, story: list[Any], seen: Counter[str]) -> None:
    """One story from its first sync to the end, when all is checked."""
    await world.open()
    assert await world.sync() == "succeeded"
    for happens, feed, broken, lost_scim, lost_hook in story:
        for kind, number in happens:
            world.change(kind, number)
        world.scim.losses.extend(lost_scim)
        world.hook.losses.extend(lost_hook)
        before = await world.stored()
        if feed is not None:
            world.hr.mischief.extend([FEEDS[feed]] * 8)  # however often it is asked again
            state = await world.sync()
            world.hr.mischief.clear()
            assert state == "aborted", f"{feed} was believed"
            assert await world.stored() == before, f"{feed} has changed something"
        else:
            state = await world.sync(broken=broken)
            assert state == "succeeded", state
        seen[state] += 1
        await world.work()
    await world.settle()
    await world.check()
    settled = await world.stored()
    assert await world.sync() == "succeeded"
    await world.work()
    assert await world.stored() == settled, "an unchanged feed has changed something"
    assert not await world.left()
    seen["succeeded"] += 1
