"""Users over SCIM: made, read, replaced, patched and deleted. A deletion disables; the same user name later brings the account back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Fields, Invalid
from server.people.identify import RightsChanged
from server.people.password_rules import PasswordRules
from server.people.passwords import Passwords
from server.people.scim.checking import clean
from server.people.scim.errors import ChangedMeanwhile, InvalidValue, ResourceNotFound, Taken
from server.people.scim.patching import patched
from server.people.scim.placing import grant_first_role, place_of
from server.people.scim.protected import check_changeable, check_name
from server.people.scim.schemas import USER
from server.people.scim.tables import scim_resources
from server.people.scim.user_resources import KIND, ReadUser, derived, find_user, stored, writable
from server.people.scim.versions import check_match
from server.people.sessions import SessionEnded, end_sessions
from server.people.tables import users
from server.people.user_changes import OwnAccount, end_account, tell
from server.people.user_fields import keys_of, taken_fields, wrong_fields
from server.people.user_schemas import UserState
from server.platform import audit

# How often a change is worked out anew when somebody else was quicker.
TRIES = 5
# Our columns, as a client calls them.
THEIR_NAMES = {"username": "userName", "name": "displayName", "email": "emails"}


async def get_user(ctx: Context, user_id: str) -> ReadUser:
    """Raises ResourceNotFound."""
    number = number_of(user_id)
    found = await ctx.sql.read(lambda connection: find_user(connection, number))
    if found is None:
        raise ResourceNotFound()
    return found


async def create_user(ctx: Context, actor: Actor, body: Any) -> ReadUser:
    """A new user; or the one that was deleted over SCIM under this name, with its old id. Raises ScimRefused, InvalidValue, Taken,
    ScimProtected."""
    resource = await asyncio.to_thread(clean, USER, body)
    wanted = derived(resource)
    _check_fields(wanted._asdict())
    hashed, now = await _hash(ctx, resource), ctx.clock.now()
    role = ctx.settings.scim_role

    def transaction(connection: sa.Connection) -> ReadUser:
        keys = keys_of(wanted.username, wanted.email)
        deleted = _find_deleted(connection, keys.username)
        if deleted is not None:
            check_changeable(connection, ctx.settings, deleted)
        _check_taken(taken_fields(connection, keys, but=deleted.id if deleted is not None else 0))
        check_name(ctx.settings, wanted.username)
        active = resource.get("active", True)
        values: dict[str, Any] = {
            "username": wanted.username,
            "username_key": keys.username,
            "email": wanted.email,
            "email_key": keys.email,
            "name": wanted.name,
            "updated_at": now,
            **({"password_hash": hashed, "password_changed_at": now} if hashed else {}),
        }
        if deleted is not None:
            user_id = int(deleted.id)
            connection.execute(users.update().where(users.c.id == user_id).values(values))
            if active:
                _revive(connection, now, user_id)
            audit.note(connection, now, actor, "user.restore", f"user:{user_id}", username=wanted.username, active=active, via="scim")
        else:
            place = place_of(connection, resource)
            state = UserState.ACTIVE if active else UserState.DISABLED
            more = {"state": state.value, "disabled_at": None if active else now, "created_at": now, "organization_id": place}
            made = connection.execute(users.insert().values(**values, **more, kind="person")).inserted_primary_key
            assert made
            user_id = int(made[0])
            grant_first_role(connection, user_id, role, place)
            detail = {"username": wanted.username, "organization_id": place, "role": role, "active": active}
            audit.note(connection, now, actor, "user.create", f"user:{user_id}", **detail, via="scim")
        _keep(connection, now, user_id, resource, stored(resource))
        return _get(connection, user_id)

    made: ReadUser = await _write(ctx, transaction)
    await ctx.events.publish(RightsChanged(made.row.id))
    return made


async def replace_user(ctx: Context, actor: Actor, user_id: str, body: Any, if_match: str = "") -> ReadUser:
    """Set all attributes; what is left out is unassigned, but for `active`, which stays.

    Raises ResourceNotFound, VersionMismatch, ScimProtected and what `create_user` does.
    """
    given = await asyncio.to_thread(clean, USER, body)

    def replaced(before: dict[str, Any]) -> dict[str, Any]:
        return {**({"active": before["active"]} if "active" in before else {}), **given}

    return await _change(ctx, actor, user_id, replaced, if_match)


async def patch_user(ctx: Context, actor: Actor, user_id: str, body: Any, if_match: str = "") -> ReadUser:
    """Change by operations. Raises as `replace_user` and `patched` do."""
    return await _change(ctx, actor, user_id, lambda before: patched(USER, before, body), if_match)


async def delete_user(ctx: Context, actor: Actor, user_id: str, if_match: str = "") -> None:
    """Disable the account everywhere at once, and show it to SCIM clients no more. Raises ResourceNotFound, VersionMismatch,
    ScimProtected, OwnAccount."""
    number, now = number_of(user_id), ctx.clock.now()

    def transaction(connection: sa.Connection) -> list[SessionEnded]:
        _lock(connection, number)
        found = _get(connection, number)
        check_match(if_match, found.version)
        check_changeable(connection, ctx.settings, found.row)
        if number == actor.user_id:
            raise OwnAccount()
        ended = end_account(connection, now, number)
        attributes = found.row.attributes if found.row.attributes is not None else stored(writable(found))
        _keep(connection, now, number, {"externalId": found.row.external_id}, attributes, deleted_at=now)
        audit.note(connection, now, actor, "user.disable", f"user:{number}", deleted=True, via="scim")
        return ended or []

    await tell(ctx, await ctx.sql.write(transaction))


async def _change(
    ctx: Context, actor: Actor, user_id: str, work_out: Callable[[dict[str, Any]], dict[str, Any]], if_match: str
) -> ReadUser:
    """Read, work out what it becomes in a thread, and write if it is still as it was read; else once more."""
    for _ in range(TRIES):
        read = await get_user(ctx, user_id)
        check_match(if_match, read.version)
        before = writable(read)
        after = await asyncio.to_thread(work_out, before)
        password = after.pop("password", None)
        if after == before and password is None:
            return read
        wanted = derived(after)
        had = {"username": read.row.username, "name": read.row.name, "email": read.row.email}
        changed = {name: value for name, value in wanted._asdict().items() if value != had[name]}
        _check_fields(wanted._asdict(), changed)
        hashed = await _hash(ctx, {**after, "password": password})
        written = await _write_change(ctx, actor, read, after, changed, hashed)
        if written is not None:
            return written
    raise ChangedMeanwhile()


async def _write_change(
    ctx: Context, actor: Actor, read: ReadUser, after: dict[str, Any], changed: dict[str, Any], hashed: str | None
) -> ReadUser | None:
    """None when the user is no longer as it was read."""
    now, user_id = ctx.clock.now(), int(read.row.id)
    before, wanted = writable(read), derived(after)
    is_active = read.row.state == UserState.ACTIVE.value
    active = after.get("active", is_active)
    attributes = stored(after)
    if "active" not in after:
        attributes = {"active": read.row.state, **attributes}

    def transaction(connection: sa.Connection) -> tuple[ReadUser, list[SessionEnded]] | None:
        _lock(connection, user_id)
        present = _get(connection, user_id)
        check_changeable(connection, ctx.settings, present.row)
        if present.version != read.version:
            return None
        if user_id == actor.user_id and not active:
            raise OwnAccount()
        keys = keys_of(wanted.username, wanted.email)
        if {"username", "email"} & set(changed):
            _check_taken(taken_fields(connection, keys, but=user_id))
        check_name(ctx.settings, wanted.username)
        values: dict[str, Any] = {**changed, "username_key": keys.username, "email_key": keys.email, "updated_at": now}
        ended: list[SessionEnded] = []
        if hashed:
            values |= {"password_hash": hashed, "password_changed_at": now}
            ended += map(SessionEnded, end_sessions(connection, now, user_id, reason="password_change"))
            audit.note(connection, now, actor, "user.password", f"user:{user_id}", sessions_ended=len(ended), via="scim")
        connection.execute(users.update().where(users.c.id == user_id).values(values))
        if is_active and not active:
            ended += end_account(connection, now, user_id) or []
            audit.note(connection, now, actor, "user.disable", f"user:{user_id}", via="scim")
        elif active and not is_active:
            _revive(connection, now, user_id)
            audit.note(connection, now, actor, "user.restore", f"user:{user_id}", via="scim")
        fields = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        had = {name: getattr(read.row, name) for name in changed}
        audit.note(connection, now, actor, "user.change", f"user:{user_id}", before=had, after=changed, fields=fields, via="scim")
        _keep(connection, now, user_id, after, attributes)
        return _get(connection, user_id), ended

    written = await _write(ctx, transaction)
    if written is None:
        return None
    await tell(ctx, written[1])
    changed_user: ReadUser = written[0]
    return changed_user


def _lock(connection: sa.Connection, user_id: int) -> None:
    """Nobody else changes the user until this transaction ends (SQLite has one writer anyway)."""
    connection.execute(sa.select(users.c.id).where(users.c.id == user_id).with_for_update()).all()


def _revive(connection: sa.Connection, now: datetime, user_id: int) -> None:
    """Let a disabled user in again, as `restore_user` does."""
    disabled = users.update().where(users.c.id == user_id, users.c.state == UserState.DISABLED.value, users.c.merged_into.is_(None))
    connection.execute(disabled.values(state=UserState.ACTIVE.value, disabled_at=None, updated_at=now))


def _keep(
    connection: sa.Connection,
    now: datetime,
    user_id: int,
    resource: dict[str, Any],
    attributes: dict[str, Any],
    deleted_at: datetime | None = None,
) -> None:
    """Keep what has no column of ours, under the next version."""
    one = (scim_resources.c.kind == KIND, scim_resources.c.resource_id == user_id)
    values = {"external_id": resource.get("externalId"), "attributes": attributes, "updated_at": now, "deleted_at": deleted_at}
    bumped = scim_resources.update().where(*one).values(**values, version=scim_resources.c.version + 1)
    if not connection.execute(bumped).rowcount:
        connection.execute(scim_resources.insert().values(kind=KIND, resource_id=user_id, version=1, **values))


def _find_deleted(connection: sa.Connection, username_key: str) -> Any | None:
    """The account that was deleted over SCIM under this name."""
    gone = (
        sa.select(users.c.id, users.c.username)
        .join(scim_resources, sa.and_(scim_resources.c.kind == KIND, scim_resources.c.resource_id == users.c.id))
        .where(
            users.c.username_key == username_key,
            users.c.kind == "person",
            users.c.merged_into.is_(None),
            scim_resources.c.deleted_at.is_not(None),
        )
    )
    return connection.execute(gone.with_for_update()).one_or_none()


def _get(connection: sa.Connection, user_id: int) -> ReadUser:
    found = find_user(connection, user_id)
    if found is None:
        raise ResourceNotFound()
    return found


def number_of(given: str) -> int:
    """The number that an id is. Raises ResourceNotFound for what is none of ours."""
    if not given.isascii() or not given.isdecimal() or len(given) > 15 or given != str(int(given)):
        raise ResourceNotFound()
    return int(given)


def _check_fields(values: dict[str, Any], changed: dict[str, Any] | None = None) -> None:
    """Raise InvalidValue for what our columns do not take; what has not changed may be as it is."""
    wrong = {field: why for field, why in wrong_fields(**values).items() if changed is None or field in changed}
    if wrong:
        raise InvalidValue(detail=next(iter(wrong.values()))[0], fields=_theirs(wrong))


def _check_taken(taken: Fields) -> None:
    if taken:
        raise Taken(fields=_theirs(taken))


def _theirs(fields: Fields) -> Fields:
    return {THEIR_NAMES[name]: why for name, why in fields.items()}


async def _hash(ctx: Context, resource: dict[str, Any]) -> str | None:
    """The hash of a password that a client sets. Raises InvalidValue for one that must not be."""
    password = resource.get("password")
    if not password:
        return None
    wanted = derived(resource)
    try:
        await ctx.services.get(PasswordRules).check(password, wanted.username, wanted.email, wanted.name)
    except Invalid as wrong:
        raise InvalidValue(detail=wrong.fields["password"][0], fields=wrong.fields) from None
    passwords = ctx.services.get(Passwords)
    async with passwords.turn:
        return await passwords.hash(password)


async def _write(ctx: Context, transaction: Any) -> Any:
    """Run it; when another took the same name in the same moment, run it again to say so."""
    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        return await ctx.sql.write(transaction)
