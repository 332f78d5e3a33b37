"""/ws/events: what happens, told to browsers that follow it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from tornado.iostream import StreamBufferFullError
from tornado.web import Application
from tornado.websocket import WebSocketClosedError

from handlers.notices import NOTICES, Notices, may_read_notices
from handlers.sockets import SocketHandler
from server.actor import NOBODY, Actor
from server.context import Context
from server.dispatch.events import ModuleChanged, RunChanged, StepChanged, StepLogged
from server.dispatch.live_topics import may_follow_run
from server.errors import EngineAway, NotSignedIn
from server.events import Event, Resync
from server.knowledge.live_topics import may_follow_document, may_follow_task
from server.knowledge.statuses import DocumentChanged
from server.people import tickets
from server.people.identify import RightsChanged, identify_again
from server.people.sessions import SessionEnded
from server.platform.queue_telling import QueueTelling
from server.platform.tasks import TaskChanged
from server.projects.dashboard_cache import StaleTelling, may_follow_dashboard
from server.projects.events import ProjectChanged
from server.projects.live_topics import may_follow_project

log = logging.getLogger(__name__)

TOPIC = re.compile(r"^(modules|runs|queues|notifications|dashboard|run:[0-9a-f]{32}|task:[0-9a-f]{32}|(document|project):[0-9]{1,15})$")
MOST_TOPICS = 200
LARGEST_BACKLOG = 4 << 20
# A browser that does not read as fast as things happen is told to read anew.
MANY_WAITING = 1 << 20
SESSION_ENDED = (4401, "session ended")
# What its caller may see cannot be asked: it comes again, and is asked at the door.
TRY_AGAIN = (1013, "try again later")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a browser sends."""

    subscribe: list[str] = []
    unsubscribe: list[str] = []


class Told(msgspec.Struct):
    """What it gets; `seq` counts the frames of this socket."""

    topic: str
    event: str
    data: Any
    seq: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Asked).decode


class Browsers:
    """The browser sockets of this instance, and who follows what."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._sockets: set[EventsHandler] = set()
        self._followers: dict[str, set[EventsHandler]] = {}
        self._to_check: set[EventsHandler] = set()
        self._checking: asyncio.Task[None] | None = None
        self._queues = QueueTelling(ctx, lambda event: self.tell("queues", event), lambda: bool(self._followers.get("queues")))
        events = ctx.events
        events.listen(ModuleChanged, lambda event: self.tell("modules", event))
        events.listen(RunChanged, self._run_changed)
        events.listen(StepChanged, lambda event: self.tell(f"run:{event.run_id}", event))
        events.listen(StepLogged, lambda event: self.tell(f"run:{event.run_id}", event))
        events.listen(TaskChanged, lambda event: self.tell(f"task:{event.task_id}", event))
        events.listen(DocumentChanged, lambda event: self.tell(f"document:{event.document_id}", event))
        self._dashboard = StaleTelling(ctx, lambda event: self.tell("dashboard", event), lambda: bool(self._followers.get("dashboard")))
        self.notices = Notices(ctx, lambda: list(self._followers.get(NOTICES, ())))
        events.listen(ProjectChanged, self._project_changed)
        events.listen(SessionEnded, self._session_ended)
        events.listen(RightsChanged, self._rights_changed)
        events.listen(Resync, lambda _event: self._resync())

    def __len__(self) -> int:
        return len(self._sockets)

    def of_user(self, user_id: int) -> int:
        """How many sockets a user has open here."""
        return sum(socket.actor.user_id == user_id for socket in self._sockets)

    def add(self, socket: EventsHandler) -> None:
        self._sockets.add(socket)
        self._ctx.metrics.browser_sockets.set(len(self._sockets))

    def remove(self, socket: EventsHandler) -> None:
        self._sockets.discard(socket)
        self._to_check.discard(socket)
        for topic in socket.topics:
            self._followers.get(topic, set()).discard(socket)
        self._ctx.metrics.browser_sockets.set(len(self._sockets))

    def follow(self, socket: EventsHandler, topic: str) -> None:
        socket.topics.add(topic)
        self._followers.setdefault(topic, set()).add(socket)
        if topic == "queues":
            self._queues.begin()

    def unfollow(self, socket: EventsHandler, topic: str) -> None:
        socket.topics.discard(topic)
        followers = self._followers.get(topic, set())
        followers.discard(socket)
        if not followers:
            self._followers.pop(topic, None)

    def tell(self, topic: str, event: Event, *, but: tuple[str, ...] = ()) -> None:
        """Send an event to who follows the topic, all of it `but` what is not theirs to know."""
        followers = self._followers.get(topic)
        if followers:
            data = {name: value for name, value in msgspec.to_builtins(event).items() if name not in ("type", *but)}
            for socket in list(followers):
                socket.tell(topic, type(event).__name__, data)

    def _run_changed(self, event: RunChanged) -> None:
        self.tell(f"run:{event.run_id}", event)
        self.tell("runs", event)

    def _project_changed(self, event: ProjectChanged) -> None:
        self.tell(f"project:{event.project_id}", event, but=("organization_id",))  # a blind reviewer may follow it

    def _session_ended(self, event: SessionEnded) -> None:
        for socket in list(self._sockets):
            actor = socket.actor
            if (event.key_id is None and actor.session_id == event.session_id) or (
                event.key_id is not None and actor.key_id == event.key_id
            ):
                socket.close(*SESSION_ENDED)

    def _rights_changed(self, event: RightsChanged) -> None:
        self._check(socket for socket in self._sockets if event.user_id is None or socket.actor.user_id == event.user_id)

    def _check(self, sockets: Iterable[EventsHandler]) -> None:
        self._to_check.update(sockets)
        if self._to_check and (self._checking is None or self._checking.done()):
            self._checking = asyncio.get_running_loop().create_task(self._check_all())

    async def _check_all(self) -> None:
        """One after the other: a change for everybody must not keep the loop and the database busy."""
        while self._to_check:
            socket = self._to_check.pop()
            try:
                await socket.check_rights()
            except Exception:
                log.exception("a browser socket could not be checked")
                socket.close(*TRY_AGAIN)
            await asyncio.sleep(0)

    def _resync(self) -> None:
        for socket in list(self._sockets):
            socket.tell("", "resync", None)
        self._check(self._sockets)  # a change of rights may be among what was missed

    def close_all(self, code: int, reason: str) -> None:
        for socket in list(self._sockets):
            socket.close(code, reason)


class EventsHandler(SocketHandler):
    """One browser socket; opened with a ticket, so that no token stands in the address."""

    actor: Actor = NOBODY

    def __init__(self, application: Application, request: Any, **kwargs: Any) -> None:
        super().__init__(application, request, **kwargs)
        self.browsers = self.ctx.services.get(Browsers)
        self.topics: set[str] = set()
        self._seq = 0
        self._gap = False
        self._asking: set[asyncio.Task[None]] = set()
        # What is asked for is judged by rights that nothing changes meanwhile.
        self._turn = asyncio.Lock()

    async def admit(self) -> None:
        self.actor = await tickets.redeem(self.ctx, self.get_query_argument("ticket", ""))

    def open(self, *_args: str) -> None:
        assert self.ws_connection is not None
        assert self.ws_connection.stream is not None
        self.ws_connection.stream.max_write_buffer_size = LARGEST_BACKLOG
        self.browsers.add(self)

    def on_message(self, message: str | bytes) -> None:
        try:
            asked = _decode(message)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self.tell("", "error", {"message": str(error)})
            return
        task = asyncio.get_running_loop().create_task(self._take(asked))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _take(self, asked: Asked) -> None:
        try:
            async with self._turn:
                # What the caller may do may have changed since the socket was opened.
                self.actor = await identify_again(self.ctx, self.actor)
                await self._follow(asked)
        except NotSignedIn:
            self.close(*SESSION_ENDED)
        except EngineAway as away:
            self.tell("", "error", {"message": str(away)})

    async def check_rights(self) -> None:
        """Give up what the caller may no longer follow; close when it is signed out, or when that cannot be known."""
        try:
            async with self._turn:
                self.actor = await identify_again(self.ctx, self.actor)
                for topic in sorted(self.topics):
                    if not await self._may_follow(topic):
                        self.browsers.unfollow(self, topic)
                        self.tell(topic, "refused", None)
        except NotSignedIn:
            self.close(*SESSION_ENDED)
        except EngineAway:
            self.close(*TRY_AGAIN)

    async def _follow(self, asked: Asked) -> None:
        for topic in asked.unsubscribe:
            self.browsers.unfollow(self, topic)
        for topic in asked.subscribe:
            room = topic in self.topics or len(self.topics) < MOST_TOPICS
            if room and await self._may_follow(topic):
                self.browsers.follow(self, topic)
                self.tell(topic, "subscribed", None)
            else:
                self.tell(topic, "refused", None)

    async def _may_follow(self, topic: str) -> bool:
        if not TOPIC.match(topic):
            return False
        if topic == "modules":
            return self.actor.organizations("modules:read") is None
        if topic == "runs":
            return self.actor.organizations("workflows:read") is None
        if topic == NOTICES:
            return may_read_notices(self.actor)
        if topic == "dashboard":
            return may_follow_dashboard(self.actor)
        if topic == "queues":
            return self.actor.organizations("tasks:read") is None
        kind, _, wanted = topic.partition(":")
        if kind == "task":
            return self.actor.organizations("tasks:read") is None or await may_follow_task(self.ctx, self.actor, wanted)
        if kind == "project":
            return await may_follow_project(self.ctx, self.actor, int(wanted))
        if kind == "document":
            return await may_follow_document(self.ctx, self.actor, int(wanted))
        return await may_follow_run(self.ctx, self.actor, wanted)

    def tell(self, topic: str, event: str, data: Any) -> None:
        """Send an event; while the browser lags far behind, nothing, and `resync` when it has caught up."""
        connection = self.ws_connection
        if connection is None or connection.stream is None:
            return
        waiting = len(connection.stream._write_buffer)
        if waiting > MANY_WAITING:
            self._gap = True
            return
        if self._gap:
            self._gap = False
            self._send("", "resync", None)
        self._send(topic, event, data)

    def _send(self, topic: str, event: str, data: Any) -> None:
        self._seq += 1
        with contextlib.suppress(WebSocketClosedError, StreamBufferFullError):
            self.write_message(_encode(Told(topic, event, data, self._seq))).add_done_callback(
                lambda future: future.cancelled() or future.exception()
            )

    def on_close(self) -> None:
        self.browsers.remove(self)


routes = [(r"/ws/events", EventsHandler)]
