"""Why an account is as it is, at any date: HR's row, the rule, the plan, the tasks with their attempts, what was read back, the proof."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import NotFound
from server.messages.catalogue import CATALOGUE, Text, text
from server.people.hr.account_states import AccountTaskState
from server.people.hr.proof import ProofState
from server.people.hr.tables import (
    account_attempts,
    account_tasks,
    deprovisionings,
    hr_accounts,
    hr_changes,
    hr_persons,
    hr_runs,
    hr_sources,
    hr_targets,
)
from server.people.hr.targets.doors import DoorState

# The newest of each kind of link; what is older is told by the runs and tasks themselves.
MOST_LINKS = 50


class HrPersonNotFound(NotFound):
    type = "hr_person_not_found"


class NotFromHr(NotFound):
    """The user's account was not made from HR."""

    type = "account_not_from_hr"


class WhyQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    at: datetime | None = None


class Change(msgspec.Struct):
    """A change of a plan that was applied to the person."""

    id: int
    at: datetime
    kind: str
    rule: str
    run_id: str
    requested_by: str
    approved_by: str | None
    before: Any
    after: Any


class Attempt(msgspec.Struct):
    attempt: int
    outcome: str
    error_class: str | None
    detail: str | None
    before: Any
    after: Any
    started_at: datetime
    ended_at: datetime


class AccountTask(msgspec.Struct):
    id: int
    target: str
    operation: str
    state: str
    ended_at: datetime | None
    run_id: str | None
    created_at: datetime
    attempts: list[Attempt]


class Proof(msgspec.Struct):
    state: str
    ordered_at: datetime
    zero_at: datetime | None
    seconds_to_zero: float | None
    checks: Any


class Why(msgspec.Struct):
    """The chain, each kind of link oldest first, and the same in sentences. `row` is HR's word at that time, None before the first."""

    person_id: int
    employee_no: str
    source: str
    at: datetime
    row: Any
    changes: list[Change]
    tasks: list[AccountTask]
    proofs: list[Proof]
    sentences: list[str]


async def explain_user(ctx: Context, actor: Actor, user_id: int, query: WhyQuery) -> Why:
    """The chain behind one of our accounts. Raises NotFromHr."""
    linked = sa.select(hr_accounts.c.person_id).where(hr_accounts.c.user_id == user_id)
    person_id = await ctx.sql.read(lambda connection: connection.execute(linked).scalar())
    if person_id is None:
        raise NotFromHr()
    return await explain_person(ctx, actor, int(person_id), query)


async def explain_person(ctx: Context, actor: Actor, person_id: int, query: WhyQuery) -> Why:
    """The chain behind the accounts of a person, up to `at` (now when it is not given). Raises HrPersonNotFound."""
    at = query.at or ctx.clock.now()

    def transaction(connection: sa.Connection) -> Why:
        person = connection.execute(
            sa.select(hr_persons, hr_sources.c.name.label("source"))
            .join(hr_sources, hr_sources.c.id == hr_persons.c.source_id)
            .where(hr_persons.c.id == person_id)
        ).first()
        if person is None:
            raise HrPersonNotFound()
        changes = _changes(connection, person_id, at)
        tasks = _tasks(connection, person_id, at)
        proofs = _proofs(connection, person_id, at)
        told = sorted([*map(_told_change, changes), *_told_tasks(tasks), *_told_proofs(proofs)], key=lambda one: one[0])
        return Why(
            person_id=person_id,
            employee_no=person.employee_no,
            source=person.source,
            at=at,
            row=changes[-1].after if changes else None,
            changes=changes,
            tasks=tasks,
            proofs=proofs,
            sentences=[sentence.say(actor.locale) for _, sentence in told] or [text("hr.why.nothing").say(actor.locale)],
        )

    return await ctx.sql.read(transaction)


def _changes(connection: sa.Connection, person_id: int, at: datetime) -> list[Change]:
    wanted = (
        sa.select(hr_changes, hr_runs.c.requested_name, hr_runs.c.approved_name)
        .join(hr_runs, hr_runs.c.id == hr_changes.c.run_id)
        .where(hr_changes.c.person_id == person_id, hr_changes.c.applied_at <= at)
        .order_by(hr_changes.c.applied_at.desc(), hr_changes.c.id.desc())
        .limit(MOST_LINKS)
    )
    return [
        Change(row.id, row.applied_at, row.kind, row.rule, row.run_id, row.requested_name, row.approved_name, row.before, row.after)
        for row in reversed(connection.execute(wanted).all())
    ]


def _tasks(connection: sa.Connection, person_id: int, at: datetime) -> list[AccountTask]:
    wanted = (
        sa.select(account_tasks, hr_targets.c.name.label("target"))
        .join(hr_targets, hr_targets.c.id == account_tasks.c.target_id)
        .where(account_tasks.c.person_id == person_id, account_tasks.c.created_at <= at)
        .order_by(account_tasks.c.id.desc())
        .limit(MOST_LINKS)
    )
    rows = connection.execute(wanted).all()
    tried: dict[int, list[Attempt]] = {}
    attempts = (
        sa.select(account_attempts)
        .where(account_attempts.c.account_task_id.in_([row.id for row in rows]), account_attempts.c.started_at <= at)
        .order_by(account_attempts.c.id)
    )
    for row in connection.execute(attempts):
        tried.setdefault(row.account_task_id, []).append(Attempt(**{name: getattr(row, name) for name in Attempt.__struct_fields__}))
    return [
        AccountTask(row.id, row.target, row.operation, *_as_of(row, at), row.run_id, row.created_at, tried.get(row.id, []))
        for row in reversed(rows)
    ]


def _as_of(task: Any, at: datetime) -> tuple[str, datetime | None]:
    """State and end of a task as they were then."""
    return (AccountTaskState.PENDING.value, None) if task.ended_at is not None and task.ended_at > at else (task.state, task.ended_at)


def _proofs(connection: sa.Connection, person_id: int, at: datetime) -> list[Proof]:
    wanted = (
        sa.select(deprovisionings)
        .where(deprovisionings.c.person_id == person_id, deprovisionings.c.ordered_at <= at)
        .order_by(deprovisionings.c.id.desc())
        .limit(MOST_LINKS)
    )
    return [
        Proof(row.state, row.ordered_at, row.zero_at, seconds_to_zero(row), row.checks)
        if row.zero_at is None or row.zero_at <= at
        else Proof(ProofState.CHECKING.value, row.ordered_at, None, None, [])
        for row in reversed(connection.execute(wanted).all())
    ]


def seconds_to_zero(row: Any) -> float | None:
    """From the order to the moment when no door opened any more, in seconds."""
    return None if row.zero_at is None else float((row.zero_at - row.ordered_at).total_seconds())


def _told_change(change: Change) -> tuple[datetime, Text]:
    rule = f"hr.rule.{change.rule}"
    who = (
        text("hr.why.approved", by=change.requested_by, approved=change.approved_by)
        if change.approved_by
        else text("hr.why.started", by=change.requested_by)
    )
    reason: Any = text(rule) if rule in CATALOGUE else change.rule
    return change.at, text("hr.why.change", at=spelled(change.at), reason=reason, run=change.run_id[:8], who=who)


def _told_tasks(tasks: list[AccountTask]) -> list[tuple[datetime, Text]]:
    told = []
    for task in tasks:
        place = {"task": task.id, "target": task.target, "operation": text(f"hr.operation.{task.operation}")}
        for attempt in task.attempts:
            when = {"at": spelled(attempt.ended_at), "attempt": attempt.attempt}
            if attempt.outcome == "failed":
                told.append((attempt.ended_at, text("hr.why.failed", **place, **when, error=attempt.detail or attempt.error_class or "")))
            else:
                told.append((attempt.ended_at, text("hr.why.done", **place, **when, outcome=text(f"hr.outcome.{attempt.outcome}"))))
        if not task.attempts:
            told.append((task.created_at, text("hr.why.waits", **place, at=spelled(task.created_at))))
    return told


def _told_proofs(proofs: list[Proof]) -> list[tuple[datetime, Text]]:
    told = []
    for proof in proofs:
        if proof.zero_at is not None and proof.state == ProofState.PROVEN.value:
            seconds = f"{proof.seconds_to_zero:.1f}"
            told.append((proof.zero_at, text("hr.why.proven", at=spelled(proof.zero_at), doors=len(proof.checks), seconds=seconds)))
        else:
            left = [check["door"] for check in proof.checks if check["state"] in (DoorState.OPEN.value, DoorState.UNKNOWN.value)]
            told.append((proof.ordered_at, text("hr.why.unproven", at=spelled(proof.ordered_at), doors=", ".join(left) or "…")))
    return told


def spelled(moment: datetime) -> str:
    """A moment in a sentence: to the second, with its offset."""
    return moment.isoformat(" ", "seconds")
