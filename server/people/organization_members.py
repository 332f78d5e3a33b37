"""Who is a member of an organization, and as what; a user has one home and may be a member of many."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, Invalid, NotFound
from server.paging import Page, PageQuery, page_of
from server.people.organizations import Id, access_organization
from server.people.tables import organization_members as members
from server.people.tables import users
from server.people.told import tell_organization
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce

USERS = "users:read"


class MemberNotFound(NotFound):
    type = "member_not_found"


class Member(msgspec.Struct, kw_only=True):
    user_id: int
    username: str
    name: str
    position: str
    created_at: datetime


class MemberBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A member; one that is there already gets the position."""

    user_id: Id
    position: Annotated[str, msgspec.Meta(max_length=64)] = ""


class MemberQuery(msgspec.Struct, forbid_unknown_fields=True):
    user_id: Id


_SHOWN = sa.select(users.c.id.label("user_id"), users.c.username, users.c.name, members.c.position, members.c.created_at).join(
    members, members.c.user_id == users.c.id
)
_SORTABLE = {
    "user_id": users.c.id,
    "username": users.c.username,
    "name": users.c.name,
    "position": members.c.position,
    "created_at": members.c.created_at,
}


async def list_members(ctx: Context, actor: Actor, organization_id: int, query: PageQuery) -> Page[Member]:
    """The members of an organization where the caller may read users. Raises OrganizationNotFound, Forbidden."""

    def transaction(connection: sa.Connection) -> Page[Member]:
        access_organization(connection, actor, organization_id)
        if not actor.may(USERS, organization_id):
            raise Forbidden(scope=USERS)
        wanted = _SHOWN.where(members.c.organization_id == organization_id)
        searched = (users.c.username, users.c.name, members.c.position)
        return page_of(connection, wanted, query, _shown, sortable=_SORTABLE, searched=searched, order="user_id")

    return await ctx.sql.read(transaction)


async def put_member(ctx: Context, actor: Actor, organization_id: int, body: MemberBody) -> Member:
    """Make a user whom the caller may see a member. Raises OrganizationNotFound, Forbidden, Invalid naming the field."""
    now, position = ctx.clock.now(), body.position.strip()

    def transaction(connection: sa.Connection) -> tuple[Member, Told]:
        organization = access_organization(connection, actor, organization_id, to_change=True)
        home = connection.execute(sa.select(users.c.organization_id).where(users.c.id == body.user_id)).scalar()
        if home is None or not (actor.may(USERS, home) or _is_member(connection, organization_id, body.user_id)):
            raise Invalid.field("user_id", "organization.no_user", id=body.user_id)
        told = Told()
        one = sa.and_(members.c.organization_id == organization_id, members.c.user_id == body.user_id)
        if _is_member(connection, organization_id, body.user_id):
            connection.execute(members.update().where(one).values(position=position))
        else:
            connection.execute(
                members.insert().values(organization_id=organization_id, user_id=body.user_id, position=position, created_at=now)
            )
            told = _tell(connection, now, actor, organization, body.user_id)
        audit.note(
            connection, now, actor, "organization.add_member", f"organization:{organization_id}", user_id=body.user_id, position=position
        )
        return _shown(connection.execute(_SHOWN.where(one)).one()), told

    try:
        member, told = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # made a member by somebody else at the same moment
        member, told = await ctx.sql.write(transaction)
    await announce(ctx, told)
    return member


async def remove_member(ctx: Context, actor: Actor, organization_id: int, user_id: int) -> None:
    """Raises OrganizationNotFound, Forbidden, MemberNotFound."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        access_organization(connection, actor, organization_id, to_change=True)
        one = members.delete().where(members.c.organization_id == organization_id, members.c.user_id == user_id)
        if not connection.execute(one).rowcount:
            raise MemberNotFound()
        audit.note(connection, now, actor, "organization.remove_member", f"organization:{organization_id}", user_id=user_id)

    await ctx.sql.write(transaction)


def _tell(connection: sa.Connection, now: datetime, actor: Actor, organization: Any, user_id: int) -> Told:
    """Tell the new member, and those whom the organization names; whoever did it knows."""
    name = connection.execute(sa.select(users.c.name).where(users.c.id == user_id)).scalar_one()
    key, params = f"{organization.id}:{user_id}:{now.isoformat()}", {"name": name, "organization": organization.name}
    but = [actor.user_id] if actor.user_id is not None else []
    return tell_organization(connection, now, organization.id, Kind.MEMBER_JOINED, key, params, also=[user_id], but=but)


def _is_member(connection: sa.Connection, organization_id: int, user_id: int) -> bool:
    found = sa.select(members.c.user_id).where(members.c.organization_id == organization_id, members.c.user_id == user_id)
    return connection.execute(found).first() is not None


def _shown(row: Any) -> Member:
    return Member(user_id=row.user_id, username=row.username, name=row.name, position=row.position, created_at=row.created_at)
