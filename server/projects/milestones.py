"""Milestones of a project: planned with it, changed and removed until they are passed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.messages import Text, text
from server.platform import audit
from server.projects import history
from server.projects.access import MANAGE, MEMBER, WRITE, access_project, blind_ids, relations
from server.projects.effects import Effects, commit
from server.projects.events import ProjectChanged
from server.projects.milestone_schemas import Milestone, MilestoneBody, MilestonePatch, Milestones
from server.projects.states import CHANGEABLE, ProjectState, Who
from server.projects.states import state_text as project_state_text
from server.projects.tables import milestones as table
from server.projects.teams import names_of

MOST_MILESTONES = 100
# While a project is one of these, its milestones are as they are.
OVER = (ProjectState.COMPLETED, ProjectState.ARCHIVED, ProjectState.REJECTED, ProjectState.WITHDRAWN)
# While it is one of these, there are deliveries and checks.
AT_WORK = (ProjectState.APPROVED, ProjectState.RUNNING)


class MilestoneState(StrEnum):
    OPEN = "open"
    DELIVERED = "delivered"  # waits for its check
    PASSED = "passed"
    RETURNED = "returned"  # to be improved and delivered again


class MilestoneKind(StrEnum):
    DELIVERY = "delivery"
    MIDTERM = "midterm"
    FINAL = "final"


class MilestoneNotFound(NotFound):
    type = "milestone_not_found"


class WrongMilestoneState(Conflict):
    """`state` says what it is."""

    type = "milestone_state"


class MilestonesFixed(Conflict):
    """The project has ended, and its milestones with it; `state` says how."""

    type = "milestones_fixed"


def open_finals(connection: sa.Connection, project_id: int) -> list[str]:
    """The titles of the final checks that are not passed yet: until there are none, the project is not completed."""
    wanted = sa.select(table.c.title).where(
        table.c.project_id == project_id, table.c.kind == MilestoneKind.FINAL.value, table.c.state != MilestoneState.PASSED.value
    )
    return list(connection.execute(wanted.order_by(table.c.id)).scalars())


def plannable(actor: Actor, project: Any, related: Collection[str]) -> list[str]:
    """The kinds of milestones that the actor, being that to the project, may set, change and remove now.

    Checks are set by who checks; the project's own people plan deliveries with their proposal.
    """
    if project.state in OVER:
        return []
    if Who.MANAGER in related or (Who.MENTOR in related and actor.may(WRITE)):
        return [kind.value for kind in MilestoneKind]
    own = Who.PROPOSER in related or MEMBER in related
    return [MilestoneKind.DELIVERY.value] if own and project.state in CHANGEABLE and actor.may(WRITE) else []


def may_deliver(actor: Actor, project: Any, related: Collection[str]) -> bool:
    """Whether the actor may deliver now: who works on the project, while it is at work."""
    return project.state in AT_WORK and actor.may(WRITE) and (Who.PROPOSER in related or MEMBER in related)


def may_check(actor: Actor, project: Any, related: Collection[str]) -> bool:
    """Whether the actor may check now: the mentor or who manages, but nobody their own work."""
    if Who.PROPOSER in related or MEMBER in related:
        return False
    return project.state in AT_WORK and (Who.MANAGER in related or (Who.MENTOR in related and actor.may(WRITE)))


async def list_milestones(ctx: Context, actor: Actor, project_id: int) -> Milestones:
    """The milestones of a project. Who reviews it blindly sees what is planned, not what was delivered. Raises ProjectNotFound."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Milestones:
        project = access_project(connection, actor, project_id)
        wanted = sa.select(table).where(table.c.project_id == project_id)
        rows = connection.execute(wanted.order_by(table.c.due_at.is_(None), table.c.due_at, table.c.id)).all()
        related = relations(connection, actor, project)
        return Milestones(shown(connection, actor, project, rows, now), len(rows), plannable(actor, project, related))

    return await ctx.sql.read(transaction)


async def create_milestone(ctx: Context, actor: Actor, project_id: int, body: MilestoneBody) -> Milestone:
    """Set a milestone. Raises ProjectNotFound, Forbidden, MilestonesFixed, Invalid when there are too many."""

    def transaction(connection: sa.Connection, effects: Effects) -> Milestone:
        project = access_project(connection, actor, project_id, lock=True)
        _check_plannable(connection, actor, project, [body.kind])
        counted = sa.select(sa.func.count()).select_from(table).where(table.c.project_id == project_id)
        if connection.execute(counted).scalar_one() >= MOST_MILESTONES:
            raise Invalid.field("title", "milestone.too_many", most=MOST_MILESTONES)
        values = {"project_id": project_id, "title": body.title.strip(), "kind": body.kind, "due_at": body.due_at}
        made = connection.execute(table.insert().values(**values, state=MilestoneState.OPEN.value, created_at=effects.now))
        assert made.inserted_primary_key
        row = _get(connection, project_id, made.inserted_primary_key[0])
        note(connection, effects, actor, project, row, "create", kind=row.kind)
        return shown(connection, actor, project, [row], effects.now)[0]

    return await commit(ctx, transaction)


async def change_milestone(ctx: Context, actor: Actor, project_id: int, milestone_id: int, patch: MilestonePatch) -> Milestone:
    """Change what is given, until it is passed.

    Raises ProjectNotFound, MilestoneNotFound, Forbidden, MilestonesFixed, WrongMilestoneState.
    """
    given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    if "title" in given:
        given["title"] = given["title"].strip()

    def transaction(connection: sa.Connection, effects: Effects) -> Milestone:
        project, row = access_milestone(connection, actor, project_id, milestone_id)
        _check_plannable(connection, actor, project, [row.kind, given.get("kind", row.kind)])
        _check_not_passed(row)
        changed = {name: value for name, value in given.items() if value != getattr(row, name)}
        if changed:
            connection.execute(table.update().where(table.c.id == milestone_id).values(**changed))
            note(connection, effects, actor, project, row, "change", fields=sorted(changed))
        return shown(connection, actor, project, [_get(connection, project_id, milestone_id)], effects.now)[0]

    return await commit(ctx, transaction)


async def remove_milestone(ctx: Context, actor: Actor, project_id: int, milestone_id: int) -> None:
    """Remove a milestone that is not passed.

    Raises ProjectNotFound, MilestoneNotFound, Forbidden, MilestonesFixed, WrongMilestoneState.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        project, row = access_milestone(connection, actor, project_id, milestone_id)
        _check_plannable(connection, actor, project, [row.kind])
        _check_not_passed(row)
        connection.execute(table.delete().where(table.c.id == milestone_id))
        note(connection, effects, actor, project, row, "delete", kind=row.kind)

    await commit(ctx, transaction)


def access_milestone(connection: sa.Connection, actor: Actor, project_id: int, milestone_id: int) -> tuple[Any, Any]:
    """The project's row, locked, and the milestone's. Raises ProjectNotFound, MilestoneNotFound."""
    project = access_project(connection, actor, project_id, lock=True)
    return project, _get(connection, project_id, milestone_id)


def state_text(state: str) -> Text:
    return text(f"milestone.state.{state}")


def note(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, row: Any, action: str, **detail: Any) -> int:
    """Keep what happened to a milestone in the project's history and the audit log; the entry's id."""
    entry = history.add(
        connection, effects.now, actor, project.id, "milestone", action=action, milestone_id=row.id, title=row.title, **detail
    )
    audit.note(connection, effects.now, actor, f"milestone.{action}", f"milestone:{row.id}", project_id=project.id, **detail)
    effects.events.append(ProjectChanged(project.id, project.organization_id, project.state))
    return entry


def shown(connection: sa.Connection, actor: Actor, project: Any, rows: Sequence[Any], now: datetime) -> list[Milestone]:
    """Milestones of one project as they are answered; what tells whose it is stays hidden from blind reviewers."""
    hidden = bool(blind_ids(connection, actor, [project.id]))
    related = relations(connection, actor, project)
    kinds, delivers, checks = plannable(actor, project, related), may_deliver(actor, project, related), may_check(actor, project, related)
    checkers = {} if hidden else names_of(connection, [row.checked_by for row in rows])
    return [
        Milestone(
            id=row.id,
            project_id=row.project_id,
            title=row.title,
            kind=row.kind,
            due_at=row.due_at,
            state=row.state,
            document_id=row.document_id,
            note=None if hidden else row.note,
            delivered_at=row.delivered_at,
            late=_late(row),
            overdue=row.state in (MilestoneState.OPEN, MilestoneState.RETURNED) and row.due_at is not None and row.due_at <= now,
            checked_by=None if hidden else row.checked_by,
            checker=checkers.get(row.checked_by or 0, ""),
            checked_at=row.checked_at,
            comment=None if hidden else row.comment,
            may_change=row.kind in kinds and row.state != MilestoneState.PASSED,
            may_deliver=delivers and row.state != MilestoneState.PASSED,
            may_check=checks and row.state == MilestoneState.DELIVERED,
            created_at=row.created_at,
        )
        for row in rows
    ]


def _late(row: Any) -> bool:
    return row.due_at is not None and row.delivered_at is not None and bool(row.delivered_at > row.due_at)


def _get(connection: sa.Connection, project_id: int, milestone_id: int) -> Any:
    row = connection.execute(sa.select(table).where(table.c.id == milestone_id, table.c.project_id == project_id)).one_or_none()
    if row is None:
        raise MilestoneNotFound()
    return row


def _check_plannable(connection: sa.Connection, actor: Actor, project: Any, kinds: Sequence[str]) -> None:
    related = relations(connection, actor, project)
    if not set(kinds) <= set(plannable(actor, project, related)):
        if project.state in OVER and {Who.MANAGER, Who.MENTOR} & related:
            raise MilestonesFixed(state=project_state_text(project.state))
        raise Forbidden(scope=MANAGE)


def _check_not_passed(row: Any) -> None:
    if row.state == MilestoneState.PASSED:
        raise WrongMilestoneState(state=state_text(row.state))
