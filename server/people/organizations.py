"""Organizations: made, changed, moved and removed, and as the other wings ask about them."""

from __future__ import annotations

import functools
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.engines.schema import GOES_WITH_ORGANIZATION, metadata
from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.messages import Text, text
from server.messages.catalogue import CATALOGUE
from server.paging import Page, PageQuery, page_of
from server.people import organization_tree as tree
from server.people.identify import RightsChanged
from server.people.organization_tree import OrganizationsChanged
from server.people.schemas import OrganizationRef
from server.people.tables import organization_closure, organizations, users
from server.platform import audit

READ, WRITE = "organizations:read", "organizations:write"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Id = Annotated[int, msgspec.Meta(ge=1, le=999_999_999_999_999)]


class OrganizationKind(StrEnum):
    ROOT = "root"  # the institution itself: the one above all others
    SCHOOL = "school"
    DEPARTMENT = "department"
    CLASS = "class"
    INSTITUTE = "institute"
    OFFICE = "office"
    OTHER = "other"


class OrganizationNotFound(NotFound):
    type = "organization_not_found"


class OrganizationNotEmpty(Conflict):
    """Something still belongs to it; `what` says what."""

    type = "organization_not_empty"


class RootStays(Conflict):
    """The root is neither moved nor removed."""

    type = "root_stays"


class Organization(msgspec.Struct, kw_only=True):
    """An organization. `depth`: below the root; `path`: those above it that the caller may see, the root first; `children`: right below."""

    id: int
    parent_id: int | None
    name: str
    code: str
    kind: OrganizationKind
    depth: int
    path: list[OrganizationRef]
    children: int
    may_change: bool
    created_at: datetime
    updated_at: datetime | None


class OrganizationQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`under`: everything below that organization; `parent_id`: what is right below it."""

    under: Id | None = None
    parent_id: Id | None = None
    kind: OrganizationKind | None = None


class OrganizationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new organization; without `parent_id` it is right below the root."""

    name: Name
    code: Code
    kind: OrganizationKind
    parent_id: Id | None = None


class OrganizationPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    code: Code | msgspec.UnsetType = msgspec.UNSET
    kind: OrganizationKind | msgspec.UnsetType = msgspec.UNSET


class OrganizationMove(msgspec.Struct, forbid_unknown_fields=True):
    parent_id: Id


def check_organization(connection: sa.Connection, organization_id: int, field: str = "organization_id") -> None:
    """Raise Invalid, naming the field, unless there is such an organization."""
    if connection.execute(sa.select(organizations.c.id).where(organizations.c.id == organization_id)).first() is None:
        raise Invalid.field(field, "people.no_organization", id=organization_id)


def root_id(connection: sa.Connection) -> int:
    """The root organization, the default of everything."""
    return int(
        connection.execute(sa.select(organizations.c.id).where(organizations.c.parent_id.is_(None)).order_by(organizations.c.id))
        .scalars()
        .first()
        or 0
    )


def home_of(connection: sa.Connection, user_id: int | None) -> int:
    """The organization that a user belongs to; the root for nobody in particular."""
    home = connection.execute(sa.select(users.c.organization_id).where(users.c.id == (user_id or 0))).scalar()
    return root_id(connection) if home is None else int(home)


_child = organizations.alias("child")
_DEPTH = (
    sa.select(sa.func.coalesce(sa.func.max(organization_closure.c.depth), 0))
    .where(organization_closure.c.descendant_id == organizations.c.id)
    .correlate(organizations)
    .scalar_subquery()
)
_CHILDREN = sa.select(sa.func.count()).select_from(_child).where(_child.c.parent_id == organizations.c.id).correlate(organizations)
_SHOWN = sa.select(organizations, _DEPTH.label("depth"), _CHILDREN.scalar_subquery().label("children"))


def _visible(actor: Actor, column: sa.ColumnElement[Any] = organizations.c.id) -> sa.ColumnElement[bool]:
    """The condition that a caller may see an organization: it may read it, or change it."""
    places = [actor.organizations(scope) for scope in (READ, WRITE)]
    return sa.true() if None in places else column.in_(sorted(frozenset().union(*(place for place in places if place is not None))))


async def list_organizations(ctx: Context, actor: Actor, query: OrganizationQuery) -> Page[Organization]:
    """The organizations that the caller may see; `q` searches names and codes."""
    wanted = _SHOWN.where(_visible(actor))
    if query.under is not None:
        under = sa.select(organization_closure.c.descendant_id)
        wanted = wanted.where(
            organizations.c.id.in_(under.where(organization_closure.c.ancestor_id == query.under, organization_closure.c.depth > 0))
        )
    if query.parent_id is not None:
        wanted = wanted.where(organizations.c.parent_id == query.parent_id)
    if query.kind is not None:
        wanted = wanted.where(organizations.c.kind == query.kind.value)
    sortable = {name: organizations.c[name] for name in ("id", "name", "code", "kind", "created_at", "updated_at")} | {"depth": _DEPTH}
    searched = (organizations.c.name, organizations.c.code)

    def transaction(connection: sa.Connection) -> Page[Organization]:
        page = page_of(connection, wanted, query, lambda row: _shown(row, actor), sortable=sortable, searched=searched, order="id")
        _add_paths(connection, actor, page.items)
        return page

    return await ctx.sql.read(transaction)


async def get_organization(ctx: Context, actor: Actor, organization_id: int) -> Organization:
    """Raises OrganizationNotFound."""

    def transaction(connection: sa.Connection) -> Organization:
        access_organization(connection, actor, organization_id)
        return _get(connection, actor, organization_id)

    return await ctx.sql.read(transaction)


async def create_organization(ctx: Context, actor: Actor, body: OrganizationBody) -> Organization:
    """Make an organization below one that the caller may change. Raises Forbidden, Invalid naming the field."""
    now = ctx.clock.now()
    values = {"name": _cleaned("name", body.name), "code": _cleaned("code", body.code), "kind": _ordinary(body.kind).value}

    def transaction(connection: sa.Connection) -> Organization:
        tree.lock_tree(connection)
        parent_id = body.parent_id if body.parent_id is not None else root_id(connection)
        if not actor.may(WRITE, parent_id):
            raise Forbidden(scope=WRITE)
        check_organization(connection, parent_id, "parent_id")
        _check_free(connection, values["code"], None)
        made = connection.execute(organizations.insert().values(**values, parent_id=parent_id, created_at=now, updated_at=now))
        assert made.inserted_primary_key is not None
        organization_id = int(made.inserted_primary_key[0])
        tree.attach(connection, organization_id, parent_id)
        audit.note(connection, now, actor, "organization.create", f"organization:{organization_id}", **values, parent_id=parent_id)
        # Whoever may change what is above may change this one, but this request's rights were read before it was there.
        return msgspec.structs.replace(_get(connection, actor, organization_id), may_change=True)

    try:
        made = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # made by somebody else at the same moment
        raise Invalid.field("code", "field.taken") from None
    await ctx.events.publish(OrganizationsChanged())
    return made


async def change_organization(ctx: Context, actor: Actor, organization_id: int, patch: OrganizationPatch) -> Organization:
    """Raises OrganizationNotFound, Forbidden, Invalid naming the field."""
    now = ctx.clock.now()
    changes = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    for name in changes.keys() & {"name", "code"}:
        changes[name] = _cleaned(name, changes[name])
    if patch.kind is not msgspec.UNSET:
        changes["kind"] = patch.kind.value

    def transaction(connection: sa.Connection) -> Organization:
        row = access_organization(connection, actor, organization_id, to_change=True)
        if changes.get("kind", row.kind) != row.kind:
            if row.parent_id is None:
                raise Invalid.field("kind", "field.choice", choices=OrganizationKind.ROOT.value)
            _ordinary(OrganizationKind(changes["kind"]))
        if "code" in changes:
            _check_free(connection, changes["code"], organization_id)
        if changes:
            connection.execute(organizations.update().where(organizations.c.id == organization_id).values(updated_at=now, **changes))
            audit.note(connection, now, actor, "organization.change", f"organization:{organization_id}", **changes)
        return _get(connection, actor, organization_id)

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise Invalid.field("code", "field.taken") from None


async def move_organization(ctx: Context, actor: Actor, organization_id: int, parent_id: int) -> Organization:
    """Put an organization, with all below it, under another one; what is granted above changes hands at once.

    The caller must be allowed to change it, the one that it leaves and the one that it comes to, and gains no scope by it.
    Raises OrganizationNotFound, Forbidden, RootStays, Invalid naming the field.
    """
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Organization:
        tree.lock_tree(connection)
        row = access_organization(connection, actor, organization_id, to_change=True)
        if row.parent_id is None:
            raise RootStays()
        if not (actor.may(WRITE, row.parent_id) and actor.may(WRITE, parent_id)):
            raise Forbidden(scope=WRITE)
        check_organization(connection, parent_id, "parent_id")
        if tree.is_within(connection, parent_id, organization_id):
            raise Invalid.field("parent_id", "organization.cycle")
        gained = sorted(scope for scope in actor.scopes if actor.may(scope, parent_id) and not actor.may(scope, organization_id))
        if gained:
            raise Forbidden(scope=gained[0])
        if parent_id != row.parent_id:
            tree.move(connection, organization_id, parent_id)
            connection.execute(
                organizations.update().where(organizations.c.id == organization_id).values(parent_id=parent_id, updated_at=now)
            )
            detail = {"from_id": row.parent_id, "to_id": parent_id}
            audit.note(connection, now, actor, "organization.move", f"organization:{organization_id}", **detail)
        return _get(connection, actor, organization_id)

    moved = await ctx.sql.write(transaction)
    await ctx.events.publish(OrganizationsChanged())
    await ctx.events.publish(RightsChanged())
    return moved


async def remove_organization(ctx: Context, actor: Actor, organization_id: int) -> None:
    """Remove an organization that nothing belongs to. Raises OrganizationNotFound, Forbidden, RootStays, OrganizationNotEmpty."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        tree.lock_tree(connection)
        row = access_organization(connection, actor, organization_id, to_change=True)
        if row.parent_id is None:
            raise RootStays()
        if left := belongings_of(connection, organization_id):
            raise OrganizationNotEmpty(what=named(left))
        drop(connection, organization_id)
        detail = {"name": row.name, "code": row.code, "parent_id": row.parent_id}
        audit.note(connection, now, actor, "organization.delete", f"organization:{organization_id}", **detail)

    await ctx.sql.write(transaction)
    await ctx.events.publish(OrganizationsChanged())


def access_organization(connection: sa.Connection, actor: Actor, organization_id: int, *, to_change: bool = False) -> Any:
    """The organization's row. Raises OrganizationNotFound when the caller may not see it, Forbidden when it may only look."""
    row = connection.execute(sa.select(organizations).where(organizations.c.id == organization_id, _visible(actor))).one_or_none()
    if row is None:
        raise OrganizationNotFound()
    if to_change and not actor.may(WRITE, organization_id):
        raise Forbidden(scope=WRITE)
    return row


def drop(connection: sa.Connection, organization_id: int) -> None:
    """Remove an organization that nothing belongs to, with what is only about it; the tree is locked."""
    for table in metadata.tables.values():
        if table.info.items() >= GOES_WITH_ORGANIZATION.items():
            connection.execute(table.delete().where(table.c.organization_id == organization_id))
    tree.detach(connection, organization_id)
    connection.execute(organizations.delete().where(organizations.c.id == organization_id))


def belongings_of(connection: sa.Connection, organization_id: int) -> list[str]:
    """What still belongs to it: every table of every wing that names organizations."""
    found = []
    if connection.execute(sa.select(organizations.c.id).where(organizations.c.parent_id == organization_id).limit(1)).first():
        found.append("organizations")
    for name, table in sorted(metadata.tables.items()):
        if "organization_id" in table.c and not table.info.items() >= GOES_WITH_ORGANIZATION.items():
            named = sa.select(sa.literal(1)).select_from(table).where(table.c.organization_id == organization_id).limit(1)
            if connection.execute(named).first():
                found.append(name)
    return found


def named(tables: list[str]) -> Text:
    """What belongs to it, in words."""
    told = [text(key if (key := f"organization.left.{name}") in CATALOGUE else "organization.left.other") for name in tables]
    return functools.reduce(lambda first, then: text("organization.left.and", first=first, then=then), told)


def _get(connection: sa.Connection, actor: Actor, organization_id: int) -> Organization:
    shown = _shown(connection.execute(_SHOWN.where(organizations.c.id == organization_id)).one(), actor)
    _add_paths(connection, actor, [shown])
    return shown


def _shown(row: Any, actor: Actor) -> Organization:
    return Organization(
        id=row.id,
        parent_id=row.parent_id,
        name=row.name,
        code=row.code,
        kind=OrganizationKind(row.kind),
        depth=row.depth,
        path=[],
        children=row.children,
        may_change=actor.may(WRITE, row.id),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _add_paths(connection: sa.Connection, actor: Actor, shown: list[Organization]) -> None:
    by_id = {one.id: one for one in shown}
    if not by_id:
        return
    above = (
        sa.select(organization_closure.c.descendant_id, organizations.c.id, organizations.c.name)
        .join(organizations, organizations.c.id == organization_closure.c.ancestor_id)
        .where(organization_closure.c.descendant_id.in_(sorted(by_id)), organization_closure.c.depth > 0, _visible(actor))
        .order_by(organization_closure.c.depth.desc())
    )
    for row in connection.execute(above):
        by_id[row.descendant_id].path.append(OrganizationRef(row.id, row.name))


def _cleaned(field: str, given: str) -> str:
    cleaned = given.strip()
    if not cleaned:
        raise Invalid.field(field, "field.empty")
    if not cleaned.isprintable():
        raise Invalid.field(field, "organization.unprintable")
    return cleaned


def _ordinary(kind: OrganizationKind) -> OrganizationKind:
    """There is one root."""
    if kind is OrganizationKind.ROOT:
        raise Invalid.field("kind", "field.choice", choices=", ".join(one for one in OrganizationKind if one is not OrganizationKind.ROOT))
    return kind


def _check_free(connection: sa.Connection, code: str, but: int | None) -> None:
    taken = connection.execute(sa.select(organizations.c.id).where(organizations.c.code == code)).scalar()
    if taken is not None and taken != but:
        raise Invalid.field("code", "field.taken")
