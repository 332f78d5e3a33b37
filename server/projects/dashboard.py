"""The dashboard: counts, funnel, what waits and for how long, who has how much to do, how scores are spread; of what the caller may see."""

from __future__ import annotations

import operator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import BooleanClauseList
from sqlalchemy.sql.util import ClauseAdapter

from server.actor import Actor
from server.context import Context
from server.people import names
from server.projects.access import MANAGE, MENTOR, blind, own, visible, within
from server.projects.dashboard_cache import cache_of, signature
from server.projects.dashboard_schemas import (
    Count,
    DashboardQuery,
    Figures,
    Load,
    MentorLoad,
    Own,
    PlaceCount,
    ProjectFigures,
    RoundScores,
    Stage,
    Waiting,
)
from server.projects.review_access import MANAGE_ROUNDS, within_rounds
from server.projects.round_schemas import OWED
from server.projects.states import ProjectState
from server.projects.tables import audit_reviewers, audits, milestones, project_members, projects, reviews, rounds

MOST_LISTED = 20
PARTS = 10
S = ProjectState
WAITING = (S.SUBMITTED, S.IN_REVIEW, S.RETURNED, S.APPROVED)
_GONE_ON = (S.APPROVED, S.RUNNING, S.COMPLETED)
FUNNEL: dict[str, tuple[ProjectState, ...]] = {
    "proposed": tuple(state for state in S if state is not S.ARCHIVED),
    "submitted": tuple(state for state in S if state not in (S.DRAFT, S.ARCHIVED)),
    "decided": (*_GONE_ON, S.RETURNED, S.REJECTED),
    "approved": _GONE_ON,
    "running": (S.RUNNING, S.COMPLETED),
    "completed": (S.COMPLETED,),
}


async def get_figures(ctx: Context, actor: Actor, query: DashboardQuery) -> Figures:
    """Figures of what the caller may see, at most a few seconds old."""

    async def read() -> Figures:
        now = ctx.clock.now()
        return await ctx.sql.read(lambda connection: _figures(connection, actor, query, now))

    found: Figures = await cache_of(ctx).get(("figures", signature(actor), query.organization_id, query.kind), read)
    return found


async def get_own(ctx: Context, actor: Actor) -> Own:
    """What waits for the caller, as it is now."""
    user_id = actor.user_id
    return Own(0, 0, None, 0, 0, 0) if user_id is None else await ctx.sql.read(lambda connection: _own(connection, user_id))


def narrowed(wanted: sa.Select[Any], actor: Actor, query: DashboardQuery) -> sa.Select[Any]:
    """A select of projects with what the caller may see and the query asks for."""
    wanted = wanted.where(seen(actor))
    if query.kind is not None:
        wanted = wanted.where(projects.c.kind == query.kind)
    if query.organization_id is not None:
        # Being counted there would tell whose it is.
        wanted = wanted.where(names.within(projects.c.organization_id, query.organization_id), sa.not_(blind(actor)))
    return wanted


def seen(actor: Actor) -> sa.ColumnElement[bool]:
    """`visible` as a union of its alternatives: each is found by an index of its own, where their `or` would read every project."""
    condition = visible(actor)
    if not isinstance(condition, BooleanClauseList) or condition.operator is not operator.or_:
        return condition
    return projects.c.id.in_(sa.union(*(sa.select(_also.c.id).where(_on_alias(way)) for way in condition.clauses)))


_also = projects.alias("also")


def _on_alias(way: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return ClauseAdapter(_also).traverse(way)


def _figures(connection: sa.Connection, actor: Actor, query: DashboardQuery, now: datetime) -> Figures:
    return Figures(
        _projects(connection, actor, query, now),
        _reviewers(connection, actor, query),
        _mentors(connection, actor, query),
        _scores(connection, actor),
    )


def _projects(connection: sa.Connection, actor: Actor, query: DashboardQuery, now: datetime) -> ProjectFigures:
    p = projects.c
    grouped = narrowed(sa.select(p.kind, p.state, sa.func.count().label("number")), actor, query).group_by(p.kind, p.state)
    counts = [Count(row.kind, row.state, row.number) for row in connection.execute(grouped.order_by(p.kind, p.state))]
    by_state = {state: sum(one.number for one in counts if one.state == state) for state in S}
    funnel = [Stage(stage, sum(by_state[state] for state in states)) for stage, states in FUNNEL.items()]
    total = sum(one.number for one in counts)
    return ProjectFigures(total, counts, funnel, _waiting(connection, actor, query, now), _places(connection, actor, query))


def _waiting(connection: sa.Connection, actor: Actor, query: DashboardQuery, now: datetime) -> list[Waiting]:
    p = projects.c

    def since(days: int) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((p.state_since >= now - timedelta(days=days), 1), else_=0))

    columns = (
        p.state,
        sa.func.count().label("number"),
        sa.func.sum(sa.case((p.due_at < now, 1), else_=0)).label("overdue"),
        sa.func.min(p.state_since).label("oldest"),
        since(7).label("week"),
        since(14).label("fortnight"),
        since(30).label("month"),
    )
    wanted = narrowed(sa.select(*columns), actor, query).where(p.state.in_([state.value for state in WAITING])).group_by(p.state)
    rows = {row.state: row for row in connection.execute(wanted)}
    found = []
    for state in WAITING:
        row = rows.get(state.value)
        if row is None:
            found.append(Waiting(state.value, 0, 0, None, 0, 0, 0, 0))
        else:
            week, fortnight, month = int(row.week), int(row.fortnight), int(row.month)
            parts = (week, fortnight - week, month - fortnight, row.number - month)
            found.append(Waiting(state.value, row.number, int(row.overdue), row.oldest, *parts))
    return found


def _places(connection: sa.Connection, actor: Actor, query: DashboardQuery) -> list[PlaceCount]:
    """The organizations with the most projects; without what the caller reviews blindly, as being counted would tell whose it is."""
    number = sa.func.count().label("number")
    wanted = narrowed(sa.select(projects.c.organization_id, number), actor, query).where(sa.not_(blind(actor)))
    wanted = wanted.group_by(projects.c.organization_id).order_by(number.desc(), projects.c.organization_id).limit(MOST_LISTED)
    rows = connection.execute(wanted).all()
    places = names.places_named(connection, [row.organization_id for row in rows])
    return [PlaceCount(one, places[one].name if one in places else "", number) for one, number in rows]


def _managed(wanted: sa.Select[Any], actor: Actor, query: DashboardQuery) -> sa.Select[Any]:
    return narrowed(wanted, actor, query).where(within(actor.organizations(MANAGE)))


def _reviewers(connection: sa.Connection, actor: Actor, query: DashboardQuery) -> list[Load]:
    """Who has decisions and scores still to give, in projects that the caller manages."""
    found: dict[int, list[Any]] = {}  # user id -> audits, reviews, the oldest
    if actor.may(MANAGE):
        asked = sa.select(audit_reviewers.c.user_id, sa.func.count().label("number"), sa.func.min(audits.c.opened_at).label("oldest"))
        asked = asked.select_from(audit_reviewers).join(audits, audits.c.id == audit_reviewers.c.audit_id)
        asked = asked.join(projects, projects.c.id == audits.c.project_id)
        open_ones = (audits.c.state == "open", audit_reviewers.c.decided_at.is_(None))
        for row in connection.execute(_managed(asked.where(*open_ones), actor, query).group_by(audit_reviewers.c.user_id)):
            found[row.user_id] = [row.number, 0, row.oldest]
    if actor.may(MANAGE_ROUNDS):
        owed = sa.select(reviews.c.reviewer_id, sa.func.count().label("number"), sa.func.min(reviews.c.assigned_at).label("oldest"))
        owed = owed.join(rounds, rounds.c.id == reviews.c.round_id).join(projects, projects.c.id == reviews.c.project_id)
        owed = owed.where(reviews.c.state.in_(OWED), rounds.c.state == "open", within_rounds(actor))
        for row in connection.execute(narrowed(owed, actor, query).group_by(reviews.c.reviewer_id)):
            load = found.setdefault(row.reviewer_id, [0, 0, row.oldest])
            load[1], load[2] = row.number, min(load[2], row.oldest)
    most = sorted(found.items(), key=lambda one: (-one[1][0] - one[1][1], one[0]))[:MOST_LISTED]
    who = names.users_named(connection, [user_id for user_id, _ in most])
    return [Load(user_id, who[user_id].name if user_id in who else "", *load) for user_id, load in most]


def _mentors(connection: sa.Connection, actor: Actor, query: DashboardQuery) -> list[MentorLoad]:
    if not actor.may(MANAGE):
        return []
    number = sa.func.count().label("number")
    wanted = sa.select(project_members.c.user_id, number).join(projects, projects.c.id == project_members.c.project_id)
    wanted = wanted.where(project_members.c.role == MENTOR, projects.c.state.in_([S.APPROVED.value, S.RUNNING.value]))
    wanted = _managed(wanted, actor, query).group_by(project_members.c.user_id)
    rows = connection.execute(wanted.order_by(number.desc(), project_members.c.user_id).limit(MOST_LISTED)).all()
    who = names.users_named(connection, [row.user_id for row in rows])
    return [MentorLoad(one, who[one].name if one in who else "", number) for one, number in rows]


def _scores(connection: sa.Connection, actor: Actor) -> list[RoundScores]:
    """The newest rounds that the caller manages; of one in which the caller has a score to give no scores are shown."""
    if not actor.may(MANAGE_ROUNDS):
        return []
    newest = sa.select(rounds.c.id, rounds.c.name, rounds.c.state).where(rounds.c.state != "draft", within_rounds(actor))
    rows = connection.execute(newest.order_by(rounds.c.id.desc()).limit(MOST_LISTED)).all()
    if not rows:
        return []
    columns = (reviews.c.round_id, reviews.c.reviewer_id, reviews.c.state, reviews.c.total)
    given: dict[int, list[float]] = {row.id: [] for row in rows}
    number, owing = dict.fromkeys(given, 0), set[int]()
    for one in connection.execute(sa.select(*columns).where(reviews.c.round_id.in_(list(given)), reviews.c.state != "declined")):
        number[one.round_id] += 1
        if one.state == "submitted" and one.total is not None:
            given[one.round_id].append(one.total)
        elif one.reviewer_id == actor.user_id:
            owing.add(one.round_id)
    return [_spread(row, number[row.id], given[row.id], hidden=row.id in owing) for row in rows]


def _spread(row: Any, number: int, totals: list[float], *, hidden: bool) -> RoundScores:
    if hidden or not totals:
        return RoundScores(row.id, row.name, row.state, number, len(totals), None, None, None, [])
    least, most, parts = min(totals), max(totals), [0] * PARTS
    width = (most - least) / PARTS
    for total in totals:
        parts[min(int((total - least) / width), PARTS - 1) if width > 0 else 0] += 1
    return RoundScores(row.id, row.name, row.state, number, len(totals), round(sum(totals) / len(totals), 4), least, most, parts)


def _own(connection: sa.Connection, user_id: int) -> Own:
    number = sa.func.count().label("number")
    asked = sa.select(number, sa.func.min(audits.c.opened_at).label("oldest")).select_from(audit_reviewers)
    asked = asked.join(audits, audits.c.id == audit_reviewers.c.audit_id)
    asked = asked.where(audit_reviewers.c.user_id == user_id, audit_reviewers.c.decided_at.is_(None), audits.c.state == "open")
    owed = sa.select(number, sa.func.min(reviews.c.assigned_at).label("oldest")).join(rounds, rounds.c.id == reviews.c.round_id)
    owed = owed.where(reviews.c.reviewer_id == user_id, reviews.c.state.in_(OWED), rounds.c.state == "open")
    audit, review = connection.execute(asked).one(), connection.execute(owed).one()
    mine = connection.execute(sa.select(projects.c.state, number).where(own(user_id)).group_by(projects.c.state)).all()
    open_ones = sa.select(number).join(projects, projects.c.id == milestones.c.project_id)
    open_ones = open_ones.where(milestones.c.state.in_(["open", "returned"]), projects.c.state == S.RUNNING.value, own(user_id))
    return Own(
        audits=audit.number,
        reviews=review.number,
        oldest_since=min((one for one in (audit.oldest, review.oldest) if one is not None), default=None),
        projects=sum(row.number for row in mine),
        returned=sum(row.number for row in mine if row.state == S.RETURNED),
        milestones=connection.execute(open_ones).scalar_one(),
    )
