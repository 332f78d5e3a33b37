"""One attempt of an account task: its order, what a failure makes of it, and what is known of the account afterwards."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.people.hr.account_states import MOST_TRIES, AttemptOutcome, Claimed, Ended
from server.people.hr.accounts import AccountState, ReadBack, accounts_of
from server.people.hr.desired import Desired
from server.people.hr.tables import hr_persons
from server.people.hr.targets.deciding import Step, check_result, decide
from server.people.hr.targets.errors import POLICIES, ErrorClass, TargetError, wait_s
from server.people.hr.targets.target import Found, Order, Sought, Target


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt came to. `found` is the account afterwards, None when there is none or the target does not tell."""

    ended: Ended
    found: Found | None = None


def orders_of(connection: sa.Connection, tasks: Sequence[Claimed], target_id: int) -> dict[int, Order]:
    """What is to come about, by task; with what is known of each account by now."""
    ids = [task.person_id for task in tasks]
    known = accounts_of(connection, ids, target_id)
    wanted = sa.select(hr_persons.c.id, hr_persons.c.adopted_user_id).where(hr_persons.c.id.in_(ids))
    adopted = {row.id: row.adopted_user_id for row in connection.execute(wanted)}
    return {task.id: _order(task, known.get((task.person_id, target_id)), adopted.get(task.person_id)) for task in tasks}


def _order(task: Claimed, account: Any, adopted_user_id: int | None) -> Order:
    desired = msgspec.convert(task.desired, Desired)
    sought = Sought(
        person_id=task.person_id,
        employee_no=desired.employee_no,
        username=desired.username,
        email=desired.email or None,
        external_id=account.external_id if account is not None else None,
        adopted_user_id=adopted_user_id,
    )
    return Order(operation=task.operation, desired=desired, sought=sought, key=str(task.id), attempt=task.attempt)


async def attempt(target: Target, task: Claimed, order: Order, protected: Collection[str], now: datetime) -> Tried:
    """Read, decide, write, read back. Never raises TargetError: the answer says what became of it. `now`: when it begins."""
    before: Found | None = None
    after: Found | None = None
    try:
        if order.desired.username.casefold() in protected or order.desired.employee_no.casefold() in protected:
            raise TargetError(ErrorClass.PROTECTED, f"{order.desired.username} is a break-glass account")
        if not target.can_read:
            after = await target.write(task.operation, order, None)
            if after is not None:
                check_result(order.desired, after)
            return _done(task, Step(task.operation), None, after, now)
        before = after = await target.find(order.sought)
        step = decide(order.operation, order.desired, before, attempt=order.attempt)
        if step.write is not None:
            answered = await target.write(step.write, order, before)
            again = msgspec.structs.replace(order.sought, external_id=answered.external_id) if answered is not None else order.sought
            after = await target.find(again)
            check_result(order.desired, after)
        if not order.desired.active and after is not None and await target.can_enter(order.sought):
            raise TargetError(ErrorClass.NOT_EFFECTIVE, "the account was disabled, and one can still sign in with it")
    except TargetError as error:
        return failed(task, error, now, before=before, after=after)
    return _done(task, step, before, after, now)


def _done(task: Claimed, step: Step, before: Found | None, after: Found | None, started_at: datetime) -> Tried:
    ended = Ended(task=task, outcome=outcome_of(step), started_at=started_at, before=_shown(before), after=_shown(after))
    return Tried(ended=ended, found=after)


def outcome_of(step: Step) -> AttemptOutcome:
    if step.adopts:
        return AttemptOutcome.ADOPTED
    return AttemptOutcome.ALREADY if step.write is None else AttemptOutcome.DONE


def failed(task: Claimed, error: TargetError, now: datetime, *, before: Found | None = None, after: Found | None = None) -> Tried:
    """A failed attempt: again later, or never, as its class says."""
    tries = min(POLICIES[error.error_class].tries, MOST_TRIES)
    retry_at = None
    if task.attempt < tries:
        wait = wait_s(error.error_class, task.attempt, random.random())
        retry_at = now + timedelta(seconds=max(wait if error.retry_after_s is None else 0.0, error.retry_after_s or 0.0))
    ended = Ended(
        task=task,
        outcome=AttemptOutcome.FAILED,
        started_at=now,
        before=_shown(before),
        after=_shown(after),
        error_class=error.error_class,
        detail=error.detail,
        retry_at=retry_at,
    )
    return Tried(ended=ended)


def _shown(found: Found | None) -> dict[str, Any] | None:
    return found.shown() if found is not None else None


def read_back(tried: Sequence[Tried], orders: Mapping[int, Order], held: Collection[int], *, local: bool) -> list[ReadBack]:
    """What is now known of the accounts of tasks that went well and whose outcome counts."""
    known = []
    for one in tried:
        task = one.ended.task
        if one.ended.error_class is not None or task.id not in held:
            continue
        active = orders[task.id].desired.active
        theirs = one.found is not None and one.found.employee_no == orders[task.id].desired.employee_no
        external_id = one.found.external_id if one.found is not None and theirs else None
        known.append(
            ReadBack(
                person_id=task.person_id,
                target_id=task.target_id,
                external_id=external_id,
                user_id=int(external_id) if local and external_id else None,
                state=AccountState.ACTIVE if active else AccountState.DISABLED,
                hash=task.hash,
            )
        )
    return known
