"""Reminders of student projects: milestones that are due, and applications that nobody has decided after the deadline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce, notify
from server.projects.milestones import AT_WORK, MilestoneState
from server.projects.reminders import PIECE, as_param, due_now, remind, when_text, window
from server.projects.states import people_of
from server.projects.tables import applications, milestones, openings, projects

# What is told, the last id that was looked at, and how many rows there were.
Piece = tuple[list[Told], int, int]


async def remind_of_milestones(ctx: Context) -> int:
    """Remind the people of projects at work of milestones that are not delivered, before and after they are due; how many were sent."""
    return await _in_pieces(ctx, _milestones)


async def remind_of_openings(ctx: Context) -> int:
    """Remind mentors of applications that wait for a decision after the deadline; how many reminders were sent."""
    return await _in_pieces(ctx, _openings)


async def _in_pieces(ctx: Context, piece: Callable[[sa.Connection, datetime, int], Piece]) -> int:
    sent, after = 0, 0
    while True:
        told, after, number = await ctx.sql.write(lambda connection, after=after: piece(connection, ctx.clock.now(), after))  # type: ignore[misc]
        await announce(ctx, *told)
        sent += len(told)
        if number < PIECE:
            return sent


def _milestones(connection: sa.Connection, now: datetime, after: int) -> Piece:
    first, last = window(now)
    wanted = (
        sa.select(milestones)
        .join(projects, projects.c.id == milestones.c.project_id)
        .where(milestones.c.state.in_([MilestoneState.OPEN.value, MilestoneState.RETURNED.value]))
        .where(milestones.c.due_at > first, milestones.c.due_at <= last, milestones.c.id > after)
        .where(projects.c.state.in_([state.value for state in AT_WORK]))
    )
    rows = connection.execute(wanted.order_by(milestones.c.id).limit(PIECE)).all()
    told = []
    for row in rows:
        days = due_now(row.due_at, now, row.created_at)
        if days is None or not remind(connection, now, f"milestone:{row.id}", row.due_at, days):
            continue
        project = connection.execute(sa.select(projects).where(projects.c.id == row.project_id)).one()
        params = {"title": project.title, "milestone": row.title, "when": as_param(when_text(days))}
        key = f"{row.id}:{row.due_at.isoformat()}:{days}"
        told.append(notify(connection, now, people_of(connection, project), Kind.MILESTONE_DUE, key, params, f"/projects/{project.id}"))
    return told, _last(rows, after), len(rows)


def _openings(connection: sa.Connection, now: datetime, after: int) -> Piece:
    first, _ = window(now)
    wanted = (
        sa.select(openings.c.id, openings.c.title, openings.c.mentor_id, openings.c.deadline, sa.func.count().label("number"))
        .join(applications, applications.c.opening_id == openings.c.id)
        .where(openings.c.deadline > first, openings.c.deadline <= now, openings.c.id > after, applications.c.state == "submitted")
        .group_by(openings.c.id, openings.c.title, openings.c.mentor_id, openings.c.deadline)
    )
    rows = connection.execute(wanted.order_by(openings.c.id).limit(PIECE)).all()
    told = []
    for row in rows:
        days = due_now(row.deadline, now)
        if days is None or days > 0 or not remind(connection, now, f"opening:{row.id}", row.deadline, days):
            continue
        params = {"title": row.title, "number": row.number}
        key = f"{row.id}:{row.deadline.isoformat()}:{days}"
        link = f"/student-projects/{row.id}"
        told.append(notify(connection, now, [row.mentor_id], Kind.APPLICATION_WAITING, key, params, link))
    return told, _last(rows, after), len(rows)


def _last(rows: Any, after: int) -> int:
    return int(rows[-1].id) if rows else after
