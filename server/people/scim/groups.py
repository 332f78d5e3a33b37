"""Groups over SCIM: organizations with their members; made below the root, and removed when nothing else hangs on them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.messages import text
from server.people import organization_tree as tree
from server.people.organization_tree import OrganizationsChanged
from server.people.organizations import OrganizationKind, OrganizationNotEmpty, RootStays, belongings_of, drop, named, root_id
from server.people.scim.checking import clean
from server.people.scim.errors import ChangedMeanwhile, InvalidValue, ResourceNotFound, ScimProtected
from server.people.scim.group_resources import KIND, ReadGroup, find_group, writable
from server.people.scim.patching import patched
from server.people.scim.schemas import GROUP
from server.people.scim.tables import scim_resources
from server.people.scim.user_resources import JOINED as USERS
from server.people.scim.user_resources import VISIBLE
from server.people.scim.users import TRIES, number_of
from server.people.scim.versions import check_match
from server.people.tables import organization_members as members
from server.people.tables import organizations, users
from server.people.user_fields import wrong_name
from server.platform import audit

POSITION = "member"
AT_ONCE = 500


async def get_group(ctx: Context, group_id: str, *, with_members: bool = True) -> ReadGroup:
    """Raises ResourceNotFound."""
    number = number_of(group_id)
    found = await ctx.sql.read(lambda connection: find_group(connection, number, with_members=with_members))
    if found is None:
        raise ResourceNotFound()
    return found


async def create_group(ctx: Context, actor: Actor, body: Any) -> ReadGroup:
    """A new organization right below the root, with its members. Raises ScimRefused, InvalidValue."""
    resource = await asyncio.to_thread(clean, GROUP, body)
    name, ids = _name(resource), _member_ids(resource)
    now, code = ctx.clock.now(), f"scim-{secrets.token_hex(8)}"

    def transaction(connection: sa.Connection) -> ReadGroup:
        tree.lock_tree(connection)
        parent_id = root_id(connection)
        values = {"name": name, "code": code, "kind": OrganizationKind.OTHER.value, "parent_id": parent_id}
        made = connection.execute(organizations.insert().values(**values, created_at=now, updated_at=now)).inserted_primary_key
        assert made
        organization_id = int(made[0])
        tree.attach(connection, organization_id, parent_id)
        _keep(connection, now, organization_id, resource)
        audit.note(connection, now, actor, "organization.create", f"organization:{organization_id}", **values, via="scim")
        _add(connection, now, actor, organization_id, ids)
        return _get(connection, organization_id)

    made = await ctx.sql.write(transaction)
    await ctx.events.publish(OrganizationsChanged())
    return made


async def replace_group(ctx: Context, actor: Actor, group_id: str, body: Any, if_match: str = "") -> ReadGroup:
    """Set name and members; members that are left out are members no more.

    Raises ResourceNotFound, VersionMismatch, ScimProtected, ScimRefused, InvalidValue.
    """
    given = await asyncio.to_thread(clean, GROUP, body)
    return await _change(ctx, actor, group_id, lambda before: given, if_match)


async def patch_group(ctx: Context, actor: Actor, group_id: str, body: Any, if_match: str = "") -> ReadGroup:
    """Change by operations. Raises as `replace_group` and `patched` do."""
    return await _change(ctx, actor, group_id, lambda before: patched(GROUP, before, body), if_match)


async def delete_group(ctx: Context, actor: Actor, group_id: str, if_match: str = "") -> None:
    """Remove an organization with its memberships. Raises ResourceNotFound, VersionMismatch, RootStays, OrganizationNotEmpty."""
    number, now = number_of(group_id), ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        tree.lock_tree(connection)
        found = _get(connection, number)
        check_match(if_match, found.version)
        if found.row.parent_id is None:
            raise RootStays()
        left = connection.execute(members.delete().where(members.c.organization_id == number)).rowcount
        if hanging := belongings_of(connection, number):
            raise OrganizationNotEmpty(what=named(hanging))
        drop(connection, number)
        connection.execute(scim_resources.delete().where(scim_resources.c.kind == KIND, scim_resources.c.resource_id == number))
        detail = {"name": found.row.name, "code": found.row.code, "parent_id": found.row.parent_id, "members": left}
        audit.note(connection, now, actor, "organization.delete", f"organization:{number}", **detail, via="scim")

    await ctx.sql.write(transaction)
    await ctx.events.publish(OrganizationsChanged())


async def _change(
    ctx: Context, actor: Actor, group_id: str, work_out: Callable[[dict[str, Any]], dict[str, Any]], if_match: str
) -> ReadGroup:
    """Read, work out what it becomes in a thread, and write if it is still as it was read; else once more."""
    for _ in range(TRIES):
        read = await get_group(ctx, group_id)
        check_match(if_match, read.version)
        before = writable(read)
        after = await asyncio.to_thread(work_out, before)
        if after == before:
            return read
        written = await _write_change(ctx, actor, read, after)
        if written is not None:
            return written
    raise ChangedMeanwhile()


async def _write_change(ctx: Context, actor: Actor, read: ReadGroup, after: dict[str, Any]) -> ReadGroup | None:
    """None when the group is no longer as it was read."""
    now, number = ctx.clock.now(), int(read.row.id)
    name, wanted, held = _name(after), set(_member_ids(after)), set(read.member_ids or ())
    if name != read.row.name and read.row.parent_id is None:
        raise ScimProtected()

    def transaction(connection: sa.Connection) -> ReadGroup | None:
        tree.lock_tree(connection)
        present = _get(connection, number, with_members=False)
        if present.version != read.version:
            return None
        if name != read.row.name:
            connection.execute(organizations.update().where(organizations.c.id == number).values(name=name, updated_at=now))
            audit.note(connection, now, actor, "organization.change", f"organization:{number}", name=name, via="scim")
        _keep(connection, now, number, after)
        _add(connection, now, actor, number, sorted(wanted - held))
        _remove(connection, now, actor, number, sorted(held - wanted))
        return _get(connection, number)

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # somebody else made one of them a member at the same moment
        return None


def _add(connection: sa.Connection, now: datetime, actor: Actor, organization_id: int, ids: Iterable[int]) -> None:
    """Make users members. Raises InvalidValue for one that a SCIM client does not see."""
    for some in _portions(ids):
        seen = set(connection.execute(sa.select(users.c.id).select_from(USERS).where(users.c.id.in_(some), *VISIBLE)).scalars())
        if unknown := sorted(set(some) - seen):
            raise InvalidValue(detail=text("organization.no_user", id=unknown[0]))
        rows = [{"organization_id": organization_id, "user_id": one, "position": POSITION, "created_at": now} for one in some]
        connection.execute(members.insert(), rows)
        audit.note(connection, now, actor, "organization.add_member", f"organization:{organization_id}", user_ids=some, via="scim")


def _remove(connection: sa.Connection, now: datetime, actor: Actor, organization_id: int, ids: Iterable[int]) -> None:
    for some in _portions(ids):
        connection.execute(members.delete().where(members.c.organization_id == organization_id, members.c.user_id.in_(some)))
        audit.note(connection, now, actor, "organization.remove_member", f"organization:{organization_id}", user_ids=some, via="scim")


def _portions(ids: Iterable[int]) -> Iterator[list[int]]:
    all_ids = list(ids)
    return (all_ids[first : first + AT_ONCE] for first in range(0, len(all_ids), AT_ONCE))


def _keep(connection: sa.Connection, now: datetime, organization_id: int, resource: dict[str, Any]) -> None:
    one = (scim_resources.c.kind == KIND, scim_resources.c.resource_id == organization_id)
    values: dict[str, Any] = {"external_id": resource.get("externalId"), "attributes": {}, "updated_at": now}
    bumped = scim_resources.update().where(*one).values(**values, version=scim_resources.c.version + 1)
    if not connection.execute(bumped).rowcount:
        connection.execute(scim_resources.insert().values(kind=KIND, resource_id=organization_id, version=1, **values))


def _get(connection: sa.Connection, organization_id: int, *, with_members: bool = True) -> ReadGroup:
    found = find_group(connection, organization_id, with_members=with_members)
    if found is None:
        raise ResourceNotFound()
    return found


def _name(resource: dict[str, Any]) -> str:
    name = str(resource["displayName"]).strip()
    if (why := wrong_name(name)) is not None:
        raise InvalidValue(detail=why)
    return name


def _member_ids(resource: dict[str, Any]) -> list[int]:
    """The ids of the members, each once. Raises InvalidValue for one that cannot be a user's."""
    found: dict[int, None] = {}
    for member in resource.get("members", []):
        given = str(member.get("value", ""))
        try:
            found[number_of(given)] = None
        except ResourceNotFound:
            raise InvalidValue(detail=text("organization.no_user", id=given[:40])) from None
    return list(found)
