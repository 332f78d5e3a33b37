"""What a user may, where and by which role; and why something is allowed or not, in one sentence."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.messages import Text, text
from server.people.organizations import check_organization
from server.people.tables import organization_closure as closure
from server.people.tables import organizations, role_grants, roles
from server.people.user_rights import access_user
from server.people.user_schemas import OrganizationId, UserState
from server.scopes import SCOPES


class RightsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """With a `scope`, also why the user has it or not: in an organization, or anywhere."""

    scope: Annotated[str, msgspec.Meta(max_length=64)] = ""
    organization_id: OrganizationId | None = None


class Source(msgspec.Struct):
    """A role that was granted in an organization and holds there and below; at the root, everywhere."""

    role: str
    organization_id: int
    organization: str
    everywhere: bool


class HeldScope(msgspec.Struct):
    scope: str
    meaning: str
    sources: list[Source]


class Explained(msgspec.Struct):
    """Whether the user may, and one sentence that says why, in both languages."""

    scope: str
    organization_id: int | None
    allowed: bool
    zh: str
    en: str


class Rights(msgspec.Struct):
    """What a user holds; someone disabled holds it in vain (`state`)."""

    user_id: int
    username: str
    state: str
    scopes: list[HeldScope]
    explained: Explained | None


async def get_rights(ctx: Context, actor: Actor, user_id: int, query: RightsQuery) -> Rights:
    """A user's rights, explained. Raises UserNotFound for one whom the caller may not see, Invalid for an unknown scope or organization."""
    if query.scope and query.scope not in SCOPES:
        raise Invalid.field("scope", "field.choice", choices=", ".join(sorted(SCOPES)))
    if query.organization_id is not None and not query.scope:
        raise Invalid.field("scope", "field.required")

    def transaction(connection: sa.Connection) -> Rights:
        user = access_user(connection, actor, user_id)
        granted = _granted(connection, user_id)
        explained = _explain(connection, user, granted, query) if query.scope else None
        held: dict[str, list[Source]] = {}
        for row in granted:
            for scope in row.scopes:
                held.setdefault(scope, []).append(_source(row))
        language = 0 if actor.locale == "zh" else 1
        scopes = [HeldScope(scope, SCOPES[scope][language], held[scope]) for scope in SCOPES if scope in held]
        return Rights(user.id, user.username, user.state, scopes, explained)

    return await ctx.sql.read(transaction)


def _granted(connection: sa.Connection, user_id: int) -> list[Any]:
    wanted = (
        sa.select(roles.c.name, roles.c.scopes, organizations.c.id, organizations.c.parent_id, organizations.c.name.label("organization"))
        .select_from(role_grants.join(roles, roles.c.id == role_grants.c.role_id))
        .join(organizations, organizations.c.id == role_grants.c.organization_id)
        .where(role_grants.c.user_id == user_id)
        .order_by(organizations.c.id, roles.c.name)
    )
    return list(connection.execute(wanted))


def _source(row: Any) -> Source:
    return Source(row.name, row.id, row.organization, row.parent_id is None)


def _explain(connection: sa.Connection, user: Any, granted: list[Any], query: RightsQuery) -> Explained:
    giving = [row for row in granted if query.scope in row.scopes]
    by = giving
    place = ""
    if query.organization_id is not None:
        check_organization(connection, query.organization_id)
        place = connection.execute(sa.select(organizations.c.name).where(organizations.c.id == query.organization_id)).scalar_one()
        lineage = sa.select(closure.c.ancestor_id).where(closure.c.descendant_id == query.organization_id)
        above = {query.organization_id, *connection.execute(lineage).scalars()}
        by = [row for row in giving if row.parent_id is None or row.id in above]
    allowed = bool(by) and user.state == UserState.ACTIVE.value
    told = _sentence(user, query, place, giving, by, allowed)
    return Explained(query.scope, query.organization_id, allowed, told.say("zh"), told.say("en"))


def _sentence(user: Any, query: RightsQuery, place: str, giving: list[Any], by: list[Any], allowed: bool) -> Text:
    said = {"username": user.username, "scope": query.scope, "place": place}
    if user.state != UserState.ACTIVE.value:
        return text("rights.disabled", **said)
    if allowed:
        row = by[0]
        where = "rights.everywhere" if row.parent_id is None else "rights.there" if row.id == query.organization_id else "rights.above"
        if query.organization_id is None and row.parent_id is not None:
            where = "rights.somewhere"
        return text(where, **said, role=row.name, organization=row.organization)
    if giving:
        return text("rights.elsewhere", **said, organizations=", ".join(dict.fromkeys(row.organization for row in giving)))
    return text("rights.none", **said)
