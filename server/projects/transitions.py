"""What people do with a project's state: an action by somebody who may, with what it opens or ends; and what may be done now."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden
from server.messages import Text, say, text
from server.projects import audits, milestones, project_index
from server.projects.access import MANAGE, WRITE, access_project, relations
from server.projects.effects import Effects, commit
from server.projects.project_schemas import ActionOffer, Actions, ProjectDetail, TransitionRequest
from server.projects.projects import detail
from server.projects.states import TRANSITIONS, Action, ProjectState, Transition, Who, WrongState, move, state_text


class FinalsOpen(Conflict):
    """It cannot be completed before its final checks are passed; `milestones` names them."""

    type = "finals_open"


class DecidedByAudits(Conflict):
    """The state follows from the reviews that the project goes through; nobody sets it by hand."""

    type = "decided_by_audits"


async def act(ctx: Context, actor: Actor, project_id: int, request: TransitionRequest) -> ProjectDetail:
    """Carry out an action for the caller.

    Raises ProjectNotFound, Forbidden, WrongState, DecidedByAudits, FinalsOpen, Invalid for a missing comment.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> ProjectDetail:
        project = access_project(connection, actor, project_id, lock=True)
        transition = TRANSITIONS[request.action]
        if transition.who == (Who.AUDIT,):
            raise DecidedByAudits()
        if not _held(connection, actor, project, transition):
            raise Forbidden(scope=MANAGE if Who.PROPOSER not in transition.who else WRITE)
        return detail(connection, actor, _carry_out(connection, effects, actor, project, request))

    return await commit(ctx, transaction)


async def list_actions(ctx: Context, actor: Actor, project_id: int) -> Actions:
    """Every action on a project, with whether the caller may do it now and, if not, why. Raises ProjectNotFound."""

    def transaction(connection: sa.Connection) -> Actions:
        project = access_project(connection, actor, project_id)
        offers = []
        for action, transition in TRANSITIONS.items():
            why = _why_not(connection, actor, project, action, transition)
            offers.append(
                ActionOffer(
                    action=action.value,
                    name=say(f"project.action.{action.value}", actor.locale),
                    to=transition.to.value,
                    allowed=why is None,
                    needs_comment=transition.needs_comment,
                    why_not="" if why is None else why.say(actor.locale),
                )
            )
        return Actions(project.state, offers)

    return await ctx.sql.read(transaction)


def _carry_out(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, request: TransitionRequest) -> Any:
    if request.action is Action.COMPLETE and project.state == ProjectState.RUNNING:
        _check_finals(connection, project)
    after = move(connection, effects, actor, project, request.action, request.comment)
    if request.action is Action.SUBMIT:
        project_index.queue(connection, effects, project.id, after.version)
        after = move(connection, effects, actor, after, Action.REVIEW)
        audits.begin(connection, effects, actor, after)
    elif request.action is Action.WITHDRAW:
        audits.cancel(connection, effects, actor, after)
    return access_project(connection, actor, project.id)


def _why_not(connection: sa.Connection, actor: Actor, project: Any, action: Action, transition: Transition) -> Text | None:
    """What stands against it, in words; None when nothing does."""
    if transition.who == (Who.AUDIT,):
        return DecidedByAudits().text
    if project.state not in transition.sources:
        return WrongState(state=state_text(project.state), action=text(f"project.action.{action.value}")).text
    if not _held(connection, actor, project, transition):
        who = [text(f"project.who.{one.value}") for one in transition.who]
        return text(f"project.only_{len(who)}", **{f"who{place}": one for place, one in enumerate(who, start=1)})
    if action is Action.COMPLETE and (titles := milestones.open_finals(connection, project.id)):
        return FinalsOpen(milestones=", ".join(titles)).text
    return None


def _held(connection: sa.Connection, actor: Actor, project: Any, transition: Transition) -> bool:
    """Whether the actor is one of those who may; the project's own people also need projects:write."""
    related = set(transition.who) & relations(connection, actor, project)
    return Who.MANAGER in related or (bool(related) and actor.may(WRITE))


def _check_finals(connection: sa.Connection, project: Any) -> None:
    titles = milestones.open_finals(connection, project.id) if milestones else []
    if titles:
        raise FinalsOpen(milestones=", ".join(titles))
