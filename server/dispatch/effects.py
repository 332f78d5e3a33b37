"""What a transaction of the dispatch wing leads to once it is committed: frames to send and events to publish."""

from __future__ import annotations

import msgspec

from server.context import Context
from server.dispatch import frames
from server.dispatch.events import CancelWanted, RunChanged, StepChanged, StepsReady
from server.dispatch.hub import Connection, Hub
from server.events import Event
from server.platform.tasks import TaskQueued


class Outgoing(msgspec.Struct):
    """An execute frame for a connection of this instance."""

    connection: Connection
    step_id: str
    fence: int
    execute: frames.Execute


class Flight(msgspec.Struct):
    """A step that a connection turns out to have already."""

    connection: Connection
    step_id: str
    fence: int


class EndedRun(msgspec.Struct):
    state: str
    took_s: float


class Effects:
    """Gathered inside a transaction, carried out after its commit; a transaction that runs again starts with a new one."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.hub = ctx.services.get(Hub)
        self.now = ctx.clock.now()
        self.outgoing: list[Outgoing] = []
        self.events: list[Event] = []
        self.ready: set[str] = set()
        self.ended: list[EndedRun] = []
        self.undelivered: list[Outgoing] = []
        self.taken_up: list[Flight] = []
        self.mail = False

    def run_changed(self, run_id: str, workflow_id: int, state: str) -> None:
        self.events.append(RunChanged(run_id, workflow_id, state))

    def step_changed(self, run_id: str, step_id: str, state: str) -> None:
        self.events.append(StepChanged(run_id, step_id, state))

    def cancel(self, hash: str, run_id: str, step_id: str, fence: int) -> None:
        self.events.append(CancelWanted(hash, run_id, step_id, fence))

    async def carry_out(self) -> None:
        """Send and publish. Frames whose connection has closed or was replaced meanwhile are in `undelivered` afterwards."""
        ctx = self.ctx
        for flight in self.taken_up:
            for other in self.hub.of_module(flight.connection.hash):
                other.flights.pop(flight.step_id, None)
            flight.connection.flights[flight.step_id] = flight.fence
        for out in self.outgoing:
            if out.connection.closed or out.connection.draining:
                self.undelivered.append(out)
                continue
            out.connection.flights[out.step_id] = out.fence
            out.connection.send(frames.encode(out.execute))
        for ended in self.ended:
            ctx.metrics.runs.labels(ended.state).inc()
            ctx.metrics.run_time.labels(ended.state).observe(ended.took_s)
        for module_hash in self.ready:
            await ctx.events.publish(StepsReady(module_hash))
        for event in self.events:
            await ctx.events.publish(event)
        if self.mail:
            await ctx.events.publish(TaskQueued("mail"))
