"""Applications for openings, as those see them who apply, were invited, or decide."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, NotFound
from server.messages import Text, say, text
from server.paging import Page, page_of
from server.people.standing import active_people
from server.projects.access import READ
from server.projects.opening_schemas import Application, ApplicationQuery
from server.projects.openings import access_opening, decided_by, decides, is_over
from server.projects.tables import application_team, openings, projects
from server.projects.tables import applications as table
from server.projects.teams import AT_ONCE, TeamState, gap_of, names_of, people_in, size_of, teams_of

SORTABLE = {name: table.c[name] for name in ("id", "state", "created_at", "decided_at")}


class ApplicationState(StrEnum):
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"  # by the applicant, who may apply again


class ApplicationNotFound(NotFound):
    type = "application_not_found"


class WrongApplicationState(Conflict):
    """It waits for no decision any more; `state` says what it is."""

    type = "application_state"


def state_text(state: str) -> Text:
    return text(f"application.state.{state}")


def visible_applications(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `applications` joined with `openings`: the actor applied, was invited and has not refused, or decides."""
    if not actor.may(READ):
        return sa.false()
    ways = [decided_by(actor)]
    if actor.user_id is not None:
        mine = (application_team.c.user_id == actor.user_id, application_team.c.state != TeamState.REFUSED.value)
        invited = sa.select(application_team.c.application_id).where(*mine)
        ways += [table.c.applicant_id == actor.user_id, table.c.id.in_(invited)]
    return sa.or_(*ways)


def access_application(connection: sa.Connection, actor: Actor, application_id: int) -> tuple[Any, Any]:
    """The application's row and that of its opening, both as they are now and locked, the opening first.

    Raises ApplicationNotFound when the actor may not know of it.
    """
    seen = sa.select(table.c.opening_id).join(openings, openings.c.id == table.c.opening_id)
    opening_id = connection.execute(seen.where(table.c.id == application_id, visible_applications(actor))).scalar()
    if opening_id is None:
        raise ApplicationNotFound()
    opening = access_opening(connection, actor, opening_id, lock=True)
    row = connection.execute(sa.select(table).where(table.c.id == application_id).with_for_update()).one_or_none()
    if row is None:
        raise ApplicationNotFound()
    return row, opening


async def list_applications(ctx: Context, actor: Actor, query: ApplicationQuery, opening_id: int | None = None) -> Page[Application]:
    """The applications that the caller may see, of one opening or of all, newest first; `q` searches openings' titles and statements.

    Raises OpeningNotFound.
    """
    now = ctx.clock.now()
    wanted = sa.select(table).join(openings, openings.c.id == table.c.opening_id).where(visible_applications(actor))
    if opening_id is not None:
        wanted = wanted.where(table.c.opening_id == opening_id)
    if query.state:
        wanted = wanted.where(table.c.state == query.state)
    if query.undecided:
        wanted = wanted.where(table.c.state == ApplicationState.SUBMITTED.value, openings.c.deadline <= now)

    def transaction(connection: sa.Connection) -> Page[Application]:
        if opening_id is not None:
            access_opening(connection, actor, opening_id)
        searched = (openings.c.title, table.c.statement)
        page = page_of(connection, wanted, query, lambda row: row, sortable=SORTABLE, searched=searched, order="-id")
        return Page(shown(connection, actor, page.items, now), page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


async def get_application(ctx: Context, actor: Actor, application_id: int) -> Application:
    """Raises ApplicationNotFound."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Application:
        wanted = sa.select(table).join(openings, openings.c.id == table.c.opening_id)
        row = connection.execute(wanted.where(table.c.id == application_id, visible_applications(actor))).one_or_none()
        if row is None:
            raise ApplicationNotFound()
        return shown(connection, actor, [row], now)[0]

    return await ctx.sql.read(transaction)


def shown(connection: sa.Connection, actor: Actor, rows: Sequence[Any], now: datetime) -> list[Application]:
    """Applications as they are answered; a page of them at most."""
    ids = sorted({row.opening_id for row in rows})
    at = {row.id: row for row in connection.execute(sa.select(openings).where(openings.c.id.in_(ids)))}
    teams = teams_of(connection, [row.id for row in rows])
    names = names_of(connection, [row.applicant_id for row in rows] + [opening.mentor_id for opening in at.values()])
    kept = _kept(connection, [row.project_id for row in rows if row.project_id is not None])
    active = active_people(connection, {one for row in rows for one in people_in(row.applicant_id, teams.get(row.id, []))})
    made = []
    for row in rows:
        opening, team = at[row.opening_id], teams.get(row.id, [])
        states = [member.state for member in team]
        waits = row.state == ApplicationState.SUBMITTED
        whole = not waits or active.issuperset(people_in(row.applicant_id, team))
        gap = gap_of(states, opening.team_least, opening.team_most, all_active=whole)
        made.append(
            Application(
                id=row.id,
                opening_id=row.opening_id,
                opening=opening.title,
                mentor_id=opening.mentor_id,
                mentor=names.get(opening.mentor_id, ""),
                applicant_id=row.applicant_id,
                applicant=names.get(row.applicant_id, ""),
                statement=row.statement,
                state=row.state,
                team=team,
                size=size_of(states),
                team_least=opening.team_least,
                team_most=opening.team_most,
                complete=gap is None,
                gap="" if gap is None else say(f"application.gap.{gap.value}", actor.locale),
                deadline=opening.deadline,
                undecided=waits and is_over(opening, now),
                comment=row.comment,
                decided_by=row.decided_by,
                decided_at=row.decided_at,
                project_id=row.project_id if row.project_id in kept else None,
                may_decide=waits and decides(actor, opening) and actor.user_id not in people_in(row.applicant_id, team),
                created_at=row.created_at,
            )
        )
    return made


def _kept(connection: sa.Connection, project_ids: Sequence[int]) -> set[int]:
    """Those of the projects that are still there: their draft can be removed."""
    found: set[int] = set()
    for first in range(0, len(project_ids), AT_ONCE):
        some = sa.select(projects.c.id).where(projects.c.id.in_(project_ids[first : first + AT_ONCE]))
        found |= set(connection.execute(some).scalars())
    return found
