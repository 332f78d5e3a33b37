"""Backfill: what was missed in the past is run once, oldest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from server.clock import HeldClock
from tests.api.client import Api
from tests.api.module import FakeModule

RANGE = {"from": "2026-01-01T09:00:00", "to": "2026-01-01T12:00:00"}


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(datetime(2026, 1, 2, tzinfo=UTC))


async def hourly(api: Api, module: FakeModule, **more: Any) -> str:
    body = {"name": "hourly", "execute_cron_list": ["0 * * * *"], "overlap": "parallel", "execute_modules": [module.step], **more}
    return str((await api.post("/workflow/create", body)).result["id"])


@pytest.mark.gen_test
async def test_missed_instants_are_run_once(api: Api, module: FakeModule) -> None:
    ref = await hourly(api, module)
    seen = (await api.post(f"/workflow/{ref}/backfill", {**RANGE, "dry_run": True})).result
    assert (seen["planned"], seen["missing"], seen["run_ids"]) == (3, 3, [])
    done = (await api.post(f"/workflow/{ref}/backfill", RANGE)).result
    assert len(done["run_ids"]) == 3
    times = [(await module.frame())["meta"]["execution_time"] for _ in range(3)]
    assert times == ["2026-01-01T09:00:00", "2026-01-01T10:00:00", "2026-01-01T11:00:00"]
    again = (await api.post(f"/workflow/{ref}/backfill", RANGE)).result
    assert (again["planned"], again["missing"], again["run_ids"]) == (3, 0, [])
    assert (await api.get(f"/run/{done['run_ids'][0]}")).result["kind"] == "backfill"


@pytest.mark.gen_test
async def test_the_shift_does_not_move_the_range(api: Api, module: FakeModule) -> None:
    ref = await hourly(api, module, execute_shift_time=-90, execute_shift_unit="m")
    done = (await api.post(f"/workflow/{ref}/backfill", {**RANGE, "dry_run": True})).result
    assert done["execution_times"] == ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z"]


@pytest.mark.gen_test
async def test_nothing_of_the_future_and_no_empty_range(api: Api, module: FakeModule) -> None:
    ref = await hourly(api, module)
    future = {"from": "2026-01-03T00:00:00Z", "to": "2026-01-04T00:00:00Z"}
    assert (await api.post(f"/workflow/{ref}/backfill", future)).result["planned"] == 0
    assert (await api.post(f"/workflow/{ref}/backfill", {"from": RANGE["to"], "to": RANGE["from"]})).fields == ["to"]


@pytest.mark.parametrize("field", ["from", "to"])
@pytest.mark.gen_test
async def test_times_that_are_none(api: Api, module: FakeModule, field: str) -> None:
    ref = await hourly(api, module)
    for wrong in ("", "yesterday", "2026-02-31T00:00:00", "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", None, 5):
        assert (await api.post(f"/workflow/{ref}/backfill", {**RANGE, field: wrong})).fields == [field], wrong
    assert (await api.post(f"/workflow/{ref}/backfill", {field: RANGE[field]})).status == 422
