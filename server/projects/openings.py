"""Openings for student projects: offered by mentors, seen in their organization and below it, open until a deadline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.messages import Text, text
from server.paging import Page, page_of
from server.people.joining import is_at_or_above
from server.people.names import places_named
from server.people.names import within as is_below
from server.people.organizations import check_organization, home_of
from server.people.standing import find_active
from server.platform import audit
from server.projects.access import MANAGE, READ, WRITE
from server.projects.effects import Effects, commit
from server.projects.events import DashboardStale
from server.projects.opening_schemas import Opening, OpeningBody, OpeningPatch, OpeningQuery
from server.projects.tables import application_team, applications
from server.projects.tables import openings as table
from server.projects.teams import TeamState, names_of

# Whoever offers an opening judges what students do: who gives scores may, a student may not.
OFFER = "reviews:write"
SORTABLE = {name: table.c[name] for name in ("id", "title", "state", "deadline", "places", "created_at", "updated_at")}


class OpeningState(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"  # nobody applies any more; what has come in can still be decided


class OpeningNotFound(NotFound):
    type = "opening_not_found"


class OpeningInUse(Conflict):
    """Somebody has applied for it: it can be closed, but not removed."""

    type = "opening_in_use"


class WrongOpeningState(Conflict):
    """`state` says what it is."""

    type = "opening_state"


def visible_openings(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `openings` that the actor may see the row.

    An opening is offered to its organization and all below: whoever may read projects anywhere there sees it once it is no draft.
    """
    if not actor.may(READ):
        return sa.false()
    ways = [_within(actor.organizations(MANAGE)), sa.and_(table.c.state != OpeningState.DRAFT.value, _offered(actor.organizations(READ)))]
    if actor.user_id is not None:
        ways += [table.c.mentor_id == actor.user_id, table.c.id.in_(_applied_for(actor.user_id))]
    return sa.or_(*ways)


def decided_by(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `openings` that the actor decides on applications for it."""
    if not actor.may(WRITE):
        return sa.false()
    return sa.or_(_within(actor.organizations(MANAGE)), table.c.mentor_id == (actor.user_id or 0))


def decides(actor: Actor, opening: Any) -> bool:
    """The same of one row: its mentor, or who manages projects in its organization."""
    mentors = actor.user_id is not None and opening.mentor_id == actor.user_id
    return actor.may(WRITE) and (mentors or actor.may(MANAGE, opening.organization_id))


def access_opening(connection: sa.Connection, actor: Actor, opening_id: int, *, to_change: bool = False, lock: bool = False) -> Any:
    """The opening's row. Raises OpeningNotFound, Forbidden when the actor may only look.

    `lock`: nobody applies for it, joins, decides or changes it until the transaction ends; what is counted then stays true.
    """
    wanted = sa.select(table).where(table.c.id == opening_id, visible_openings(actor))
    row = connection.execute(wanted.with_for_update(of=table) if lock else wanted).one_or_none()
    if row is None:
        raise OpeningNotFound()
    if to_change and not decides(actor, row):
        raise Forbidden(scope=MANAGE)
    return row


def is_over(opening: Any, now: datetime) -> bool:
    """Whether the deadline has passed."""
    return opening.deadline is not None and opening.deadline <= now


def count_taken(connection: sa.Connection, opening_id: int) -> int:
    """How many places are taken: one an accepted application, whatever its project has come to."""
    return _counts(connection, [opening_id], "accepted").get(opening_id, 0)


async def list_openings(ctx: Context, actor: Actor, query: OpeningQuery) -> Page[Opening]:
    """The openings that the caller may see, newest first."""
    now = ctx.clock.now()
    waiting = sa.exists().where(applications.c.opening_id == table.c.id, applications.c.state == "submitted")
    wanted = sa.select(table).where(visible_openings(actor))
    if query.state:
        wanted = wanted.where(table.c.state == query.state)
    if query.organization_id is not None:
        wanted = wanted.where(is_below(table.c.organization_id, query.organization_id))
    if query.mentor_id is not None:
        wanted = wanted.where(table.c.mentor_id == query.mentor_id)
    if query.mine:
        wanted = wanted.where(table.c.mentor_id == (actor.user_id or 0))
    if query.undecided:
        wanted = wanted.where(table.c.deadline <= now, decided_by(actor), waiting)
    if query.accepting:
        taken = sa.select(sa.func.count()).select_from(applications)
        taken = taken.where(applications.c.opening_id == table.c.id, applications.c.state == "accepted").correlate(table)
        still = sa.or_(table.c.deadline.is_(None), table.c.deadline > now)
        wanted = wanted.where(table.c.state == OpeningState.OPEN.value, still, table.c.places > taken.scalar_subquery())

    def transaction(connection: sa.Connection) -> Page[Opening]:
        searched = (table.c.title, table.c.description)
        page = page_of(connection, wanted, query, lambda row: row, sortable=SORTABLE, searched=searched, order="-id")
        return Page(_shown(connection, actor, page.items, now), page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


async def get_opening(ctx: Context, actor: Actor, opening_id: int) -> Opening:
    """Raises OpeningNotFound."""
    now = ctx.clock.now()
    return await ctx.sql.read(lambda connection: _shown(connection, actor, [access_opening(connection, actor, opening_id)], now)[0])


async def create_opening(ctx: Context, actor: Actor, body: OpeningBody) -> Opening:
    """Offer a student project. Raises Forbidden, Invalid naming the field."""

    def transaction(connection: sa.Connection, effects: Effects) -> Opening:
        place = body.organization_id or home_of(connection, actor.user_id)
        check_organization(connection, place)
        manages = actor.may(MANAGE, place)
        if not manages:
            actor.require(WRITE, place)
            actor.require(OFFER, place)
        mentor_id = body.mentor_id or actor.user_id
        if mentor_id != actor.user_id and not manages:
            raise Forbidden(scope=MANAGE)
        values = {**msgspec.structs.asdict(body), "title": body.title.strip(), "organization_id": place, "mentor_id": mentor_id}
        _check(connection, values, effects.now if body.state == "open" else None)
        made = connection.execute(table.insert().values(**values, created_at=effects.now, updated_at=effects.now))
        assert made.inserted_primary_key
        row = connection.execute(sa.select(table).where(table.c.id == made.inserted_primary_key[0])).one()
        audit.note(connection, effects.now, actor, "opening.create", f"opening:{row.id}", title=row.title, organization_id=place)
        effects.events.append(DashboardStale())
        return _shown(connection, actor, [row], effects.now)[0]

    return await commit(ctx, transaction)


async def change_opening(ctx: Context, actor: Actor, opening_id: int, patch: OpeningPatch) -> Opening:
    """Change what is given. Another mentor is for who manages. Raises OpeningNotFound, Forbidden, Invalid naming the field."""
    given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    if "title" in given:
        given["title"] = given["title"].strip()

    def transaction(connection: sa.Connection, effects: Effects) -> Opening:
        row = access_opening(connection, actor, opening_id, to_change=True, lock=True)
        changed = {name: value for name, value in given.items() if value != getattr(row, name)}
        if "mentor_id" in changed and not actor.may(MANAGE, row.organization_id):
            raise Forbidden(scope=MANAGE)
        if not changed:
            return _shown(connection, actor, [row], effects.now)[0]
        _check(connection, {**row._mapping, **changed}, effects.now if changed.get("deadline") else None, mentor="mentor_id" in changed)
        taken = count_taken(connection, opening_id)
        if changed.get("places", taken) < taken:
            raise Invalid.field("places", "opening.places_taken", taken=taken)
        connection.execute(table.update().where(table.c.id == opening_id).values(**changed, updated_at=effects.now))
        audit.note(connection, effects.now, actor, "opening.change", f"opening:{opening_id}", fields=sorted(changed))
        effects.events.append(DashboardStale())
        after = connection.execute(sa.select(table).where(table.c.id == opening_id)).one()
        return _shown(connection, actor, [after], effects.now)[0]

    return await commit(ctx, transaction)


async def open_opening(ctx: Context, actor: Actor, opening_id: int) -> Opening:
    """Let students apply, also once more after it was closed. Raises OpeningNotFound, Forbidden, Invalid for a deadline that is over."""
    return await _move(ctx, actor, opening_id, (OpeningState.DRAFT, OpeningState.CLOSED), OpeningState.OPEN)


async def close_opening(ctx: Context, actor: Actor, opening_id: int) -> Opening:
    """Let nobody apply any more. Raises OpeningNotFound, Forbidden, WrongOpeningState for a draft."""
    return await _move(ctx, actor, opening_id, (OpeningState.OPEN,), OpeningState.CLOSED)


async def remove_opening(ctx: Context, actor: Actor, opening_id: int) -> None:
    """Remove an opening for which nobody has applied. Raises OpeningNotFound, Forbidden, OpeningInUse."""

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        row = access_opening(connection, actor, opening_id, to_change=True, lock=True)
        if connection.execute(sa.select(applications.c.id).where(applications.c.opening_id == opening_id).limit(1)).first():
            raise OpeningInUse()
        connection.execute(table.delete().where(table.c.id == opening_id))
        audit.note(connection, effects.now, actor, "opening.delete", f"opening:{opening_id}", title=row.title)
        effects.events.append(DashboardStale())

    await commit(ctx, transaction)


def state_text(state: str) -> Text:
    return text(f"opening.state.{state}")


async def _move(ctx: Context, actor: Actor, opening_id: int, sources: Sequence[OpeningState], to: OpeningState) -> Opening:
    """The one writer of an opening's state; what is there already stays as it is."""

    def transaction(connection: sa.Connection, effects: Effects) -> Opening:
        row = access_opening(connection, actor, opening_id, to_change=True, lock=True)
        if row.state != to:
            if to is OpeningState.OPEN and is_over(row, effects.now):
                raise Invalid.field("deadline", "opening.deadline_past")
            one = table.update().where(table.c.id == opening_id, table.c.state.in_([source.value for source in sources]))
            if not connection.execute(one.values(state=to.value, updated_at=effects.now)).rowcount:
                raise WrongOpeningState(state=state_text(row.state))
            audit.note(connection, effects.now, actor, f"opening.{to.value}", f"opening:{opening_id}", before=row.state)
            effects.events.append(DashboardStale())
        after = connection.execute(sa.select(table).where(table.c.id == opening_id)).one()
        return _shown(connection, actor, [after], effects.now)[0]

    return await commit(ctx, transaction)


def _check(connection: sa.Connection, values: dict[str, Any], open_since: datetime | None, *, mentor: bool = True) -> None:
    """Raise Invalid for what cannot be; with `open_since` the deadline must lie after it."""
    if values["team_least"] > values["team_most"]:
        raise Invalid.field("team_least", "opening.team_sizes")
    if open_since is not None and values["deadline"] is not None and values["deadline"] <= open_since:
        raise Invalid.field("deadline", "opening.deadline_past")
    if mentor and find_active(connection, user_id=values["mentor_id"] or 0) is None:
        raise Invalid.field("mentor_id", "project.no_person")


def _shown(connection: sa.Connection, actor: Actor, rows: Sequence[Any], now: datetime) -> list[Opening]:
    """Openings as they are answered; a page of them at most."""
    ids = [row.id for row in rows]
    taken, waiting = (_counts(connection, ids, state) for state in ("accepted", "submitted"))
    places = places_named(connection, {row.organization_id for row in rows})
    mentors = names_of(connection, [row.mentor_id for row in rows])
    return [
        Opening(
            **row._mapping,
            organization=place.name if (place := places.get(row.organization_id)) else "",
            mentor=mentors.get(row.mentor_id, ""),
            places_taken=taken.get(row.id, 0),
            accepting=row.state == OpeningState.OPEN and not is_over(row, now) and taken.get(row.id, 0) < row.places,
            waiting=waiting.get(row.id, 0) if decides(actor, row) else None,
            may_change=decides(actor, row),
        )
        for row in rows
    ]


def _counts(connection: sa.Connection, opening_ids: Sequence[int], state: str) -> dict[int, int]:
    counted = sa.select(applications.c.opening_id, sa.func.count().label("number"))
    counted = counted.where(applications.c.opening_id.in_(opening_ids), applications.c.state == state).group_by(applications.c.opening_id)
    return {row.opening_id: row.number for row in connection.execute(counted)}


def _within(places: frozenset[int] | None) -> sa.ColumnElement[bool]:
    return sa.true() if places is None else table.c.organization_id.in_(sorted(places))


def _offered(places: frozenset[int] | None) -> sa.ColumnElement[bool]:
    return sa.true() if places is None else is_at_or_above(table.c.organization_id, places)


def _applied_for(user_id: int) -> sa.CompoundSelect[Any]:
    """The openings that a user has applied for, or was invited to apply for and has not refused."""
    invited = sa.select(applications.c.opening_id).join(application_team, application_team.c.application_id == applications.c.id)
    applied = sa.select(applications.c.opening_id).where(applications.c.applicant_id == user_id)
    mine = (application_team.c.user_id == user_id, application_team.c.state != TeamState.REFUSED.value)
    return sa.union_all(applied, invited.where(*mine))
