"""A workflow made ready to run: its steps with their edges, in memory until it or one of its modules changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.errors import WorkflowNotFound
from server.dispatch.events import ModuleChanged, WorkflowChanged
from server.dispatch.requirements import Requirement
from server.dispatch.solver import Problem, Solution, StepPlan, solve
from server.dispatch.tables import modules, workflows
from server.dispatch.workflow_schemas import Overlap, WorkflowBody
from server.events import Resync
from server.ids import find_row_number


class Inflow(msgspec.Struct, frozen=True):
    """An input that an earlier step gives: `producer` is that step's position."""

    producer: int
    output: str
    input: str
    required: bool


class StepDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """What a step row keeps of its definition, so that an edit of the workflow does not touch runs that have begun."""

    position: int
    name: str
    module_hash: str
    module_name: str
    args: dict[str, Any]
    after: list[int]
    inflows: list[Inflow]
    needed: list[str]  # outputs that a later step requires
    inputs: list[str]
    timeout_s: int
    max_attempts: int
    backoff_s: float


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow as it runs. `problems` is empty unless its modules have changed since it was saved."""

    id: int
    uid: str
    name: str
    version: int
    enabled: bool
    organization_id: int
    body: WorkflowBody
    timezone: str
    steps: tuple[StepDefinition, ...]
    solution: Solution

    @property
    def problems(self) -> list[Problem]:
        return self.solution.problems

    @property
    def overlap(self) -> Overlap:
        return self.body.overlap


class KnownModule(msgspec.Struct, frozen=True):
    """What the solver needs of a module."""

    name: str
    inputs: list[Requirement]
    outputs: list[Requirement]


def find_modules(connection: sa.Connection, hashes: set[str]) -> dict[str, KnownModule]:
    """The registered modules among these hashes."""
    columns = (modules.c.hash, modules.c.name, modules.c.input_data, modules.c.output_data)
    rows = connection.execute(sa.select(*columns).where(modules.c.hash.in_(hashes))).all()
    return {
        row.hash: KnownModule(
            row.name, msgspec.convert(row.input_data, list[Requirement]), msgspec.convert(row.output_data, list[Requirement])
        )
        for row in rows
    }


def solve_body(body: WorkflowBody, known: Mapping[str, KnownModule]) -> Solution:
    """The plan of a workflow's steps; a module that is gone counts as one without requirements."""
    gone = KnownModule("?", [], [])
    plans = []
    for index, step in enumerate(body.execute_modules):
        module = known.get(step.module_hash, gone)
        plans.append(
            StepPlan(
                index=index,
                name=step.name,
                module_name=module.name,
                inputs=module.inputs,
                outputs=module.outputs,
                args=step.args,
                depends_on=step.depends_on,
            )
        )
    return solve(plans)


def define_steps(body: WorkflowBody, known: Mapping[str, KnownModule], solution: Solution) -> tuple[StepDefinition, ...]:
    """The steps with their edges as positions."""
    position = {name: index for index, name in enumerate(solution.names)}
    gone = KnownModule("?", [], [])
    steps = []
    for index, step in enumerate(body.execute_modules):
        name, module = solution.names[index], known.get(step.module_hash, gone)
        required = {requirement.name: requirement.required for requirement in module.inputs}
        inflows = [
            Inflow(position[edge.producer], edge.output, edge.input, required.get(edge.input, True))
            for edge in solution.edges
            if edge.consumer == name
        ]
        steps.append(
            StepDefinition(
                position=index,
                name=name,
                module_hash=step.module_hash,
                module_name=module.name,
                args=step.args,
                after=sorted(position[other] for other in solution.waits_for.get(name, ())),
                inflows=inflows,
                needed=sorted(
                    {
                        edge.output
                        for edge in solution.edges
                        if edge.producer == name and _is_required(edge.consumer, edge.input, body, known, solution)
                    }
                ),
                inputs=[requirement.name for requirement in module.inputs],
                timeout_s=step.timeout_s,
                max_attempts=step.retry.max_attempts,
                backoff_s=step.retry.backoff_s,
            )
        )
    return tuple(steps)


def _is_required(consumer: str, name: str, body: WorkflowBody, known: Mapping[str, KnownModule], solution: Solution) -> bool:
    module = known.get(body.execute_modules[solution.names.index(consumer)].module_hash)
    return module is not None and any(requirement.name == name and requirement.required for requirement in module.inputs)


def define(row: Any, body: WorkflowBody, known: Mapping[str, KnownModule], default_timezone: str) -> Definition:
    """The definition of a workflow row."""
    solution = solve_body(body, known)
    return Definition(
        id=row.id,
        uid=row.uid,
        name=row.name,
        version=row.version,
        enabled=row.enabled,
        organization_id=row.organization_id,
        body=body,
        timezone=body.timezone or default_timezone,
        steps=define_steps(body, known, solution),
        solution=solution,
    )


def load_many(ids: list[int], default_timezone: str, connection: sa.Connection) -> list[Definition]:
    """Those of the workflows that exist."""
    found = connection.execute(sa.select(workflows).where(workflows.c.id.in_(ids))).all()
    bodies = [msgspec.convert(row.body, WorkflowBody) for row in found]
    known = find_modules(connection, {step.module_hash for body in bodies for step in body.execute_modules})
    return [define(row, body, known, default_timezone) for row, body in zip(found, bodies, strict=True)]


def find_number(uid: str, connection: sa.Connection) -> int:
    """The number of a workflow by its id. Raises WorkflowNotFound."""
    number = connection.execute(sa.select(workflows.c.id).where(workflows.c.uid == uid)).scalar()
    if number is None:
        raise WorkflowNotFound()
    return int(number)


class Definitions:
    """Definitions by workflow number; an edit of a workflow, or of any module, forgets what it touches."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._kept: dict[int, Definition] = {}
        self._numbers: dict[str, int] = {}
        self._edits = 0
        ctx.events.listen(WorkflowChanged, self._workflow_changed)
        ctx.events.listen(ModuleChanged, self._module_changed)
        ctx.events.listen(Resync, self._resync)

    def _workflow_changed(self, event: WorkflowChanged) -> None:
        self._edits += 1
        self._forget(event.workflow_id)

    def _resync(self, _event: Resync) -> None:
        self._edits += 1
        self._kept.clear()

    def _forget(self, workflow_id: int) -> None:
        forgotten = self._kept.pop(workflow_id, None)
        if forgotten is not None:
            self._numbers.pop(forgotten.uid, None)

    def _module_changed(self, event: ModuleChanged) -> None:
        if event.redefined:
            self._edits += 1
            for definition in list(self._kept.values()):
                if any(step.module_hash == event.hash for step in definition.steps):
                    self._forget(definition.id)

    async def get(self, workflow_id: int) -> Definition:
        """Raises WorkflowNotFound."""
        found = (await self.get_many([workflow_id])).get(workflow_id)
        if found is None:
            raise WorkflowNotFound()
        return found

    async def access(self, actor: Actor, ref: str, scope: str) -> Definition:
        """The definition of a workflow by its id or number, if the caller holds `scope` where it belongs. Raises WorkflowNotFound.

        No question to the database while it is in memory: an edit or a removal, here or on another instance, forgets it.
        """
        number = find_row_number(ref)
        if number is None:
            number = self._numbers.get(ref)
        if number is None:
            number = await self._ctx.sql.read(partial(find_number, ref))
        definition = await self.get(number)
        self._numbers[definition.uid] = number
        if not actor.may(scope, definition.organization_id):
            raise WorkflowNotFound()
        return definition

    async def get_many(self, workflow_ids: list[int]) -> dict[int, Definition]:
        """Those of the given workflows that exist."""
        found = {number: self._kept[number] for number in workflow_ids if number in self._kept}
        missing = [number for number in workflow_ids if number not in found]
        for start in range(0, len(missing), 500):
            edits = self._edits
            loaded = await self._ctx.sql.read(partial(load_many, missing[start : start + 500], self._ctx.settings.timezone))
            found.update({definition.id: definition for definition in loaded})
            if edits == self._edits:  # else what was read may be older than the edit, and would be kept for ever
                self._kept.update({definition.id: definition for definition in loaded})
        return found
