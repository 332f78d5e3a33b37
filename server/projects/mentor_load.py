"""How much mentors have to do: openings, places taken, projects under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.paging import Page, page_of
from server.people.joining import people
from server.people.names import within
from server.people.organizations import check_organization
from server.projects.access import MENTOR, blind, visible
from server.projects.opening_schemas import MentorLoad, MentorQuery
from server.projects.openings import OpeningState, visible_openings
from server.projects.states import ProjectState
from server.projects.tables import applications, openings, project_members, projects

# States in which a project is no work for its mentor any more.
OVER = (ProjectState.COMPLETED, ProjectState.ARCHIVED, ProjectState.REJECTED, ProjectState.WITHDRAWN)


async def list_mentors(ctx: Context, actor: Actor, query: MentorQuery) -> Page[MentorLoad]:
    """Who offers openings or mentors student projects that the caller may see, who has most to do first; `q` searches names."""
    offered, mentored = _offered(actor, query), _mentored(actor, query)
    mentors = people()
    wanted, sortable = _select(mentors, offered, mentored)
    ordered = msgspec.structs.replace(query, sort=query.sort or "-projects")

    def transaction(connection: sa.Connection) -> Page[MentorLoad]:
        if query.organization_id is not None:
            check_organization(connection, query.organization_id)
        searched = (mentors.c.name, mentors.c.username)
        page = page_of(connection, wanted, ordered, lambda row: row, sortable=sortable, searched=searched, order="mentor_id")
        ids = [row.mentor_id for row in page.items]
        taken, students = _taken(connection, offered, ids), _students(connection, mentored, ids)
        items = [
            MentorLoad(
                **row._mapping,
                places_taken=taken.get(row.mentor_id, 0),
                students=students.get(row.mentor_id, 0),
                above_limit=row.projects > query.limit,
            )
            for row in page.items
        ]
        return Page(items, page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


def _offered(actor: Actor, query: MentorQuery) -> list[sa.ColumnElement[bool]]:
    """The openings that count."""
    wanted = [visible_openings(actor), openings.c.state == OpeningState.OPEN.value]
    return wanted if query.organization_id is None else [*wanted, within(openings.c.organization_id, query.organization_id)]


def _mentored(actor: Actor, query: MentorQuery) -> list[sa.ColumnElement[bool]]:
    """The projects that count. Those that the caller reviews blindly do not: they would tell whose they are."""
    under_way = [state.value for state in ProjectState if state not in OVER]
    wanted = [visible(actor), sa.not_(blind(actor)), projects.c.kind == "student", projects.c.state.in_(under_way)]
    return wanted if query.organization_id is None else [*wanted, within(projects.c.organization_id, query.organization_id)]


def _select(
    mentors: sa.Subquery, offered: list[sa.ColumnElement[bool]], mentored: list[sa.ColumnElement[bool]]
) -> tuple[sa.Select[Any], dict[str, sa.ColumnElement[Any]]]:
    """One row a mentor, and what it can be ordered by; what is shown besides is counted for one page alone."""
    by_opening = (
        sa.select(openings.c.mentor_id, sa.func.count().label("openings"), sa.func.sum(openings.c.places).label("places"))
        .where(*offered)
        .group_by(openings.c.mentor_id)
        .subquery("by_opening")
    )
    running = sa.func.sum(sa.case((projects.c.state == ProjectState.RUNNING.value, 1), else_=0))
    by_project = (
        sa.select(project_members.c.user_id.label("mentor_id"), sa.func.count().label("projects"), running.label("running"))
        .join(projects, projects.c.id == project_members.c.project_id)
        .where(*mentored, project_members.c.role == MENTOR)
        .group_by(project_members.c.user_id)
        .subquery("by_project")
    )
    columns: dict[str, sa.ColumnElement[Any]] = {
        "openings": by_opening.c.openings,
        "places": by_opening.c.places,
        "projects": by_project.c.projects,
        "running": by_project.c.running,
    }
    counted = {name: sa.cast(sa.func.coalesce(column, 0), sa.Integer) for name, column in columns.items()}
    labelled = (column.label(name) for name, column in counted.items())
    wanted = sa.select(mentors.c.id.label("mentor_id"), mentors.c.name.label("mentor"), *labelled)
    joined = mentors.outerjoin(by_opening, by_opening.c.mentor_id == mentors.c.id)
    joined = joined.outerjoin(by_project, by_project.c.mentor_id == mentors.c.id)
    wanted = wanted.select_from(joined).where(sa.or_(by_opening.c.mentor_id.is_not(None), by_project.c.mentor_id.is_not(None)))
    return wanted, {"mentor": mentors.c.name, "mentor_id": mentors.c.id, **counted}


def _taken(connection: sa.Connection, offered: list[sa.ColumnElement[bool]], mentor_ids: Sequence[int]) -> dict[int, int]:
    """How many places of their openings are taken, by mentor."""
    wanted = sa.select(openings.c.mentor_id, sa.func.count().label("number"))
    wanted = wanted.join(applications, applications.c.opening_id == openings.c.id).where(*offered, applications.c.state == "accepted")
    rows = connection.execute(wanted.where(openings.c.mentor_id.in_(mentor_ids)).group_by(openings.c.mentor_id))
    return {row.mentor_id: row.number for row in rows}


def _students(connection: sa.Connection, mentored: list[sa.ColumnElement[bool]], mentor_ids: Sequence[int]) -> dict[int, int]:
    """How many people there are in their projects, by mentor."""
    mentor = project_members.alias("mentor")
    wanted = (
        sa.select(mentor.c.user_id, sa.func.count(sa.distinct(project_members.c.user_id)).label("number"))
        .join(projects, projects.c.id == mentor.c.project_id)
        .join(project_members, project_members.c.project_id == projects.c.id)
        .where(*mentored, mentor.c.role == MENTOR, mentor.c.user_id.in_(mentor_ids), project_members.c.role != MENTOR)
        .group_by(mentor.c.user_id)
    )
    return {row.user_id: row.number for row in connection.execute(wanted)}
