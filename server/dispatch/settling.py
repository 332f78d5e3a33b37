"""What modules say of their steps: results, acknowledgements, progress, log lines, stops."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.dispatch import frames, presence
from server.dispatch.committing import commit
from server.dispatch.effects import Effects
from server.dispatch.events import StepChanged
from server.dispatch.hub import Connection
from server.dispatch.large_values import Kept, put_away, refer
from server.dispatch.progressing import STEP_COLUMNS, advance, fail_attempt, find_step_and_run, get_run, over, plan_of
from server.dispatch.states import STEP_OUT, RunState, StepState, Waits, extend, move_run, move_step
from server.dispatch.tables import runs, steps
from server.engines.prepared import Prepared
from server.errors import EngineAway
from server.ids import find_row_number, new_id

log = logging.getLogger(__name__)

EVIDENCE = "stale_results"
OUT = [state.value for state in STEP_OUT]


class Verdict(StrEnum):
    """What became of a frame about a step."""

    APPLIED = "applied"
    STALE = "stale"  # the step has moved on; kept as evidence
    UNKNOWN = "unknown"  # there is no such step


async def take_result(ctx: Context, socket: Connection, result: frames.Result) -> Verdict:
    """Apply a module's result to the step that it is about."""
    output, kept = await _output(ctx, result)
    told = _told(result)

    def transaction(connection: sa.Connection, effects: Effects) -> tuple[Verdict, str | None, int | None]:
        found = _find_step_and_run(connection, socket.hash, result)
        if found is None:
            return Verdict.UNKNOWN, None, None
        step, run = found
        fence = result.fence if result.fence is not None else step.fence
        if step.state not in OUT or step.fence != fence or step.module_hash != socket.hash:
            return Verdict.STALE, step.id, fence
        error = _find_failure(result, told, plan_of(step).needed, output)
        if error is not None:
            moved = fail_attempt(connection, effects, run, step, StepState.FAILED, error, message=told["message"], output=output)
        else:
            started = step.started_at or step.dispatched_at
            done = {"output": output, "message": told["message"], "error": None, "progress": 100, "started_at": started, **over(effects)}
            moved = move_step(connection, step.id, StepState.SUCCEEDED, under=fence, **done)
            if moved:
                effects.step_changed(run.id, step.id, StepState.SUCCEEDED.value)
                advance(connection, effects, run, StepState.SUCCEEDED)
        if not moved:
            return Verdict.STALE, step.id, fence  # another instance was a moment faster
        if kept:
            refer(connection, f"run:{run.id}", kept, effects.now)
        return Verdict.APPLIED, step.id, fence

    verdict, step_id, fence = await commit(ctx, transaction)
    if step_id is not None and socket.flights.get(step_id) == fence:
        del socket.flights[step_id]
    if verdict is not Verdict.APPLIED:
        ctx.metrics.stale_results.inc()
        await _keep_evidence(ctx, socket, result, verdict)
    return verdict


_STEP = Prepared(sa.select(*STEP_COLUMNS).where(steps.c.id == sa.bindparam("id")))


def _find_step_and_run(connection: sa.Connection, hash: str, frame: Any) -> tuple[Any, Any] | None:
    if frame.step_id is not None:
        return find_step_and_run(connection, frame.step_id)
    step = _find_step(connection, hash, frame)
    return None if step is None else (step, get_run(connection, step.run_id))


def _find_step(connection: sa.Connection, hash: str, frame: Any) -> Any:
    """The step that a frame is about. Without a step id: the oldest in flight on the module, of that run or workflow when named."""
    if frame.step_id is not None:
        return _STEP.first(connection, {"id": frame.step_id})
    oldest = sa.select(steps).join(runs, runs.c.id == steps.c.run_id).where(steps.c.module_hash == hash, steps.c.state.in_(OUT))
    workflow = getattr(frame, "workflow_id", None)
    if frame.run_id is not None:
        oldest = oldest.where(steps.c.run_id == frame.run_id)
    elif workflow is not None:
        number = find_row_number(str(workflow))
        if number is None:
            return None
        oldest = oldest.where(runs.c.workflow_id == number)
    return connection.execute(oldest.order_by(steps.c.dispatched_at, steps.c.id).limit(1)).one_or_none()


def _find_failure(result: frames.Result, told: dict[str, str | None], needed: list[str], output: dict[str, Any]) -> str | None:
    """Why the step failed: the module says so, or the result lacks what a later step needs; None when it did not."""
    if result.status == "failure":
        return told["error"] or told["message"] or "the module reported a failure"
    missing = [name for name in needed if name not in output]
    return f"the result lacks {', '.join(missing)}, which a later step needs" if missing else None


async def _output(ctx: Context, result: frames.Result) -> tuple[dict[str, Any], list[Kept]]:
    if result.output is None:
        return {}, []
    # Older modules may answer with a bare value; it is kept under the one name that cannot be mistaken for a declared one.
    values = result.output if isinstance(result.output, dict) else {"output": result.output}
    return await put_away(ctx, values)


def _told(result: frames.Result) -> dict[str, str | None]:
    """Error and message as text, whatever the module sent."""

    def said(value: Any) -> str | None:
        return value if isinstance(value, str) or value is None else msgspec.json.encode(value).decode()

    return {"error": said(result.error), "message": said(result.message)}


async def _keep_evidence(ctx: Context, socket: Connection, result: frames.Result, verdict: Verdict) -> None:
    now = ctx.clock.now()
    log.warning("a result for step %s on module %s is %s; kept as evidence", result.step_id, socket.hash[:8], verdict.value)
    document = {
        "id": new_id(),
        "at": now,
        "module_hash": socket.hash,
        "run_id": result.run_id or "",
        "step_id": result.step_id or "",
        "verdict": verdict.value,
        "frame": msgspec.to_builtins(result),
    }
    try:
        await ctx.documents.insert(EVIDENCE, document)
    except ValueError:  # something that no store can hold, such as a huge number: as text it can
        await ctx.documents.insert(EVIDENCE, {**document, "frame": msgspec.json.encode(result).decode()})


async def take_ack(ctx: Context, socket: Connection, frame: frames.Ack) -> Verdict:
    """The module has the step; once it says that it has started, the step's time counts from now."""

    def transaction(connection: sa.Connection, effects: Effects) -> Verdict:
        step = _find_step(connection, socket.hash, frame)
        verdict = _check(step, socket, frame)
        if verdict is not Verdict.APPLIED or not frame.started:
            return verdict
        deadline = effects.now + timedelta(seconds=plan_of(step).timeout_s)
        _running(connection, effects, step)
        if step.waits_for == Waits.RESULT.value:
            extend(connection, step.id, waits_for=Waits.RESULT, wake_at=deadline, deadline=deadline)
        return verdict

    return await commit(ctx, transaction)


def _check(step: Any, socket: Connection, frame: Any) -> Verdict:
    if step is None:
        return Verdict.UNKNOWN
    stale = step.module_hash != socket.hash or step.state not in OUT or (frame.fence is not None and frame.fence != step.fence)
    return Verdict.STALE if stale else Verdict.APPLIED


def _running(connection: sa.Connection, effects: Effects, step: Any, **values: Any) -> None:
    if move_step(connection, step.id, StepState.RUNNING, under=step.fence, started_at=effects.now, **values):
        effects.step_changed(step.run_id, step.id, StepState.RUNNING.value)
    run = get_run(connection, step.run_id)
    if move_run(connection, run.id, RunState.RUNNING):
        effects.run_changed(run.id, run.workflow_id, RunState.RUNNING.value)


class ProgressWriter:
    """Writes the progress of steps; of what comes faster than it can be written, the newest."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._newest: dict[str, tuple[Connection, frames.Progress]] = {}
        self._writing: set[str] = set()

    async def take(self, socket: Connection, frame: frames.Progress) -> None:
        key = frame.step_id or socket.hash
        self._newest[key] = (socket, frame)
        if key in self._writing:
            return
        self._writing.add(key)
        try:
            while (newest := self._newest.pop(key, None)) is not None:
                await self._write(*newest)
        finally:
            self._writing.discard(key)
            self._newest.pop(key, None)

    async def _write(self, socket: Connection, frame: frames.Progress) -> None:
        percent, message = max(0, min(100, round(frame.percent))), frame.message[:500]

        def transaction(connection: sa.Connection, effects: Effects) -> None:
            step = _find_step(connection, socket.hash, frame)
            if _check(step, socket, frame) is not Verdict.APPLIED:
                return
            if step.state == StepState.DISPATCHED.value:
                _running(connection, effects, step)
            connection.execute(
                steps.update().where(steps.c.id == step.id, steps.c.fence == step.fence).values(progress=percent, progress_message=message)
            )
            effects.events.append(StepChanged(step.run_id, step.id, StepState.RUNNING.value, percent, message))

        await commit(self._ctx, transaction)


async def take_cancelled(ctx: Context, socket: Connection, frame: frames.Cancelled) -> Verdict:
    """The module has stopped a step that it was asked to stop."""

    def transaction(connection: sa.Connection, effects: Effects) -> tuple[Verdict, str | None]:
        step = _find_step(connection, socket.hash, frame)
        verdict = _check(step, socket, frame)
        if verdict is not Verdict.APPLIED:
            return verdict, None
        run = get_run(connection, step.run_id)
        if run.cancel_requested_at is None:
            fail_attempt(connection, effects, run, step, StepState.FAILED, "the module stopped the step without being asked")
        else:
            move_step(connection, step.id, StepState.CANCELLED, under=step.fence, cancel_confirmed=True, **over(effects))
            effects.step_changed(run.id, step.id, StepState.CANCELLED.value)
            advance(connection, effects, run)
        return verdict, step.id

    verdict, step_id = await commit(ctx, transaction)
    if step_id is not None:
        socket.flights.pop(step_id, None)
    return verdict


async def take_refused(ctx: Context, socket: Connection, frame: frames.Refused) -> Verdict:
    """The module did not take a step; the next process of it will."""
    if frame.step_id is None or frame.fence is None:
        return Verdict.UNKNOWN
    moved = await presence.refused(ctx, socket, frame.step_id, frame.fence)
    return Verdict.APPLIED if moved else Verdict.STALE


async def settled(ctx: Context, socket: Connection, result: frames.Result) -> Verdict:
    """`take_result` until it is stored, however long the database is away; the module keeps its result until we confirm."""
    wait_s = 0.2
    while True:
        try:
            return await take_result(ctx, socket, result)
        except EngineAway as away:
            if socket.closed:
                raise
            log.warning("a result waits for %s", away.engine)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 5.0)
