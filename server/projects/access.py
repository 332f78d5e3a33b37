"""Who may see and change which project; every list, search, count, export and dashboard asks here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.errors import Forbidden, NotFound
from server.projects.states import CHANGEABLE, OPEN, ProjectState, Who
from server.projects.tables import audit_reviewers, audits, project_members, projects, reviews, rounds

READ, WRITE, MANAGE, AUDIT = "projects:read", "projects:write", "projects:manage", "projects:audit"
LEAD, MEMBER, MENTOR = "lead", "member", "mentor"
AT_ONCE = 500


class ProjectNotFound(NotFound):
    type = "project_not_found"


def within(places: frozenset[int] | None) -> sa.ColumnElement[bool]:
    """The condition that a project is in one of the organizations; None means everywhere."""
    return sa.true() if places is None else projects.c.organization_id.in_(sorted(places))


def visible(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `projects` that the actor may see the row."""
    if not actor.may(READ):
        return sa.false()
    if actor.organizations(MANAGE) is None:
        return sa.true()
    proposed = projects.c.state != ProjectState.DRAFT.value
    ways = [
        within(actor.organizations(MANAGE)),
        sa.and_(proposed, within(actor.organizations(AUDIT))),
        sa.and_(projects.c.state.in_([state.value for state in OPEN]), within(actor.organizations(READ))),
    ]
    if actor.user_id is not None:
        ways += [own(actor.user_id), sa.and_(proposed, sa.or_(audited_by(actor.user_id), reviewed_by(actor.user_id)))]
    return sa.or_(*ways)


def blind(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `projects` that the actor may not know whose it is: a review of a blind round that goes on is theirs to give.

    Its own people and who manages it know anyway.
    """
    if actor.user_id is None or actor.organizations(MANAGE) is None:
        return sa.false()
    blinded = (
        sa.select(reviews.c.project_id)
        .join(rounds, rounds.c.id == reviews.c.round_id)
        .where(reviews.c.reviewer_id == actor.user_id, reviews.c.state != "declined", rounds.c.blind.is_(True), rounds.c.state != "closed")
    )
    return sa.and_(projects.c.id.in_(blinded), sa.not_(sa.or_(own(actor.user_id), within(actor.organizations(MANAGE)))))


def blind_ids(connection: sa.Connection, actor: Actor, project_ids: Collection[int]) -> set[int]:
    """Those of the projects whose people and organization are hidden from the actor."""
    condition, found = blind(actor), set[int]()
    wanted = sorted(set(project_ids))
    if actor.user_id is None or actor.organizations(MANAGE) is None:
        return found
    for first in range(0, len(wanted), AT_ONCE):
        some = sa.select(projects.c.id).where(projects.c.id.in_(wanted[first : first + AT_ONCE]), condition)
        found |= set(connection.execute(some).scalars())
    return found


def access_project(connection: sa.Connection, actor: Actor, project_id: int, scope: str = READ, *, lock: bool = False) -> Any:
    """The project's row.

    With projects:read whoever may see it, with projects:write whoever may change it (its people while it is a draft or returned, who
    manages it until it is archived), with any other scope whoever holds that in its organization. `lock`: nobody else changes the row
    until the transaction ends. Raises ProjectNotFound when the actor may not know of it, Forbidden when it may only look.
    """
    wanted = sa.select(projects).where(projects.c.id == project_id, visible(actor))
    row = connection.execute(wanted.with_for_update(of=projects) if lock else wanted).one_or_none()
    if row is None:
        raise ProjectNotFound()
    if scope == WRITE:
        if not may_change(actor, row, relations(connection, actor, row)):
            raise Forbidden(scope=WRITE)
    elif scope != READ:
        actor.require(scope, row.organization_id)
    return row


def relations(connection: sa.Connection, actor: Actor, project: Any) -> set[str]:
    """What the actor is to a project: proposer, mentor, manager (Who), and member for whoever of its people is neither."""
    found: set[str] = set()
    if actor.may(MANAGE, project.organization_id):
        found.add(Who.MANAGER)
    if actor.user_id is not None:
        if project.owner_id == actor.user_id:
            found.add(Who.PROPOSER)
        found |= {_RELATION[role] for role in roles_of(connection, project.id, actor.user_id)}
    return found


def roles_of(connection: sa.Connection, project_id: int, user_id: int) -> list[str]:
    """The role of a user in a project, if there is one."""
    wanted = sa.select(project_members.c.role).where(project_members.c.project_id == project_id, project_members.c.user_id == user_id)
    return list(connection.execute(wanted).scalars())


def may_change(actor: Actor, project: Any, related: Collection[str]) -> bool:
    """Whether the actor, being that to the project, may change its fields and parts now."""
    if Who.MANAGER in related:
        return bool(project.state != ProjectState.ARCHIVED)
    return project.state in CHANGEABLE and actor.may(WRITE) and (Who.PROPOSER in related or MEMBER in related)


def visible_ids(connection: sa.Connection, actor: Actor, project_ids: Collection[int]) -> set[int]:
    """Those of the projects that the actor may see."""
    wanted, found = sorted(set(project_ids)), set[int]()
    for first in range(0, len(wanted), AT_ONCE):
        some = sa.select(projects.c.id).where(projects.c.id.in_(wanted[first : first + AT_ONCE]), visible(actor))
        found |= set(connection.execute(some).scalars())
    return found


_RELATION = {LEAD: Who.PROPOSER.value, MENTOR: Who.MENTOR.value, MEMBER: MEMBER}


def own(user_id: int) -> sa.ColumnElement[bool]:
    """The condition that a project is the user's: owned, or with a place in it."""
    joined = sa.select(project_members.c.project_id).where(project_members.c.user_id == user_id)
    return sa.or_(projects.c.owner_id == user_id, projects.c.id.in_(joined))


def audited_by(user_id: int) -> sa.ColumnElement[bool]:
    """The condition that the user was asked to decide on a project."""
    asked = (
        sa.select(audits.c.project_id)
        .join(audit_reviewers, audit_reviewers.c.audit_id == audits.c.id)
        .where(audit_reviewers.c.user_id == user_id)
    )
    return projects.c.id.in_(asked)


def reviewed_by(user_id: int) -> sa.ColumnElement[bool]:
    """The condition that the user has a review of a project and has not declined it."""
    return projects.c.id.in_(sa.select(reviews.c.project_id).where(reviews.c.reviewer_id == user_id, reviews.c.state != "declined"))
