"""Schedules on one instance: every planned instant has one row, edits skip nothing, and a stop is explained afterwards."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.dispatch.tables import runs
from server.platform.schedules import ledger
from server.platform.tables import fires, planner
from tests.contract.waiting import until
from tests.integration.house import NOON, House, open_house

pytestmark = pytest.mark.integration


def at(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["planned_at"]).astimezone(UTC)


async def fired(house: House, workflow: int, number: int) -> list[dict[str, Any]]:
    """The ledger, once it has so many rows."""

    async def enough() -> bool:
        return len(await house.api.fires(workflow)) >= number

    await until(enough)
    return await house.api.fires(workflow)


async def advance(house: House, clock: HeldClock, seconds: float, *, step_s: float = 1.0) -> None:
    """Let time pass; the planner sees every step of it before the next one comes."""
    end = clock.now() + timedelta(seconds=seconds)
    while clock.now() < end:
        clock.at = min(end, clock.now() + timedelta(seconds=step_s))
        await planned(house)


async def planned(house: House) -> None:
    """Until nothing of what is due is left to plan."""
    loop = house.resources.schedule_loop

    def idle() -> bool:
        next_at = loop._agenda.next_at()
        return loop.leading and not loop._changed and (next_at is None or next_at > house.ctx.clock.now())

    loop._wake.set()
    await until(idle)
    await house.ctx.sql.write(lambda _connection: None)  # what is being written is in front of this


@pytest.mark.gen_test(timeout=60)
async def test_a_cron_with_seconds_fires_each_instant_once(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        workflow = await house.api.workflow("w", [module], execute_cron_list=["* * * * * *", "* * * * * */2"], overlap="parallel")
        rows = await fired(house, workflow, 4)
        assert {row["outcome"] for row in rows} == {"fired"}
        assert [(at(after) - at(before)).total_seconds() for before, after in pairwise(rows)] == [1.0] * (len(rows) - 1)
        assert max(row["lag_ms"] for row in rows) < 2000
        for row in rows[:3]:
            execution = await socket.execution()
            assert execution["run_id"] == row["run_id"] == row["id"]
            local = at(row) + timedelta(hours=8)
            assert execution["execution_time"] == local.replace(tzinfo=None).isoformat()
            await socket.answer(execution)
        await house.api.post(f"/workflow/{workflow}/disable")


@pytest.mark.gen_test(timeout=60)
async def test_a_negative_shift_starts_before_the_cron_time(data_at_noon: Path) -> None:
    clock = HeldClock(NOON - timedelta(seconds=45))
    async with open_house(data_at_noon, clock=clock) as house:
        module, socket = await house.module("m")
        shape = {"execute_cron_list": ["0 12 * * *"], "execute_shift_time": -30, "execute_shift_unit": "s"}
        workflow = await house.api.workflow("w", [module], **shape)
        await advance(house, clock, 10)
        assert not await house.api.fires(workflow)
        await advance(house, clock, 5)
        (row,) = await fired(house, workflow, 1)
        assert (at(row), row["outcome"]) == (NOON, "fired")
        assert datetime.fromisoformat(row["starts_at"]) == NOON - timedelta(seconds=30)
        execution = await socket.execution()
        assert execution["execution_time"] == "2026-03-04T12:00:00"
        await socket.answer(execution)


@pytest.mark.gen_test(timeout=60)
async def test_what_a_calendar_closes_and_what_is_disabled_have_rows(data_at_noon: Path) -> None:
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        module, _ = await house.module("m")
        await house.api.post("/api/calendars", {"name": "closed", "exclude": [date(2026, 3, 4).isoformat()]})
        closed = await house.api.workflow("closed", [module], execute_cron_list=["* * * * * */10"], calendar="closed")
        off = await house.api.workflow("off", [module], execute_cron_list=["* * * * * */10"], enable=False)
        await advance(house, clock, 30, step_s=5)
        for workflow, outcome in ((closed, "calendar"), (off, "disabled")):
            rows = await fired(house, workflow, 3)
            assert [(at(row) - NOON).total_seconds() for row in rows] == [10, 20, 30]
            assert {row["outcome"] for row in rows} == {outcome}
        assert not await house.rows(runs)
        why = await house.api.get(f"/workflow/{closed}/why?at=2026-03-04T12:00:20")
        assert why["outcome"] == "calendar"
        await house.api.post("/api/calendars", {"name": "closed", "exclude": []})
        await advance(house, clock, 10)
        assert (await fired(house, closed, 4))[-1]["outcome"] == "fired"


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [
        ("skip", ["misfire"] * 6),
        ("last", ["misfire"] * 5 + ["fired"]),
        ("all", ["misfire"] * 3 + ["fired"] * 3),  # the first three are older than the greatest age
    ],
)
@pytest.mark.gen_test(timeout=60)
async def test_what_was_missed_while_the_server_was_away(data_at_noon: Path, misfire: str, outcomes: list[str]) -> None:
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        module = await house.api.register("m")
        shape = {"execute_cron_list": ["* * * * * */10"], "misfire": misfire, "misfire_max_age_s": 29, "overlap": "parallel"}
        workflow = await house.api.workflow("w", [module], **shape)
        await advance(house, clock, 10)
        assert [row["outcome"] for row in await fired(house, workflow, 1)] == ["fired"]
        await house.write(planner.update().values(planned_until=clock.now()))
    # As after a crash: nobody said that planning stops.
    clock.advance(seconds=64)
    async with open_house(data_at_noon, clock=clock, loops=False) as house:
        await house.write(planner.update().values(stopped_at=None))
    async with open_house(data_at_noon, clock=clock) as house:
        rows = (await fired(house, workflow, 7))[1:]
        assert [(at(row) - NOON).total_seconds() for row in rows] == [20, 30, 40, 50, 60, 70]
        assert [row["outcome"] for row in rows] == outcomes
        assert all((row["run_id"] is not None) == (row["outcome"] == "fired") for row in rows)
        assert all(row["reason"] for row in rows if row["outcome"] == "misfire")


@pytest.mark.gen_test(timeout=60)
async def test_a_stop_in_good_order_is_told_from_a_crash(data_at_noon: Path) -> None:
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        workflow = await house.api.workflow("w", [await house.api.register("m")], execute_cron_list=["* * * * * */10"], misfire="skip")
        await advance(house, clock, 10)
        await fired(house, workflow, 1)
    clock.advance(seconds=25)
    async with open_house(data_at_noon, clock=clock) as house:
        rows = await fired(house, workflow, 3)
        assert [row["outcome"] for row in rows] == ["fired", "shutdown", "shutdown"]


@pytest.mark.gen_test(timeout=60)
async def test_an_edit_changes_its_own_schedule_and_skips_nothing(data_at_noon: Path) -> None:
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        module = await house.api.register("m")
        shape = {"execute_cron_list": ["* * * * * */10"], "overlap": "parallel"}
        edited = await house.api.workflow("edited", [module], **shape)
        other = await house.api.workflow("other", [module], **shape)
        await advance(house, clock, 25)
        body = {"name": "edited", "execute_modules": [{"module_hash": module}], **shape, "execute_cron_list": ["* * * * * */5"]}
        await house.api.ask("PUT", f"/workflow/{edited}", body)
        await advance(house, clock, 15)
        assert [(at(row) - NOON).total_seconds() for row in await fired(house, edited, 5)] == [10, 20, 30, 35, 40]
        assert [(at(row) - NOON).total_seconds() for row in await fired(house, other, 4)] == [10, 20, 30, 40]
        assert all(row["outcome"] == "fired" for row in await house.api.fires(edited))


@pytest.mark.gen_test(timeout=60)
async def test_an_edit_while_the_planner_is_late_skips_nothing(data_at_noon: Path) -> None:
    """What the old version owed up to the moment of the edit is planned, though the planner had not come to it yet."""
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        module = await house.api.register("m")
        shape = {"execute_cron_list": ["* * * * * */10"], "overlap": "parallel"}
        workflow = await house.api.workflow("w", [module], **shape)
        await advance(house, clock, 5)
        loop = house.resources.schedule_loop
        fire, held = loop._firing.fire, asyncio.Event()

        async def slow(*args: Any, **named: Any) -> None:
            await fire(*args, **named)
            await held.wait()

        loop._firing.fire = slow  # type: ignore[method-assign]
        clock.advance(seconds=5)  # the planner writes the instant at 10 s, and is held up
        loop._wake.set()
        await fired(house, workflow, 1)
        clock.advance(seconds=12)  # 20 s come meanwhile, and then the edit
        body = {"name": "w", "execute_modules": [{"module_hash": module}], **shape, "execute_cron_list": ["* * * * * 25"]}
        await house.api.ask("PUT", f"/workflow/{workflow}", body)
        loop._firing.fire = fire  # type: ignore[method-assign]
        held.set()
        await advance(house, clock, 10)
        assert [(at(row) - NOON).total_seconds() for row in await fired(house, workflow, 3)] == [10, 20, 25]


@pytest.mark.gen_test(timeout=60)
async def test_a_reload_skips_nothing(data_at_noon: Path) -> None:
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        module = await house.api.register("m")
        workflow = await house.api.workflow("w", [module], execute_cron_list=["* * * * * */2"], overlap="parallel")
        for _ in range(10):
            clock.advance(seconds=1)
            reloaded = await house.api.post("/scheduler/reload")
            assert (reloaded["removed_count"], reloaded["enabled_workflows"]) == (0, ["w"])
        await planned(house)
        rows = await fired(house, workflow, 5)
        assert [(at(row) - NOON).total_seconds() for row in rows] == [2, 4, 6, 8, 10]


@pytest.mark.gen_test(timeout=60)
async def test_an_old_leaders_write_is_refused(data_at_noon: Path) -> None:
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        module = await house.api.register("m")
        workflow = await house.api.workflow("w", [module], execute_cron_list=["* * * * * */10"], overlap="parallel")
        await advance(house, clock, 1)
        loop = house.resources.schedule_loop
        first = loop.epoch
        await house.write(planner.update().values(epoch=first + 5, holder="somebody else"))
        with pytest.raises(ledger.LeaseLost):
            await house.ctx.sql.write(lambda connection: ledger.check_epoch(connection, first))
        clock.advance(seconds=9)
        loop._wake.set()
        # It stops, tries again under a greater epoch, and then plans what it could not write before.
        await until(lambda: loop.leading and loop.epoch > first + 5)
        (row,) = await fired(house, workflow, 1)
        assert (at(row) - NOON).total_seconds() == 10
        (kept,) = await house.rows(fires, fires.c.run_id.is_not(None))
        assert kept.epoch > first + 5
        assert len(await house.rows(runs)) == 1


@pytest.mark.gen_test(timeout=60)
async def test_the_ledger_takes_no_second_row_for_an_instant(data: Path) -> None:
    async with open_house(data, loops=False) as house:
        entries = [
            ledger.Entry(id=f"{number:032x}", schedule_id=1, planned_at=NOON, starts_at=NOON, outcome=ledger.Outcome.FIRED)
            for number in (1, 2)
        ]
        await house.ctx.sql.write(lambda connection: ledger.write(connection, entries[:1], epoch=1, now=NOON))
        with pytest.raises(sa.exc.IntegrityError):
            await house.ctx.sql.write(lambda connection: ledger.write(connection, entries[1:], epoch=1, now=NOON))
