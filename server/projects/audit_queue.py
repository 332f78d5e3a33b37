"""The queue of a reviewer: the open audits that they may decide, those that they decided, and one of them with its whole way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import NotFound
from server.paging import Page, page_of
from server.people.names import user_names
from server.people.names import within as is_within
from server.projects.access import AUDIT, MANAGE, blind, own, within
from server.projects.audit_schemas import Audit, AuditDetail, AuditQuery, AuditStep, Decided
from server.projects.audit_steps import AuditState, earlier
from server.projects.audit_telling import step_name
from server.projects.audits import latest_states, steps_of_audit
from server.projects.delegations import holds, lacks_seats, person, seat
from server.projects.effects import commit
from server.projects.project_schemas import Project
from server.projects.projects import detail, shown
from server.projects.states import ProjectState, people_of
from server.projects.tables import audit_reviewers, audits, projects

_SORTABLE: Mapping[str, sa.ColumnElement[Any]] = {
    "id": audits.c.id,
    "opened_at": audits.c.opened_at,
    "due_at": audits.c.due_at,
    "title": projects.c.title,
    "decided_at": audit_reviewers.c.decided_at,
}
_DAY_S = 86_400


class AuditNotFound(NotFound):
    type = "audit_not_found"


async def list_audits(ctx: Context, actor: Actor, query: AuditQuery) -> Page[Audit]:
    """The caller's open audits, oldest first; or what they decided, newest first. `q` searches titles."""
    me, now = person(actor), ctx.clock.now()
    await _take_seats(ctx, actor, me)

    def transaction(connection: sa.Connection) -> Page[Audit]:
        decided = query.state == "decided"
        wanted = _with_mine(me).where(audit_reviewers.c.decision.is_not(None) if decided else decidable(actor, now))
        if query.kind:
            wanted = wanted.where(projects.c.kind == query.kind)
        if query.organization_id is not None:
            wanted = wanted.where(is_within(projects.c.organization_id, query.organization_id), sa.not_(blind(actor)))
        order = "-decided_at" if decided else "opened_at"
        searched = (projects.c.title,)
        page = page_of(connection, wanted, query, lambda row: row, sortable=_SORTABLE, searched=searched, order=order)
        return Page(_listed(connection, actor, page.items, now), page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


async def get_audit(ctx: Context, actor: Actor, audit_id: int) -> AuditDetail:
    """Raises AuditNotFound."""
    await _take_seats(ctx, actor, person(actor))
    return await ctx.sql.read(lambda connection: audit_detail(connection, ctx.clock.now(), actor, audit_id))


def decidable(actor: Actor, now: datetime) -> sa.ColumnElement[bool]:
    """The condition on audits, with their projects and the caller's own seats (outer joined), that the caller may decide them now.

    Asked by the chain, or for somebody who was; or, where no chain is set and where nobody is asked, by holding projects:audit there.
    """
    me = person(actor)
    other, seats = audit_reviewers.alias("other"), audit_reviewers.alias("seats")
    whose = sa.func.coalesce(audit_reviewers.c.delegated_by, audit_reviewers.c.user_id)
    filled = sa.select(other.c.audit_id).where(
        other.c.audit_id == audits.c.id, other.c.decision.is_not(None), sa.func.coalesce(other.c.delegated_by, other.c.user_id) == whose
    )
    there = within(actor.organizations(AUDIT))
    asked = sa.or_(audit_reviewers.c.delegated_by.is_not(None), audits.c.chain_id.is_not(None), there)
    mine = sa.and_(audit_reviewers.c.user_id == me, holds(now), asked, sa.not_(filled.exists()))
    anybody = sa.select(seats.c.audit_id).where(seats.c.audit_id == audits.c.id, seats.c.delegated_by.is_(None))
    return sa.and_(
        audits.c.state == AuditState.OPEN.value,
        projects.c.state == ProjectState.IN_REVIEW.value,
        sa.not_(own(me)),
        audit_reviewers.c.decision.is_(None),
        sa.or_(mine, sa.and_(audits.c.chain_id.is_(None), there), sa.and_(sa.not_(anybody.exists()), _placed(actor))),
    )


def access_audit(connection: sa.Connection, actor: Actor, audit_id: int, *, lock: bool = False) -> Any:
    """The audit's row with `project_organization_id`, if the caller was asked, or audits or manages where its project is.

    Raises AuditNotFound.
    """
    asked = sa.select(audit_reviewers.c.audit_id).where(audit_reviewers.c.audit_id == audits.c.id)
    asked = asked.where(audit_reviewers.c.user_id == person(actor))
    known = sa.or_(asked.exists(), within(actor.organizations(AUDIT)), within(actor.organizations(MANAGE)))
    wanted = sa.select(audits, projects.c.organization_id.label("project_organization_id"))
    wanted = wanted.join(projects, projects.c.id == audits.c.project_id).where(audits.c.id == audit_id, known)
    row = connection.execute(wanted.with_for_update(of=audits) if lock else wanted).one_or_none()
    if row is None:
        raise AuditNotFound()
    return row


def may_decide(connection: sa.Connection, now: datetime, actor: Actor, audit_id: int) -> bool:
    """Whether the caller may decide an audit now."""
    wanted = _with_mine(person(actor)).where(audits.c.id == audit_id, decidable(actor, now))
    return connection.execute(wanted).first() is not None


def audit_detail(connection: sa.Connection, now: datetime, actor: Actor, audit_id: int) -> AuditDetail:
    """One audit as the caller sees it. Raises AuditNotFound."""
    access_audit(connection, actor, audit_id)
    row = connection.execute(_with_mine(person(actor)).where(audits.c.id == audit_id)).one()
    project = connection.execute(sa.select(projects).where(projects.c.id == row.project_id)).one()
    allowed = may_decide(connection, now, actor, audit_id)
    possible: list[int] = []
    if allowed:
        possible = earlier(steps_of_audit(connection, row), row.step, latest_states(connection, row.project_id, row.passage))
    project_shown = detail(connection, actor, project)
    return AuditDetail(
        **_plain(row, project_shown, user_names(connection, [row.delegated_by]), now, actor),
        may_decide=allowed,
        return_to=possible,
        project=project_shown,
        steps=_steps(connection, actor, project, now),
    )


async def _take_seats(ctx: Context, actor: Actor, me: int) -> None:
    """A delegation that has begun since the audits were opened gives its seats when the delegate first looks; nobody else's look does."""
    if actor.viewer is None and await ctx.sql.read(lambda connection: lacks_seats(connection, ctx.clock.now(), me)):
        await commit(ctx, lambda connection, effects: seat(connection, effects, to_user_id=me))


def _with_mine(me: int) -> sa.Select[Any]:
    """Audits with their projects and what of the seats is the user's own."""
    mine = sa.and_(audit_reviewers.c.audit_id == audits.c.id, audit_reviewers.c.user_id == me)
    said = (audit_reviewers.c.delegated_by, audit_reviewers.c.decision, audit_reviewers.c.decided_at)
    return sa.select(audits, *said).join(projects, projects.c.id == audits.c.project_id).join(audit_reviewers, mine, isouter=True)


def _placed(actor: Actor) -> sa.ColumnElement[bool]:
    """That the reviewers of an audit would be where the actor holds projects:audit."""
    places = actor.organizations(AUDIT)
    return sa.true() if places is None else audits.c.organization_id.in_(sorted(places))


def _listed(connection: sa.Connection, actor: Actor, rows: list[Any], now: datetime) -> list[Audit]:
    ids = sorted({row.project_id for row in rows})
    found = connection.execute(sa.select(projects).where(projects.c.id.in_(ids))).all() if ids else []
    by_id = {one.id: one for one in shown(connection, actor, found)}
    names = user_names(connection, [row.delegated_by for row in rows])
    return [Audit(**_plain(row, by_id[row.project_id], names, now, actor)) for row in rows]


def _plain(row: Any, project: Project, names: Mapping[int, str], now: datetime, actor: Actor) -> dict[str, Any]:
    until = row.ended_at or now
    return {
        **{
            name: getattr(row, name) for name in ("id", "project_id", "passage", "step", "mode", "state", "opened_at", "due_at", "ended_at")
        },
        "name": step_name(row.name, actor.locale),
        "title": project.title,
        "kind": project.kind,
        "organization_id": project.organization_id,
        "organization": project.organization,
        "age_days": round((until - row.opened_at).total_seconds() / _DAY_S, 2),
        "overdue": row.due_at is not None and until > row.due_at,
        "for_user": names.get(row.delegated_by or 0, ""),
        "decision": row.decision,
    }


def _steps(connection: sa.Connection, actor: Actor, project: Any, now: datetime) -> list[AuditStep]:
    """All audits of a project in order, with what was said; in open ones only to who has no decision of their own before them."""
    rows = connection.execute(sa.select(audits).where(audits.c.project_id == project.id).order_by(audits.c.id)).all()
    ids = sa.select(audits.c.id).where(audits.c.project_id == project.id)
    said = sa.select(audit_reviewers).where(audit_reviewers.c.audit_id.in_(ids)).order_by(audit_reviewers.c.decided_at)
    seats: dict[int, list[Any]] = {}
    for one in connection.execute(said):
        seats.setdefault(one.audit_id, []).append(one)
    names = user_names(connection, [who for one in seats.values() for seat in one for who in (seat.user_id, seat.delegated_by)])
    biased = actor.user_id in people_of(connection, project)
    made = []
    for row in rows:
        hidden = row.state == AuditState.OPEN and (biased or may_decide(connection, now, actor, row.id))
        made.append(
            AuditStep(
                **{name: getattr(row, name) for name in ("id", "passage", "step", "mode", "state", "organization_id")},
                name=step_name(row.name, actor.locale),
                opened_at=row.opened_at,
                due_at=row.due_at,
                ended_at=row.ended_at,
                decisions=[_decided(one, names, hidden) for one in seats.get(row.id, [])],
            )
        )
    return made


def _decided(row: Any, names: Mapping[int, str], hidden: bool) -> Decided:
    return Decided(
        user_id=row.user_id,
        name=names.get(row.user_id, ""),
        delegated_by=row.delegated_by,
        delegated_by_name=names.get(row.delegated_by or 0, ""),
        decision=None if hidden else row.decision,
        comment=None if hidden else row.comment,
        return_to=None if hidden else row.return_to,
        decided_at=None if hidden else row.decided_at,
    )
