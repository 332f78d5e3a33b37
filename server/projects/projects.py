"""Projects: listed and looked at, one by one, by who may see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.paging import Page, page_of
from server.people.names import Named, Place, places_named, users_named, within
from server.projects.access import access_project, blind, blind_ids, may_change, relations, visible
from server.projects.project_schemas import BudgetLine, Project, ProjectDetail, ProjectFilter, ProjectQuery
from server.projects.project_tags import tag_names, tagged
from server.projects.states import ProjectState
from server.projects.tables import project_members, projects

_LISTED = [column for column in projects.c if column.name not in ("summary", "fields")]
SORTABLE: Mapping[str, sa.ColumnElement[Any]] = {
    name: projects.c[name] for name in ("id", "title", "kind", "state", "state_since", "due_at", "created_at", "updated_at")
}


async def list_projects(ctx: Context, actor: Actor, query: ProjectQuery) -> Page[Project]:
    """The projects that the caller may see, newest first."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Page[Project]:
        wanted = narrow(sa.select(*_LISTED), actor, query, now)
        page = page_of(connection, wanted, query, lambda row: row, sortable=SORTABLE, order="-id")
        return Page(shown(connection, actor, page.items), page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


async def get_project(ctx: Context, actor: Actor, project_id: int) -> ProjectDetail:
    """Raises ProjectNotFound."""
    return await ctx.sql.read(lambda connection: detail(connection, actor, access_project(connection, actor, project_id)))


def narrow(wanted: sa.Select[Any], actor: Actor, query: ProjectQuery | ProjectFilter, now: Any) -> sa.Select[Any]:
    """A select of projects with what the caller may see and the conditions of a query.

    Asked for an organization or for people, projects that the caller reviews blindly are left out: being found would tell whose they are.
    """
    wanted = wanted.where(visible(actor))
    if query.kind:
        wanted = wanted.where(projects.c.kind.in_(_words(query.kind)))
    if query.state:
        wanted = wanted.where(projects.c.state.in_(_states(query.state)))
    if query.organization_id is not None:
        wanted = wanted.where(within(projects.c.organization_id, query.organization_id), sa.not_(blind(actor)))
    if query.owner_id is not None:
        wanted = wanted.where(projects.c.owner_id == query.owner_id, sa.not_(blind(actor)))
    if query.member_id is not None:
        wanted = wanted.where(_joined(query.member_id), sa.not_(blind(actor)))
    if query.tag:
        wanted = wanted.where(projects.c.id.in_(tagged(query.tag)))
    if query.mine:
        wanted = wanted.where(sa.or_(projects.c.owner_id == (actor.user_id or 0), _joined(actor.user_id or 0)))
    if query.overdue:
        wanted = wanted.where(projects.c.due_at < now)
    if query.q:
        wanted = wanted.where(sa.or_(contains(projects.c.title, query.q), contains(projects.c.summary, query.q)))
    return wanted


def contains(column: sa.ColumnElement[Any], words: str) -> sa.ColumnElement[bool]:
    """The condition that a text holds the words, in small letters or capitals: LIKE of either database sees no difference.

    ILIKE would turn every summary into small letters first, which takes twice as long.
    """
    return column.like("%" + words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%", escape="\\")


def shown(connection: sa.Connection, actor: Actor, rows: Sequence[Any]) -> list[Project]:
    """Projects as lists show them: with names and tags, and with whose they are hidden where the caller must not know."""
    ids = [row.id for row in rows]
    hidden = blind_ids(connection, actor, ids)
    tags = tag_names(connection, ids)
    places = places_named(connection, {row.organization_id for row in rows})
    owners = users_named(connection, {row.owner_id for row in rows if row.owner_id is not None})
    return [_project(row, Project, row.id in hidden, places, owners, tags.get(row.id, [])) for row in rows]


def detail(connection: sa.Connection, actor: Actor, row: Any) -> ProjectDetail:
    """A project as one sees it alone."""
    hidden = bool(blind_ids(connection, actor, [row.id]))
    places = places_named(connection, [row.organization_id])
    owners = users_named(connection, [] if row.owner_id is None else [row.owner_id])
    related = relations(connection, actor, row)
    made: ProjectDetail = _project(
        row,
        ProjectDetail,
        hidden,
        places,
        owners,
        tag_names(connection, [row.id]).get(row.id, []),
        summary=row.summary,
        fields=row.fields,
        budget=msgspec.convert(row.budget, list[BudgetLine]),
        opening_id=None if hidden else row.opening_id,
        relations=sorted(related),
        may_change=may_change(actor, row, related),
    )
    return made


_PLAIN = ("id", "kind", "title", "state", "state_since", "due_at", "starts_on", "ends_on", "version", "created_at", "updated_at")


def _project(
    row: Any, kind: type[Any], hidden: bool, places: Mapping[int, Place], owners: Mapping[int, Named], tags: list[str], **more: Any
) -> Any:
    return kind(
        **{name: getattr(row, name) for name in _PLAIN},
        organization_id=None if hidden else row.organization_id,
        organization="" if hidden or row.organization_id not in places else places[row.organization_id].name,
        owner_id=None if hidden else row.owner_id,
        owner="" if hidden or row.owner_id not in owners else owners[row.owner_id].name,
        budget_total=sum(line["amount"] for line in row.budget),
        blind=hidden,
        tags=tags,
        **more,
    )


def _joined(user_id: int) -> sa.ColumnElement[bool]:
    return projects.c.id.in_(sa.select(project_members.c.project_id).where(project_members.c.user_id == user_id))


def _words(given: str) -> list[str]:
    return [word.strip() for word in given.split(",") if word.strip()]


def _states(given: str) -> list[str]:
    words, known = _words(given), [state.value for state in ProjectState]
    if unknown := [word for word in words if word not in known]:
        raise Invalid.field("state", "project.no_state", state=", ".join(unknown))
    return words
