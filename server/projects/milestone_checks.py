"""What is delivered at a milestone, and how its check ends: passed, or returned to be delivered again."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.projects.access import LEAD, MANAGE, MEMBER, MENTOR, WRITE, relations
from server.projects.attachments import attach
from server.projects.effects import Effects, commit
from server.projects.milestone_schemas import Check, Delivery, Milestone
from server.projects.milestones import (
    AT_WORK,
    MilestoneState,
    WrongMilestoneState,
    access_milestone,
    may_check,
    may_deliver,
    note,
    shown,
    state_text,
)
from server.projects.states import Who
from server.projects.states import state_text as project_state_text
from server.projects.tables import milestones as table
from server.projects.tables import project_members


class ProjectNotAtWork(Conflict):
    """Deliveries and checks belong to approved and running projects; `state` says what it is."""

    type = "project_not_at_work"


class OwnMilestone(Conflict):
    """Nobody checks a milestone of a project that they work on."""

    type = "own_milestone"


class DeliveredAgain(Conflict):
    """There is a newer delivery than the one that was looked at."""

    type = "delivered_again"


async def deliver(ctx: Context, actor: Actor, project_id: int, milestone_id: int, delivery: Delivery) -> Milestone:
    """Deliver, or deliver again until the check is passed; the document is attached to the project, and who checks is told.

    Raises ProjectNotFound, MilestoneNotFound, Forbidden, ProjectNotAtWork, WrongMilestoneState, Invalid naming the field.
    """
    said = delivery.note.strip()
    if delivery.document_id is None and not said:
        raise Invalid.field("document_id", "milestone.nothing_delivered")

    def transaction(connection: sa.Connection, effects: Effects) -> Milestone:
        project, row = access_milestone(connection, actor, project_id, milestone_id)
        related = relations(connection, actor, project)
        if not may_deliver(actor, project, related):
            _check_at_work(project)
            raise Forbidden(scope=WRITE)
        if delivery.document_id is not None:
            attach(connection, effects, actor, project, delivery.document_id, "delivery")
        after = _move(
            connection,
            row,
            (MilestoneState.OPEN, MilestoneState.DELIVERED, MilestoneState.RETURNED),
            MilestoneState.DELIVERED,
            document_id=delivery.document_id,
            note=said or None,
            delivered_at=effects.now,
        )
        entry = note(connection, effects, actor, project, row, "deliver", document_id=delivery.document_id)
        wanted = _with_role(connection, project, (MENTOR,)) - {actor.user_id or 0}
        params = {"title": project.title, "milestone": row.title}
        effects.told.append(
            notify(connection, effects.now, wanted, Kind.MILESTONE_DELIVERED, str(entry), params, f"/projects/{project.id}")
        )
        return shown(connection, actor, project, [after], effects.now)[0]

    return await commit(ctx, transaction)


async def check(ctx: Context, actor: Actor, project_id: int, milestone_id: int, given: Check) -> Milestone:
    """Pass a delivery, or return it with the reason; who works on the project is told.

    Raises ProjectNotFound, MilestoneNotFound, Forbidden, OwnMilestone, ProjectNotAtWork, WrongMilestoneState, DeliveredAgain, Invalid.
    """
    comment = given.comment.strip()
    to = MilestoneState.PASSED if given.decision == "pass" else MilestoneState.RETURNED
    if to is MilestoneState.RETURNED and not comment:
        raise Invalid.field("comment", "project.comment_missing")

    def transaction(connection: sa.Connection, effects: Effects) -> Milestone:
        project, row = access_milestone(connection, actor, project_id, milestone_id)
        related = relations(connection, actor, project)
        if not may_check(actor, project, related):
            if (Who.MANAGER in related or Who.MENTOR in related) and (Who.PROPOSER in related or MEMBER in related):
                raise OwnMilestone()
            if Who.MANAGER in related or Who.MENTOR in related:
                _check_at_work(project)
            raise Forbidden(scope=MANAGE)
        if given.delivered_at is not None and row.delivered_at is not None and given.delivered_at < row.delivered_at:
            raise DeliveredAgain()
        values = {"checked_by": actor.user_id, "checked_at": effects.now, "comment": comment or None}
        after = _move(connection, row, (MilestoneState.DELIVERED,), to, **values)
        entry = note(connection, effects, actor, project, row, given.decision, comment=comment or None)
        wanted = (_with_role(connection, project, (LEAD, MEMBER)) | {project.owner_id or 0}) - {0, actor.user_id}
        params = {"title": project.title, "milestone": row.title, "state": {"key": f"milestone.state.{to.value}", "params": {}}}
        effects.told.append(notify(connection, effects.now, wanted, Kind.MILESTONE_CHECKED, str(entry), params, f"/projects/{project.id}"))
        return shown(connection, actor, project, [after], effects.now)[0]

    return await commit(ctx, transaction)


def _move(connection: sa.Connection, row: Any, sources: tuple[MilestoneState, ...], to: MilestoneState, **values: Any) -> Any:
    """The one writer of a milestone's state."""
    one = table.update().where(table.c.id == row.id, table.c.state.in_([source.value for source in sources]))
    moved = connection.execute(one.values(state=to.value, **values)).rowcount
    after = connection.execute(sa.select(table).where(table.c.id == row.id)).one()
    if not moved:
        raise WrongMilestoneState(state=state_text(after.state))
    return after


def _with_role(connection: sa.Connection, project: Any, roles: tuple[str, ...]) -> set[int]:
    wanted = sa.select(project_members.c.user_id).where(project_members.c.project_id == project.id, project_members.c.role.in_(roles))
    return set(connection.execute(wanted).scalars())


def _check_at_work(project: Any) -> None:
    if project.state not in AT_WORK:
        raise ProjectNotAtWork(state=project_state_text(project.state))
