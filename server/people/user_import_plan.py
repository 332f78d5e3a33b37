"""What an import would do with each row of a sheet: create, update, leave, or refuse, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.sheets import SheetRow
from server.actor import Actor
from server.messages import Text, text
from server.people.organizations import home_of, root_id
from server.people.tables import organizations, roles, users
from server.people.user_fields import wrong_email, wrong_name, wrong_username
from server.people.user_rights import grants_of, is_above, lacking

_BETWEEN_ROLES = re.compile(r"[,;，；、\n]")
# Header in small letters -> column.
HEADER_NAMES: Mapping[str, str] = {
    name: column
    for column, names in {
        "username": ("用户名", "账号", "帐号", "username", "user name", "user_name"),
        "name": ("姓名", "名字", "name", "full name"),
        "email": ("邮箱", "电子邮箱", "邮件", "email", "e-mail", "mail"),
        "organization": ("组织代码", "组织", "organization", "organization code", "organization_code"),
        "roles": ("角色", "roles", "role"),
        "kind": ("类型", "kind"),
    }.items()
    for name in names
}
_KINDS = {"人员": "person", "person": "person", "服务": "service", "service": "service"}


class Planned(msgspec.Struct, array_like=True):
    """One row's plan. `before` and `after` hold what changes, `roles` the ids of roles that are added in organization `place`.

    `since` is when the user was last changed at the time of planning: a user changed after that is left alone.
    """

    row: int
    action: str  # create, update, unchanged, error
    username: str
    user_id: int | None = None
    since: datetime | None = None
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    roles: list[int] = []
    place: int = 0
    wrong: list[tuple[str, Text]] = []


class Surroundings(msgspec.Struct):
    """What rows refer to: the organizations where the caller may change users by code and by name, and the roles by name."""

    root: int
    home: int
    by_code: dict[str, int]
    by_name: dict[str, list[int]]
    roles: dict[str, Any]


def read_surroundings(connection: sa.Connection, actor: Actor) -> Surroundings:
    around = Surroundings(root_id(connection), home_of(connection, actor.user_id), {}, {}, {})
    places = actor.organizations("users:write")
    for row in connection.execute(sa.select(organizations.c.id, organizations.c.code, organizations.c.name)):
        if places is None or row.id in places:
            around.by_code[row.code.casefold()] = row.id
            around.by_name.setdefault(row.name.casefold(), []).append(row.id)
    around.roles = {row.name: row for row in connection.execute(sa.select(roles))}
    return around


def plan(connection: sa.Connection, actor: Actor, around: Surroundings, rows: Sequence[SheetRow]) -> list[Planned]:
    """The plans of some rows; nothing is written."""
    names = {row.cells.get("username", "").casefold() for row in rows}
    mails = {row.cells.get("email", "").casefold() for row in rows}
    keys = list((names | mails) - {""})
    found = connection.execute(sa.select(users).where(sa.or_(users.c.username_key.in_(keys), users.c.email_key.in_(keys)))).all()
    by_key: dict[str, set[int]] = {}
    for user in found:
        for key in (user.username_key, user.email_key):
            if key is not None:
                by_key.setdefault(key, set()).add(user.id)
    by_name = {user.username_key: user for user in found}
    granted = grants_of(connection, [user.id for user in found])
    return [_Row(actor, around, row, by_name, by_key, granted).planned() for row in rows]


class _Row:
    """The planning of one row."""

    def __init__(
        self,
        actor: Actor,
        around: Surroundings,
        row: SheetRow,
        by_name: Mapping[str, Any],
        by_key: Mapping[str, set[int]],
        granted: Mapping[int, list[Any]],
    ) -> None:
        self._actor, self._around, self._by_key = actor, around, by_key
        self._cells = row.cells
        self._username = row.cells.get("username", "")
        self._user = by_name.get(self._username.casefold())
        self._granted = granted.get(self._user.id, []) if self._user is not None else []
        self._number = row.number
        self._wrong: list[tuple[str, Text]] = [(column, _said(reason, other)) for column, reason, other in row.wrong]
        self._marked = {column for column, _, _ in row.wrong}

    def planned(self) -> Planned:
        place = self._place()
        self._check_fields()
        self._check_user()
        added = self._roles(place)
        kind = self._kind()
        made = Planned(self._number, "error", self._username[:200], wrong=self._wrong, place=place or 0)
        if self._wrong or place is None:
            return made
        made.roles = added
        if self._user is None:
            made.action = "create"
            made.after = {
                "name": self._cells.get("name") or self._username,
                "email": self._cells.get("email"),
                "organization_id": place,
                "kind": kind,
            }
            return made
        wanted = {"name": self._cells.get("name"), "email": self._cells.get("email"), "organization_id": place}
        made.after = {name: value for name, value in wanted.items() if value is not None and value != getattr(self._user, name)}
        made.before = {name: getattr(self._user, name) for name in made.after}
        made.user_id, made.since = self._user.id, self._user.updated_at
        made.action = "update" if made.after or added else "unchanged"
        return made

    def _refuse(self, column: str, why: Text | None) -> None:
        if why is not None and column not in self._marked:
            self._wrong.append((column, why))

    def _check_fields(self) -> None:
        cells = self._cells
        self._refuse("username", wrong_username(self._username) if self._username else text("field.required"))
        self._refuse("name", wrong_name(cells.get("name", "")))
        if "email" in cells:
            self._refuse("email", wrong_email(cells["email"]))
        own = {self._user.id} if self._user is not None else set()
        for column in ("username", "email"):
            if self._by_key.get(cells.get(column, "").casefold(), own) - own:
                self._refuse(column, text("field.taken"))

    def _check_user(self) -> None:
        user, actor = self._user, self._actor
        if user is None:
            return
        if not actor.may("users:write", user.organization_id):
            self._refuse("username", text("field.taken"))
        elif user.merged_into is not None:
            self._refuse("username", text("users.row_merged"))
        elif missing := is_above(actor, self._granted, self._around.root):
            self._refuse("username", text("users.row_above", scopes=", ".join(missing)))

    def _place(self) -> int | None:
        """The organization that the row names, or that it means when it names none."""
        written = self._cells.get("organization", "").casefold()
        if not written:
            place = int(self._user.organization_id) if self._user is not None else self._around.home
            if self._user is None and not self._actor.may("users:write", place):
                self._refuse("organization", text("users.cell_organization"))
            return place
        if written in self._around.by_code:
            return self._around.by_code[written]
        named = self._around.by_name.get(written, [])
        if len(named) == 1:
            return named[0]
        self._refuse("organization", text("users.cell_organization_many" if named else "users.cell_organization"))
        return None

    def _roles(self, place: int | None) -> list[int]:
        """The ids of the roles that the row adds; without a place, their names alone are looked at."""
        held = {(grant.role_id, grant.organization_id) for grant in self._granted}
        added = []
        for name in _names(self._cells.get("roles", "")):
            role = self._around.roles.get(name)
            if role is None:
                self._refuse("roles", text("users.cell_role", name=name[:64]))
            elif place is not None and (role.id, place) not in held:
                missing = lacking(self._actor, role.scopes, place, self._around.root)
                if missing:
                    self._refuse("roles", text("users.cell_role_beyond", name=name, scopes=", ".join(missing)))
                added.append(int(role.id))
        return added

    def _kind(self) -> str:
        written = self._cells.get("kind", "").casefold()
        if written and written not in _KINDS:
            self._refuse("kind", text("users.cell_kind"))
        return _KINDS.get(written, "person")


def _names(written: str) -> Iterable[str]:
    return dict.fromkeys(name for part in _BETWEEN_ROLES.split(written) if (name := part.strip()))


def _said(reason: str, other: int) -> Text:
    """What the reading of the sheet found wrong, as a sentence."""
    if reason == "twice":
        return text("users.cell_twice", row=other)
    known = {"formula": "users.cell_formula", "error": "users.cell_error", "digits": "users.cell_digits", "too_long": "users.cell_too_long"}
    return text(known[reason])
