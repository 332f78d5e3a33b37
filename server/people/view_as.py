"""Looking with another user's eyes: begun by an administrator with a reason, read only, short, ended with the administrator's session."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor, ActorKind
from server.context import Context
from server.errors import Conflict, EngineAway, Forbidden, Invalid, NotSignedIn
from server.events import Event, Resync
from server.ids import new_id
from server.people import tokens, users
from server.people.identify import RightsChanged, SessionOver, ViewOnly, identify_again
from server.people.schemas import Me, ViewedBy
from server.people.session_list import own_session
from server.people.sessions import SessionEnded, end_views, tell_ended
from server.people.tables import sessions
from server.people.user_changes import UserInOtherState
from server.people.user_rights import ADMINISTRATOR, access_user, administrators, check_not_above
from server.people.user_schemas import UserState
from server.platform import audit
from server.platform.tasks import Queue, enqueue

log = logging.getLogger(__name__)

END_VIEW = "view.end"
LIFE = timedelta(minutes=15)


class NotToBeViewed(Conflict):
    """Services have nothing to be seen, and one's own account is seen without this."""

    type = "not_to_be_viewed"


class ViewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`reason` is kept in the audit log and shown to the user."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class View(msgspec.Struct):
    """A token that reads what the user may read, for `expires_in` seconds; it cannot be renewed."""

    access_token: str
    token_type: str
    expires_in: int
    user: Me


async def begin(ctx: Context, actor: Actor, user_id: int, request: ViewRequest, *, agent: str) -> View:
    """Open a view of an active person who may no more than the caller, who is an administrator signed in by a session.

    Raises UserNotFound, Forbidden, ViewOnly, UserAbove, UserInOtherState, NotToBeViewed, Invalid.
    """
    viewer_id, viewer_session = own_session(actor)
    if actor.viewer is not None:
        raise ViewOnly()
    reason = request.reason.strip()
    if not reason:
        raise Invalid.field("reason", "field.empty")
    now, session_id = ctx.clock.now(), new_id()

    def transaction(connection: sa.Connection) -> tuple[Me, timedelta]:
        if viewer_id not in administrators(connection):
            raise Forbidden(scope=ADMINISTRATOR)
        user = access_user(connection, actor, user_id, "users:write")
        if user.kind != "person" or user_id == viewer_id:
            raise NotToBeViewed()
        if user.state != UserState.ACTIVE.value:
            raise UserInOtherState(state=user.state)
        check_not_above(connection, actor, user_id)
        own = sa.select(sessions.c.expires_at).where(sessions.c.id == viewer_session, sessions.c.ended_at.is_(None))
        until = connection.execute(own).scalar()
        if until is None:  # signed out since the request came
            raise SessionOver()
        ends = min(now + LIFE, until)
        connection.execute(
            sessions.insert().values(
                id=session_id,
                user_id=user_id,
                generation=1,
                method="view",
                viewer_id=viewer_id,
                viewer_session_id=viewer_session,
                view_reason=reason,
                address=actor.address[:64],
                agent=agent[:300],
                created_at=now,
                seen_at=now,
                expires_at=ends,
            )
        )
        enqueue(connection, Queue.MAINTENANCE, END_VIEW, {"session_id": session_id}, now=now, run_at=ends)
        told = {"username": user.username, "reason": reason, "session": session_id, "until": ends.isoformat()}
        audit.note(connection, now, actor, "view.begin", f"user:{user_id}", **told)
        return users.get_me(connection, user_id), ends - now

    me, life = await ctx.sql.write(transaction)
    me.viewed_by = ViewedBy(viewer_id, actor.name)
    token = tokens.issue(ctx.secrets.secret_key, "access", tokens.Claims(user_id, session_id, 1), now=now, life=life)
    return View(access_token=token, token_type="Bearer", expires_in=int(life.total_seconds()), user=me)


async def get_own(ctx: Context, actor: Actor) -> Me:
    """The caller, and who looks with the caller's eyes."""
    me = await users.get_own(ctx, actor)
    me.viewed_by = None if actor.viewer is None else ViewedBy(actor.viewer.user_id, actor.viewer.name)
    return me


async def end_expired(ctx: Context, session_id: str) -> bool:
    """End a view whose time is over, and close its sockets; False when it had ended before."""
    now = ctx.clock.now()
    due = (sessions.c.id == session_id, sessions.c.expires_at <= now)
    ended = await ctx.sql.write(lambda connection: end_views(connection, now, "expired", *due))
    await tell_ended(ctx, ended)
    return bool(ended)


async def check_views(ctx: Context) -> list[str]:
    """End the views whose viewer has signed out or may no longer look; their ids."""
    now = ctx.clock.now()
    # By the time of their end, which has an index: a view ends within minutes, and most other sessions in days.
    near = sessions.c.expires_at.between(now, now + LIFE)
    open_views = sa.select(sessions.c.id, sessions.c.user_id).where(near, sessions.c.viewer_id.is_not(None), sessions.c.ended_at.is_(None))
    found: list[Any] = await ctx.sql.read(lambda connection: list(connection.execute(open_views)))
    ended: list[str] = []
    for view in found:
        try:
            await identify_again(ctx, Actor(kind=ActorKind.PERSON, name="", user_id=view.user_id, session_id=view.id))
        except NotSignedIn:
            over = sessions.c.id == view.id
            ended += await ctx.sql.write(lambda connection, over=over: end_views(connection, now, "viewer_gone", over))  # type: ignore[misc]
    await tell_ended(ctx, ended)
    return ended


class Views:
    """Ends views as soon as a session ends or rights change. Requests find it by themselves; this is for sockets and for the log."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._again = False
        self._checking: asyncio.Task[None] | None = None
        for kind in (SessionEnded, RightsChanged, Resync):
            ctx.events.listen(kind, self._heard)

    def _heard(self, _event: Event) -> None:
        self._again = True
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        while self._again:
            self._again = False
            try:
                await check_views(self._ctx)
            except EngineAway as away:
                log.warning("views could not be checked: %s", away.cause)
