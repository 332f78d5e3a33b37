"""Undoing a long import: by a task, with progress, that goes on after a restart and by what its caller may do by then."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from jobs.people import undo_import
from jobs.registry import Giveup, Work
from server.clock import HeldClock
from server.context import Context
from server.people import user_import
from server.people.tables import users
from server.platform.tables import tasks
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_user_import import send

NUMBER = 1100


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def nothing(_percent: int, _message: str) -> None:
    """A progress that nobody follows."""


async def imported(api: Api, ctx: Context) -> str:
    queued = (await send(api, [[f"u{number}", f"N{number}"] for number in range(NUMBER)])).result
    await user_import.carry_out(ctx, queued["id"], nothing)
    return str(queued["id"])


async def payload_of(ctx: Context, task_id: str) -> dict[str, Any]:
    asked = sa.select(tasks.c.payload).where(tasks.c.id == task_id)
    payload: dict[str, Any] = await ctx.sql.read(lambda connection: connection.execute(asked).scalar_one())
    return payload


async def active(ctx: Context) -> int:
    """How many of the imported are active."""
    wanted = sa.select(sa.func.count()).where(users.c.state == "active", users.c.username.like("u%"))
    return int(await ctx.sql.read(lambda connection: connection.execute(wanted).scalar_one()))


@pytest.mark.gen_test(timeout=60)
async def test_it_is_a_task_that_goes_on_where_it_was(api: Api, ctx: Context, clock: HeldClock) -> None:
    import_id = await imported(api, ctx)
    clock.advance(seconds=1)
    asked = await api.post(f"/api/users/imports/{import_id}/undo")
    assert (asked.status, asked.result["state"]) == (202, "undoing")
    task_id = asked.result["task_id"]
    again = await api.post(f"/api/users/imports/{import_id}/undo")
    assert (again.status, again.result["task_id"]) == (202, task_id), "one task, however often it is asked for"
    task = (await api.get(f"/api/tasks/{task_id}")).result
    assert (task["kind"], task["queue"], task["state"]) == ("undo_import", "account_tasks", "queued")
    assert await active(ctx) == NUMBER
    told: list[int] = []

    async def progress(percent: int, _message: str) -> None:
        told.append(percent)
        if len(told) == 2:
            raise ConnectionError("the worker is lost after the second piece")

    work, payload = Work(ctx, progress, 1, 20), await payload_of(ctx, task_id)
    with pytest.raises(ConnectionError):
        await undo_import(ctx, work, **payload)
    assert await active(ctx) == NUMBER - 1000
    assert await undo_import(ctx, work, **payload) == {"undone": True, "pieces": 3}
    assert await undo_import(ctx, work, **payload) == {"undone": True, "pieces": 3}, "once more changes nothing"
    assert told == [33, 66, 33, 66, 100]
    assert await active(ctx) == 0
    done = (await api.get(f"/api/users/imports/{import_id}")).result
    assert (done["state"], done["counts"]["undone"], done["counts"]["kept"]) == ("undone", NUMBER, 0)
    assert (await api.post(f"/api/users/imports/{import_id}/undo")).type == "import_state"


@pytest.mark.gen_test(timeout=60)
async def test_it_does_no_more_than_its_caller_may_by_then(api: Api, anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    second = await user(ctx, anonymous, "second", "administrator")
    second_id = (await second.get("/api/auth/me")).result["id"]
    import_id = await imported(second, ctx)
    clock.advance(seconds=1)
    task_id = (await second.post(f"/api/users/imports/{import_id}/undo")).result["task_id"]
    await api.delete(f"/api/users/{second_id}")
    with pytest.raises(Giveup):
        await undo_import(ctx, Work(ctx, nothing, 1, 20), **await payload_of(ctx, task_id))
    assert await active(ctx) == NUMBER
    # Another administrator may go on with it: when the task has ended there is a new one.
    await ctx.sql.write(lambda connection: connection.execute(tasks.update().where(tasks.c.id == task_id).values(unique_key=None)))
    mine = (await api.post(f"/api/users/imports/{import_id}/undo")).result["task_id"]
    assert mine != task_id
    await undo_import(ctx, Work(ctx, nothing, 1, 20), **await payload_of(ctx, mine))
    assert await active(ctx) == 0


@pytest.mark.gen_test(timeout=60)
async def test_a_key_that_was_revoked_undoes_nothing(api: Api, anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    import_id = await imported(api, ctx)
    clock.advance(seconds=1)
    made = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:write"]})).result
    task_id = (await anonymous.post(f"/api/users/imports/{import_id}/undo", token=made["key"])).result["task_id"]
    payload = await payload_of(ctx, task_id)
    assert payload == {"import_id": import_id, "user_id": 1, "key_id": made["id"]}
    await api.delete(f"/api/auth/api-keys/{made['id']}")
    with pytest.raises(Giveup):
        await undo_import(ctx, Work(ctx, nothing, 1, 20), **payload)
    assert await active(ctx) == NUMBER


@pytest.mark.gen_test(timeout=60)
async def test_a_short_one_is_undone_at_once(api: Api, clock: HeldClock) -> None:
    done = (await send(api, [["a"], ["b"]])).result
    clock.advance(seconds=1)
    undone = await api.post(f"/api/users/imports/{done['id']}/undo")
    assert (undone.status, undone.result["state"], undone.result["task_id"]) == (200, "undone", None)
