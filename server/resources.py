"""Opens and closes the engines and the loops, in order, on the serving loop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tornado.web import Application

from handlers.base import Requests
from jobs.all import JOBS, SCHEDULES
from jobs.registry import register
from jobs.schedule_loop import ScheduleLoop
from jobs.waking_loop import WakingLoop
from jobs.worker import CONCURRENCY, QueueWorker
from server import migrating
from server.app import make_app
from server.clock import Clock
from server.config import Settings, SettingsError
from server.context import Context, Services
from server.dispatch.committing import commit
from server.dispatch.definitions import Definitions
from server.dispatch.events import EVENTS as DISPATCH_EVENTS
from server.dispatch.hub import Hub
from server.dispatch.modules import Forwarder
from server.dispatch.presence import Presence, expire_modules, forget_dead_instances
from server.dispatch.reconnecting import forget_instance
from server.dispatch.run_logs import COLLECTIONS, LogWriter
from server.dispatch.settling import ProgressWriter
from server.engines.bus import open_bus
from server.engines.compute import open_compute
from server.engines.documents import open_documents
from server.engines.embedding import EmbeddingMisfit, open_embedding
from server.engines.files import open_files
from server.engines.llm import open_llm
from server.engines.mail import open_mail
from server.engines.sql import open_sql
from server.engines.vectors import open_vectors
from server.errors import DomainError, EngineAway
from server.events import Event, Events
from server.knowledge.access import Ways
from server.knowledge.indexes import Indexes, IndexSwitched, read_indexes
from server.knowledge.statuses import DocumentChanged
from server.knowledge.warming import Warming
from server.loop_lag import LoopLag
from server.metrics import Metrics
from server.people.identify import RightsChanged
from server.people.organization_tree import OrganizationsChanged
from server.people.password_rules import PasswordRules
from server.people.passwords import Passwords
from server.people.sessions import SessionEnded
from server.people.setup import set_up
from server.people.tokens import TokenReader
from server.people.user_merging import UsersMerged
from server.people.view_as import Views
from server.platform import task_logs, tasks
from server.platform.inspecting import Workers, WorkerSeen
from server.platform.notifications.telling import NotificationsChanged
from server.platform.queue_settings import QueueSettingsChanged
from server.platform.schedules.actions import ensure_system_schedules
from server.platform.schedules.pausing import PauseChanged
from server.platform.schedules.rows import ScheduleChanged
from server.platform.task_logs import TaskLogs
from server.platform.tasks import Queue, TaskChanged, TaskQueued
from server.projects import attachments
from server.projects.events import DashboardStale, ProjectChanged
from server.scopes import system_actor
from server.secrets_file import open_secrets

log = logging.getLogger(__name__)

EVENTS: list[type[Event]] = [
    *DISPATCH_EVENTS,
    SessionEnded,
    RightsChanged,
    OrganizationsChanged,
    UsersMerged,
    ScheduleChanged,
    PauseChanged,
    TaskQueued,
    TaskChanged,
    QueueSettingsChanged,
    WorkerSeen,
    NotificationsChanged,
    DocumentChanged,
    IndexSwitched,
    ProjectChanged,
    DashboardStale,
]
TASK_GRACE_S = 10.0
MODEL_TIME_S = 10.0


async def open_context(settings: Settings, stack: AsyncExitStack, *, clock: Clock | None = None, at_start: bool = True) -> Context:
    """A context with open engines; `stack` closes them. `at_start` brings the embedded database up to date."""
    clock = clock or Clock()
    kept = await asyncio.to_thread(open_secrets, settings)
    if at_start and not settings.mysql_host:
        await asyncio.to_thread(migrating.migrate, settings)
    elif at_start:
        try:
            await asyncio.to_thread(migrating.check, settings)
        except migrating.SchemaBehind:
            raise
        except Exception as error:  # away at start: the first requests say so, and it heals by itself
            log.warning("the database could not be asked for its version: %s", error)
    sql = await open_sql(settings)
    stack.push_async_callback(sql.close)
    bus = open_bus(settings, clock)
    stack.push_async_callback(bus.close)
    documents = open_documents(settings, sql)
    stack.push_async_callback(documents.close)
    mail, compute, files = open_mail(settings, clock), open_compute(settings), open_files(settings)
    embedding, vectors, llm = open_embedding(settings, compute), open_vectors(settings), open_llm(settings)
    for door in (mail, compute, files, embedding, vectors, llm):
        stack.push_async_callback(door.close)
    instance = f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"
    ctx = Context(
        settings=settings,
        secrets=kept,
        clock=clock,
        instance=instance,
        sql=sql,
        documents=documents,
        bus=bus,
        mail=mail,
        compute=compute,
        files=files,
        embedding=embedding,
        vectors=vectors,
        llm=llm,
        events=Events(bus, instance, EVENTS),
        metrics=Metrics(),
        services=Services(),
    )
    for service in (
        Passwords(),
        PasswordRules(),
        TokenReader(kept.secret_key),
        Hub(),
        Definitions(ctx),
        LogWriter(ctx),
        ProgressWriter(ctx),
        Indexes(ctx),
        Ways(attachments.readable),
        register(JOBS, SCHEDULES, CONCURRENCY),
        Workers(ctx),
    ):
        ctx.services.add(service)
    stack.push_async_callback(ctx.services.add(Warming(ctx)).close)
    logs = ctx.services.add(TaskLogs(ctx))
    logs.open()
    stack.callback(logs.close)
    await documents.prepare((*COLLECTIONS, *task_logs.COLLECTIONS))
    return ctx


@dataclass
class Resources:
    """The running process: a context, the Tornado application on it, and the loops beside it."""

    ctx: Context
    app: Application
    schedule_loop: ScheduleLoop
    waking_loop: WakingLoop
    workers: list[QueueWorker]
    _stack: AsyncExitStack

    @classmethod
    async def open(cls, settings: Settings, *, clock: Clock | None = None, loops: bool = True) -> Resources:
        """Open everything; afterwards requests can be taken. On an error nothing stays open."""
        async with AsyncExitStack() as stack:
            ctx = await open_context(settings, stack, clock=clock)
            presence = ctx.services.add(Presence(ctx))
            ctx.services.add(Forwarder(ctx))
            ctx.services.add(Views(ctx))
            ctx.services.add(LoopLag(ctx.metrics.loop_lag.observe))
            workers = [QueueWorker(ctx, JOBS, queue, concurrency=CONCURRENCY[queue]) for queue in Queue]
            schedule_loop = ctx.services.add(ScheduleLoop(ctx))
            resources = cls(ctx, make_app(ctx), schedule_loop, WakingLoop(ctx, presence), workers, stack.pop_all())
        try:
            await resources._begin(loops)
        except BaseException:
            await resources.close()
            raise
        return resources

    async def _begin(self, loops: bool) -> None:
        ctx, actor = self.ctx, system_actor("start")
        try:
            await set_up(ctx, actor)
            await ensure_system_schedules(ctx, actor, SCHEDULES)
            if ctx.bus.mode == "embedded":
                await self._release_tasks()
                # The only instance: whoever was online under an earlier process is not until it connects to this one.
                offline = await expire_modules(ctx)
                log.info("%d modules wait to reconnect", offline)
            else:
                await forget_dead_instances(ctx)
            if await ctx.sql.read(read_indexes):  # there are documents
                ctx.services.get(Warming).begin()
        except EngineAway as away:
            log.error("started without %s: %s", away.engine, away.cause)
        await self._check_model()
        if loops:
            self.ctx.services.get(Warming).prepare()
            self.ctx.services.get(LoopLag).start()
            self.schedule_loop.start()
            self.waking_loop.start()
            for worker in self.workers:
                worker.start()
            self.ctx.services.get(Workers).start(self.workers)

    async def _release_tasks(self) -> None:
        """Tasks of an earlier process of this folder that is gone need not wait for their leases."""
        ctx = self.ctx
        owners = await ctx.sql.read(tasks.running_owners)
        gone = [owner for owner in owners if owner != ctx.instance and not _is_alive(owner)]
        if gone:
            released = await ctx.sql.write(lambda connection: tasks.release(connection, gone, ctx.clock.now()))
            log.info("%d tasks of a process that is gone are taken up again", released)

    async def _check_model(self) -> None:
        """An endpoint whose vectors have another dimension than EMBEDDING_DIM stops the start; one that is away does not."""
        if not self.ctx.settings.embedding_url:
            return
        try:
            async with asyncio.timeout(MODEL_TIME_S):
                await self.ctx.embedding.model()
        except EmbeddingMisfit as error:
            raise SettingsError(f"EMBEDDING_URL: {error}") from error
        except (DomainError, TimeoutError) as error:
            log.warning("the embedding model could not be asked for its dimension: %s", error or "no answer in time")

    async def drain(self) -> None:
        """Stop planning and claiming; what is in flight goes on."""
        requests: Requests = self.app.settings["requests"]
        requests.draining = True
        await self.schedule_loop.stop()
        await asyncio.gather(*(worker.stop(TASK_GRACE_S) for worker in self.workers))

    async def close(self) -> None:
        """Stop the loops, hand over the modules, close the engines."""
        await self.schedule_loop.stop()
        await asyncio.gather(*(worker.stop(0) for worker in self.workers))
        await self.ctx.services.get(Workers).stop()
        await self.waking_loop.stop()
        await self.ctx.services.get(LoopLag).stop()
        self.ctx.services.get(Hub).close_all(1012, "service restart")
        try:
            await commit(self.ctx, lambda connection, effects: forget_instance(connection, effects, [self.ctx.instance]))
        except EngineAway as away:
            log.warning("could not say goodbye: %s", away)
        await self._stack.aclose()


def _is_alive(instance: str) -> bool:
    """Whether the process of an instance of this machine still runs; one of another machine is taken to."""
    host, _, pid = instance.rpartition("-")[0].rpartition("-")
    if host != socket.gethostname()[:30] or not pid.isdigit():
        return True
    if int(pid) == os.getpid():  # in a container each start has the same one, and this process is another instance
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
