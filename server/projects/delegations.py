"""Delegations: somebody decides for another from one time to another; both may, who did is kept, and it is not passed on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, Invalid, NotFound
from server.people import standing
from server.people.names import user_names
from server.platform import audit
from server.platform.notifications.telling import notify
from server.projects.access import AUDIT
from server.projects.audit_asked import Staff
from server.projects.audit_schemas import Delegation, DelegationBody
from server.projects.audit_steps import AuditState
from server.projects.audit_telling import WAITING, waiting
from server.projects.effects import Effects, commit
from server.projects.project_schemas import Listed
from server.projects.tables import audit_delegations as table
from server.projects.tables import audit_reviewers, audits, project_members, projects

LONGEST = timedelta(days=366)
MOST_DELEGATIONS = 20
MOST_LISTED = 500


class DelegationNotFound(NotFound):
    type = "delegation_not_found"


async def list_delegations(ctx: Context, actor: Actor) -> Listed:
    """The caller's delegations that are not over, given and received."""
    me, now = person(actor), ctx.clock.now()

    def transaction(connection: sa.Connection) -> Listed:
        wanted = sa.select(table).where(table.c.ends_at > now, sa.or_(table.c.user_id == me, table.c.to_user_id == me))
        items = _shown(connection, connection.execute(wanted.order_by(table.c.starts_at, table.c.id).limit(MOST_LISTED)).all(), now)
        return Listed(items, len(items))

    return await ctx.sql.read(transaction)


async def create_delegation(ctx: Context, actor: Actor, body: DelegationBody) -> Delegation:
    """Let somebody who holds projects:audit decide for the caller, in what is open already too. Raises Invalid naming the field."""
    me, now = person(actor), ctx.clock.now()
    if (body.to_user_id is None) == (not body.to_username.strip()):
        raise Invalid.field("to_user_id", "audit.one_of_two")
    starts_at, ends_at = _span(body, now)

    def transaction(connection: sa.Connection, effects: Effects) -> Delegation:
        to = _delegate(connection, body, me)
        counted = sa.select(sa.func.count()).select_from(table).where(table.c.user_id == me, table.c.ends_at > effects.now)
        if connection.execute(counted).scalar_one() >= MOST_DELEGATIONS:
            raise Invalid.field("to_user_id", "audit.too_many_delegations", most=MOST_DELEGATIONS)
        values = {"user_id": me, "to_user_id": to, "starts_at": starts_at, "ends_at": ends_at, "created_at": effects.now}
        made = connection.execute(table.insert().values(**values)).inserted_primary_key
        assert made is not None
        span = {"starts_at": starts_at.isoformat(), "ends_at": ends_at.isoformat()}
        audit.note(connection, effects.now, actor, "audit.delegate", f"user:{me}", to_user_id=to, **span)
        seat(connection, effects, to_user_id=to)
        row = connection.execute(sa.select(table).where(table.c.id == made[0])).one()
        return _shown(connection, [row], effects.now)[0]

    return await commit(ctx, transaction)


async def remove_delegation(ctx: Context, actor: Actor, delegation_id: int) -> None:
    """End a delegation of the caller's own; what the delegate decided stays. Raises DelegationNotFound."""
    me = person(actor)

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        row = connection.execute(sa.select(table).where(table.c.id == delegation_id, table.c.user_id == me)).one_or_none()
        if row is None or not connection.execute(table.delete().where(table.c.id == delegation_id)).rowcount:
            raise DelegationNotFound()
        still = sa.select(table.c.id).where(table.c.user_id == me, table.c.to_user_id == row.to_user_id, table.c.ends_at > effects.now)
        if connection.execute(still).first() is None:
            seats = audit_reviewers.delete().where(audit_reviewers.c.user_id == row.to_user_id, audit_reviewers.c.delegated_by == me)
            connection.execute(seats.where(audit_reviewers.c.decision.is_(None)))
        audit.note(connection, effects.now, actor, "audit.end_delegation", f"user:{me}", to_user_id=row.to_user_id)

    await commit(ctx, transaction)


def person(actor: Actor) -> int:
    """The user who calls. Raises Forbidden for one who is no user."""
    if actor.user_id is None:
        raise Forbidden(scope=AUDIT)
    return actor.user_id


def holds(now: datetime) -> sa.ColumnElement[bool]:
    """The condition on `audit_reviewers` that the row is no delegate's, or that of one whose delegation holds now."""
    current = sa.select(table.c.id).where(
        table.c.user_id == audit_reviewers.c.delegated_by, table.c.to_user_id == audit_reviewers.c.user_id, *_now(now)
    )
    return sa.or_(audit_reviewers.c.delegated_by.is_(None), current.correlate(audit_reviewers).exists())


def seat(connection: sa.Connection, effects: Effects, *, audit_id: int | None = None, to_user_id: int | None = None) -> int:
    """Give delegates whose delegation holds now their seats in an open audit, or a delegate in all of them, and tell them; how many.

    Only beside who was asked and has not decided, and never about a project of the delegate's own.
    """
    told = 0
    for row in connection.execute(_unseated(effects.now, audit_id, to_user_id)).all():
        values = {"audit_id": row.audit_id, "user_id": row.to_user_id, "delegated_by": row.user_id}
        try:
            with connection.begin_nested():
                connection.execute(audit_reviewers.insert().values(**values))
        except sa.exc.IntegrityError:  # of two who delegate to the same, one; or another asked for it at the same moment
            continue
        link = f"/audits/{row.audit_id}"
        effects.told.append(
            notify(connection, effects.now, [row.to_user_id], WAITING, str(row.audit_id), waiting(row.title, row.name), link)
        )
        told += 1
    return told


def lacks_seats(connection: sa.Connection, now: datetime, user_id: int) -> bool:
    """Whether a delegation to the user began, and there are open audits in which it gives a seat that the user does not have."""
    begun = sa.select(table.c.id).where(table.c.to_user_id == user_id, table.c.starts_at <= now, table.c.ends_at > now)
    if connection.execute(begun.limit(1)).first() is None:
        return False
    return connection.execute(_unseated(now, None, user_id).limit(1)).first() is not None


def _unseated(now: datetime, audit_id: int | None, to_user_id: int | None) -> sa.Select[Any]:
    held = audit_reviewers.alias("held")
    there = sa.select(held.c.audit_id).where(held.c.audit_id == audit_reviewers.c.audit_id, held.c.user_id == table.c.to_user_id)
    joined = sa.select(project_members.c.user_id)
    joined = joined.where(project_members.c.project_id == projects.c.id, project_members.c.user_id == table.c.to_user_id)
    wanted = (
        sa.select(audit_reviewers.c.audit_id, audit_reviewers.c.user_id, table.c.to_user_id, audits.c.name, projects.c.title)
        .join(audits, audits.c.id == audit_reviewers.c.audit_id)
        .join(projects, projects.c.id == audits.c.project_id)
        .join(table, table.c.user_id == audit_reviewers.c.user_id)
        .where(audits.c.state == AuditState.OPEN.value, audit_reviewers.c.delegated_by.is_(None), audit_reviewers.c.decision.is_(None))
        .where(*_now(now), sa.or_(projects.c.owner_id.is_(None), projects.c.owner_id != table.c.to_user_id))
        .where(sa.not_(there.exists()), sa.not_(joined.exists()))
        .order_by(audit_reviewers.c.audit_id, audit_reviewers.c.user_id)
    )
    if audit_id is not None:
        wanted = wanted.where(audits.c.id == audit_id)
    if to_user_id is not None:
        wanted = wanted.where(table.c.to_user_id == to_user_id)
    return wanted


def _now(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """That a delegation holds at a time; who was disabled delegates nothing."""
    return table.c.starts_at <= now, table.c.ends_at > now, standing.is_active(table.c.user_id)


def _span(body: DelegationBody, now: datetime) -> tuple[datetime, datetime]:
    for name, at in (("starts_at", body.starts_at), ("ends_at", body.ends_at)):
        if at is not None and at.tzinfo is None:
            raise Invalid.field(name, "audit.time_without_zone")
    starts_at = max(body.starts_at or now, now)
    if body.ends_at <= starts_at:
        raise Invalid.field("ends_at", "audit.ends_before")
    if body.ends_at - starts_at > LONGEST:
        raise Invalid.field("ends_at", "audit.delegation_too_long", days=LONGEST.days)
    return starts_at, body.ends_at


def _delegate(connection: sa.Connection, body: DelegationBody, me: int) -> int:
    """Who is to decide: an active person, not the caller, who holds projects:audit anywhere."""
    field = "to_user_id" if body.to_user_id is not None else "to_username"
    found = standing.find_active(connection, user_id=body.to_user_id, username=body.to_username)
    if found is None:
        raise Invalid.field(field, "project.no_person")
    if found == me:
        raise Invalid.field(field, "audit.delegate_oneself")
    if not Staff(connection).holds_audit([found]):
        raise Invalid.field(field, "audit.may_not_audit")
    return found


def _shown(connection: sa.Connection, rows: Sequence[Any], now: datetime) -> list[Delegation]:
    names = user_names(connection, [one for row in rows for one in (row.user_id, row.to_user_id)])
    return [
        Delegation(
            **{name: getattr(row, name) for name in ("id", "user_id", "to_user_id", "starts_at", "ends_at", "created_at")},
            user=names.get(row.user_id, ""),
            to_user=names.get(row.to_user_id, ""),
            active=row.starts_at <= now < row.ends_at,
        )
        for row in rows
    ]
