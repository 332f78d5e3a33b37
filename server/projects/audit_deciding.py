"""Deciding an audit: by who is asked, once, and what follows for the project; several at once, each on its own."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, DomainError, Forbidden, Invalid
from server.messages import text
from server.people.standing import active_people
from server.platform import audit as audit_log
from server.projects import history
from server.projects.access import AUDIT
from server.projects.audit_queue import access_audit, audit_detail, may_decide
from server.projects.audit_schemas import AUTHOR, AuditDetail, BatchAnswer, BatchBody, BatchOutcome, DecideBody
from server.projects.audit_steps import AuditState, Seat, earlier, ending
from server.projects.audits import Way, way_of
from server.projects.delegations import holds, person, seat
from server.projects.effects import Effects, commit
from server.projects.events import ProjectChanged
from server.projects.states import Action, people_of
from server.projects.tables import audit_reviewers, audits, projects

# Decisions of a batch that are under way at once.
ABREAST = 5


class AuditEnded(Conflict):
    """The step is over: somebody else decided it, or the project was withdrawn."""

    type = "audit_ended"


class AuditDecided(Conflict):
    """The caller has decided this step."""

    type = "audit_decided"


class NotAsked(Forbidden):
    """The caller sees the audit, but others decide it."""

    type = "not_asked"


class OwnProject(Forbidden):
    """Nobody decides on a project of their own."""

    type = "own_project"


async def decide(ctx: Context, actor: Actor, audit_id: int, body: DecideBody) -> AuditDetail:
    """Decide an audit for the caller, or for whoever delegated it to the caller.

    Raises AuditNotFound, NotAsked, OwnProject, AuditEnded, AuditDecided, Invalid naming the field.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> AuditDetail:
        _decide(connection, effects, actor, audit_id, body)
        return audit_detail(connection, effects.now, actor, audit_id)

    return await commit(ctx, transaction)


async def decide_many(ctx: Context, actor: Actor, body: BatchBody) -> BatchAnswer:
    """The same decision on each of the audits, in its own transaction; one that is refused hinders no other."""
    wanted = DecideBody(decision=body.decision, comment=body.comment, return_to=body.return_to)

    async def one(audit_id: int) -> BatchOutcome:
        try:
            return await commit(ctx, lambda connection, effects: _decide_one(connection, effects, actor, audit_id, wanted))
        except DomainError as refused:
            return BatchOutcome(id=audit_id, ok=False, error=refused.type, message=_said(refused, actor))

    ids, items = list(dict.fromkeys(body.ids)), list[BatchOutcome]()
    for first in range(0, len(ids), ABREAST):
        items += await asyncio.gather(*(one(audit_id) for audit_id in ids[first : first + ABREAST]))
    decided = sum(item.ok for item in items)
    return BatchAnswer(items=items, decided=decided, refused=len(items) - decided)


class _Here(NamedTuple):
    """What a decision is about: the audit, its project, its way, and for whom the caller decides (None: for themselves)."""

    row: Any
    project: Any
    way: Way
    delegated_by: int | None


def _decide(connection: sa.Connection, effects: Effects, actor: Actor, audit_id: int, body: DecideBody) -> None:
    comment = body.comment.strip()
    _check(body, comment)
    here = _access(connection, effects, actor, audit_id)
    if body.return_to != AUTHOR:
        _check_step(here, int(body.return_to))
    _write_down(connection, effects, actor, here, body, comment)
    ended = ending(here.row.mode, body.decision, _seats(connection, here))
    if ended is not None:
        _end(connection, effects, here, ended)
        _follow(here, ended, body, comment)
    effects.events.append(ProjectChanged(here.project.id, here.project.organization_id, _state(connection, here.project.id)))


def _decide_one(connection: sa.Connection, effects: Effects, actor: Actor, audit_id: int, body: DecideBody) -> BatchOutcome:
    _decide(connection, effects, actor, audit_id, body)
    now = sa.select(audits.c.state, projects.c.state.label("project_state")).join(projects, projects.c.id == audits.c.project_id)
    row = connection.execute(now.where(audits.c.id == audit_id)).one()
    return BatchOutcome(id=audit_id, ok=True, state=row.state, project_state=row.project_state)


def _check(body: DecideBody, comment: str) -> None:
    if body.decision != "approve" and not comment:
        raise Invalid.field("comment", "project.comment_missing")
    if body.return_to != AUTHOR and body.decision != "return":
        raise Invalid.field("return_to", "audit.only_with_return")


def _access(connection: sa.Connection, effects: Effects, actor: Actor, audit_id: int) -> _Here:
    """The audit, locked with its project (which comes first, as a withdrawal locks it first), if the caller may decide it."""
    me = person(actor)
    seat(connection, effects, audit_id=audit_id, to_user_id=me)
    project_id = access_audit(connection, actor, audit_id).project_id
    project = connection.execute(sa.select(projects).where(projects.c.id == project_id).with_for_update()).one()
    row = access_audit(connection, actor, audit_id, lock=True)
    if me in people_of(connection, project):
        raise OwnProject(scope=AUDIT)
    delegated_by = _for_whom(connection, effects, actor, row, me)
    return _Here(row, project, way_of(connection, effects, actor, project, row), delegated_by)


def _for_whom(connection: sa.Connection, effects: Effects, actor: Actor, row: Any, me: int) -> int | None:
    """For whom the caller decides. Raises NotAsked, AuditDecided, and AuditEnded for a step that is over."""
    if row.state != AuditState.OPEN:
        raise AuditEnded(state=text(f"audit.state.{row.state}"))
    seats = connection.execute(sa.select(audit_reviewers).where(audit_reviewers.c.audit_id == row.id)).all()
    if may_decide(connection, effects.now, actor, row.id):
        still = sa.select(audit_reviewers.c.delegated_by).where(audit_reviewers.c.audit_id == row.id, audit_reviewers.c.user_id == me)
        return connection.execute(still.where(holds(effects.now))).scalar()
    mine = next((seat for seat in seats if seat.user_id == me), None)
    whose = None if mine is None else mine.delegated_by or me
    if any(seat.decision is not None and (seat.delegated_by or seat.user_id) == whose for seat in seats):
        raise AuditDecided()
    raise NotAsked(scope=AUDIT)


def _check_step(here: _Here, number: int) -> None:
    possible = earlier(here.way.steps, here.row.step, here.way.states())
    if number in possible:
        return
    if not possible:
        raise Invalid.field("return_to", "audit.no_earlier_step")
    raise Invalid.field("return_to", "audit.no_such_step", step=number, steps=", ".join(map(str, possible)))


def _write_down(connection: sa.Connection, effects: Effects, actor: Actor, here: _Here, body: DecideBody, comment: str) -> None:
    """The decision on the caller's seat, or on a new one of who has none; history and the audit log."""
    row, me = here.row, person(actor)
    return_to = None if body.return_to == AUTHOR else int(body.return_to)
    said = {"decision": body.decision, "comment": comment or None, "return_to": return_to, "decided_at": effects.now}
    mine = audit_reviewers.update().where(audit_reviewers.c.audit_id == row.id, audit_reviewers.c.user_id == me)
    values = {**said, "delegated_by": here.delegated_by}
    if not connection.execute(mine.where(audit_reviewers.c.decision.is_(None)).values(**values)).rowcount:
        connection.execute(audit_reviewers.insert().values(audit_id=row.id, user_id=me, **values))
    detail: dict[str, Any] = {"audit_id": row.id, "step": row.step, "name": row.name}
    if here.delegated_by is not None:
        detail["delegated_by"] = here.delegated_by
    if return_to is not None:
        detail["return_to"] = return_to
    history.add(connection, effects.now, actor, here.project.id, "audit", action=body.decision, comment=comment or None, **detail)
    audit_log.note(
        connection, effects.now, actor, f"audit.{body.decision}", f"audit:{row.id}", project_id=here.project.id, comment=comment, **detail
    )


def _seats(connection: sa.Connection, here: _Here) -> list[Seat]:
    """Who is asked and what they said; away are those who were disabled, or became people of the project, since."""
    rows = connection.execute(sa.select(audit_reviewers).where(audit_reviewers.c.audit_id == here.row.id)).all()
    here_still = active_people(connection, [row.user_id for row in rows]) - people_of(connection, here.project)
    return [Seat(row.user_id, row.delegated_by, row.decision, away=row.user_id not in here_still) for row in rows]


def _end(connection: sa.Connection, effects: Effects, here: _Here, ended: AuditState) -> None:
    one = audits.update().where(audits.c.id == here.row.id, audits.c.state == AuditState.OPEN.value)
    if not connection.execute(one.values(state=ended.value, ended_at=effects.now)).rowcount:
        raise AuditEnded(state=text(f"audit.state.{AuditState.CANCELLED.value}"))


def _follow(here: _Here, ended: AuditState, body: DecideBody, comment: str) -> None:
    """What comes after a step has ended."""
    if ended is AuditState.APPROVED:
        here.way.go_on(here.row.step, comment or None)
    elif ended is AuditState.REJECTED:
        here.way.end(Action.REJECT, comment)
    elif body.return_to == AUTHOR:
        here.way.end(Action.RETURN, comment)
    else:
        here.way.go_back(int(body.return_to))


def _state(connection: sa.Connection, project_id: int) -> str:
    return str(connection.execute(sa.select(projects.c.state).where(projects.c.id == project_id)).scalar_one())


def _said(refused: DomainError, actor: Actor) -> str:
    reasons = [one.say(actor.locale) for field in refused.fields.values() for one in field]
    return " ".join(reasons) if reasons else refused.text.say(actor.locale)
