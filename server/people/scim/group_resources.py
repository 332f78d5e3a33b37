"""Our organizations as SCIM groups: read with their members, and shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from server.people.scim.schema_model import GROUP_URN
from server.people.scim.tables import scim_resources
from server.people.scim.user_resources import meta
from server.people.scim.versions import version_of
from server.people.tables import organization_members as members
from server.people.tables import organizations, users

KIND = "group"
_kept = scim_resources.alias("kept_group")
_gone = scim_resources.alias("gone")
JOINED = organizations.outerjoin(_kept, sa.and_(_kept.c.kind == KIND, _kept.c.resource_id == organizations.c.id))
KEPT = _kept.c
COLUMNS = (
    organizations.c.id,
    organizations.c.parent_id,
    organizations.c.name,
    organizations.c.code,
    organizations.c.created_at,
    organizations.c.updated_at,
    _kept.c.external_id,
    _kept.c.attributes,
    _kept.c.version,
    _kept.c.updated_at.label("kept_at"),
)
# Members that a SCIM client sees, as it sees users.
_SEEN = members.join(users, users.c.id == members.c.user_id).outerjoin(
    _gone, sa.and_(_gone.c.kind == "user", _gone.c.resource_id == users.c.id)
)
_MEMBER = (users.c.kind == "person", users.c.merged_into.is_(None), _gone.c.deleted_at.is_(None))


class ReadGroup(NamedTuple):
    """An organization as read. `member_ids` is None when nobody asked for them; the version tells of them all the same."""

    row: Any
    summary: tuple[Any, ...]
    member_ids: tuple[int, ...] | None

    @property
    def version(self) -> str:
        return version_of(self.row.id, self.row.name, self.row.updated_at, self.row.version, *self.summary)


def read_groups(connection: sa.Connection, wanted: sa.Select[Any], *, with_members: bool = True) -> list[ReadGroup]:
    """The organizations of a select of COLUMNS, at most a few hundred."""
    rows = connection.execute(wanted).all()
    ids = [row.id for row in rows]
    summaries = _summaries(connection, ids)
    found = _members(connection, ids) if with_members else None
    return [ReadGroup(row, summaries.get(row.id, (0,)), None if found is None else tuple(found.get(row.id, ()))) for row in rows]


def find_group(connection: sa.Connection, organization_id: int, *, with_members: bool = True) -> ReadGroup | None:
    found = read_groups(
        connection, sa.select(*COLUMNS).select_from(JOINED).where(organizations.c.id == organization_id), with_members=with_members
    )
    return found[0] if found else None


def _summaries(connection: sa.Connection, ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
    """What tells one set of members from another, without reading them."""
    if not ids:
        return {}
    counted = (
        sa.select(
            members.c.organization_id,
            sa.func.count().label("number"),
            sa.func.sum(members.c.user_id).label("ids"),
            sa.func.max(members.c.created_at).label("latest"),
        )
        .select_from(_SEEN)
        .where(members.c.organization_id.in_(ids), *_MEMBER)
        .group_by(members.c.organization_id)
    )
    return {row.organization_id: (row.number, int(row.ids), row.latest) for row in connection.execute(counted)}


def _members(connection: sa.Connection, ids: Sequence[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    if ids:
        held = sa.select(members.c.organization_id, members.c.user_id).select_from(_SEEN)
        for row in connection.execute(held.where(members.c.organization_id.in_(ids), *_MEMBER).order_by(members.c.user_id)):
            found.setdefault(row.organization_id, []).append(row.user_id)
    return found


def writable(read: ReadGroup) -> dict[str, Any]:
    """What of a group a client may write, as it stands."""
    resource: dict[str, Any] = {"displayName": read.row.name}
    if read.row.external_id is not None:
        resource["externalId"] = read.row.external_id
    if read.member_ids:
        resource["members"] = [{"value": str(user_id)} for user_id in read.member_ids]
    return resource


def shown(read: ReadGroup, base: str) -> dict[str, Any]:
    """The whole resource, without members when they were not read; `base` is the address of the SCIM server."""
    resource = {"schemas": [GROUP_URN], "id": str(read.row.id), **writable(read)}
    if read.member_ids:
        users_at = f"{base}/Users/"
        resource["members"] = [{"value": str(one), "$ref": f"{users_at}{one}", "type": "User"} for one in read.member_ids]
    resource["meta"] = meta("Group", read.row, f"{base}/Groups/{read.row.id}", read.version)
    return resource
