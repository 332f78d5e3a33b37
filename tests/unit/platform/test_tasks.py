"""The durable queue as functions of a connection: claimed once, lost with its lease, tried again, buried, given back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.engines.schema import metadata
from server.platform import tasks
from server.platform.tables import tasks as table
from server.platform.tasks import Claimed, Queue, TaskState

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
LEASE = timedelta(seconds=60)
LATER = NOW + LEASE + timedelta(seconds=1)


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        metadata.create_all(opened, tables=[table])
        yield opened
    engine.dispose()


def put(connection: sa.Connection, kind: str = "k", **more: Any) -> str:
    task_id = tasks.enqueue(connection, Queue.MAIL, kind, {"n": 1}, now=NOW, **more)
    assert task_id is not None
    return task_id


def take(connection: sa.Connection, *, at: datetime = NOW, owner: str = "one", limit: int = 10, queue: str = "mail") -> list[Claimed]:
    return tasks.claim(connection, queue, limit, owner=owner, now=at, lease=LEASE)


def row(connection: sa.Connection, task_id: str) -> Any:
    return connection.execute(sa.select(table).where(table.c.id == task_id)).one()


def test_what_a_dead_worker_held_is_claimed_at_once(connection: sa.Connection) -> None:
    task_id = put(connection)
    take(connection, owner="dead")
    put(connection, kind="other")
    take(connection, owner="alive")
    assert sorted(tasks.running_owners(connection)) == ["alive", "dead"]
    assert take(connection, owner="new") == []
    assert tasks.release(connection, ["dead"], NOW) == 1
    [claimed] = take(connection, owner="new")
    assert (claimed.id, claimed.attempt) == (task_id, 2)


def test_a_unique_key_that_another_transaction_has_just_taken_is_no_error(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = put(connection, unique_key="once")
    execute = connection.execute

    def blind(statement: Any, *more: Any, **named: Any) -> Any:
        """The other transaction's row is not seen by looking."""
        if isinstance(statement, sa.Select):
            statement = statement.where(sa.false())
        return execute(statement, *more, **named)

    monkeypatch.setattr(connection, "execute", blind)
    assert tasks.enqueue(connection, Queue.MAIL, "k", {}, now=NOW, unique_key="once") is None
    monkeypatch.undo()
    assert connection.execute(sa.select(table.c.id)).scalars().all() == [first]


def test_a_task_is_claimed_once(connection: sa.Connection) -> None:
    task_id = put(connection)
    [claimed] = take(connection)
    assert (claimed.id, claimed.kind, claimed.payload, claimed.attempt) == (task_id, "k", {"n": 1}, 1)
    assert take(connection, owner="two") == []
    assert row(connection, task_id).state == TaskState.RUNNING


def test_the_earliest_due_come_first_and_only_as_many_as_asked(connection: sa.Connection) -> None:
    late = put(connection, "late", run_at=NOW + timedelta(hours=1))
    second = put(connection, "second", run_at=NOW - timedelta(minutes=1))
    first = put(connection, "first", run_at=NOW - timedelta(minutes=2))
    assert [task.id for task in take(connection, limit=1)] == [first]
    assert [task.id for task in take(connection)] == [second]
    assert [task.id for task in take(connection, at=NOW + timedelta(hours=1), owner="two") if task.id == late] == [late]


def test_a_queue_is_its_own(connection: sa.Connection) -> None:
    put(connection)
    assert take(connection, queue="documents") == []


def test_a_lost_lease_is_taken_over_and_the_late_outcome_dropped(connection: sa.Connection) -> None:
    task_id = put(connection)
    [first] = take(connection)
    assert take(connection, at=NOW + LEASE, owner="two") == []
    [second] = take(connection, at=LATER, owner="two")
    assert second.attempt == 2
    assert not tasks.succeed(connection, first, "one", {"by": "one"}, LATER)
    assert not tasks.fail(connection, first, "one", "late", LATER, retry_at=None)
    assert not tasks.give_back(connection, first, "one", LATER)
    assert not tasks.report(connection, first, "one", 50, "")
    assert not tasks.end_cancelled(connection, first, "one", LATER)
    assert tasks.renew(connection, first, "one", LATER + LEASE) is None
    assert tasks.succeed(connection, second, "two", {"by": "two"}, LATER)
    assert row(connection, task_id).result == {"by": "two"}


def test_the_same_worker_that_lost_its_lease_cannot_write_for_the_later_attempt(connection: sa.Connection) -> None:
    put(connection)
    [first] = take(connection)
    [second] = take(connection, at=LATER)
    assert not tasks.succeed(connection, first, "one", None, LATER)
    assert tasks.succeed(connection, second, "one", None, LATER)


def test_a_renewed_lease_is_kept(connection: sa.Connection) -> None:
    put(connection)
    [task] = take(connection)
    assert tasks.renew(connection, task, "one", LATER + LEASE) is False
    assert take(connection, at=LATER, owner="two") == []


def test_a_failure_is_tried_again_at_its_time(connection: sa.Connection) -> None:
    task_id = put(connection)
    [task] = take(connection)
    assert tasks.fail(connection, task, "one", "no luck", NOW, retry_at=NOW + timedelta(seconds=30))
    assert row(connection, task_id).error == "no luck"
    assert take(connection, at=NOW + timedelta(seconds=29)) == []
    [again] = take(connection, at=NOW + timedelta(seconds=30))
    assert again.attempt == 2


def test_a_dead_letter_is_seen_and_can_be_retried(connection: sa.Connection) -> None:
    task_id = put(connection, unique_key="u")
    [task] = take(connection)
    assert tasks.fail(connection, task, "one", "never", NOW, retry_at=None)
    dead = row(connection, task_id)
    assert (dead.state, dead.ended_at, dead.unique_key, dead.lease_owner) == (TaskState.DEAD, NOW, None, None)
    assert take(connection, at=LATER) == []
    assert tasks.put_back(connection, task_id, LATER)
    [again] = take(connection, at=LATER)
    assert again.attempt == 1
    assert not tasks.put_back(connection, task_id, LATER)


def test_one_unfinished_task_has_a_unique_key(connection: sa.Connection) -> None:
    put(connection, unique_key="u")
    assert tasks.enqueue(connection, Queue.MAIL, "k", {}, now=NOW, unique_key="u") is None
    [task] = take(connection)
    assert tasks.enqueue(connection, Queue.MAIL, "k", {}, now=NOW, unique_key="u") is None
    tasks.succeed(connection, task, "one", None, NOW)
    assert tasks.enqueue(connection, Queue.MAIL, "k", {}, now=NOW, unique_key="u") is not None


def test_what_is_given_back_has_lost_no_try(connection: sa.Connection) -> None:
    task_id = put(connection, max_attempts=1)
    [task] = take(connection)
    assert tasks.give_back(connection, task, "one", NOW)
    assert row(connection, task_id).attempts == 0
    [again] = take(connection, owner="two")
    assert again.attempt == 1


def test_a_last_try_that_was_lost_is_buried_by_whoever_claims_next(connection: sa.Connection) -> None:
    task_id = put(connection, max_attempts=1, unique_key="u")
    take(connection)
    assert tasks.bury(connection, NOW + LEASE, "mail") == 0
    assert take(connection, at=LATER, owner="two", queue="documents") == []
    assert row(connection, task_id).state == TaskState.RUNNING
    assert take(connection, at=LATER, owner="two") == []
    buried = row(connection, task_id)
    assert (buried.state, buried.unique_key, buried.ended_at) == (TaskState.DEAD, None, LATER)
    assert buried.error
    assert tasks.put_back(connection, task_id, LATER), "a person may try again"


def test_a_lost_task_that_was_asked_to_stop_is_not_begun_again(connection: sa.Connection) -> None:
    task_id = put(connection)
    take(connection)
    tasks.request_cancel(connection, task_id, NOW)
    assert take(connection, at=LATER, owner="two") == []
    assert row(connection, task_id).state == TaskState.CANCELLED


def test_a_task_that_was_asked_to_stop_is_not_given_back(connection: sa.Connection) -> None:
    task_id = put(connection)
    [task] = take(connection)
    tasks.request_cancel(connection, task_id, NOW)
    assert tasks.give_back(connection, task, "one", NOW)
    assert row(connection, task_id).state == TaskState.CANCELLED


def test_a_queued_task_is_cancelled_at_once(connection: sa.Connection) -> None:
    task_id = put(connection, unique_key="u")
    assert tasks.request_cancel(connection, task_id, NOW)
    cancelled = row(connection, task_id)
    assert (cancelled.state, cancelled.unique_key, cancelled.ended_at) == (TaskState.CANCELLED, None, NOW)
    assert not tasks.request_cancel(connection, task_id, NOW)
    assert take(connection) == []
    assert tasks.put_back(connection, task_id, NOW)
    assert not row(connection, task_id).cancel_requested


def test_a_running_task_is_asked_to_stop(connection: sa.Connection) -> None:
    task_id = put(connection)
    [task] = take(connection)
    assert tasks.request_cancel(connection, task_id, NOW)
    assert row(connection, task_id).state == TaskState.RUNNING
    assert tasks.renew(connection, task, "one", LATER) is True
    assert tasks.end_cancelled(connection, task, "one", NOW)
    assert row(connection, task_id).state == TaskState.CANCELLED


def test_a_task_that_was_asked_to_stop_and_failed_is_not_tried_again_by_itself(connection: sa.Connection) -> None:
    task_id = put(connection)
    [task] = take(connection)
    tasks.request_cancel(connection, task_id, NOW)
    tasks.fail(connection, task, "one", "broken", NOW, retry_at=NOW)
    assert take(connection, at=LATER) == []
    assert row(connection, task_id).state == TaskState.CANCELLED


def test_progress(connection: sa.Connection) -> None:
    task_id = put(connection)
    [task] = take(connection)
    assert tasks.report(connection, task, "one", 40, "m" * 600)
    assert (row(connection, task_id).progress, len(row(connection, task_id).progress_message)) == (40, 500)
    tasks.succeed(connection, task, "one", [1], NOW)
    assert (row(connection, task_id).progress, row(connection, task_id).state) == (100, TaskState.SUCCEEDED)
    assert not tasks.put_back(connection, task_id, NOW)


def test_only_ended_tasks_are_swept(connection: sa.Connection) -> None:
    for number in range(3):
        put(connection, f"k{number}")
    done, _running = take(connection, limit=2)
    tasks.succeed(connection, done, "one", None, NOW)
    assert tasks.sweep(connection, NOW) == 0
    assert tasks.sweep(connection, LATER) == 1
    assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 2


@pytest.mark.parametrize("queue", list(Queue))
def test_every_queue_has_its_concurrency(queue: Queue) -> None:
    from jobs.worker import CONCURRENCY

    assert CONCURRENCY[queue] >= 1
