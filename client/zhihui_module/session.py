"""One serving of a module, from its first registration to its last result."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from zhihui_module import frames
from zhihui_module.address import Address
from zhihui_module.backoff import Backoff
from zhihui_module.connection import Connection
from zhihui_module.declaration import Declaration
from zhihui_module.files import MARK, Files
from zhihui_module.http_door import HttpDoor
from zhihui_module.outbox import Answer, Outbox
from zhihui_module.outputs import Outputs
from zhihui_module.reporting import Reporter
from zhihui_module.running import Handler, Runner
from zhihui_module.steps import Key, Step, Steps
from zhihui_module.task_meta import parse_meta
from zhihui_module.threads import WorkerThreads
from zhihui_module.wire import Wire

logger = logging.getLogger("zhihui_module")

# A handler that is done by then needs no ack: its result says as much.
ACK_AFTER_S = 0.05
CONFIRM_S = 5.0
QUOTED_MARK = f'"{MARK}"'


class Session:
    """The socket on one side, the handler on the other, and between them the steps held and the answers owed."""

    def __init__(
        self, declaration: Declaration, address: Address, handler: Handler, is_async: bool, *, concurrency: int, backoff: Backoff
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._http = HttpDoor()
        self._connection = Connection(self._http, address, declaration, self, backoff)
        self._threads = WorkerThreads(f"module-{declaration.name}", concurrency)
        files = Files(self._http, address, self._connection)
        self._runner = Runner(
            handler=handler,
            is_async=is_async,
            encoded_name=frames.encode_text(declaration.name),
            files=files,
            outputs=Outputs(declaration.outputs, files),
            threads=self._threads,
            finish=self._finish,
        )
        self._steps = Steps(concurrency, self._start)
        self._outbox = Outbox()
        self._nameless = 0
        self._stopping = False
        self._resending: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`. Raises RegistrationRefused when the first registration is refused."""
        try:
            await self._connection.run()
        finally:
            for step in self._steps.held:
                self._abandon(step, "the module stopped")
            for task in (self._resending, self._draining):
                if task is not None:
                    task.cancel()
            if self._connection.wire is not None:
                self._connection.wire.close()
            self._threads.close()
            self._http.close()

    async def stop(self, grace_s: float) -> None:
        """Take no more work, finish what is held within `grace_s` seconds, see the results off, close.

        What is not done by then is answered with a failure; a sync handler's thread is left to end with the process.
        """
        self._stopping = True
        if self._connection.wire is not None:
            self._connection.wire.send(frames.drain_frame())
        deadline = self._loop.time() + max(0.0, grace_s)
        try:
            async with asyncio.timeout_at(deadline):
                await self._steps.wait_idle()
        except TimeoutError:
            for step in self._steps.held:
                self._abandon(step, f"the module stopped before this was done (grace {grace_s:g} s)")
        await self._see_off(deadline)
        self._connection.finish()

    def wire_opened(self, wire: Wire) -> None:
        self.connected.set()
        if self._stopping:
            wire.send(frames.drain_frame())
        for step in self._steps.held:
            if step.ids:
                wire.send(frames.ack_frame(step.ids, started=step.has_begun))
                step.reporter.flush()
        self._resending = self._loop.create_task(self._resend(wire))

    def wire_closed(self, wire: Wire) -> None:
        self.connected.clear()
        self._outbox.socket_closed()
        if self._resending is not None:
            self._resending.cancel()

    def wire_received(self, wire: Wire, text: str) -> None:
        """One frame of the server, or its plain confirmation of a result."""
        if text == frames.RESULT_RECEIVED:
            self._outbox.confirm()
            return
        frame = frames.find_frame(text)
        kind = frame.get("type") if frame is not None else None
        if frame is None:
            logger.info("the server says: %.200s", text)
        elif kind == "execute":
            self._execute(wire, frame, QUOTED_MARK in text)
        elif kind == "cancel":
            self._cancel(frame)
        elif kind == "drain":
            self._drain(wire)
        elif kind == "error":
            logger.warning("the server refused a frame: %.500s", frame.get("message"))
        else:
            logger.debug("a frame of unknown type %r", kind)

    def _execute(self, wire: Wire, frame: dict[str, Any], has_files: bool) -> None:
        meta = parse_meta(frame.get("meta"))
        key = self._key(meta.step_id, meta.fence)
        if (held := self._steps.find(key)) is not None:
            wire.send(frames.ack_frame(held.ids, started=held.has_begun))  # delivered twice: stay with the one at work
            return
        if (answer := self._outbox.find(key)) is not None:
            self._outbox.put(answer)
            self._send_answer(answer, wire)
            return
        ids = frames.ids_of(meta)
        if self._stopping or wire.draining:
            logger.info("an execution came after the drain; it is not taken")
            if ids:
                wire.send(frames.refused_frame(ids))
            return
        step = Step(key, meta, frame.get("args"), has_files, ids, Reporter(ids, self._send_report, self._loop, self._loop_thread))
        if ids:
            step.ack_timer = self._loop.call_later(ACK_AFTER_S, self._send_ack, step)
        self._steps.take(step)

    def _start(self, step: Step) -> None:
        if step.told_waiting and self._connection.wire is not None:
            self._connection.wire.send(frames.ack_frame(step.ids, started=True))
        step.work = self._loop.create_task(self._runner.run(step))

    def _cancel(self, frame: dict[str, Any]) -> None:
        step_id, fence = frame.get("step_id"), frame.get("fence")
        if not isinstance(step_id, str):
            return
        key = (step_id, fence if isinstance(fence, int) else None)
        step = self._steps.find(key)
        if step is not None:
            self._cancel_held(step)
            return
        answer = self._outbox.find(key)
        if answer is None:
            # Not held and never answered, such as after a restart of this process: nothing runs here.
            meta = parse_meta(frame)
            answer = Answer(key, frames.cancelled_frame(frames.ids_of(meta)), is_result=False, again=False)
        if not answer.is_result:
            self._outbox.put(answer)
            self._send_answer(answer, self._connection.wire)

    def _cancel_held(self, step: Step) -> None:
        if self._steps.request_cancel(step) and step.has_begun:
            self._runner.cancel(step)
        elif not step.has_begun:
            self._finish(step, frames.cancelled_frame(step.ids), False)
            if step.work is not None:
                step.work.cancel()

    def _drain(self, wire: Wire) -> None:
        if not wire.draining:
            wire.draining = True
            self._draining = self._loop.create_task(self._close_when_done(wire))

    async def _close_when_done(self, wire: Wire) -> None:
        await self._steps.wait_idle()
        try:
            async with asyncio.timeout(CONFIRM_S):
                await self._outbox.wait_empty()
        except TimeoutError:
            logger.warning("%d results are not confirmed at the end of the drain", len(self._outbox.waiting))
        wire.close("drained")

    def _finish(self, step: Step, frame: str, is_result: bool) -> None:
        """A step's last frame: the reports first, then the frame, and the next step starts."""
        reports = step.reporter.close()
        if not self._steps.end(step):
            return
        if step.ack_timer is not None:
            step.ack_timer.cancel()
        answer = Answer(step.key, frame, is_result, bool(step.ids), reports)
        if (lost := self._outbox.put(answer)) is not None:
            logger.error("more results wait for the server than are kept: the one of step %s is dropped", lost.key[0])
        self._send_answer(answer, self._connection.wire)

    def _abandon(self, step: Step, reason: str) -> None:
        self._finish(step, self._runner.abandoned_frame(step, reason), True)
        if step.task is not None:
            step.task.request_cancel()
        if step.work is not None:
            step.work.cancel()

    def _send_answer(self, answer: Answer, wire: Wire | None) -> None:
        if wire is None:
            return  # sent after the reconnect
        for report in answer.reports:
            wire.send(report)
        if wire.send(answer.frame):
            self._outbox.mark_sent(answer, wire.number)

    async def _resend(self, wire: Wire) -> None:
        """What an earlier socket did not see confirmed, at the pace at which the server reads."""
        for answer in self._outbox.waiting:
            if wire.backlog > frames.MAX_FRAME_BYTES:
                await wire.wait_written()
            if answer.sent_on != wire.number:
                self._send_answer(answer, wire)

    async def _see_off(self, deadline: float) -> None:
        """Wait until the results are confirmed: while connected at most 5 s, while the server is away until the deadline."""
        while self._outbox.waiting and not self._connection.is_standing_by:
            try:
                async with asyncio.timeout(CONFIRM_S):
                    await self._outbox.wait_empty()
            except TimeoutError:
                if self._connection.wire is None and self._loop.time() < deadline:
                    continue
                break
        if self._outbox.waiting:
            logger.warning("%d results were not confirmed by the server", len(self._outbox.waiting))

    def _send_ack(self, step: Step) -> None:
        step.told_waiting = not step.has_begun
        if self._connection.wire is not None:
            self._connection.wire.send(frames.ack_frame(step.ids, started=step.has_begun))

    def _send_report(self, frame: str) -> bool:
        wire = self._connection.wire
        return wire is not None and wire.send_report(frame)

    def _key(self, step_id: str | None, fence: int | None) -> Key:
        if step_id is not None:
            return step_id, fence
        self._nameless -= 1
        return "", self._nameless
