"""A school with the people that projects have, each signed in."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

from server.context import Context
from server.people.tables import users
from server.people.user_schemas import UserState
from server.projects.effects import Effects, commit
from server.projects.states import Action, move
from server.projects.tables import projects
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.people import organization, user


class School:
    """An organization and its people; `tea` and `tom` teach, `stu` studies, `max` manages, `rev` reviews, `out` teaches elsewhere."""

    def __init__(self, ctx: Context, anonymous: Api) -> None:
        self.ctx, self._anonymous = ctx, anonymous
        self.id = self.elsewhere = 0
        self.callers: dict[str, Api] = {}

    async def open(self) -> School:
        self.id, self.elsewhere = await organization(self.ctx, "physics"), await organization(self.ctx, "history")
        roles = {"tea": "teacher", "tom": "teacher", "stu": "student", "max": "organization_admin", "rev": "reviewer"}
        for name, role in roles.items():
            self.callers[name] = await user(self.ctx, self._anonymous, name, role, self.id)
        self.callers["out"] = await user(self.ctx, self._anonymous, "out", "teacher", self.elsewhere)
        return self

    def __getattr__(self, name: str) -> Api:
        try:
            return self.callers[name]
        except KeyError:
            raise AttributeError(name) from None

    async def user_id(self, name: str) -> int:
        wanted = sa.select(users.c.id).where(users.c.username == name, users.c.state == UserState.ACTIVE.value)
        return int(await self.ctx.sql.read(lambda connection: connection.execute(wanted).scalar_one()))

    async def propose(self, caller: Api, title: str = "Cold atoms", **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = (await caller.post("/api/projects", {"title": title, "organization_id": self.id, **more})).result
        return made

    async def act(self, caller: Api, project: dict[str, Any] | int, action: str, comment: str = "") -> dict[str, Any]:
        project_id = project if isinstance(project, int) else project["id"]
        done: dict[str, Any] = (await caller.post(f"/api/projects/{project_id}/transitions", {"action": action, "comment": comment})).result
        return done

    async def decide(self, project: dict[str, Any] | int, action: str, comment: str = "so be it") -> None:
        """What the reviews of a project come to."""
        project_id = project if isinstance(project, int) else project["id"]

        def transaction(connection: sa.Connection, effects: Effects) -> None:
            row = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
            move(connection, effects, system_actor("test"), row, Action(action), comment)

        await commit(self.ctx, transaction)

    async def approved(self, caller: Api, title: str = "Cold atoms", **more: Any) -> dict[str, Any]:
        made = await self.propose(caller, title, **more)
        await self.act(caller, made, "submit")
        await self.decide(made, "approve")
        return made

    async def see(self, name: str, project: dict[str, Any]) -> int:
        """The status with which somebody is answered who asks for a project."""
        return (await self.callers[name].get(f"/api/projects/{project['id']}")).status


@pytest.fixture
def school(ctx: Context, anonymous: Api, io_loop: IOLoop) -> School:
    made: School = io_loop.run_sync(School(ctx, anonymous).open, timeout=30)
    return made
