"""The states of projects, the table of their transitions, and the one writer of them."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.errors import Conflict, Invalid
from server.messages import Text, text
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.projects import history
from server.projects.effects import Effects
from server.projects.events import ProjectChanged
from server.projects.tables import project_days, project_members, projects


class ProjectState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"  # waits for its first review to be opened
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    RETURNED = "returned"  # to be improved and submitted again
    REJECTED = "rejected"
    RUNNING = "running"
    COMPLETED = "completed"
    ARCHIVED = "archived"
    WITHDRAWN = "withdrawn"  # by who proposed it; it may become a draft again


class Action(StrEnum):
    SUBMIT = "submit"
    REVIEW = "review"
    APPROVE = "approve"
    RETURN = "return"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    REOPEN = "reopen"
    START = "start"
    COMPLETE = "complete"
    ARCHIVE = "archive"


class Who(StrEnum):
    """By what somebody may do it."""

    PROPOSER = "proposer"  # the owner, and the members who lead
    MENTOR = "mentor"
    MANAGER = "manager"  # projects:manage in the project's organization
    AUDIT = "audit"  # the reviews that it goes through


class Transition(msgspec.Struct, frozen=True):
    """One action: from which states, to which, by whom, and whether it must be explained."""

    sources: tuple[ProjectState, ...]
    to: ProjectState
    who: tuple[Who, ...]
    needs_comment: bool = False


class WrongState(Conflict):
    """The project's state does not allow the action; `state` says which it is."""

    type = "project_state"


S = ProjectState
TRANSITIONS: dict[Action, Transition] = {
    Action.SUBMIT: Transition((S.DRAFT, S.RETURNED), S.SUBMITTED, (Who.PROPOSER, Who.MANAGER)),
    Action.REVIEW: Transition((S.SUBMITTED,), S.IN_REVIEW, (Who.AUDIT,)),
    Action.APPROVE: Transition((S.IN_REVIEW,), S.APPROVED, (Who.AUDIT,)),
    Action.RETURN: Transition((S.IN_REVIEW,), S.RETURNED, (Who.AUDIT,), needs_comment=True),
    Action.REJECT: Transition((S.IN_REVIEW,), S.REJECTED, (Who.AUDIT,), needs_comment=True),
    Action.WITHDRAW: Transition((S.SUBMITTED, S.IN_REVIEW, S.RETURNED, S.APPROVED), S.WITHDRAWN, (Who.PROPOSER, Who.MANAGER)),
    Action.REOPEN: Transition((S.WITHDRAWN,), S.DRAFT, (Who.PROPOSER, Who.MANAGER)),
    Action.START: Transition((S.APPROVED,), S.RUNNING, (Who.PROPOSER, Who.MENTOR, Who.MANAGER)),
    Action.COMPLETE: Transition((S.RUNNING,), S.COMPLETED, (Who.MENTOR, Who.MANAGER)),
    Action.ARCHIVE: Transition((S.COMPLETED, S.REJECTED, S.WITHDRAWN), S.ARCHIVED, (Who.MANAGER,)),
}
# Days until a state should be left; a running project is due on the day it ends, any other state is never due.
DUE_DAYS: dict[ProjectState, int] = {S.SUBMITTED: 7, S.IN_REVIEW: 30, S.RETURNED: 14, S.APPROVED: 30}
# What everybody may see who reads projects in the organization.
OPEN = (S.APPROVED, S.RUNNING, S.COMPLETED, S.ARCHIVED)
# What its own people may still change.
CHANGEABLE = (S.DRAFT, S.RETURNED)


def move(
    connection: sa.Connection, effects: Effects, actor: Actor, project: Any, action: Action, comment: str | None = None, **detail: Any
) -> Any:
    """Carry out an action, whoever asks; the project's row afterwards.

    Writes the state (only if it is still what `project` says), history, the audit log and the days' counts, and tells the project's
    people. `detail` goes into the history. Raises WrongState, Invalid for a missing comment.
    """
    transition, now = TRANSITIONS[action], effects.now
    comment = (comment or "").strip() or None
    if transition.needs_comment and comment is None:
        raise Invalid.field("comment", "project.comment_missing")
    if project.state not in transition.sources:
        raise _wrong(project.state, action)
    to = transition.to
    one = projects.update().where(projects.c.id == project.id, projects.c.state == project.state)
    values = {"state": to.value, "state_since": now, "due_at": _due_at(effects, project, to), "updated_at": now}
    if not connection.execute(one.values(**values, version=projects.c.version + 1)).rowcount:
        raise _wrong(_state(connection, project.id), action)
    entry = history.add(
        connection,
        now,
        actor,
        project.id,
        "transition",
        action=action.value,
        from_state=project.state,
        to_state=to.value,
        comment=comment,
        **detail,
    )
    count_day(connection, effects.today, project, "left", project.state)
    count_day(connection, effects.today, project, "entered", to.value)
    audit.note(connection, now, actor, f"project.{action.value}", f"project:{project.id}", before=project.state, after=to.value)
    if action is not Action.REVIEW:  # its people were told that it was submitted a moment ago
        tell_people(
            connection,
            effects,
            actor,
            project,
            Kind.PROJECT_TRANSITION,
            f"{project.id}:{entry}",
            {"title": project.title, "state": {"key": f"project.state.{to.value}", "params": {}}},
        )
    effects.events.append(ProjectChanged(project.id, project.organization_id, to.value))
    return connection.execute(sa.select(projects).where(projects.c.id == project.id)).one()


def state_text(state: str) -> Text:
    """What a state is called; `deleted` is one too."""
    return text(f"project.state.{state}")


def people_of(connection: sa.Connection, project: Any) -> set[int]:
    """The owner and the members."""
    found = set(connection.execute(sa.select(project_members.c.user_id).where(project_members.c.project_id == project.id)).scalars())
    return found | ({project.owner_id} if project.owner_id is not None else set())


def tell_people(
    connection: sa.Connection, effects: Effects, actor: Actor, project: Any, kind: Kind, event_key: str, params: dict[str, Any]
) -> None:
    """Tell the project's people of something, but not who did it."""
    wanted = people_of(connection, project) - {actor.user_id or 0}
    effects.told.append(notify(connection, effects.now, wanted, kind, event_key, params, f"/projects/{project.id}"))


def count_day(connection: sa.Connection, today: str, project: Any, what: str, state: str) -> None:
    """Count a project that has `entered` or `left` a state today."""
    one = {"day": today, "organization_id": project.organization_id, "kind": project.kind, "state": state}
    adding = project_days.update().where(*(project_days.c[name] == value for name, value in one.items()))
    adding = adding.values({what: project_days.c[what] + 1})
    if connection.execute(adding).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(project_days.insert().values({**one, "entered": 0, "left": 0, what: 1}))
    except sa.exc.IntegrityError:  # the first of the day twice at the same moment
        connection.execute(adding)


def _due_at(effects: Effects, project: Any, to: ProjectState) -> Any:
    if to is ProjectState.RUNNING and project.ends_on:
        return effects.end_of(project.ends_on)
    days = DUE_DAYS.get(to)
    return None if days is None else effects.now + timedelta(days=days)


def _wrong(state: str, action: Action) -> WrongState:
    return WrongState(state=state_text(state), action=text(f"project.action.{action.value}"))


def _state(connection: sa.Connection, project_id: int) -> str:
    return str(connection.execute(sa.select(projects.c.state).where(projects.c.id == project_id)).scalar() or "deleted")
