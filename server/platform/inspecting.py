"""What the queues are doing now, on which instances: registered, active, later, due and dead tasks, and each queue's figures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.events import Event, Resync
from server.platform.queue_settings import read_settings, shown
from server.platform.registered_jobs import RegisteredJobs
from server.platform.tables import tasks as table
from server.platform.tasks import Queue, TaskState

ANNOUNCED_EVERY_S = 5.0
FORGOTTEN_AFTER_S = 16.0
# Of each list the first so many; the figures say how many there are.
LISTED = 100


class QueueAtWork(msgspec.Struct, frozen=True):
    """A queue on one instance: how many tasks it may work on at once, and how many it does."""

    queue: str
    concurrency: int
    running: int


class WorkerSeen(Event, frozen=True):
    """An instance works on these queues."""

    instance: str
    queues: tuple[QueueAtWork, ...]


class Working(Protocol):
    """A worker of this instance."""

    queue: Queue
    concurrency: int

    @property
    def running(self) -> int: ...


class Workers:
    """Tells the other instances of this one's workers, and remembers theirs."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._own: Sequence[Working] = ()
        self._others: dict[str, tuple[WorkerSeen, float]] = {}
        self._telling: asyncio.Task[None] | None = None
        ctx.events.listen(WorkerSeen, self._heard)
        ctx.events.listen(Resync, lambda _event: self._others.clear())

    def start(self, own: Sequence[Working]) -> None:
        self._own = own
        self._telling = asyncio.create_task(self._tell(), name="workers-seen")

    async def stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    def seen(self) -> list[WorkerSeen]:
        """Every instance that has told of itself lately, this one included."""
        now = self._ctx.clock.monotonic()
        self._others = {name: one for name, one in self._others.items() if now - one[1] < FORGOTTEN_AFTER_S}
        found = [one for one, _ in self._others.values()]
        if self._own:
            found.append(self._present())
        return sorted(found, key=lambda one: one.instance)

    def _present(self) -> WorkerSeen:
        return WorkerSeen(self._ctx.instance, tuple(QueueAtWork(one.queue.value, one.concurrency, one.running) for one in self._own))

    def _heard(self, event: WorkerSeen) -> None:
        if event.instance != self._ctx.instance:
            self._others[event.instance] = (event, self._ctx.clock.monotonic())

    async def _tell(self) -> None:
        while True:
            await self._ctx.events.publish(self._present())
            await asyncio.sleep(ANNOUNCED_EVERY_S)


class KindView(msgspec.Struct):
    """A kind of task that this server can do."""

    kind: str
    queue: str
    summary: str
    max_attempts: int
    time_limit_s: float
    schedulable: bool


class ActiveTask(msgspec.Struct):
    id: str
    queue: str
    kind: str
    instance: str | None
    since: datetime | None
    attempt: int
    progress: int
    message: str | None


class WaitingTask(msgspec.Struct):
    """A task that is due, or will be at `run_at`."""

    id: str
    queue: str
    kind: str
    run_at: datetime
    attempts: int


class DeadTask(msgspec.Struct):
    id: str
    queue: str
    kind: str
    ended_at: datetime | None
    attempts: int
    error: str | None


class QueueFigure(msgspec.Struct):
    """One queue. Ages in seconds, throughput in tasks ended a minute, `error_rate` the part of the last hour's that ended dead."""

    queue: str
    concurrency: int
    default: int
    active: int
    scheduled: int
    reserved: int
    dead: int
    oldest_s: float
    per_minute_5: float
    per_minute_60: float
    error_rate: float


class WorkerView(msgspec.Struct):
    """An instance and its queues."""

    instance: str
    queues: list[QueueAtWork]


class Inspection(msgspec.Struct):
    kinds: list[KindView]
    active: list[ActiveTask]
    scheduled: list[WaitingTask]
    reserved: list[WaitingTask]
    dead: list[DeadTask]
    queues: list[QueueFigure]
    workers: list[WorkerView]


async def inspect(ctx: Context, actor: Actor) -> Inspection:
    """Everything at one moment."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Inspection:
        queued = table.c.state == TaskState.QUEUED.value
        return Inspection(
            kinds=_kinds(ctx),
            active=[_active(row) for row in _listed(connection, table.c.state == TaskState.RUNNING.value, table.c.started_at)],
            scheduled=[_waiting(row) for row in _listed(connection, sa.and_(queued, table.c.run_at > now), table.c.run_at)],
            reserved=[_waiting(row) for row in _listed(connection, sa.and_(queued, table.c.run_at <= now), table.c.run_at)],
            dead=[_dead(row) for row in _listed(connection, table.c.state == TaskState.DEAD.value, table.c.ended_at.desc())],
            queues=figures(connection, ctx.services.get(RegisteredJobs), now),
            workers=[WorkerView(one.instance, list(one.queues)) for one in ctx.services.get(Workers).seen()],
        )

    return await ctx.sql.read(transaction)


async def list_queues(ctx: Context, actor: Actor) -> list[QueueFigure]:
    now = ctx.clock.now()
    return await ctx.sql.read(lambda connection: figures(connection, ctx.services.get(RegisteredJobs), now))


def figures(connection: sa.Connection, registered: RegisteredJobs, now: datetime) -> list[QueueFigure]:
    """The figures of every queue. Reads what is unfinished, dead, or ended within the hour; never all that has ever succeeded."""
    counts: dict[tuple[str, str], int] = {}
    states = [TaskState.QUEUED.value, TaskState.RUNNING.value, TaskState.DEAD.value]
    # By queue, for the index begins with it.
    per_state = sa.select(table.c.queue, table.c.state, sa.func.count().label("number"), sa.func.min(table.c.run_at).label("oldest"))
    names = [queue.value for queue in Queue]
    of_state = per_state.where(table.c.queue.in_(names), table.c.state.in_(states))
    oldest: dict[str, datetime] = {}
    for row in connection.execute(of_state.group_by(table.c.queue, table.c.state)):
        counts[row.queue, row.state] = row.number
        if row.state == TaskState.QUEUED.value:
            oldest[row.queue] = row.oldest
    later = sa.select(table.c.queue, sa.func.count().label("number")).where(
        table.c.queue.in_(names), table.c.state == TaskState.QUEUED.value, table.c.run_at > now
    )
    scheduled = {row.queue: row.number for row in connection.execute(later.group_by(table.c.queue))}
    ended = _ended(connection, now)
    settings = read_settings(connection)
    found = []
    for queue in Queue:
        name, view = queue.value, shown(settings, registered, queue)
        hour, lately, dead = ended.get(name, (0, 0, 0))
        first = oldest.get(name)
        found.append(
            QueueFigure(
                queue=name,
                concurrency=view.concurrency,
                default=view.default,
                active=counts.get((name, TaskState.RUNNING.value), 0),
                scheduled=scheduled.get(name, 0),
                reserved=counts.get((name, TaskState.QUEUED.value), 0) - scheduled.get(name, 0),
                dead=counts.get((name, TaskState.DEAD.value), 0),
                oldest_s=max(0.0, (now - first).total_seconds()) if first else 0.0,
                per_minute_5=round(lately / 5, 2),
                per_minute_60=round(hour / 60, 2),
                error_rate=round(dead / hour, 4) if hour else 0.0,
            )
        )
    return found


def _ended(connection: sa.Connection, now: datetime) -> dict[str, tuple[int, int, int]]:
    """Per queue: tasks that succeeded or died in the last hour, in the last five minutes, and those of the hour that died."""
    lately = sa.func.sum(sa.case((table.c.ended_at > now - timedelta(minutes=5), 1), else_=0))
    dead = sa.func.sum(sa.case((table.c.state == TaskState.DEAD.value, 1), else_=0))
    wanted = (
        sa.select(table.c.queue, sa.func.count().label("hour"), lately.label("lately"), dead.label("dead"))
        .where(table.c.state.in_([TaskState.SUCCEEDED.value, TaskState.DEAD.value]), table.c.ended_at > now - timedelta(hours=1))
        .group_by(table.c.queue)
    )
    return {row.queue: (int(row.hour), int(row.lately), int(row.dead)) for row in connection.execute(wanted)}


def _listed(connection: sa.Connection, wanted: sa.ColumnElement[bool], order: Any) -> Sequence[Any]:
    mine = sa.and_(table.c.queue.in_([queue.value for queue in Queue]), wanted)
    return connection.execute(sa.select(table).where(mine).order_by(order).limit(LISTED)).all()


def _active(row: Any) -> ActiveTask:
    return ActiveTask(row.id, row.queue, row.kind, row.lease_owner, row.started_at, row.attempts, row.progress, row.progress_message)


def _waiting(row: Any) -> WaitingTask:
    return WaitingTask(row.id, row.queue, row.kind, row.run_at, row.attempts)


def _dead(row: Any) -> DeadTask:
    return DeadTask(row.id, row.queue, row.kind, row.ended_at, row.attempts, row.error)


def _kinds(ctx: Context) -> list[KindView]:
    kinds = sorted(ctx.services.get(RegisteredJobs).kinds.values(), key=lambda one: (one.queue.value, one.kind))
    return [KindView(one.kind, one.queue.value, one.summary, one.max_attempts, one.time_limit_s, one.schedulable) for one in kinds]
