"""Keeps what came of attempts, in one transaction: the tasks, the attempts, the accounts, and who is told of a dead one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from server.people import told
from server.people.hr import account_states, accounts
from server.people.hr.account_states import Ended
from server.people.hr.attempting import Tried, read_back
from server.people.hr.tables import hr_persons, hr_targets
from server.people.hr.targets.errors import ErrorClass
from server.people.hr.targets.target import Order
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told

WRITE = "hr:write"


def settle(
    connection: sa.Connection, tried: Sequence[Tried], orders: Mapping[int, Order], *, owner: str, now: datetime, local: bool
) -> list[Told]:
    """Write it all, but for tasks that another worker has by now; who is to be told after the commit."""
    held = account_states.settle(connection, [one.ended for one in tried], owner=owner, now=now)
    accounts.keep(connection, now, read_back(tried, orders, held, local=local))
    return _tell(connection, [one for one in tried if one.ended.task.id in held], now)


def _tell(connection: sa.Connection, tried: Sequence[Tried], now: datetime) -> list[Told]:
    """Those who look after HR sync hear of the first dead task of a kind at a target each day; the list has the others."""
    dead: dict[tuple[int, ErrorClass], Ended] = {}
    for one in tried:
        if one.ended.error_class is not None and one.ended.retry_at is None:
            dead.setdefault((one.ended.task.target_id, one.ended.error_class), one.ended)
    telling = []
    for (target_id, error_class), ended in dead.items():
        target = connection.execute(sa.select(hr_targets.c.name).where(hr_targets.c.id == target_id)).scalar()
        person = connection.execute(sa.select(hr_persons.c.name).where(hr_persons.c.id == ended.task.person_id)).scalar()
        params = {"target": target or str(target_id), "person": person or "", "error": ended.detail or error_class.value}
        key = f"account-tasks:{target_id}:{error_class.value}:{now:%Y-%m-%d}"
        telling.append(told.tell_holders(connection, now, WRITE, Kind.ACCOUNT_TASK_DEAD, key, params, link="/#/hr/account-tasks"))
    return telling
