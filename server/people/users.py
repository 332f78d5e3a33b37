"""Users: the caller's own view, one user, and the list."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.engines.prepared import Prepared
from server.errors import Invalid, NotFound
from server.paging import LARGEST_PAGE, Listing, Page, page_of
from server.people.schemas import Me, OrganizationRef, User
from server.people.tables import organization_closure, organizations, role_grants, roles, users
from server.people.user_fields import wrong_name
from server.people.user_schemas import MePatch, UserDetail, UserFilter, UserQuery
from server.platform import audit


class UserNotFound(NotFound):
    type = "user_not_found"


def get_me(connection: sa.Connection, user_id: int) -> Me:
    """The user with roles, scopes and organizations."""
    user = connection.execute(sa.select(users).where(users.c.id == user_id)).one_or_none()
    if user is None:
        raise UserNotFound()
    granted = connection.execute(
        sa.select(roles.c.name, roles.c.scopes)
        .join(role_grants, role_grants.c.role_id == roles.c.id)
        .where(role_grants.c.user_id == user_id)
    ).all()
    home = connection.execute(sa.select(organizations.c.id, organizations.c.name).where(organizations.c.id == user.organization_id)).all()
    return Me(
        id=user.id,
        username=user.username,
        name=user.name,
        email=user.email,
        roles=sorted({row.name for row in granted}),
        scopes=sorted({scope for row in granted for scope in row.scopes}),
        organizations=[OrganizationRef(row.id, row.name) for row in home],
    )


async def get_own(ctx: Context, actor: Actor) -> Me:
    """The caller, seen with the scopes that this very request has."""
    if actor.user_id is None:
        raise UserNotFound()
    user_id = actor.user_id
    me = await ctx.sql.read_small(lambda connection: get_me(connection, user_id))
    me.scopes = sorted(actor.scopes)
    return me


async def change_own(ctx: Context, actor: Actor, patch: MePatch) -> Me:
    """Change the caller's own name."""
    if actor.user_id is None:
        raise UserNotFound()
    if (why := wrong_name(patch.name)) is not None:
        raise Invalid(fields={"name": [why]})
    user_id, now = actor.user_id, ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        connection.execute(users.update().where(users.c.id == user_id).values(name=patch.name, updated_at=now))
        audit.note(connection, now, actor, "user.change", f"user:{user_id}", fields=["name"])

    await ctx.sql.write(transaction)
    return await get_own(ctx, actor)


async def get_user(ctx: Context, actor: Actor, user_id: int) -> UserDetail:
    """One user of an organization where the caller may read users. Raises UserNotFound."""
    found = await ctx.sql.read(lambda connection: find_detail(connection, user_id))
    if found is None or not actor.may("users:read", found.organization_id):
        raise UserNotFound()
    return found


def find_detail(connection: sa.Connection, user_id: int) -> UserDetail | None:
    """A user with the names of its roles, whoever asks."""
    row = connection.execute(sa.select(users).where(users.c.id == user_id)).one_or_none()
    if row is None:
        return None
    held = sa.select(roles.c.name).join(role_grants, role_grants.c.role_id == roles.c.id).where(role_grants.c.user_id == user_id)
    shown = {name: getattr(row, name) for name in UserDetail.__struct_fields__ if name != "roles"}
    return UserDetail(**shown, roles=sorted(set(connection.execute(held).scalars())))


_SORTABLE = {"id": users.c.id, "username": users.c.username, "name": users.c.name, "created_at": users.c.created_at}
_SHOWN = [getattr(users.c, name) for name in User.__struct_fields__ if name != "roles"]
SEARCHED = (users.c.username, users.c.name, users.c.email)
_EVERYONE = Listing(sa.select(*_SHOWN), sortable=_SORTABLE, order="id")


async def list_users(ctx: Context, actor: Actor, query: UserQuery) -> Page[User]:
    """Users of the organizations where the caller may read users; `q` searches names and mail addresses."""
    places = actor.organizations("users:read")
    narrowed = bool(query.q or query.organization_id or query.state or query.role or query.kind)

    def transaction(connection: sa.Connection) -> Page[User]:
        if places is None and not narrowed:
            page = _EVERYONE.page(connection, query, _user)
        elif places and len(places) <= MOST_PLACES and not narrowed:
            page = _within(_size(len(places), PLACES)).page(connection, query, _user, _numbered("place", places))
        else:
            wanted = narrow(sa.select(*_SHOWN), places, query)
            page = page_of(connection, wanted, query, _user, sortable=_SORTABLE, searched=SEARCHED, order="id")
        _add_roles(connection, {user.id: user for user in page.items})
        return page

    return await ctx.sql.read_small(transaction)


def narrow(wanted: sa.Select[Any], places: frozenset[int] | None, query: UserQuery | UserFilter) -> sa.Select[Any]:
    """A select of users with the conditions of a query but for `q`, within the organizations `places`."""
    if places is not None:
        wanted = wanted.where(users.c.organization_id.in_(places))
    if query.organization_id is not None:
        below = sa.select(organization_closure.c.descendant_id).where(organization_closure.c.ancestor_id == query.organization_id)
        wanted = wanted.where(sa.or_(users.c.organization_id == query.organization_id, users.c.organization_id.in_(below)))
    if query.state:
        wanted = wanted.where(users.c.state == query.state)
    if query.kind:
        wanted = wanted.where(users.c.kind == query.kind)
    if query.role:
        having = sa.select(role_grants.c.user_id).join(roles, roles.c.id == role_grants.c.role_id).where(roles.c.name == query.role)
        wanted = wanted.where(users.c.id.in_(having))
    return wanted


def _user(row: Any) -> User:
    return User(
        id=row.id,
        username=row.username,
        name=row.name,
        email=row.email,
        kind=row.kind,
        state=row.state,
        organization_id=row.organization_id,
        roles=[],
        created_at=row.created_at,
        last_login_at=row.last_login_at,
    )


# Prepared statements take a fixed number of values: a shorter list is filled up with nobody's id.
PLACES = (1, 8, 64)
MOST_PLACES = PLACES[-1]
PEOPLE = (1, 20, LARGEST_PAGE)


def _size(number: int, sizes: tuple[int, ...]) -> int:
    return next(size for size in sizes if size >= number)


def _numbered(name: str, values: Iterable[int]) -> dict[str, int]:
    return {f"{name}{place}": value for place, value in enumerate(values)}


def _any_of(column: sa.ColumnElement[int], name: str, number: int) -> sa.ColumnElement[bool]:
    ids: list[sa.BindParameter[int]] = [sa.bindparam(f"{name}{place}", 0) for place in range(number)]
    return column.in_(ids)


@lru_cache(maxsize=len(PLACES))
def _within(number: int) -> Listing:
    """The users of so many organizations."""
    return Listing(sa.select(*_SHOWN).where(_any_of(users.c.organization_id, "place", number)), sortable=_SORTABLE, order="id")


@lru_cache(maxsize=len(PEOPLE))
def _roles_of(number: int) -> Prepared:
    """The roles of so many users."""
    held = sa.select(role_grants.c.user_id, roles.c.name).join(roles, roles.c.id == role_grants.c.role_id)
    return Prepared(held.where(_any_of(role_grants.c.user_id, "id", number)))


def _add_roles(connection: sa.Connection, by_id: dict[int, User]) -> None:
    if not by_id:
        return
    for row in _roles_of(_size(len(by_id), PEOPLE)).all(connection, _numbered("id", by_id)):
        by_id[row.user_id].roles.append(row.name)
