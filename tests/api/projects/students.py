"""A school with more students, who apply for openings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

from server.context import Context
from server.platform.tables import notifications
from server.projects.tables import openings
from tests.api.client import Answer, Api
from tests.api.people import user
from tests.api.projects.conftest import School

ROUTE = "/api/student-projects"


class Students(School):
    """A school with three more students: `ann`, `ben` and `cem`."""

    async def offer(self, caller: Api | None = None, **more: Any) -> dict[str, Any]:
        given = {"title": "Build a laser", "organization_id": self.id, "team_most": 3, **more}
        made: dict[str, Any] = (await (caller or self.tea).post(ROUTE, given)).result
        return made

    async def apply(self, opening: dict[str, Any], caller: Api, *team: str, statement: str = "because") -> dict[str, Any]:
        given = {"statement": statement, "usernames": list(team)}
        made: dict[str, Any] = (await caller.post(f"{ROUTE}/{opening['id']}/applications", given)).result
        return made

    async def answer(self, application: dict[str, Any], caller: Api, verb: str, **body: Any) -> Answer:
        return await caller.post(f"{ROUTE}/applications/{application['id']}/{verb}", body)

    async def decide(self, application: dict[str, Any], decision: str, caller: Api | None = None, comment: str = "") -> Answer:  # type: ignore[override]
        return await self.answer(application, caller or self.tea, "decide", decision=decision, comment=comment)

    async def end(self, opening: dict[str, Any], *, ago: timedelta = timedelta(seconds=1)) -> None:
        """Let the deadline have passed."""
        past = self.ctx.clock.now() - ago
        await self.ctx.sql.write(
            lambda connection: connection.execute(openings.update().where(openings.c.id == opening["id"]).values(deadline=past))
        )

    async def told(self, name: str) -> list[str]:
        """The kinds of what somebody was told, in order."""
        user_id = await self.user_id(name)
        wanted = sa.select(notifications.c.kind).where(notifications.c.user_id == user_id).order_by(notifications.c.id)
        return list(await self.ctx.sql.read(lambda connection: connection.execute(wanted).scalars().all()))


@pytest.fixture
def students(ctx: Context, anonymous: Api, io_loop: IOLoop) -> Students:
    async def opened() -> Students:
        made = Students(ctx, anonymous)
        await made.open()
        for name in ("ann", "ben", "cem"):
            made.callers[name] = await user(ctx, anonymous, name, "student", made.id)
        return made

    return io_loop.run_sync(opened, timeout=30)


async def ids(caller: Api, path: str) -> list[int]:
    return sorted(one["id"] for one in (await caller.get(path)).result["items"])
