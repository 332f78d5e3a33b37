"""Changing users: create, change, disable, restore, set a password. The one writer of users' states."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Fields, Invalid
from server.people.organizations import check_organization, home_of, root_id
from server.people.password_mail import Happened, queue_mail
from server.people.password_rules import PasswordRules
from server.people.passwords import Passwords
from server.people.sessions import SessionEnded, end_sessions
from server.people.tables import api_keys, role_grants, users
from server.people.user_fields import keys_of, taken_fields, wrong_fields
from server.people.user_rights import access_user, check_may_grant, check_not_above, check_not_last_administrator, get_roles
from server.people.user_schemas import UserDetail, UserDraft, UserPatch, UserState
from server.people.users import UserNotFound, find_detail
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued


class OwnAccount(Conflict):
    """Nobody disables, or merges away, the account that they work with."""

    type = "own_account"


class UserInOtherState(Conflict):
    """The user's state does not allow it; `state` says which it is."""

    type = "user_state"


class UserMergedAway(Conflict):
    """The account was merged into another, which is the one to change."""

    type = "user_merged_away"


async def create_user(ctx: Context, actor: Actor, draft: UserDraft) -> UserDetail:
    """A new user, with roles in its organization. Raises Forbidden, RoleBeyond, Invalid."""
    username, name = draft.username.strip(), draft.name.strip()
    email = draft.email.strip() if draft.email else None
    _refuse(wrong_fields(username, name, email))
    hashed, now = await _hash(ctx, draft.password, username, email, name), ctx.clock.now()

    def transaction(connection: sa.Connection) -> UserDetail:
        place = draft.organization_id or home_of(connection, actor.user_id)
        actor.require("users:write", place)
        check_organization(connection, place)
        granted = get_roles(connection, draft.roles)
        check_may_grant(actor, granted, place, root_id(connection))
        keys = keys_of(username, email)
        _refuse(taken_fields(connection, keys))
        made = connection.execute(
            users.insert().values(
                username=username,
                username_key=keys.username,
                email=email,
                email_key=keys.email,
                name=name or username,
                kind=draft.kind,
                state=UserState.ACTIVE.value,
                password_hash=hashed,
                password_changed_at=now if hashed else None,
                organization_id=place,
                created_at=now,
                updated_at=now,
            )
        )
        assert made.inserted_primary_key
        user_id = int(made.inserted_primary_key[0])
        for role in granted:
            connection.execute(role_grants.insert().values(user_id=user_id, role_id=role.id, organization_id=place))
        audit.note(
            connection, now, actor, "user.create", f"user:{user_id}", username=username, organization_id=place, roles=sorted(draft.roles)
        )
        return _detail(connection, user_id)

    return await _write(ctx, transaction)


async def change_user(ctx: Context, actor: Actor, user_id: int, patch: UserPatch) -> UserDetail:
    """Change names, mail address or organization; the caller must hold users:write in the old organization and in the new one.

    Raises UserNotFound, Forbidden, UserAbove, UserMergedAway, Invalid.
    """
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> UserDetail:
        user = _changeable(connection, actor, user_id)
        given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
        values: dict[str, Any] = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
        changed = {name: value for name, value in values.items() if value != getattr(user, name)}
        if not changed:
            return _detail(connection, user_id)
        after = {name: changed.get(name, getattr(user, name)) for name in ("username", "name", "email")}
        _refuse({field: why for field, why in wrong_fields(**after).items() if field in changed})
        if "organization_id" in changed:
            actor.require("users:write", changed["organization_id"])
            check_organization(connection, changed["organization_id"])
        keys = keys_of(after["username"], after["email"])
        if {"username", "email"} & set(changed):
            _refuse(taken_fields(connection, keys, but=user_id))
        connection.execute(
            users.update().where(users.c.id == user_id).values(**changed, username_key=keys.username, email_key=keys.email, updated_at=now)
        )
        before = {name: getattr(user, name) for name in changed}
        audit.note(connection, now, actor, "user.change", f"user:{user_id}", before=before, after=changed)
        return _detail(connection, user_id)

    return await _write(ctx, transaction)


async def disable_user(ctx: Context, actor: Actor, user_id: int) -> UserDetail:
    """End the account everywhere at once: no way to sign in, sessions and their sockets closed, keys revoked.

    Raises OwnAccount, LastAdministrator, UserAbove, UserNotFound; one that is disabled already stays so.
    """
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[UserDetail, list[SessionEnded]]:
        _changeable(connection, actor, user_id)
        if user_id == actor.user_id:
            raise OwnAccount()
        check_not_last_administrator(connection, user_id)
        ended = end_account(connection, now, user_id)
        if ended is not None:
            audit.note(connection, now, actor, "user.disable", f"user:{user_id}")
        return _detail(connection, user_id), ended or []

    detail, ended = await ctx.sql.write(transaction)
    await tell(ctx, ended)
    return detail


async def restore_user(ctx: Context, actor: Actor, user_id: int) -> UserDetail:
    """Let a disabled user in again; keys stay revoked. Raises UserInOtherState, UserMergedAway, UserAbove, UserNotFound."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> UserDetail:
        _changeable(connection, actor, user_id)
        disabled = users.update().where(users.c.id == user_id, users.c.state == UserState.DISABLED.value, users.c.merged_into.is_(None))
        if not connection.execute(disabled.values(state=UserState.ACTIVE.value, disabled_at=None, updated_at=now)).rowcount:
            raise UserInOtherState(state=UserState.ACTIVE.value)
        audit.note(connection, now, actor, "user.restore", f"user:{user_id}")
        return _detail(connection, user_id)

    return await ctx.sql.write(transaction)


async def set_password(ctx: Context, actor: Actor, user_id: int, password: str) -> UserDetail:
    """Give a user another password; all the user's sessions end. Raises UserAbove, UserMergedAway, UserNotFound."""
    user = await ctx.sql.read(lambda connection: _changeable(connection, actor, user_id))  # before the costly hash
    hashed, now = await _hash(ctx, password, user.username, user.email, user.name), ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[UserDetail, list[SessionEnded]]:
        _changeable(connection, actor, user_id)
        values = {"password_hash": hashed, "password_changed_at": now, "updated_at": now}
        connection.execute(users.update().where(users.c.id == user_id).values(values))
        ended = end_sessions(connection, now, user_id, reason="password_change")
        audit.note(connection, now, actor, "user.password", f"user:{user_id}", sessions_ended=len(ended))
        queue_mail(connection, now, user_id, Happened.PASSWORD_SET)
        return _detail(connection, user_id), [SessionEnded(session_id) for session_id in ended]

    detail, ended = await ctx.sql.write(transaction)
    await tell(ctx, ended)
    await ctx.events.publish(TaskQueued(Queue.MAIL.value))
    return detail


def end_account(connection: sa.Connection, now: datetime, user_id: int, merged_into: int | None = None) -> list[SessionEnded] | None:
    """Disable an active user and end sessions and keys; what is to be told after the commit. None when it was disabled before.

    `merged_into` is noted also on one that was disabled before.
    """
    active = users.update().where(users.c.id == user_id, users.c.state == UserState.ACTIVE.value)
    values: dict[str, Any] = {"state": UserState.DISABLED.value, "disabled_at": now, "updated_at": now}
    was_active = connection.execute(active.values(values)).rowcount == 1
    if merged_into is not None:
        connection.execute(users.update().where(users.c.id == user_id).values(merged_into=merged_into, updated_at=now))
    if not was_active:
        return None
    ended = end_sessions(connection, now, user_id, reason="disabled")
    return [*map(SessionEnded, ended), *_revoke_keys(connection, now, user_id)]


def _revoke_keys(connection: sa.Connection, now: datetime, user_id: int) -> list[SessionEnded]:
    held = sa.select(api_keys.c.id).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    ids = list(connection.execute(held).scalars())
    if ids:
        revoking = api_keys.update().where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
        connection.execute(revoking.values(revoked_at=now))
    return [SessionEnded("", key_id) for key_id in ids]


async def tell(ctx: Context, ended: Collection[SessionEnded]) -> None:
    """Close the sockets of what has ended, here and in the other instances."""
    for event in ended:
        await ctx.events.publish(event)


async def _hash(ctx: Context, password: str | None, *names: str | None) -> str | None:
    """The hash of a new password. Raises Invalid for one that must not be."""
    if password is None:
        return None
    await ctx.services.get(PasswordRules).check(password, *names)
    passwords = ctx.services.get(Passwords)
    async with passwords.turn:
        return await passwords.hash(password)


def _changeable(connection: sa.Connection, actor: Actor, user_id: int) -> Any:
    """The row of a user whom the caller may change."""
    user = access_user(connection, actor, user_id, "users:write")
    check_not_above(connection, actor, user_id)
    if user.merged_into is not None:
        raise UserMergedAway(into=user.merged_into)
    return user


def _detail(connection: sa.Connection, user_id: int) -> UserDetail:
    found = find_detail(connection, user_id)
    if found is None:
        raise UserNotFound()
    return found


def _refuse(wrong: Fields) -> None:
    if wrong:
        raise Invalid(fields=wrong)


async def _write(ctx: Context, transaction: Any) -> UserDetail:
    """Run it; when another took the same name in the same moment, run it again to say so."""
    try:
        made: UserDetail = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        made = await ctx.sql.write(transaction)
    return made
