"""Merging two accounts of one person: what the one holds goes to the other, and the one ends."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.events import Event
from server.people.identify import RightsChanged
from server.people.sessions import SessionEnded
from server.people.tables import cas_links, organization_members, role_grants, users
from server.people.user_changes import OwnAccount, UserInOtherState, UserMergedAway, end_account, tell
from server.people.user_rights import access_user, check_not_above
from server.people.user_schemas import UserDetail, UserState
from server.people.users import UserNotFound, find_detail
from server.platform import audit


class UsersMerged(Event, frozen=True):
    """The account `user_id` has ended, and `into` has taken its place: what other wings keep by user may follow."""

    user_id: int
    into: int


async def merge_users(ctx: Context, actor: Actor, user_id: int, into: int) -> UserDetail:
    """Move grants, memberships and sign-on links of `user_id` to `into`, then disable `user_id`; its keys are revoked.

    The caller must hold users:write, and all that both accounts hold, in the organizations of both. Answers `into`. Raises UserNotFound
    (also for an `into` that the caller may not see), Forbidden, UserAbove, OwnAccount, UserMergedAway, UserInOtherState, Invalid.
    """
    if user_id == into:
        raise Invalid.field("into", "users.merge_itself")
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[UserDetail, list[SessionEnded]]:
        source, target = (_mergeable(connection, actor, one) for one in sorted((user_id, into)))
        if source.id != user_id:
            source, target = target, source
        if user_id == actor.user_id:
            raise OwnAccount()
        if target.state != UserState.ACTIVE.value:
            raise UserInOtherState(state=target.state)
        moved = {
            "grants": _move(connection, role_grants, ("role_id", "organization_id"), user_id, into),
            "memberships": _move(connection, organization_members, ("organization_id",), user_id, into),
            "links": connection.execute(cas_links.update().where(cas_links.c.user_id == user_id).values(user_id=into)).rowcount,
        }
        # Whoever was merged into this account before is now found at the other.
        connection.execute(users.update().where(users.c.merged_into == user_id).values(merged_into=into))
        ended = end_account(connection, now, user_id, merged_into=into)
        audit.note(connection, now, actor, "user.merge", f"user:{user_id}", into=into, username=source.username, **moved)
        detail = find_detail(connection, into)
        if detail is None:
            raise UserNotFound()
        return detail, ended or []

    detail, ended = await ctx.sql.write(transaction)
    await tell(ctx, ended)
    await ctx.events.publish(RightsChanged(into))
    await ctx.events.publish(UsersMerged(user_id, into))
    return detail


def _mergeable(connection: sa.Connection, actor: Actor, user_id: int) -> Any:
    """The row of an account that the caller may change, locked until the commit."""
    connection.execute(sa.select(users.c.id).where(users.c.id == user_id).with_for_update())
    user = access_user(connection, actor, user_id, "users:write")
    check_not_above(connection, actor, user_id)
    if user.merged_into is not None:
        raise UserMergedAway(into=user.merged_into)
    return user


def _move(connection: sa.Connection, table: sa.Table, names: tuple[str, ...], user_id: int, into: int) -> int:
    """Give `into` the rows of `user_id` that it does not have itself, and remove the others; how many it got."""

    def rows(owner: int) -> dict[tuple[Any, ...], Any]:
        found = connection.execute(sa.select(table).where(table.c.user_id == owner)).mappings().all()
        return {tuple(row[name] for name in names): dict(row) for row in found}

    held = rows(into)
    new = [{**row, "user_id": into} for key, row in rows(user_id).items() if key not in held]
    connection.execute(table.delete().where(table.c.user_id == user_id))
    if new:
        connection.execute(table.insert(), new)
    return len(new)
