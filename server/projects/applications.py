"""Applying for an opening with a team: sent, joined or refused by those who are invited, changed, withdrawn, decided."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid
from server.messages import text
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.projects import members, teams
from server.projects.access import LEAD, MEMBER, MENTOR
from server.projects.application_reading import (
    ApplicationNotFound,
    ApplicationState,
    WrongApplicationState,
    access_application,
    shown,
    state_text,
)
from server.projects.effects import Effects, commit
from server.projects.events import DashboardStale
from server.projects.opening_schemas import Application, ApplicationBody, ApplicationPatch, Decision
from server.projects.openings import OpeningState, access_opening, count_taken, decides, is_over
from server.projects.project_changes import create
from server.projects.states import ProjectState
from server.projects.tables import applications as table
from server.projects.tables import projects
from server.projects.teams import TeamState, gap_of, people_in, teams_of

LINK = "/student-projects/applications"


class OpeningClosed(Conflict):
    """Nobody can apply for it now, or join a team that does: it is not open, or its deadline has passed."""

    type = "opening_closed"


class OpeningFull(Conflict):
    """All its places are taken."""

    type = "opening_full"


class AppliedAlready(Conflict):
    """One applies for an opening once; a withdrawn application does not count."""

    type = "applied_already"


class TeamIncomplete(Conflict):
    """It cannot be accepted as it is; `why` says what is missing."""

    type = "team_incomplete"


class OwnApplication(Conflict):
    """Nobody applies for their own opening, or decides on an application of their own team."""

    type = "own_application"


async def apply(ctx: Context, actor: Actor, opening_id: int, body: ApplicationBody) -> Application:
    """Apply for an opening; who is invited is told and answers by `answer`.

    Raises OpeningNotFound, OpeningClosed, OpeningFull, AppliedAlready, OwnApplication, InAnotherTeam, Invalid naming the field.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> Application:
        opening = access_opening(connection, actor, opening_id, lock=True)
        if actor.user_id is None:
            raise Forbidden(scope="projects:write")
        _check_open(opening, effects)
        if count_taken(connection, opening_id) >= opening.places:
            raise OpeningFull()
        if opening.mentor_id == actor.user_id:
            raise OwnApplication()
        key = f"{opening_id}:{actor.user_id}"
        if connection.execute(sa.select(table.c.id).where(table.c.live_key == key)).first():
            raise AppliedAlready()
        teams.check_free(connection, opening_id, [actor.user_id])
        values = {"opening_id": opening_id, "applicant_id": actor.user_id, "statement": body.statement, "live_key": key}
        made = connection.execute(table.insert().values(**values, state=ApplicationState.SUBMITTED.value, created_at=effects.now))
        assert made.inserted_primary_key
        row = connection.execute(sa.select(table).where(table.c.id == made.inserted_primary_key[0])).one()
        _invite(connection, effects, actor, opening, row, body.team, body.usernames)
        _note(connection, effects, actor, row, "create", opening_id=opening_id)
        params = {"title": opening.title, "applicant": _name(connection, row.applicant_id)}
        told = notify(connection, effects.now, [opening.mentor_id], Kind.APPLICATION_RECEIVED, str(row.id), params, f"{LINK}/{row.id}")
        effects.told.append(told)
        return shown(connection, actor, [row], effects.now)[0]

    return await commit(ctx, transaction)


async def change_application(ctx: Context, actor: Actor, application_id: int, patch: ApplicationPatch) -> Application:
    """Change the statement, invite more people or take some out of the team; for the applicant, until the deadline.

    Raises ApplicationNotFound, Forbidden, WrongApplicationState, OpeningClosed, Invalid naming the field.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> Application:
        row, opening = _own(connection, actor, application_id)
        _check_open(opening, effects)
        if patch.statement is not msgspec.UNSET:
            connection.execute(table.update().where(table.c.id == row.id).values(statement=patch.statement))
        dropped = teams.drop(connection, row.id, patch.drop)
        invited = _invite(connection, effects, actor, opening, row, patch.team, patch.usernames)
        _note(connection, effects, actor, row, "change", dropped=dropped, invited=invited)
        after = connection.execute(sa.select(table).where(table.c.id == row.id)).one()
        return shown(connection, actor, [after], effects.now)[0]

    return await commit(ctx, transaction)


async def answer(ctx: Context, actor: Actor, application_id: int, *, join: bool) -> Application:
    """Join a team that one is invited to, or refuse; who has joined may still refuse while nothing is decided.

    Raises ApplicationNotFound, WrongApplicationState, NotInvited; for joining also OpeningClosed, OwnApplication, InAnotherTeam.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> Application:
        row, opening = access_application(connection, actor, application_id)
        user_id = actor.user_id or 0
        held = {member.user_id: member.state for member in teams_of(connection, [row.id]).get(row.id, [])}.get(user_id)
        if held not in (TeamState.INVITED, TeamState.JOINED) or (join and held == TeamState.JOINED):
            raise teams.NotInvited()
        _check_waits(row)
        if join:
            _check_open(opening, effects)
            if opening.mentor_id == user_id:
                raise OwnApplication()
            teams.check_free(connection, opening.id, [user_id], but=row.id)
        to = TeamState.JOINED if join else TeamState.REFUSED
        teams.put(connection, row.id, user_id, TeamState(held), to)
        _note(connection, effects, actor, row, "join" if join else "refuse")
        _tell_answer(connection, effects, actor, opening, row, to.value, row.applicant_id)
        return shown(connection, actor, [row], effects.now)[0]

    return await commit(ctx, transaction)


async def withdraw(ctx: Context, actor: Actor, application_id: int) -> Application:
    """Take an application back before it is decided.

    An accepted one of which nothing came, since its draft was removed or its project rejected, is taken back by who decides as well; its
    place is free again. Raises ApplicationNotFound, Forbidden, WrongApplicationState.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> Application:
        row, opening = access_application(connection, actor, application_id)
        came_to_nothing = row.state == ApplicationState.ACCEPTED and not _lives(connection, row.project_id)
        if row.applicant_id != actor.user_id and not (came_to_nothing and decides(actor, opening)):
            raise Forbidden(scope="projects:write")
        if not came_to_nothing:
            _check_waits(row)
        after = _move(connection, row, ApplicationState.WITHDRAWN, live_key=None)
        _note(connection, effects, actor, row, "withdraw")
        if actor.user_id != opening.mentor_id:
            _tell_answer(connection, effects, actor, opening, row, after.state, opening.mentor_id)
        _tell_decided(connection, effects, actor, opening, after)
        return shown(connection, actor, [after], effects.now)[0]

    return await commit(ctx, transaction)


async def decide(ctx: Context, actor: Actor, application_id: int, decision: Decision) -> Application:
    """Accept or decline; an accepted one becomes a draft of a student project with the team and the mentor.

    Of two that are accepted at the same moment, one takes the last place. Raises ApplicationNotFound, Forbidden, WrongApplicationState,
    OwnApplication, TeamIncomplete, OpeningFull.
    """
    accepted = decision.decision == "accept"

    def transaction(connection: sa.Connection, effects: Effects) -> Application:
        row, opening = access_application(connection, actor, application_id)
        if not decides(actor, opening):
            raise Forbidden(scope="projects:manage")
        team = teams_of(connection, [row.id]).get(row.id, [])
        people = people_in(row.applicant_id, team)
        if actor.user_id in people:
            raise OwnApplication()
        _check_waits(row)
        values: dict[str, Any] = {
            "comment": decision.comment.strip() or None,
            "decided_by": actor.user_id,
            "decided_at": effects.now,
        }
        if accepted:
            active = teams.all_active(connection, people)
            gap = gap_of([member.state for member in team], opening.team_least, opening.team_most, all_active=active)
            if gap is not None:
                raise TeamIncomplete(why=text(f"application.gap.{gap.value}"))
            if count_taken(connection, opening.id) >= opening.places:
                raise OpeningFull()
            values["project_id"] = _make_project(connection, effects, actor, opening, row, people)
        after = _move(connection, row, ApplicationState.ACCEPTED if accepted else ApplicationState.DECLINED, **values)
        _note(connection, effects, actor, row, decision.decision, project_id=after.project_id)
        _tell_decided(connection, effects, actor, opening, after)
        return shown(connection, actor, [after], effects.now)[0]

    return await commit(ctx, transaction)


def _make_project(connection: sa.Connection, effects: Effects, actor: Actor, opening: Any, row: Any, people: list[int]) -> int:
    """The draft that an accepted application becomes, led by the applicant; its id."""
    project = create(
        connection,
        effects,
        actor,
        kind="student",
        title=opening.title,
        summary=opening.description,
        organization_id=opening.organization_id,
        owner_id=row.applicant_id,
        fields={"statement": row.statement} if row.statement else {},
        opening_id=opening.id,
    )
    roles = {**dict.fromkeys(people, MEMBER), row.applicant_id: LEAD, opening.mentor_id: MENTOR}
    for user_id, role in roles.items():
        members.put(connection, effects, actor, project, user_id, role)
    return int(project.id)


def _own(connection: sa.Connection, actor: Actor, application_id: int) -> tuple[Any, Any]:
    """An application that its applicant may still change, and its opening."""
    row, opening = access_application(connection, actor, application_id)
    if row.applicant_id != actor.user_id:
        raise Forbidden(scope="projects:write")
    _check_waits(row)
    return row, opening


def _invite(
    connection: sa.Connection, effects: Effects, actor: Actor, opening: Any, row: Any, user_ids: list[int], usernames: list[str]
) -> list[int]:
    """Invite people, tell them, and say who is new. Raises Invalid for nobody, for the mentor, and for more than the team can hold."""
    field = "usernames" if usernames else "team"
    wanted = teams.find_people(connection, user_ids, usernames)
    if opening.mentor_id in wanted:
        raise Invalid.field(field, "application.mentor_in_team")
    new = teams.invite(connection, row, wanted)
    states = [member.state for member in teams_of(connection, [row.id]).get(row.id, [])]
    if new and 1 + sum(state != TeamState.REFUSED for state in states) > opening.team_most:
        raise Invalid.field(field, "application.team_most", most=opening.team_most)
    params = {"title": opening.title, "applicant": _name(connection, row.applicant_id)}
    key = f"{row.id}:{effects.now.isoformat()}"
    effects.told.append(notify(connection, effects.now, new, Kind.APPLICATION_INVITED, key, params, f"{LINK}/{row.id}"))
    return new


def _move(connection: sa.Connection, row: Any, to: ApplicationState, **values: Any) -> Any:
    """The one writer of an application's state: as it was read, it must still be."""
    one = table.update().where(table.c.id == row.id, table.c.state == row.state)
    moved = connection.execute(one.values(state=to.value, **values)).rowcount
    after = connection.execute(sa.select(table).where(table.c.id == row.id)).one_or_none()
    if after is None:
        raise ApplicationNotFound()
    if not moved:
        raise WrongApplicationState(state=state_text(after.state))
    return after


def _tell_answer(connection: sa.Connection, effects: Effects, actor: Actor, opening: Any, row: Any, said: str, user_id: int) -> None:
    """Tell somebody that the actor has joined, refused, or withdrawn the application."""
    answer = {"key": f"application.answer.{said}", "params": {}}
    params = {"title": opening.title, "name": _name(connection, actor.user_id or 0), "answer": answer}
    key = f"{row.id}:{actor.user_id}:{said}:{effects.now.isoformat()}"
    effects.told.append(notify(connection, effects.now, [user_id], Kind.APPLICATION_ANSWERED, key, params, f"{LINK}/{row.id}"))


def _tell_decided(connection: sa.Connection, effects: Effects, actor: Actor, opening: Any, row: Any) -> None:
    """Tell the whole team, with those who have not answered, but not who did it."""
    team = teams_of(connection, [row.id]).get(row.id, [])
    wanted = {row.applicant_id, *(member.user_id for member in team if member.state != TeamState.REFUSED)} - {actor.user_id or 0}
    params = {"title": opening.title, "state": {"key": f"application.state.{row.state}", "params": {}}}
    link = f"/projects/{row.project_id}" if row.project_id else f"{LINK}/{row.id}"
    effects.told.append(notify(connection, effects.now, wanted, Kind.APPLICATION_DECIDED, f"{row.id}:{row.state}", params, link))
    effects.events.append(DashboardStale())


def _lives(connection: sa.Connection, project_id: int | None) -> bool:
    """Whether something can still come of the project."""
    state = connection.execute(sa.select(projects.c.state).where(projects.c.id == (project_id or 0))).scalar()
    return state is not None and state != ProjectState.REJECTED


def _check_waits(row: Any) -> None:
    if row.state != ApplicationState.SUBMITTED:
        raise WrongApplicationState(state=state_text(row.state))


def _check_open(opening: Any, effects: Effects) -> None:
    if opening.state != OpeningState.OPEN or is_over(opening, effects.now):
        raise OpeningClosed()


def _name(connection: sa.Connection, user_id: int) -> str:
    return teams.names_of(connection, [user_id]).get(user_id, "")


def _note(connection: sa.Connection, effects: Effects, actor: Actor, row: Any, verb: str, **detail: Any) -> None:
    audit.note(connection, effects.now, actor, f"application.{verb}", f"application:{row.id}", **detail)
