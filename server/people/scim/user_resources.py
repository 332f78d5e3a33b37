"""Our users as SCIM resources: read with what belongs to them, shown, and taken apart into our own columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from server.people.scim.schema_model import ENTERPRISE_URN, USER_URN
from server.people.scim.tables import scim_resources
from server.people.scim.versions import version_of
from server.people.tables import organization_members, organizations, users
from server.people.user_schemas import UserState

KIND = "user"
_kept = scim_resources.alias("kept")
# The persons that a SCIM client sees: no service accounts, no accounts that were merged away or deleted over SCIM.
JOINED = users.outerjoin(_kept, sa.and_(_kept.c.kind == KIND, _kept.c.resource_id == users.c.id))
VISIBLE = (users.c.kind == "person", users.c.merged_into.is_(None), _kept.c.deleted_at.is_(None))
KEPT = _kept.c
COLUMNS = (
    users.c.id,
    users.c.username,
    users.c.name,
    users.c.email,
    users.c.state,
    users.c.created_at,
    users.c.updated_at,
    _kept.c.external_id,
    _kept.c.attributes,
    _kept.c.version,
    _kept.c.updated_at.label("kept_at"),
)


class Membership(NamedTuple):
    organization_id: int
    name: str


class ReadUser(NamedTuple):
    """A user as read: its row with what SCIM keeps of it, and its groups."""

    row: Any
    groups: tuple[Membership, ...]

    @property
    def version(self) -> str:
        return version_of(self.row.id, self.row.updated_at, self.row.version, self.row.state, *self.groups)


class Derived(NamedTuple):
    """Our own columns, as a resource wants them."""

    username: str
    name: str
    email: str | None


def read_users(connection: sa.Connection, wanted: sa.Select[Any]) -> list[ReadUser]:
    """The users of a select of COLUMNS, at most a few hundred, with their groups."""
    rows = connection.execute(wanted).all()
    groups = _groups(connection, [row.id for row in rows])
    return [ReadUser(row, tuple(groups.get(row.id, ()))) for row in rows]


def find_user(connection: sa.Connection, user_id: int) -> ReadUser | None:
    """A user that a SCIM client sees."""
    found = read_users(connection, sa.select(*COLUMNS).select_from(JOINED).where(users.c.id == user_id, *VISIBLE))
    return found[0] if found else None


def _groups(connection: sa.Connection, ids: Sequence[int]) -> dict[int, list[Membership]]:
    if not ids:
        return {}
    held = (
        sa.select(organization_members.c.user_id, organizations.c.id, organizations.c.name)
        .join(organizations, organizations.c.id == organization_members.c.organization_id)
        .where(organization_members.c.user_id.in_(ids))
        .order_by(organizations.c.id)
    )
    found: dict[int, list[Membership]] = {}
    for row in connection.execute(held):
        found.setdefault(row.user_id, []).append(Membership(row.id, row.name))
    return found


def derived(resource: dict[str, Any]) -> Derived:
    """What a resource says of our own columns: the name as it is shown, and the primary mail address, else the first."""
    username = resource["userName"].strip()
    return Derived(username, _name(resource) or username, _email(resource))


def _name(resource: dict[str, Any]) -> str:
    parts = resource.get("name", {})
    family, given = parts.get("familyName", "").strip(), parts.get("givenName", "").strip()
    whole = f"{given} {family}" if (family + given).isascii() else family + given  # 张三, but John Smith
    return (resource.get("displayName") or "").strip() or (parts.get("formatted") or "").strip() or whole.strip()


def _email(resource: dict[str, Any]) -> str | None:
    addresses = [one for one in resource.get("emails", []) if one.get("value")]
    primary = next((one for one in addresses if one.get("primary")), addresses[0] if addresses else None)
    return primary["value"].strip() if primary else None


def stored(resource: dict[str, Any]) -> dict[str, Any]:
    """What of a resource is kept beside our own columns."""
    attributes = {name: value for name, value in resource.items() if name not in ("userName", "active", "password", "externalId", "groups")}
    return {name: _without_refs(value) if name == ENTERPRISE_URN else value for name, value in attributes.items()}


def _without_refs(extension: dict[str, Any]) -> dict[str, Any]:
    manager = extension.get("manager")
    if not manager:
        return extension
    return {**extension, "manager": {name: value for name, value in manager.items() if name != "$ref" or "value" not in manager}}


def writable(read: ReadUser) -> dict[str, Any]:
    """What of a user a client may write, as it stands."""
    row, attributes = read.row, dict(read.row.attributes or {})
    hidden = attributes.pop("active", None) == row.state  # a client unassigned it, and nothing has happened to the account since
    resource: dict[str, Any] = {"userName": row.username}
    if row.external_id is not None:
        resource["externalId"] = row.external_id
    if not hidden:
        resource["active"] = row.state == UserState.ACTIVE.value
    resource.update(attributes if row.attributes is not None else {"name": {"formatted": row.name}, "displayName": row.name})
    if (_name(resource) or row.username) != row.name:  # changed here since
        resource["displayName"] = row.name
        resource["name"] = {**resource.get("name", {}), "formatted": row.name}
    if _email(resource) != row.email:
        resource["emails"] = _mails(resource.get("emails", []), row.email)
        if not resource["emails"]:
            del resource["emails"]
    return resource


def _mails(before: list[dict[str, Any]], email: str | None) -> list[dict[str, Any]]:
    """The addresses with another primary one."""
    old = next((one for one in before if one.get("primary")), before[0] if before else None)
    others = [one for one in before if one is not old and one.get("value") != email]
    return others if email is None else [{"value": email, "type": "work", "primary": True}, *others]


def shown(read: ReadUser, base: str) -> dict[str, Any]:
    """The whole resource; `base` is the address of the SCIM server."""
    row, attributes = read.row, writable(read)
    extension = attributes.pop(ENTERPRISE_URN, None)
    resource = {"schemas": [USER_URN, *([ENTERPRISE_URN] if extension else [])], "id": str(row.id), **attributes}
    if extension:
        manager = extension.get("manager", {})
        if manager.get("value", "").isdecimal():  # one of ours
            extension = {**extension, "manager": {"$ref": f"{base}/Users/{manager['value']}", **manager}}
        resource[ENTERPRISE_URN] = extension
    if read.groups:
        resource["groups"] = [
            {"value": str(group.organization_id), "$ref": f"{base}/Groups/{group.organization_id}", "display": group.name, "type": "direct"}
            for group in read.groups
        ]
    resource["meta"] = meta("User", row, f"{base}/Users/{row.id}", read.version)
    return resource


def meta(kind: str, row: Any, location: str, version: str) -> dict[str, Any]:
    """The `meta` of a resource, from a row with created_at, updated_at and kept_at."""
    changed = max(when for when in (row.created_at, row.updated_at, row.kept_at) if when is not None)
    return {
        "resourceType": kind,
        "created": _iso(row.created_at),
        "lastModified": _iso(changed),
        "location": location,
        "version": version,
    }


def _iso(when: datetime) -> str:
    return str(msgspec.to_builtins(when))
