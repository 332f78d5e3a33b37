"""Conflicts of interest: who may not review what, and why; declared by people, or found in organizations, teams and supervision."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.messages import Locale, say
from server.paging import Page
from server.people.affiliations import affiliations_of, homes_of, near_above
from server.people.names import user_names
from server.projects.access import LEAD, MENTOR
from server.projects.pools import check_projects, check_reviewers, pieces, project_ids, reviewer_loads
from server.projects.review_access import access_round
from server.projects.round_schemas import MOST_PROJECTS, MOST_REVIEWERS, Conflict, ConflictQuery, ReviewState
from server.projects.states import ProjectState
from server.projects.tables import project_members, projects, review_conflicts, reviews

YEAR = timedelta(days=365.25)
# A project that goes on, or that is decided on, is a common one whenever it was begun.
GOING = (ProjectState.SUBMITTED, ProjectState.IN_REVIEW, ProjectState.APPROVED, ProjectState.RETURNED, ProjectState.RUNNING)


class ConflictKind(StrEnum):
    DECLARED = "declared"
    TEAM = "team"  # is in the project
    SUPERVISION = "supervision"  # mentors somebody of the project in another, or is mentored there
    COMMON = "common_project"  # works, or worked, with somebody of the project in another
    ORGANIZATION = "organization"
    DECLINED = "declined"  # has declined to review it


Pair = tuple[int, int]
Found = dict[Pair, list[ConflictKind]]


class Facts(msgspec.Struct):
    """What conflicts are found in; projects, people and organizations by id.

    `places`: the organizations of each project, `homes` of each reviewer; `above`: each organization with those above it that make two
    organizations one; `people` of each project; `partners`: with whom each reviewer has worked; `said`: pairs (project, reviewer) that
    people themselves have ruled out.
    """

    places: Mapping[int, Collection[int]]
    homes: Mapping[int, Collection[int]]
    above: Mapping[int, Collection[int]]
    people: Mapping[int, Collection[int]]
    partners: Mapping[int, Mapping[int, ConflictKind]]
    said: Mapping[Pair, ConflictKind]


def find(facts: Facts) -> Found:
    """Every conflict as (project, reviewer) with its kinds, the gravest first."""
    by_place: dict[int, set[int]] = defaultdict(set)
    for project, places in facts.places.items():
        for place in _reach(facts, places):
            by_place[place].add(project)
    by_person: dict[int, set[int]] = defaultdict(set)
    for project, people in facts.people.items():
        for person in people:
            by_person[person].add(project)
    found: dict[Pair, set[ConflictKind]] = defaultdict(set)
    for pair, kind in facts.said.items():
        found[pair].add(kind)
    for reviewer, homes in facts.homes.items():
        theirs = by_person.get(reviewer, set())
        for project in theirs:
            found[project, reviewer].add(ConflictKind.TEAM)
        for partner, kind in facts.partners.get(reviewer, {}).items():
            for project in by_person.get(partner, set()) - theirs:  # of a team it goes without saying
                found[project, reviewer].add(kind)
        for place in _reach(facts, homes):
            for project in by_place.get(place, ()):
                found[project, reviewer].add(ConflictKind.ORGANIZATION)
    return {pair: [kind for kind in ConflictKind if kind in found[pair]] for pair in sorted(found)}


def _reach(facts: Facts, places: Iterable[int]) -> set[int]:
    return {above for place in places for above in facts.above.get(place, ())}


def partners_of(teams: Iterable[Mapping[int, str]], reviewers: Collection[int]) -> dict[int, dict[int, ConflictKind]]:
    """With whom each reviewer has worked, from the teams of projects: roles by user id. Supervision outweighs a common project."""
    found: dict[int, dict[int, ConflictKind]] = defaultdict(dict)
    for team in teams:
        for reviewer in team.keys() & reviewers:
            for other in team.keys() - {reviewer}:
                supervised = (team[reviewer] == MENTOR) != (team[other] == MENTOR)
                if supervised or other not in found[reviewer]:
                    found[reviewer][other] = ConflictKind.SUPERVISION if supervised else ConflictKind.COMMON
    return dict(found)


def read_facts(
    connection: sa.Connection, now: datetime, round_row: Any, chosen_projects: Collection[int], chosen_reviewers: Collection[int]
) -> Facts:
    """What the database knows of these projects and reviewers, by the rules of the round."""
    teams = _teams(connection, chosen_projects)
    owners, places = _owners_and_places(connection, chosen_projects)
    proposers_homes = homes_of(connection, {one for one in owners.values() if one is not None})
    for project, owner in owners.items():
        places[project] |= {proposers_homes[owner]} if owner in proposers_homes else set()
    homes = affiliations_of(connection, chosen_reviewers)
    all_places = set().union(*places.values(), *homes.values())
    return Facts(
        places=places,
        homes={one: homes.get(one, set()) for one in chosen_reviewers},
        above={} if round_row.conflict_depth is None else near_above(connection, all_places, round_row.conflict_depth),
        people={project: {*teams.get(project, {}), *([] if owner is None else [owner])} for project, owner in owners.items()},
        partners=_partners(connection, now, round_row.conflict_years, set(chosen_reviewers)),
        said=_said(connection, round_row.id),
    )


async def list_conflicts(ctx: Context, actor: Actor, round_id: int, query: ConflictQuery) -> Page[Conflict]:
    """The conflicts of a round's pool, or of projects and persons that are named, before they are invited, with the reasons.

    Raises RoundNotFound, Invalid for projects and persons that could not be in it.
    """
    now = ctx.clock.now()

    def look(connection: sa.Connection) -> Facts:
        row = access_round(connection, actor, round_id)
        named_projects = _ids(query.project_ids, "project_ids", MOST_PROJECTS)
        named_reviewers = _ids(query.reviewer_ids, "reviewer_ids", MOST_REVIEWERS)
        check_projects(connection, actor, named_projects)
        check_reviewers(connection, named_reviewers)
        chosen = named_projects or project_ids(connection, round_id)
        return read_facts(connection, now, row, chosen, named_reviewers or list(reviewer_loads(connection, round_id)))

    facts = await ctx.sql.read(look)
    found = await asyncio.to_thread(find, facts)
    pairs = [pair for pair in found if pair[0] in facts.places and pair[1] in facts.homes]
    shown = pairs[(query.page - 1) * query.page_size : query.page * query.page_size]
    titles, names = await ctx.sql.read(lambda connection: _names(connection, shown))
    items = [
        Conflict(
            project_id=project,
            title=titles.get(project, ""),
            reviewer_id=reviewer,
            reviewer=names.get(reviewer, ""),
            kinds=[kind.value for kind in found[project, reviewer]],
            reason=in_words(found[project, reviewer], actor.locale),
        )
        for project, reviewer in shown
    ]
    return Page(items, len(pairs), query.page, query.page_size)


def in_words(kinds: Collection[ConflictKind], locale: Locale) -> str:
    """The reasons in a language."""
    return ("；" if locale == "zh" else "; ").join(say(f"score.conflict.{kind.value}", locale) for kind in kinds)


def put_declared(connection: sa.Connection, now: datetime, round_id: int, user_id: int, project_id: int, note: str) -> None:
    """Note that a reviewer has a conflict with a project; a second time the note is replaced."""
    table = review_conflicts
    one = table.update().where(table.c.round_id == round_id, table.c.user_id == user_id, table.c.project_id == project_id)
    held = sa.select(table.c.project_id).where(table.c.round_id == round_id, table.c.user_id == user_id, table.c.project_id == project_id)
    if connection.execute(held).first() is not None:
        connection.execute(one.values(note=note[:500]))
        return
    values = {"round_id": round_id, "user_id": user_id, "project_id": project_id, "kind": ConflictKind.DECLARED.value}
    connection.execute(table.insert().values(**values, note=note[:500], created_at=now))


def _teams(connection: sa.Connection, chosen: Collection[int]) -> dict[int, dict[int, str]]:
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for some in pieces(chosen):
        wanted = sa.select(project_members.c.project_id, project_members.c.user_id, project_members.c.role)
        for row in connection.execute(wanted.where(project_members.c.project_id.in_(some))):
            found[row.project_id][row.user_id] = row.role
    return found


def _owners_and_places(connection: sa.Connection, chosen: Collection[int]) -> tuple[dict[int, int | None], dict[int, set[int]]]:
    owners: dict[int, int | None] = {}
    places: dict[int, set[int]] = {}
    for some in pieces(chosen):
        wanted = sa.select(projects.c.id, projects.c.owner_id, projects.c.organization_id).where(projects.c.id.in_(some))
        for row in connection.execute(wanted):
            owners[row.id], places[row.id] = row.owner_id, {row.organization_id}
    return owners, places


def _partners(connection: sa.Connection, now: datetime, years: int, reviewers: set[int]) -> dict[int, dict[int, ConflictKind]]:
    if not years:
        return {}
    since = now - years * YEAR
    ended = sa.and_(projects.c.ends_on.is_(None), projects.c.state_since >= since)
    recent = sa.or_(projects.c.ends_on >= since.date().isoformat(), ended, projects.c.state.in_([state.value for state in GOING]))
    owners: dict[int, int | None] = {}
    for some in pieces(reviewers):
        joined = sa.select(project_members.c.project_id).where(project_members.c.user_id.in_(some))
        theirs = sa.or_(projects.c.owner_id.in_(some), projects.c.id.in_(joined))
        rows = connection.execute(sa.select(projects.c.id, projects.c.owner_id).where(theirs, recent))
        owners.update({row.id: row.owner_id for row in rows})
    teams = _teams(connection, owners)
    for project, owner in owners.items():
        if owner is not None:
            teams[project].setdefault(owner, LEAD)
    return partners_of(teams.values(), reviewers)


def _said(connection: sa.Connection, round_id: int) -> dict[Pair, ConflictKind]:
    declined = sa.select(reviews.c.project_id, reviews.c.reviewer_id)
    declined = declined.where(reviews.c.round_id == round_id, reviews.c.state == ReviewState.DECLINED.value)
    found = {(row.project_id, row.reviewer_id): ConflictKind.DECLINED for row in connection.execute(declined)}
    declared = sa.select(review_conflicts.c.project_id, review_conflicts.c.user_id).where(review_conflicts.c.round_id == round_id)
    return {**found, **{(row.project_id, row.user_id): ConflictKind.DECLARED for row in connection.execute(declared)}}


def _names(connection: sa.Connection, pairs: Collection[Pair]) -> tuple[dict[int, str], dict[int, str]]:
    titles: dict[int, str] = {}
    for some in pieces({project for project, _ in pairs}):
        rows = connection.execute(sa.select(projects.c.id, projects.c.title).where(projects.c.id.in_(some)))
        titles.update({row.id: row.title for row in rows})
    return titles, user_names(connection, {reviewer for _, reviewer in pairs})


def _ids(given: str, field: str, most: int) -> list[int]:
    words = [word for word in given.replace(" ", ",").split(",") if word]
    if len(words) > most or any(len(word) > 15 for word in words):
        raise Invalid.field(field, "field.range", low=1, high=most)
    return sorted({int(word) for word in words})
