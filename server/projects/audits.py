"""The way of a project through its audits: opened with a submission, then step after step until it is decided or withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.platform.notifications.telling import notify
from server.projects import history
from server.projects.audit_asked import ANYBODY, Asked, Staff
from server.projects.audit_schemas import ChainStep, steps_of
from server.projects.audit_steps import AuditState, is_done, stage_of, stages
from server.projects.audit_telling import WAITING, waiting
from server.projects.delegations import seat
from server.projects.effects import Effects
from server.projects.states import Action, move, people_of
from server.projects.tables import audit_chains, audit_reviewers, audits


def begin(connection: sa.Connection, effects: Effects, actor: Actor, project: Any) -> Any:
    """Open the first stage for a project that was submitted, in that transaction; the project's row afterwards.

    The chain is that of the nearest organization which has published one for the kind; the passage keeps its version to the end.
    """
    _cancel_open(connection, effects, project.id)
    chain = find_chain(connection, Staff(connection), project)
    before = sa.select(sa.func.max(audits.c.passage)).where(audits.c.project_id == project.id)
    passage = (connection.execute(before).scalar() or 0) + 1
    steps = [ANYBODY] if chain is None else steps_of(chain.steps)
    way = Way(connection, effects, actor, project, passage, None if chain is None else chain.id, steps)
    return way.open_from(0)


def cancel(connection: sa.Connection, effects: Effects, actor: Actor, project: Any) -> int:
    """End every audit of a project that is open; how many. What was said in them stays."""
    return _cancel_open(connection, effects, project.id)


def find_chain(connection: sa.Connection, staff: Staff, project: Any) -> Any:
    """The published chain that holds for a project's kind and organization, or None."""
    up = staff.upwards(project.organization_id)
    wanted = sa.select(audit_chains).where(
        audit_chains.c.kind == project.kind, audit_chains.c.organization_id.in_(up), audit_chains.c.state == "published"
    )
    found = connection.execute(wanted.with_for_update(read=True)).all()  # a chain is not removed while a passage begins with it
    return min(found, key=lambda row: (up.index(row.organization_id), -row.version), default=None)


def steps_of_audit(connection: sa.Connection, row: Any) -> list[ChainStep]:
    """The steps of the chain's version that an audit belongs to."""
    if row.chain_id is None:
        return [ANYBODY]
    kept = connection.execute(sa.select(audit_chains.c.steps).where(audit_chains.c.id == row.chain_id)).scalar_one()
    return steps_of(kept)


def latest_states(connection: sa.Connection, project_id: int, passage: int) -> dict[int, str]:
    """The state of the latest audit of each step of a passage."""
    wanted = sa.select(audits.c.step, audits.c.state).where(audits.c.project_id == project_id, audits.c.passage == passage)
    return {row.step: row.state for row in connection.execute(wanted.order_by(audits.c.id))}


def way_of(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, row: Any) -> Way:
    """The way that an audit is on."""
    return Way(connection, effects, actor, project, row.passage, row.chain_id, steps_of_audit(connection, row))


class Way:
    """One passage of a project through the version of the chain that it began with, inside a transaction."""

    def __init__(
        self,
        connection: sa.Connection,
        effects: Effects,
        actor: Actor,
        project: Any,
        passage: int,
        chain_id: int | None,
        steps: Sequence[ChainStep],
    ) -> None:
        self.connection, self.effects, self.actor, self.project = connection, effects, actor, project
        self.passage, self.chain_id, self.steps = passage, chain_id, steps

    def open_from(self, stage: int, comment: str | None = None) -> Any:
        """Open a stage or, as long as nobody is left to be asked, the one after it; approve the project after the last.

        A project is not approved by nobody: when every step was skipped, the last is asked of who may audit above. The project's row.
        """
        staff, but = Staff(self.connection), people_of(self.connection, self.project)
        for numbers in stages(self.steps)[stage:]:
            opened = [self._open(number, staff.ask(self.steps[number - 1], self.project.organization_id, but)) for number in numbers]
            if any(opened):
                return self.project
        if AuditState.APPROVED not in self.states().values():
            last = len(self.steps)
            self._open(last, staff.ask(self.steps[-1], self.project.organization_id, but, may_skip=False))
            return self.project
        return move(self.connection, self.effects, self.actor, self.project, Action.APPROVE, comment)

    def go_on(self, number: int, comment: str | None) -> Any:
        """After a step was approved: what comes next when its stage is done. The project's row."""
        stage = stage_of(self.steps, number)
        if not is_done(stages(self.steps)[stage], self.states()):
            return self.project
        return self.open_from(stage + 1, comment)

    def go_back(self, number: int) -> None:
        """Open an earlier step again; those after it are asked again when it is done."""
        self.cancel()
        staff, but = Staff(self.connection), people_of(self.connection, self.project)
        self._open(number, staff.ask(self.steps[number - 1], self.project.organization_id, but, may_skip=False))

    def end(self, action: Action, comment: str) -> Any:
        """Return the project to who proposes it, or reject it. The project's row."""
        self.cancel()
        return move(self.connection, self.effects, self.actor, self.project, action, comment)

    def cancel(self) -> int:
        return _cancel_open(self.connection, self.effects, self.project.id)

    def states(self) -> dict[int, str]:
        """The state of the latest audit of each step."""
        return latest_states(self.connection, self.project.id, self.passage)

    def _open(self, number: int, asked: Asked) -> bool:
        """Put in the audit of a step with the seats of those who are asked; whether it waits for anybody."""
        step, now = self.steps[number - 1], self.effects.now
        skipped = asked.how == "skipped"
        made = self.connection.execute(
            audits.insert().values(
                project_id=self.project.id,
                chain_id=self.chain_id,
                passage=self.passage,
                step=number,
                name=step.name,
                mode=step.mode if asked.how == "named" else "any",
                state=(AuditState.SKIPPED if skipped else AuditState.OPEN).value,
                organization_id=asked.organization_id,
                due_at=now + timedelta(days=step.due_days) if step.due_days and not skipped else None,
                opened_at=now,
                ended_at=now if skipped else None,
            )
        ).inserted_primary_key
        assert made is not None
        if asked.how != "named":
            detail = {"audit_id": made[0], "step": number, "name": step.name, "organization_id": asked.organization_id}
            history.add(self.connection, now, self.actor, self.project.id, "audit", action=asked.how, **detail)
        if skipped:
            return False
        if asked.user_ids:
            self.connection.execute(audit_reviewers.insert(), [{"audit_id": made[0], "user_id": one} for one in asked.user_ids])
            params, link = waiting(self.project.title, step.name), f"/audits/{made[0]}"
            self.effects.told.append(notify(self.connection, now, asked.user_ids, WAITING, str(made[0]), params, link))
            seat(self.connection, self.effects, audit_id=made[0])
        return True


def _cancel_open(connection: sa.Connection, effects: Effects, project_id: int) -> int:
    ended = audits.update().where(audits.c.project_id == project_id, audits.c.state == AuditState.OPEN.value)
    return connection.execute(ended.values(state=AuditState.CANCELLED.value, ended_at=effects.now)).rowcount
