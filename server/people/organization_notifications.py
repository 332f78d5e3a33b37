"""Who in an organization is told of what: its own choice for each kind, or that of the nearest one above that has made one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.messages import Locale
from server.people.organizations import access_organization
from server.people.tables import organization_closure as closure
from server.people.tables import organization_notifications as table
from server.people.tables import organizations, roles
from server.platform import audit
from server.platform.notifications.kinds import Kind, name_of

# What an organization chooses; of the other kinds the person whom it concerns is told, or who administers the whole.
KINDS = (Kind.WORKFLOW_FAILED, Kind.DOCUMENT_FAILED, Kind.MEMBER_JOINED)
_DEFAULT_ROLES: dict[Kind, tuple[str, ...]] = {
    Kind.WORKFLOW_FAILED: ("administrator", "organization_admin", "operator"),
    Kind.DOCUMENT_FAILED: ("administrator", "organization_admin"),
    Kind.MEMBER_JOINED: ("administrator", "organization_admin"),
}
AT_ONCE = 500
RoleName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Position = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Setting(msgspec.Struct, frozen=True):
    """Whom a kind is told; `of`: the organization whose choice it is, None for the default."""

    enabled: bool
    roles: tuple[str, ...]
    positions: tuple[str, ...]
    of: int | None


class OrganizationNotification(msgspec.Struct, kw_only=True):
    """Who is told of a kind. `own`: the organization's own choice; else it is inherited, from `inherited_from` or the default."""

    kind: Kind
    name: str
    enabled: bool
    roles: list[str]
    positions: list[str]
    own: bool
    inherited_from: int | None


class OrganizationNotifications(msgspec.Struct):
    notifications: list[OrganizationNotification]


class OrganizationChoice(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom to tell of a kind: who holds one of the roles there, and the members in one of the positions."""

    kind: Kind
    enabled: bool = True
    roles: Annotated[list[RoleName], msgspec.Meta(max_length=50)] = []
    positions: Annotated[list[Position], msgspec.Meta(max_length=50)] = []


class OrganizationChoices(msgspec.Struct, forbid_unknown_fields=True):
    """All choices of an organization; what it does not choose it inherits."""

    notifications: Annotated[list[OrganizationChoice], msgspec.Meta(max_length=100)]


class Filled(msgspec.Struct, frozen=True):
    """How many organizations there are, and how many rows they lacked."""

    organizations: int
    added: int


def setting_of(connection: sa.Connection, organization_id: int, kind: Kind) -> Setting:
    """Whom an organization tells of a kind."""
    return _settings(connection, organization_id)[kind] if kind in KINDS else _default(kind)


async def get_choices(ctx: Context, actor: Actor, organization_id: int) -> OrganizationNotifications:
    """Who is told of what. Raises OrganizationNotFound."""

    def transaction(connection: sa.Connection) -> OrganizationNotifications:
        access_organization(connection, actor, organization_id)
        return _shown(connection, organization_id, actor.locale)

    return await ctx.sql.read(transaction)


async def put_choices(ctx: Context, actor: Actor, organization_id: int, choices: OrganizationChoices) -> OrganizationNotifications:
    """Set an organization's choices; a kind that is left out is inherited again. Raises OrganizationNotFound, Forbidden, Invalid."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> OrganizationNotifications:
        access_organization(connection, actor, organization_id, to_change=True)
        # Locked: of two who choose at once, the later one replaces what the earlier one chose.
        connection.execute(sa.select(organizations.c.id).where(organizations.c.id == organization_id).with_for_update()).all()
        known = set(connection.execute(sa.select(roles.c.name)).scalars())
        rows = [_row(place, choice, known, organization_id, now) for place, choice in enumerate(choices.notifications)]
        _refuse_twice([choice.kind for choice in choices.notifications])
        before = {row.kind: row for row in connection.execute(sa.select(table).where(table.c.organization_id == organization_id))}
        connection.execute(table.delete().where(table.c.organization_id == organization_id))
        if rows:
            connection.execute(table.insert(), rows)
        told = {row["kind"]: {name: row[name] for name in ("enabled", "roles", "positions")} for row in rows}
        audit.note(
            connection,
            now,
            actor,
            "organization.notifications",
            f"organization:{organization_id}",
            before=sorted(before),
            after=told,
        )
        return _shown(connection, organization_id, actor.locale)

    return await ctx.sql.write(transaction)


async def fill_in(ctx: Context, actor: Actor) -> Filled:
    """Give every organization a row for each kind that it has none for, saying what it inherits now; safe to run again.

    What is told, and to whom, is the same afterwards, until somebody changes a row: then those below keep theirs.
    """
    now = ctx.clock.now()
    ids = await ctx.sql.read(lambda connection: list(connection.execute(sa.select(organizations.c.id)).scalars()))
    depths = sa.select(closure.c.descendant_id, sa.func.max(closure.c.depth).label("depth")).group_by(closure.c.descendant_id)
    depth = await ctx.sql.read(lambda connection: {row.descendant_id: row.depth for row in connection.execute(depths)})
    ordered = sorted(ids, key=lambda one: depth.get(one, 0))
    added = 0
    for first in range(0, len(ordered), AT_ONCE):
        some = ordered[first : first + AT_ONCE]
        added += await ctx.sql.write(lambda connection, some=some: _fill(connection, now, actor, some))  # type: ignore[misc]
    return Filled(len(ids), added)


def _fill(connection: sa.Connection, now: datetime, actor: Actor, organization_ids: Sequence[int]) -> int:
    rows = []
    for organization_id in organization_ids:
        for kind, setting in _settings(connection, organization_id).items():
            if setting.of != organization_id:
                rows.append(_values(organization_id, kind, setting.enabled, setting.roles, setting.positions, now))
    if rows:
        connection.execute(table.insert(), rows)
        audit.note(connection, now, actor, "organization.fill_notifications", "organization:many", rows=len(rows))
    return len(rows)


def _settings(connection: sa.Connection, organization_id: int) -> dict[Kind, Setting]:
    """For each kind the row of the nearest organization from here upwards, or else the default."""
    found = {kind: _default(kind) for kind in KINDS}
    above = (
        sa.select(table)
        .join(closure, closure.c.ancestor_id == table.c.organization_id)
        .where(closure.c.descendant_id == organization_id)
        .order_by(closure.c.depth.desc())
    )
    for row in connection.execute(above):  # the nearest comes last and holds
        if row.kind in list(KINDS):
            found[Kind(row.kind)] = Setting(bool(row.enabled), tuple(row.roles), tuple(row.positions), row.organization_id)
    return found


def _default(kind: Kind) -> Setting:
    return Setting(True, _DEFAULT_ROLES.get(kind, ("administrator",)), (), None)


def _row(place: int, choice: OrganizationChoice, known: set[str], organization_id: int, now: datetime) -> dict[str, Any]:
    if choice.kind not in KINDS:
        raise Invalid.field(f"notifications.{place}.kind", "notification.not_of_organizations", kind=choice.kind.value)
    for name in choice.roles:
        if name not in known:
            raise Invalid.field(f"notifications.{place}.roles", "role.unknown", name=name)
    positions = [position.strip() for position in choice.positions]
    if not all(positions):
        raise Invalid.field(f"notifications.{place}.positions", "field.empty")
    return _values(organization_id, choice.kind, choice.enabled, choice.roles, positions, now)


def _refuse_twice(kinds: list[Kind]) -> None:
    for place, kind in enumerate(kinds):
        if kind in kinds[:place]:
            raise Invalid.field(f"notifications.{place}.kind", "notification.twice", kind=kind.value)


def _values(
    organization_id: int, kind: Kind, enabled: bool, named: Sequence[str], positions: Sequence[str], now: datetime
) -> dict[str, Any]:
    return {
        "organization_id": organization_id,
        "kind": kind.value,
        "enabled": enabled,
        "roles": list(dict.fromkeys(named)),
        "positions": list(dict.fromkeys(positions)),
        "updated_at": now,
    }


def _shown(connection: sa.Connection, organization_id: int, locale: Locale) -> OrganizationNotifications:
    return OrganizationNotifications(
        [
            OrganizationNotification(
                kind=kind,
                name=name_of(kind, locale),
                enabled=setting.enabled,
                roles=list(setting.roles),
                positions=list(setting.positions),
                own=setting.of == organization_id,
                inherited_from=None if setting.of == organization_id else setting.of,
            )
            for kind, setting in _settings(connection, organization_id).items()
        ]
    )
