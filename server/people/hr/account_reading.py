"""Account tasks as people see them: the list, one with its attempts, the figures."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import NotFound
from server.messages import Locale, say
from server.paging import Page, PageQuery, page_of
from server.people.hr.account_states import AccountTaskState, AttemptOutcome
from server.people.hr.tables import account_attempts, account_tasks, hr_persons, hr_targets
from server.people.hr.targets.errors import ErrorClass
from server.people.hr.targets.target import Operation

Number = Annotated[int, msgspec.Meta(ge=1, le=10**15)]


class AccountTaskNotFound(NotFound):
    type = "account_task_not_found"


class AccountTaskQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`q` searches names and employee numbers of people, and what went wrong."""

    state: AccountTaskState | None = None
    target_id: Number | None = None
    source_id: Number | None = None
    person_id: Number | None = None
    operation: Operation | None = None
    error_class: ErrorClass | None = None
    run_id: Annotated[str, msgspec.Meta(max_length=32)] = ""


class TaskPerson(msgspec.Struct, kw_only=True):
    id: int
    employee_no: str
    name: str


class TaskTarget(msgspec.Struct, kw_only=True):
    id: int
    name: str
    kind: str


class AccountTask(msgspec.Struct, kw_only=True):
    """What a target has to do for a person. `why` says in words what `error_class` means, `error` is what the target said."""

    id: int
    person: TaskPerson
    target: TaskTarget
    operation: Operation
    state: AccountTaskState
    attempts: int
    max_attempts: int
    error_class: ErrorClass | None
    why: str | None
    error: str | None
    run_id: str | None
    run_at: datetime
    created_at: datetime
    ended_at: datetime | None


class Attempt(msgspec.Struct, kw_only=True):
    """One try: what the target had, and what was read back."""

    attempt: int
    outcome: AttemptOutcome
    error_class: ErrorClass | None
    why: str | None
    detail: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    started_at: datetime
    ended_at: datetime


class AccountTaskDetail(AccountTask, kw_only=True):
    desired: dict[str, Any]
    tried: list[Attempt]


class TargetFigures(msgspec.Struct, kw_only=True):
    """Tasks of one target by state; dead ones by class of error; the age in seconds of the oldest that is due."""

    target: TaskTarget
    source_id: int
    enabled: bool
    states: dict[AccountTaskState, int]
    dead: dict[str, int]
    oldest_s: float


_SHOWN = (
    sa.select(
        account_tasks,
        hr_persons.c.employee_no,
        hr_persons.c.name.label("person_name"),
        hr_targets.c.name.label("target_name"),
        hr_targets.c.kind.label("target_kind"),
    )
    .outerjoin(hr_persons, hr_persons.c.id == account_tasks.c.person_id)
    .outerjoin(hr_targets, hr_targets.c.id == account_tasks.c.target_id)
)
_SORTABLE = {name: account_tasks.c[name] for name in ("id", "created_at", "run_at", "ended_at", "operation", "state")}
_SEARCHED = (hr_persons.c.name, hr_persons.c.employee_no, account_tasks.c.error)


async def list_account_tasks(ctx: Context, actor: Actor, query: AccountTaskQuery) -> Page[AccountTask]:
    """Newest first."""
    table = account_tasks.c
    given: list[tuple[Any, Any]] = [
        (table.state, query.state),
        (table.target_id, query.target_id),
        (table.person_id, query.person_id),
        (table.operation, query.operation),
        (table.error_class, query.error_class),
        (table.run_id, query.run_id),
        (hr_targets.c.source_id, query.source_id),
    ]
    wanted = _SHOWN.where(*(column == value for column, value in given if value))
    return await ctx.sql.read(
        lambda connection: page_of(
            connection,
            wanted,
            query,
            lambda row: AccountTask(**_values(row, actor.locale)),
            sortable=_SORTABLE,
            searched=_SEARCHED,
            order="-id",
        )
    )


async def get_account_task(ctx: Context, actor: Actor, task_id: int) -> AccountTaskDetail:
    """With its attempts. Raises AccountTaskNotFound."""
    tried = sa.select(account_attempts).where(account_attempts.c.account_task_id == task_id).order_by(account_attempts.c.id)

    def transaction(connection: sa.Connection) -> AccountTaskDetail:
        row = connection.execute(_SHOWN.where(account_tasks.c.id == task_id)).one_or_none()
        if row is None:
            raise AccountTaskNotFound()
        attempts = [_attempt(one, actor.locale) for one in connection.execute(tried)]
        return AccountTaskDetail(**_values(row, actor.locale), desired=row.desired, tried=attempts)

    return await ctx.sql.read(transaction)


async def account_task_figures(ctx: Context, actor: Actor) -> list[TargetFigures]:
    """The figures of each target."""
    now, table = ctx.clock.now(), account_tasks.c
    counted = sa.select(table.target_id, table.state, sa.func.count().label("number")).group_by(table.target_id, table.state)
    dead = (
        sa.select(table.target_id, table.error_class, sa.func.count().label("number"))
        .where(table.state == AccountTaskState.DEAD.value)
        .group_by(table.target_id, table.error_class)
    )
    oldest = (
        sa.select(table.target_id, sa.func.min(table.run_at).label("run_at"))
        .where(table.state == AccountTaskState.PENDING.value, table.run_at <= now)
        .group_by(table.target_id)
    )

    def transaction(connection: sa.Connection) -> list[TargetFigures]:
        found = {
            row.id: TargetFigures(
                target=TaskTarget(id=row.id, name=row.name, kind=row.kind),
                source_id=row.source_id,
                enabled=row.enabled,
                states=dict.fromkeys(AccountTaskState, 0),
                dead={},
                oldest_s=0.0,
            )
            for row in connection.execute(sa.select(hr_targets).order_by(hr_targets.c.id))
        }
        for row in connection.execute(counted):
            if row.target_id in found:
                found[row.target_id].states[AccountTaskState(row.state)] = row.number
        for row in connection.execute(dead):
            if row.target_id in found:
                found[row.target_id].dead[row.error_class or ErrorClass.BROKEN.value] = row.number
        for row in connection.execute(oldest):
            if row.target_id in found:
                found[row.target_id].oldest_s = (now - row.run_at).total_seconds()
        return list(found.values())

    return await ctx.sql.read(transaction)


def _values(row: Any, locale: Locale) -> dict[str, Any]:
    return {
        "id": row.id,
        "person": TaskPerson(id=row.person_id, employee_no=row.employee_no or "", name=row.person_name or ""),
        "target": TaskTarget(id=row.target_id, name=row.target_name or "", kind=row.target_kind or ""),
        "operation": Operation(row.operation),
        "state": AccountTaskState(row.state),
        "attempts": row.attempts,
        "max_attempts": row.max_attempts,
        "error_class": ErrorClass(row.error_class) if row.error_class else None,
        "why": _why(row.error_class, locale),
        "error": row.error,
        "run_id": row.run_id,
        "run_at": row.run_at,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
    }


def _attempt(row: Any, locale: Locale) -> Attempt:
    return Attempt(
        attempt=row.attempt,
        outcome=AttemptOutcome(row.outcome),
        error_class=ErrorClass(row.error_class) if row.error_class else None,
        why=_why(row.error_class, locale),
        detail=row.detail,
        before=row.before,
        after=row.after,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _why(error_class: str | None, locale: Locale) -> str | None:
    return say(f"why.account_{error_class}", locale) if error_class else None
