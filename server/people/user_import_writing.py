"""Writing what was planned for rows of a sheet, and taking it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.messages import Text, text
from server.people.organizations import root_id
from server.people.sessions import SessionEnded
from server.people.tables import role_grants, users
from server.people.user_changes import end_account
from server.people.user_fields import keys_of, taken_fields
from server.people.user_import_plan import Planned
from server.people.user_rights import ADMINISTRATOR, LastAdministrator, check_not_last_administrator, grants_of, is_above
from server.people.user_schemas import UserState
from server.platform import audit

AT_ONCE = 100


def apply(
    connection: sa.Connection, now: datetime, actor: Actor, import_id: str, planned: Sequence[Planned]
) -> dict[int, tuple[str, Text]]:
    """Create and update users as planned, all stamped with `now`. Rows that meanwhile do not fit any more: their column and the reason."""
    late: dict[int, tuple[str, Text]] = {}
    creating = [row for row in planned if row.action == "create"]
    held = _held(connection, planned)
    fresh = []
    for row in creating:
        keys = keys_of(row.username, row.after["email"])
        taken = "username" if keys.username in held else "email" if keys.email in held else ""
        if taken:
            late[row.row] = (taken, text("field.taken"))
        else:
            held |= {key: 0 for key in keys if key}
            fresh.append(row)
    _create(connection, now, actor, import_id, fresh)
    for row in planned:
        if row.action == "update" and (column := _update(connection, now, actor, import_id, row, held)):
            late[row.row] = (column, text("users.row_changed" if column == "username" else "field.taken"))
    return late


def _held(connection: sa.Connection, planned: Sequence[Planned]) -> dict[str, int]:
    """Who has the user names and mail addresses of the rows."""
    keys: set[str] = set()
    for row in planned:
        if row.action in ("create", "update"):
            keys |= {row.username.casefold(), (row.after.get("email") or "").casefold()} - {""}
    if not keys:
        return {}
    wanted = sa.select(users.c.id, users.c.username_key, users.c.email_key)
    found = connection.execute(wanted.where(sa.or_(users.c.username_key.in_(keys), users.c.email_key.in_(keys))))
    return {key: row.id for row in found for key in (row.username_key, row.email_key) if key}


def _create(connection: sa.Connection, now: datetime, actor: Actor, import_id: str, rows: Sequence[Planned]) -> None:
    if not rows:
        return
    _insert(
        connection,
        users,
        [
            {
                "username": row.username,
                "username_key": keys_of(row.username, None).username,
                "email": row.after["email"],
                "email_key": keys_of("", row.after["email"]).email,
                "name": row.after["name"],
                "kind": row.after["kind"],
                "state": UserState.ACTIVE.value,
                "organization_id": row.place,
                "created_at": now,
                "updated_at": now,
            }
            for row in rows
        ],
    )
    made = sa.select(users.c.id, users.c.username).where(users.c.username_key.in_([row.username.casefold() for row in rows]))
    ids = {user.username: int(user.id) for user in connection.execute(made)}
    granted = [{"user_id": ids[row.username], "role_id": role, "organization_id": row.place} for row in rows for role in row.roles]
    _insert(connection, role_grants, granted)
    for row in rows:
        audit.note(
            connection, now, actor, "user.create", f"user:{ids[row.username]}", username=row.username, roles=row.roles, by_import=import_id
        )


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, a few at a time: MySQL's driver puts them into one statement, on the loop."""
    for first in range(0, len(rows), AT_ONCE):
        connection.execute(table.insert(), rows[first : first + AT_ONCE])


def _update(connection: sa.Connection, now: datetime, actor: Actor, import_id: str, row: Planned, held: Mapping[str, int]) -> str:
    """Change a user that is still as it was planned; the column that stands against it, or nothing."""
    email = row.after.get("email")
    if email and held.get(email.casefold(), row.user_id) != row.user_id:
        return "email"
    values: dict[str, Any] = {**row.after, "updated_at": now}
    if email:
        values["email_key"] = email.casefold()
    same = users.update().where(users.c.id == row.user_id, users.c.updated_at == row.since)
    if not connection.execute(same.values(values)).rowcount:
        return "username"
    present = {(grant.role_id, grant.organization_id) for grant in grants_of(connection, [row.user_id or 0]).get(row.user_id or 0, ())}
    for role in row.roles:
        if (role, row.place) not in present:
            connection.execute(role_grants.insert().values(user_id=row.user_id, role_id=role, organization_id=row.place))
    audit.note(
        connection,
        now,
        actor,
        "user.change",
        f"user:{row.user_id}",
        before=row.before,
        after=row.after,
        roles=row.roles,
        by_import=import_id,
    )
    return ""


def take_back(
    connection: sa.Connection, now: datetime, actor: Actor, stamp: datetime, planned: Sequence[Planned]
) -> tuple[list[int], list[SessionEnded]]:
    """Disable what was created at `stamp` and restore what was changed then, unless it was changed since or is beyond the caller.

    Answers the rows that were left alone, and what is to be told after the commit.
    """
    acted = [row for row in planned if row.action in ("create", "update")]
    created = [row.username.casefold() for row in acted if row.action == "create"]
    changed = [row.user_id for row in acted if row.action == "update"]
    wanted = sa.select(users).where(sa.or_(users.c.username_key.in_(created), users.c.id.in_(changed)), users.c.updated_at == stamp)
    found = connection.execute(wanted).all()
    by_id, by_key = {user.id: user for user in found}, {user.username_key: user for user in found}
    granted = grants_of(connection, list(by_id))
    root = root_id(connection)
    kept: list[int] = []
    ended: list[SessionEnded] = []
    for row in acted:
        user = by_key.get(row.username.casefold()) if row.action == "create" else by_id.get(row.user_id)
        if user is None or not actor.may("users:write", user.organization_id) or is_above(actor, granted.get(user.id, ()), root):
            kept.append(row.row)
            continue
        if row.action == "create":
            over = _take_back_created(connection, now, actor, row, user, granted.get(user.id, ()))
            if over is None:
                kept.append(row.row)
            ended += over or []
        elif not _take_back_changed(connection, now, actor, row, user):
            kept.append(row.row)
    return kept, ended


def _take_back_created(
    connection: sa.Connection, now: datetime, actor: Actor, row: Planned, user: Any, granted: Sequence[Any]
) -> list[SessionEnded] | None:
    untouched = {(grant.role_id, grant.organization_id) for grant in granted} == {(role, row.place) for role in row.roles}
    if user.id == actor.user_id or user.created_at != user.updated_at or not untouched:
        return None
    try:
        if any(grant.name == ADMINISTRATOR for grant in granted):
            check_not_last_administrator(connection, user.id)
    except LastAdministrator:
        return None
    ended = end_account(connection, now, user.id)
    if ended is not None:
        audit.note(connection, now, actor, "user.disable", f"user:{user.id}", undone="create")
    return ended


def _take_back_changed(connection: sa.Connection, now: datetime, actor: Actor, row: Planned, user: Any) -> bool:
    back = {name: row.before[name] for name in row.after}
    keys = keys_of(user.username, back.get("email", user.email))
    if "organization_id" in back and not actor.may("users:write", back["organization_id"]):
        return False
    if taken_fields(connection, keys, but=user.id):
        return False
    values = {**back, "email_key": keys.email, "updated_at": now}
    connection.execute(users.update().where(users.c.id == user.id).values(values))
    if row.roles:
        added = (role_grants.c.user_id == user.id, role_grants.c.role_id.in_(row.roles), role_grants.c.organization_id == row.place)
        connection.execute(role_grants.delete().where(*added))
    audit.note(connection, now, actor, "user.change", f"user:{user.id}", before=row.after, after=back, undone="change")
    return True
