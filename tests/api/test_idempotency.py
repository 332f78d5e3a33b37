"""Idempotency-Key: the same key and body do it once and answer alike; anything else is refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.platform import kept_answers
from server.platform.tables import kept_answers as table
from tests.api.client import Answer, Api
from tests.api.module import FakeModule


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def execute(api: Api, workflow: dict[str, Any], key: str, **body: Any) -> Answer:
    return await api.post(f"/workflow/{workflow['id']}/execute", body, headers={"Idempotency-Key": key})


async def runs(api: Api, workflow: dict[str, Any]) -> int:
    return int((await api.get(f"/workflow/{workflow['id']}/runs")).result["total"])


@pytest.mark.gen_test
async def test_the_same_request_starts_one_run(api: Api, workflow: dict[str, Any]) -> None:
    first = await execute(api, workflow, "k", args={"x": 1})
    again = await execute(api, workflow, "k", args={"x": 1})
    assert again.body == first.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await runs(api, workflow) == 1
    await execute(api, workflow, "l", args={"x": 1})
    assert await runs(api, workflow) == 2


@pytest.mark.gen_test
async def test_another_body_is_refused(api: Api, workflow: dict[str, Any]) -> None:
    await execute(api, workflow, "k", args={"x": 1})
    refused = await execute(api, workflow, "k", args={"x": 2})
    assert (refused.status, refused.type) == (409, "idempotency_mismatch")
    assert await runs(api, workflow) == 1


@pytest.mark.gen_test
async def test_a_key_belongs_to_its_caller_and_its_address(api: Api, anonymous: Api, workflow: dict[str, Any], module: FakeModule) -> None:
    other = (
        await api.post("/workflow/create", {"name": "other", "execute_modules": [module.step]}, headers={"Idempotency-Key": "k"})
    ).result
    first = await execute(api, workflow, "k")
    assert (await execute(api, other, "k")).result["run_id"] != first.result["run_id"]
    robot = anonymous.as_caller((await api.post("/api/auth/api-keys", {"name": "r", "scopes": ["workflows:run"]})).result["key"])
    assert (await execute(robot, workflow, "k")).result["run_id"] != first.result["run_id"]
    weak = anonymous.as_caller((await api.post("/api/auth/api-keys", {"name": "w", "scopes": ["workflows:read"]})).result["key"])
    assert (await execute(weak, workflow, "k")).status == 403, "a kept answer is for those who may ask"


@pytest.mark.gen_test
async def test_of_many_at_once_one_starts(api: Api, workflow: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(execute(api, workflow, "k") for _ in range(8)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert len({answer.body for answer in answers if answer.status == 200}) == 1
    assert {answer.type for answer in answers if answer.status == 409} <= {"idempotency_running"}
    assert await runs(api, workflow) == 1


@pytest.mark.gen_test
async def test_a_refusal_is_not_kept(api: Api, module: FakeModule) -> None:
    headers = {"Idempotency-Key": "k"}
    assert (await api.post("/workflow/create", {"name": "w", "execute_modules": [{"module_hash": "x"}]}, headers=headers)).status == 422
    made = await api.post("/workflow/create", {"name": "w", "execute_modules": [module.step]}, headers=headers)
    assert made.status == 200
    again = await api.post("/workflow/create", {"name": "w", "execute_modules": [module.step]}, headers=headers)
    assert again.body == made.body


@pytest.mark.gen_test
async def test_an_answer_is_kept_for_a_day(api: Api, ctx: Context, clock: HeldClock, workflow: dict[str, Any]) -> None:
    first = (await execute(api, workflow, "k")).result
    clock.advance(hours=23, minutes=59)
    fresh = (await api.post("/api/auth/login", {"username": "admin", "password": "correct horse battery"})).result
    later = api.as_caller(fresh["access_token"])
    assert (await execute(later, workflow, "k")).result == first
    assert await ctx.sql.write(lambda connection: kept_answers.sweep(connection, clock.now())) == 0
    clock.advance(minutes=2)
    assert (await execute(later, workflow, "k")).result["run_id"] != first["run_id"]
    clock.advance(days=2)
    assert await ctx.sql.write(lambda connection: kept_answers.sweep(connection, clock.now())) == 1


@pytest.mark.gen_test
async def test_what_died_while_it_was_handled_may_be_tried_again(
    api: Api, ctx: Context, clock: HeldClock, workflow: dict[str, Any]
) -> None:
    await execute(api, workflow, "k")
    await ctx.sql.write(lambda connection: connection.execute(table.update().values(status=None, body=None)))
    assert (await execute(api, workflow, "k")).type == "idempotency_running"
    clock.advance(seconds=timedelta(minutes=5, seconds=1).total_seconds())
    assert (await execute(api, workflow, "k")).status == 200


@pytest.mark.parametrize("key", ["", "x" * 201])
@pytest.mark.gen_test
async def test_what_is_no_key(api: Api, workflow: dict[str, Any], key: str) -> None:
    assert (await execute(api, workflow, key)).fields == ["Idempotency-Key"]
    assert await runs(api, workflow) == 0


@pytest.mark.parametrize("key", ["x" * 200, "' or 1=1 --", "é\xff", "a b"])
@pytest.mark.gen_test
async def test_any_other_text_is_a_key(api: Api, ctx: Context, workflow: dict[str, Any], key: str) -> None:
    assert (await execute(api, workflow, key)).body == (await execute(api, workflow, key)).body
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(table)).all())
    assert len(rows) == 1
    assert key not in repr(rows)
