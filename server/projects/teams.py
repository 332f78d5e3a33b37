"""Teams that apply: who is invited, who has joined, and whether that makes a whole team."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from server.errors import Conflict, Invalid
from server.people.names import users_named
from server.people.standing import active_people, find_active
from server.projects.opening_schemas import TeamMember
from server.projects.tables import application_team as table
from server.projects.tables import applications

AT_ONCE = 500


class TeamState(StrEnum):
    INVITED = "invited"
    JOINED = "joined"
    REFUSED = "refused"


class Gap(StrEnum):
    """What a team lacks."""

    WAITING = "waiting"  # somebody has not answered
    TOO_FEW = "too_few"
    TOO_MANY = "too_many"
    AWAY = "away"  # an account was disabled meanwhile


class InAnotherTeam(Conflict):
    """One applies for an opening once: alone, or in one team. `name` says who is in another one."""

    type = "in_another_team"


class NotInvited(Conflict):
    """The caller has no invitation that waits for an answer."""

    type = "not_invited"


def size_of(states: Iterable[str]) -> int:
    """How many people a team has: who applies, and who has joined."""
    return 1 + sum(state == TeamState.JOINED for state in states)


def gap_of(states: Collection[str], least: int, most: int, *, all_active: bool = True) -> Gap | None:
    """What stands between a team and a whole one, given what its invited members said; None when nothing does."""
    if TeamState.INVITED in states:
        return Gap.WAITING
    if not all_active:
        return Gap.AWAY
    if size_of(states) < least:
        return Gap.TOO_FEW
    return Gap.TOO_MANY if size_of(states) > most else None


def teams_of(connection: sa.Connection, application_ids: Collection[int]) -> dict[int, list[TeamMember]]:
    """The invited people of applications, whatever they said, in the order of their names."""
    found: dict[int, list[TeamMember]] = {}
    wanted = sorted(set(application_ids))
    for first in range(0, len(wanted), AT_ONCE):
        rows = connection.execute(sa.select(table).where(table.c.application_id.in_(wanted[first : first + AT_ONCE]))).all()
        people = users_named(connection, {row.user_id for row in rows})
        for row in rows:
            if (person := people.get(row.user_id)) is not None:
                member = TeamMember(user_id=row.user_id, username=person.username, name=person.name, state=row.state)
                found.setdefault(row.application_id, []).append(member)
    for team in found.values():
        team.sort(key=lambda member: member.username)
    return found


def people_in(applicant_id: int, team: Iterable[TeamMember]) -> list[int]:
    """Who applies: the applicant first, then those who have joined."""
    return [applicant_id, *(member.user_id for member in team if member.state == TeamState.JOINED)]


def all_active(connection: sa.Connection, user_ids: Sequence[int]) -> bool:
    """Whether none of a team's accounts is disabled."""
    return len(active_people(connection, user_ids)) == len(user_ids)


def find_people(connection: sa.Connection, user_ids: Sequence[int], usernames: Sequence[str]) -> list[int]:
    """The ids of active people by id and by name, each once. Raises Invalid naming the field for one that is none."""
    wanted: dict[int, None] = {}
    found = [("team", find_active(connection, user_id=one)) for one in user_ids]
    found += [("usernames", find_active(connection, username=one)) for one in usernames]
    for field, user_id in found:
        if user_id is None:
            raise Invalid.field(field, "project.no_person")
        wanted[user_id] = None
    return list(wanted)


def invite(connection: sa.Connection, application: Any, user_ids: Sequence[int]) -> list[int]:
    """Invite people to a team; those who are invited anew. Who refused can be asked again, who has joined stays."""
    wanted = sa.select(table.c.user_id, table.c.state).where(table.c.application_id == application.id)
    held = {row.user_id: row.state for row in connection.execute(wanted)}
    new = []
    for user_id in user_ids:
        if user_id == application.applicant_id or held.get(user_id) in (TeamState.INVITED, TeamState.JOINED):
            continue
        if user_id in held:
            put(connection, application.id, user_id, TeamState.REFUSED, TeamState.INVITED)
        else:
            values = {"application_id": application.id, "user_id": user_id, "state": TeamState.INVITED.value}
            connection.execute(table.insert().values(**values))
        new.append(user_id)
    return new


def drop(connection: sa.Connection, application_id: int, user_ids: Sequence[int]) -> list[int]:
    """Take people out of a team; those who were in it."""
    one = table.c.application_id == application_id
    held = set(connection.execute(sa.select(table.c.user_id).where(one)).scalars())
    gone = [user_id for user_id in user_ids if user_id in held]
    if gone:
        connection.execute(table.delete().where(one, table.c.user_id.in_(gone)))
    return gone


def put(connection: sa.Connection, application_id: int, user_id: int, old: TeamState, new: TeamState) -> None:
    """Write what an invited person says. Raises NotInvited unless the person is in the old state."""
    one = table.update().where(table.c.application_id == application_id, table.c.user_id == user_id, table.c.state == old.value)
    if not connection.execute(one.values(state=new.value)).rowcount:
        raise NotInvited()


def check_free(connection: sa.Connection, opening_id: int, user_ids: Sequence[int], but: int = 0) -> None:
    """Raise InAnotherTeam when one of the people is in another team that has applied for the opening; `but`: an application left aside.

    The opening must be locked, so that nobody joins two teams at the same moment.
    """
    live = (applications.c.opening_id == opening_id, applications.c.state.in_(("submitted", "accepted")), applications.c.id != but)
    applied = sa.select(applications.c.applicant_id.label("user_id")).where(*live, applications.c.applicant_id.in_(user_ids))
    joined = (
        sa.select(table.c.user_id)
        .join(applications, applications.c.id == table.c.application_id)
        .where(*live, table.c.state == TeamState.JOINED.value, table.c.user_id.in_(user_ids))
    )
    for one in (applied, joined):
        if (found := connection.execute(one.limit(1)).scalar()) is not None:
            raise InAnotherTeam(name=names_of(connection, [found])[found])


def names_of(connection: sa.Connection, user_ids: Iterable[int | None]) -> Mapping[int, str]:
    """What people are called, by id; who has no name goes by the user name."""
    named = users_named(connection, {one for one in user_ids if one is not None})
    return {user_id: person.name or person.username for user_id, person in named.items()}
