"""Removes sessions that are long over, imports that nobody will undo any more, and what HR runs leave behind."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from server.people.hr.account_states import UNFINISHED
from server.people.hr.proof import ProofState
from server.people.hr.states import GOING_ON, ChangeState, RunState
from server.people.hr.tables import account_attempts, account_tasks, deprovisionings, hr_changes, hr_rows, hr_runs
from server.people.tables import sessions, user_imports

KEPT_FOR = timedelta(days=30)
_OPEN = [state.value for state in (*GOING_ON, RunState.AWAITING_APPROVAL)]


def sweep_sessions(connection: sa.Connection, now: datetime, limit: int) -> int:
    """Sessions that ended or expired a month ago; how many were removed."""
    before = now - KEPT_FOR
    old = sa.select(sessions.c.id).where(sa.or_(sessions.c.ended_at < before, sessions.c.expires_at < before)).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(sessions.delete().where(sessions.c.id.in_(ids))).rowcount if ids else 0


def sweep_imports(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Imports from before that time, with what undoing them would need; how many were removed."""
    old = sa.select(user_imports.c.id).where(user_imports.c.created_at < before).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(user_imports.delete().where(user_imports.c.id.in_(ids))).rowcount if ids else 0


def sweep_hr_rows(connection: sa.Connection, limit: int) -> int:
    """Snapshots of runs that have ended, which only a crash leaves behind; how many rows were removed."""
    over = hr_runs.c.state.not_in([state.value for state in GOING_ON])
    wanted = sa.select(hr_rows.c.run_id, hr_rows.c.what, hr_rows.c.key).join(hr_runs, hr_runs.c.id == hr_rows.c.run_id).where(over)
    keys: dict[tuple[str, str], list[str]] = {}
    for row in connection.execute(wanted.limit(limit)):
        keys.setdefault((row.run_id, row.what), []).append(row.key)
    removed = 0
    for (run_id, what), some in keys.items():
        gone = hr_rows.delete().where(hr_rows.c.run_id == run_id, hr_rows.c.what == what, hr_rows.c.key.in_(some))
        removed += connection.execute(gone).rowcount
    return removed


def sweep_hr_changes(connection: sa.Connection, before: datetime, applied_before: datetime, limit: int) -> int:
    """Changes of old plans; how many were removed. What was applied, and what people decided, says why an account is as it is: that
    is kept longer."""
    telling = sa.or_(hr_changes.c.state == ChangeState.APPLIED.value, hr_changes.c.decided_by.is_not(None))
    aged = sa.or_(hr_changes.c.at < applied_before, sa.and_(hr_changes.c.at < before, sa.not_(telling)))
    open_runs = sa.select(hr_runs.c.id).where(hr_runs.c.state.in_(_OPEN))
    old = sa.select(hr_changes.c.id).where(aged, hr_changes.c.run_id.not_in(open_runs)).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(hr_changes.delete().where(hr_changes.c.id.in_(ids))).rowcount if ids else 0


def sweep_hr_runs(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Old runs of which no change is kept; how many were removed."""
    kept = sa.select(hr_changes.c.id).where(hr_changes.c.run_id == hr_runs.c.id).exists()
    old = sa.select(hr_runs.c.id).where(hr_runs.c.ended_at < before, hr_runs.c.state.not_in(_OPEN), sa.not_(kept)).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(hr_runs.delete().where(hr_runs.c.id.in_(ids))).rowcount if ids else 0


def sweep_account_tasks(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Account tasks that ended before that time, with their attempts: they tell why an account is as it is; how many."""
    old = sa.select(account_tasks.c.id).where(account_tasks.c.ended_at < before, account_tasks.c.state.not_in(UNFINISHED)).limit(limit)
    ids = list(connection.execute(old).scalars())
    if ids:
        connection.execute(account_attempts.delete().where(account_attempts.c.account_task_id.in_(ids)))
        connection.execute(account_tasks.delete().where(account_tasks.c.id.in_(ids)))
    return len(ids)


def sweep_deprovisionings(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Proofs of ends that were ordered before that time; how many."""
    over = deprovisionings.c.state != ProofState.CHECKING.value
    old = sa.select(deprovisionings.c.id).where(deprovisionings.c.ordered_at < before, over).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(deprovisionings.delete().where(deprovisionings.c.id.in_(ids))).rowcount if ids else 0
