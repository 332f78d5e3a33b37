"""Syncs from a test: asked for over the API, carried out here and now in place of a worker."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.people.hr import syncing
from server.people.hr.tables import hr_persons
from tests.api.client import Api
from tests.embedded import ADMIN_PASSWORD
from tests.peers.hr_server import HrPeer

Run = dict[str, Any]


async def quiet(_percent: int, _message: str) -> None:
    """Nobody looks at the progress."""


async def source(api: Api, hr: HrPeer, **more: Any) -> Run:
    body = {"name": "人事", "kind": "rest", "url": hr.url, "departments_url": hr.departments_url, **more}
    made: Run = (await api.post("/api/hr/sources", body)).result
    return made


async def sync(api: Api, ctx: Context, source_id: int | str, **more: Any) -> Run:
    """A sync from its request to its end, or to where it waits."""
    asked = await api.post("/api/hr/sync", {"source": source_id, **more})
    assert asked.status == 202
    return await carried_out(api, ctx, asked.result["id"])


async def carried_out(api: Api, ctx: Context, run_id: str) -> Run:
    await syncing.carry_out(ctx, run_id, quiet, last_try=False)
    run: Run = (await api.get(f"/api/hr/runs/{run_id}")).result
    return run


async def changes(api: Api, run: Run, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get(f"/api/hr/runs/{run['id']}/changes?page_size=200{query}")).result["items"]
    return found


async def persons(api: Api, query: str = "") -> dict[str, dict[str, Any]]:
    """By employee number."""
    items = (await api.get(f"/api/hr/persons?page_size=200{query}")).result["items"]
    return {one["employee_no"]: one for one in items}


async def stored(ctx: Context) -> dict[str, Any]:
    """The rows of people, by employee number."""
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(hr_persons)).all())
    return {row.employee_no: row for row in rows}


async def fresh(api: Api) -> Api:
    """The administrator signed in anew, after the clock has left the first token behind."""
    pair = (await api.as_caller("").post("/api/auth/login", {"username": "admin", "password": ADMIN_PASSWORD})).result
    return api.as_caller(pair["access_token"])
