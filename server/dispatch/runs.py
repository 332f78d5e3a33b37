"""Runs: started by hand, looked at, cancelled, retried."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch import run_logs, starting
from server.dispatch.committing import commit
from server.dispatch.definitions import Definition, Definitions
from server.dispatch.effects import Effects
from server.dispatch.errors import RunEnded, RunGoing, WorkflowBusy, WorkflowNotFound, WorkflowNotRunnable
from server.dispatch.large_values import put_away, with_links
from server.dispatch.progressing import request_cancel
from server.dispatch.run_access import access_run
from server.dispatch.run_schemas import Attempt, Run, RunQuery, RunSummary, Step
from server.dispatch.states import RUN_ACTIVE, RunState, StepState
from server.dispatch.tables import runs, step_attempts, steps
from server.dispatch.workflow_schemas import ExecuteAnswer, ExecuteBody
from server.dispatch.workflows import access_workflow
from server.ids import new_id
from server.messages import say
from server.paging import Page, page_of
from server.platform import audit
from server.platform.schedules.times import read_time

LOG_TAIL = 100


async def execute(ctx: Context, actor: Actor, ref: str, body: ExecuteBody) -> ExecuteAnswer:
    """Start a run now, under the workflow's overlap policy.

    Raises WorkflowNotFound, WorkflowBusy, WorkflowNotRunnable, Invalid for a bad execution_time.
    """
    definition = await ctx.services.get(Definitions).access(actor, ref, "workflows:run")
    _check_runnable(definition, actor)
    args, kept = await put_away(ctx, body.args)
    start = starting.Start(
        definition=definition,
        run_id=new_id(),
        kind="manual",
        execution_time=_execution_time(body.execution_time, definition, ctx.clock.now()),
        requested_by=actor.name,
        args=args,
        kept=kept,
        step_ids=[new_id() for _ in definition.steps],
    )
    await _begin(ctx, start)
    return ExecuteAnswer(
        workflow_id=definition.id,
        workflow_name=definition.name,
        message=say("workflow.started", actor.locale),
        run_id=start.run_id,
        id=start.run_id,
    )


def _check_runnable(definition: Definition, actor: Actor) -> None:
    if definition.problems:
        raise WorkflowNotRunnable(detail="; ".join(problem.text.say(actor.locale) for problem in definition.problems))


async def _begin(ctx: Context, start: starting.Start) -> None:
    begun = await commit(ctx, lambda connection, effects: starting.begin(connection, effects, [start]))
    if begun[0].refused is not None:
        raise WorkflowBusy()


def _execution_time(given: str | None, definition: Definition, now: datetime) -> datetime:
    return now if given is None else read_time(given, definition.timezone, "execution_time")


def _summary(row: Any) -> dict[str, Any]:
    local = row.execution_time.astimezone(ZoneInfo(row.timezone)).replace(tzinfo=None, microsecond=0)
    took = round((row.ended_at - row.started_at).total_seconds() * 1000) if row.ended_at and row.started_at else None
    shown = {name: getattr(row, name) for name in RunSummary.__struct_fields__ if name not in ("run_id", "execution_time", "duration_ms")}
    return {**shown, "run_id": row.id, "execution_time": local.isoformat(), "duration_ms": took}


async def list_runs(ctx: Context, actor: Actor, ref: str, query: RunQuery) -> Page[RunSummary]:
    """The runs of a workflow, newest first."""

    def transaction(connection: sa.Connection) -> Page[RunSummary]:
        row = access_workflow(connection, actor, ref, "workflows:read")
        wanted = sa.select(runs).where(runs.c.workflow_id == row.id)
        if query.state:
            wanted = wanted.where(runs.c.state == query.state)
        sortable = {"created_at": runs.c.created_at, "ended_at": runs.c.ended_at, "state": runs.c.state}
        return page_of(
            connection,
            wanted,
            query,
            lambda run: RunSummary(**_summary(run)),
            sortable=sortable,
            searched=(runs.c.error,),
            order="-created_at",
        )

    return await ctx.sql.read(transaction)


async def get_run(ctx: Context, actor: Actor, run_id: str) -> Run:
    """A run with its steps, their attempts and the last lines of their logs."""

    def transaction(connection: sa.Connection) -> Run:
        row = access_run(connection, actor, run_id, "workflows:read")
        found = connection.execute(sa.select(steps).where(steps.c.run_id == run_id).order_by(steps.c.position)).all()
        earlier = connection.execute(
            sa.select(step_attempts).where(step_attempts.c.step_id.in_([step.id for step in found])).order_by(step_attempts.c.attempt)
        ).all()
        names = {step.position: step.name for step in found}
        return Run(**_summary(row), steps=[_step(ctx, step, names, [one for one in earlier if one.step_id == step.id]) for step in found])

    run = await ctx.sql.read(transaction)
    for step in run.steps:
        if step.log_lines:
            step.logs = await run_logs.read_lines(ctx, step.id, max(0, step.log_lines - LOG_TAIL), LOG_TAIL)
    return run


def _step(ctx: Context, row: Any, names: dict[int, str], earlier: list[Any]) -> Step:
    attempts = [Attempt(one.attempt, one.fence, one.outcome, one.error, one.dispatched_at, one.ended_at) for one in earlier]
    if row.dispatched_at is not None and row.state not in (StepState.QUEUED.value, StepState.SKIPPED.value):
        attempts.append(Attempt(row.attempt, row.fence, row.state, row.error, row.dispatched_at, row.ended_at))
    columns = {name: getattr(row, name) for name in Step.__struct_fields__ if hasattr(row, name)}
    columns.update(
        max_attempts=row.plan["max_attempts"],
        attempts=attempts,
        after=[names[position] for position in row.plan["after"]],
        args=with_links(ctx, row.args) if row.args else row.args,
        output=with_links(ctx, row.output) if row.output else row.output,
        logs=[],
    )
    return Step(**columns)


async def cancel(ctx: Context, actor: Actor, run_id: str, *, reason: str) -> Run:
    """Ask a run to stop; steps that have ended keep their outcome. Raises RunNotFound, RunEnded."""

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        run = access_run(connection, actor, run_id, "workflows:run")
        if not request_cancel(connection, effects, run, reason or f"asked by {actor.name}"):
            raise RunEnded(state=run.state)
        audit.note(connection, effects.now, actor, "run.cancel", f"run:{run_id}", workflow=run.workflow_id)

    await commit(ctx, transaction)
    return await get_run(ctx, actor, run_id)


async def retry(ctx: Context, actor: Actor, run_id: str, *, from_failed: bool) -> Run:
    """A new run of the same workflow and execution time; from the failed steps, or from the start.

    Outputs of steps that succeeded are taken over when their step still exists under the same name and module. Raises RunNotFound,
    RunGoing, WorkflowNotFound when the workflow was removed, WorkflowBusy, WorkflowNotRunnable.
    """

    def look(connection: sa.Connection) -> tuple[Any, list[Any]]:
        run = access_run(connection, actor, run_id, "workflows:run")
        if RunState(run.state) in RUN_ACTIVE:
            raise RunGoing()
        if run.organization_id is None:
            raise WorkflowNotFound()
        return run, list(connection.execute(sa.select(steps).where(steps.c.run_id == run_id)).all())

    run, before = await ctx.sql.read(look)
    definition = await ctx.services.get(Definitions).get(run.workflow_id)
    _check_runnable(definition, actor)
    taken_over: dict[str, Any] = {}
    if from_failed:
        done = {(step.name, step.module_hash): step.output or {} for step in before if step.state == StepState.SUCCEEDED.value}
        taken_over = {step.name: done[step.name, step.module_hash] for step in definition.steps if (step.name, step.module_hash) in done}
        if len(taken_over) == len(definition.steps):
            taken_over = {}  # nothing failed: the whole run again
    _, kept = await put_away(ctx, {f"{name}.{key}": value for name, output in taken_over.items() for key, value in output.items()})
    start = starting.Start(
        definition=definition,
        run_id=new_id(),
        kind="retry",
        execution_time=run.execution_time,
        requested_by=actor.name,
        args=_run_args(before, definition),
        kept=kept,
        retry_of=run_id,
        taken_over=taken_over,
        step_ids=[new_id() for _ in definition.steps],
    )
    await _begin(ctx, start)
    now = ctx.clock.now()
    await ctx.sql.write(lambda connection: audit.note(connection, now, actor, "run.retry", f"run:{run_id}", new_run=start.run_id))
    return await get_run(ctx, actor, start.run_id)


def _run_args(before: list[Any], definition: Definition) -> dict[str, Any]:
    """The args that were given to the earlier run by hand: where its steps' args differ from the definition's."""
    args: dict[str, Any] = {}
    own = {step.name: step.args for step in definition.steps}
    for step in before:
        if step.name in own:
            args.update({name: value for name, value in step.plan["args"].items() if own[step.name].get(name) != value})
    return args
