"""Series: how many projects entered, left or stood in a state, by day, week or month; of what the caller may see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.people.names import within
from server.projects.access import MANAGE
from server.projects.dashboard import narrowed
from server.projects.dashboard_cache import cache_of, signature
from server.projects.dashboard_schemas import By, Point, Series, SeriesQuery
from server.projects.states import ProjectState
from server.projects.tables import project_days, project_history, projects

FLOWS = ("entered", "left", "standing")
USUAL_DAYS = 30
MOST_POINTS = 1000


class Wanted(NamedTuple):
    """What is asked for, all of it checked; `today` is the last day of which anything is known."""

    flow: str
    state: ProjectState
    starts: date
    ends: date
    today: date
    zone: ZoneInfo


class Flows(NamedTuple):
    """How many entered a state, and how many left it."""

    came: int
    went: int


async def get_series(ctx: Context, actor: Actor, query: SeriesQuery) -> Series:
    """The points of a metric, one a period, at most a few seconds old. Raises Invalid naming the field."""
    now = ctx.clock.now()
    wanted = _checked(query, now, ZoneInfo(ctx.settings.timezone))

    async def read() -> Series:
        return await ctx.sql.read(lambda connection: _series(connection, actor, query, wanted))

    asked = (wanted.flow, wanted.state, wanted.starts, wanted.ends, query.by, query.organization_id, query.kind)
    found: Series = await cache_of(ctx).get(("series", signature(actor), *asked), read)
    return found


def _checked(query: SeriesQuery, now: datetime, zone: ZoneInfo) -> Wanted:
    flow, dot, state = query.metric.partition(".")
    if not dot:
        flow, state = "entered", query.metric
    if flow not in FLOWS or state not in list(ProjectState):
        choices = ", ".join((*FLOWS, *ProjectState))
        raise Invalid.field("metric", "field.choice", choices=choices)
    today = now.astimezone(zone).date()
    ends = _day("to", query.ends) or today
    starts = _day("from", query.starts) or ends - timedelta(days=USUAL_DAYS - 1)
    if starts > ends:
        raise Invalid.field("from", "dashboard.backwards")
    if sum(1 for _, _ in zip(_periods(starts, ends, query.by), range(MOST_POINTS + 1), strict=False)) > MOST_POINTS:
        raise Invalid.field("by", "dashboard.too_many_points", most=MOST_POINTS)
    return Wanted(flow, ProjectState(state), starts, ends, today, zone)


def _day(field: str, given: str | None) -> date | None:
    try:
        found = date.fromisoformat(given) if given else None
    except ValueError:
        raise Invalid.field(field, "dashboard.no_day") from None
    if found is not None and not 1970 <= found.year <= 2200:
        raise Invalid.field(field, "dashboard.no_day")
    return found


def first_of(day: date, by: By) -> date:
    """The first day of the period that a day is in."""
    if by is By.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if by is By.MONTH else day


def _periods(starts: date, ends: date, by: By) -> Iterator[date]:
    day = first_of(starts, by)
    while day <= ends:
        yield day
        day = first_of(day + timedelta(days=32 if by is By.MONTH else 7 if by is By.WEEK else 1), by)


def _series(connection: sa.Connection, actor: Actor, query: SeriesQuery, wanted: Wanted) -> Series:
    periods = list(_periods(wanted.starts, wanted.ends, query.by))
    last = max(wanted.today, wanted.ends) if wanted.flow == "standing" else wanted.ends
    by_day = _flows(connection, actor, query, wanted, last)
    if wanted.flow == "standing":
        values = _standing(connection, actor, query, wanted, by_day, periods)
    else:
        values, which = dict.fromkeys(periods, 0), FLOWS.index(wanted.flow)
        for day, flows in by_day.items():
            values[first_of(day, query.by)] += flows[which]
    return Series(query.metric, query.by, [Point(day.isoformat(), values[day]) for day in periods])


def _standing(
    connection: sa.Connection, actor: Actor, query: SeriesQuery, wanted: Wanted, by_day: dict[date, Flows], periods: list[date]
) -> dict[date, int]:
    """How many stood in the state when each period ended: from how many do now back through what came and went since.

    What has since become invisible to the caller is not in it. Periods that have not begun are 0.
    """
    of_state = narrowed(sa.select(sa.func.count()).select_from(projects), actor, query).where(projects.c.state == wanted.state.value)
    number, days = int(connection.execute(of_state).scalar_one()), sorted(by_day)
    values: dict[date, int] = {}
    for place in range(len(periods) - 1, -1, -1):
        end = periods[place + 1] - timedelta(days=1) if place + 1 < len(periods) else wanted.ends
        while days and days[-1] > end:
            came, went = by_day[days.pop()]
            number += went - came
        values[periods[place]] = max(number, 0) if periods[place] <= wanted.today else 0
    return values


def _flows(connection: sa.Connection, actor: Actor, query: SeriesQuery, wanted: Wanted, last: date) -> dict[date, Flows]:
    """How many entered and left the state on each day; by the days' counts for whoever manages all projects."""
    if actor.organizations(MANAGE) is None:
        return _from_days(connection, query, wanted, last)
    return _from_history(connection, actor, query, wanted, last)


def _from_days(connection: sa.Connection, query: SeriesQuery, wanted: Wanted, last: date) -> dict[date, Flows]:
    d = project_days.c
    found = sa.select(d.day, sa.func.sum(d.entered).label("came"), sa.func.sum(d.left).label("went"))
    found = found.where(d.state == wanted.state.value, d.day >= wanted.starts.isoformat(), d.day <= last.isoformat())
    if query.kind is not None:
        found = found.where(d.kind == query.kind)
    if query.organization_id is not None:
        found = found.where(within(d.organization_id, query.organization_id))
    return {date.fromisoformat(row.day): Flows(int(row.came), int(row.went)) for row in connection.execute(found.group_by(d.day))}


def _from_history(connection: sa.Connection, actor: Actor, query: SeriesQuery, wanted: Wanted, last: date) -> dict[date, Flows]:
    """By what is in the histories of the projects that the caller may see, counted by the hour, in UTC as times are kept."""
    h, state = project_history.c, wanted.state.value
    starts, ends = (_midnight(day, wanted.zone) for day in (wanted.starts, last + timedelta(days=1)))
    # Where midnight is not on a whole hour, minutes are counted.
    letters = 16 if {starts.minute, ends.minute} - {0} else 13
    at: Any = sa.cast(h.at, sa.String(26)) if connection.dialect.name == "sqlite" else sa.func.date_format(h.at, "%Y-%m-%d %H:%i")
    hour = sa.func.substr(at, 1, letters, type_=sa.String()).label("hour")
    came, went = (
        sa.func.sum(sa.case((column == state, 1), else_=0)).label(name) for column, name in ((h.to_state, "came"), (h.from_state, "went"))
    )
    # Only what is made and what moves has states; to say so would have all histories read by time, not those of the projects.
    its = narrowed(sa.select(projects.c.id), actor, query)
    found = sa.select(hour, came, went).where(h.project_id.in_(its), h.at >= starts, h.at < ends)
    found = found.where(sa.or_(h.to_state == state, h.from_state == state))
    by_day: dict[date, Flows] = {}
    for row in connection.execute(found.group_by(hour)):
        instant = datetime.fromisoformat(row.hour + (":00" if letters == 13 else "")).replace(tzinfo=UTC)
        day = instant.astimezone(wanted.zone).date()
        before = by_day.get(day, Flows(0, 0))
        by_day[day] = Flows(before.came + int(row.came), before.went + int(row.went))
    return by_day


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
