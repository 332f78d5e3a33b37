"""`python -m server` that knows who calls, but asks nobody what they may: what authorization costs is the difference."""

from __future__ import annotations

import sys
from typing import Any

import sqlalchemy as sa

from handlers.base import ApiHandler, bearer_of
from server.__main__ import main
from server.actor import Actor, ActorKind, Grant
from server.engines.prepared import Prepared
from server.errors import NotSignedIn
from server.people.tables import sessions, users
from server.people.tokens import TokenReader
from server.scopes import ANYONE, SCOPES

EVERYTHING = (Grant(frozenset(SCOPES)),)
SESSION = Prepared(
    sa.select(sessions.c.ended_at, sessions.c.expires_at, users.c.state, users.c.username)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.id == sa.bindparam("session"), users.c.id == sa.bindparam("user"))
)


async def authenticate(self: ApiHandler, declared: Any) -> None:
    """The caller by token, session and account, as the server itself finds it; all rights are taken as given."""
    if declared.scope == ANYONE:
        return
    now = self.ctx.clock.now()
    claims = self.ctx.services.get(TokenReader).read(bearer_of(self.request), now=now)
    parameters = {"session": claims.session_id, "user": claims.user_id}
    found = await self.ctx.sql.read_small(lambda connection: SESSION.first(connection, parameters))
    if found is None or found.ended_at is not None or found.expires_at <= now or found.state != "active":
        raise NotSignedIn()
    self.actor = Actor(kind=ActorKind.PERSON, name=found.username, user_id=claims.user_id, session_id=claims.session_id, grants=EVERYTHING)


if __name__ == "__main__":
    ApiHandler.load_actor = authenticate  # type: ignore[method-assign]
    sys.exit(main([]))
