"""The requirement solver: turns what the steps of a workflow take and give into a plan, or says what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.dispatch.graph import find_cycles, get_ancestors, get_levels
from server.dispatch.problems import Problems
from server.dispatch.requirements import Requirement, accepts, matches
from server.dispatch.solver_model import Edge, Nearest, Problem, Reason, Solution, StepPlan
from server.errors import Fields

__all__ = ["Edge", "Nearest", "Problem", "Reason", "Solution", "StepPlan", "fields_of", "inputs_for", "name_steps", "solve"]

Producer = tuple[int, Requirement]


def solve(steps: Sequence[StepPlan]) -> Solution:
    """The plan of a workflow; never raises for a bad one, its `problems` say what is wrong.

    An input is met by `args`, or by exactly one earlier step's output of its name and a matching type. Earlier is: before it in the
    list, or reached by depends_on. `from` names a step, or a module whose steps it may be. An optional input that nobody gives
    stays unset. ValueError when a step's `index` is not its place in the list.
    """
    if any(step.index != place for place, step in enumerate(steps)):
        raise ValueError("the index of each step must be its place in the list")
    return _Solver(steps).solve()


def name_steps(steps: Sequence[StepPlan]) -> list[str]:
    """A unique name for each step: its own, else its module's; numbered where that is taken (`prices`, `prices-2`).

    Two steps of one written name are a problem of their own; the second is numbered all the same, so that it can be told apart.
    """
    written = {step.name for step in steps if step.name}
    taken: set[str] = set()
    names = []
    for step in steps:
        wanted = step.name or step.module_name
        name, number = wanted, 1
        while name in taken or (name in written and not (step.name and number == 1)):
            number += 1
            name = f"{wanted}-{number}"
        taken.add(name)
        names.append(name)
    return names


def inputs_for(step: StepPlan, solution: Solution, outputs_by_step: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The args that a step receives: its own, and for each edge into it the producer's output, under the input's name.

    Its own args win. An output that the producer did not give is left out.
    """
    received = dict(step.args)
    name = solution.names[step.index]
    for edge in solution.edges:
        if edge.consumer == name and edge.input not in step.args:
            given = outputs_by_step.get(edge.producer, {})
            if edge.output in given:
                received[edge.input] = given[edge.output]
    return received


def fields_of(problems: Sequence[Problem], field: str = "execute_modules") -> Fields:
    """The problems as `error.fields`, by keys such as `execute_modules[1].input_data.stock_price`."""
    fields: Fields = {}
    for problem in problems:
        fields.setdefault(f"{field}[{problem.index}].{problem.part}", []).append(problem.text)
    return fields


class _Solver:
    def __init__(self, steps: Sequence[StepPlan]) -> None:
        self.steps = steps
        self.names = name_steps(steps)
        self.place = {name: index for index, name in enumerate(self.names)}
        self.problems = Problems(steps, self.names)
        self.producers: dict[str, list[Producer]] = {}
        for index, step in enumerate(steps):
            for output in step.outputs:
                self.producers.setdefault(output.name, []).append((index, output))
        self.before: list[set[int]] = [set() for _ in steps]
        self.edges: list[Edge] = []

    def solve(self) -> Solution:
        self._read_names()
        self._read_depends_on()
        self.ancestors = get_ancestors(self.before)
        for index, step in enumerate(self.steps):
            for requirement in step.inputs:
                self._meet(index, requirement)
        for cycle in find_cycles(self.before):
            self.problems.cyclic(cycle)
        return Solution(
            names=self.names,
            edges=self.edges,
            waits_for={name: [self.names[source] for source in sorted(self.before[index])] for index, name in enumerate(self.names)},
            order=[[self.names[index] for index in level] for level in get_levels(self.before)],
            problems=self.problems.found,
        )

    def _read_names(self) -> None:
        for index, step in enumerate(self.steps):
            if step.name and step.name != self.names[index]:
                self.problems.duplicate_name(index, step.name, self.place[step.name])

    def _read_depends_on(self) -> None:
        for index, step in enumerate(self.steps):
            for name in step.depends_on:
                source = self.place.get(name)
                if source is None:
                    self.problems.unknown_step(index, name)
                else:
                    self.before[index].add(source)

    def _is_earlier(self, source: int, index: int) -> bool:
        """Whether `source` comes before `index`: by depends_on, or by the list unless depends_on says the opposite."""
        if source == index:
            return False
        if self.ancestors[index] >> source & 1:
            return True
        return source < index and not self.ancestors[source] >> index & 1

    def _meet(self, index: int, wanted: Requirement) -> None:
        """Link one input, leave it to args or unset, or note what is wrong."""
        args = self.steps[index].args
        if wanted.name in args:
            value = args[wanted.name]
            if not accepts(wanted.type, value) and not (value is None and not wanted.required):
                self.problems.bad_args(index, wanted, value)
            return

        givers = [giver for giver in self.producers.get(wanted.name, ()) if giver[0] != index]
        if wanted.from_ is not None:
            sources = self._find_sources(wanted.from_)
            if not sources:
                # An optional input may name a step that this workflow does without; one that others give was misspelled.
                if wanted.required or givers:
                    self.problems.unknown_from(index, wanted)
                return
            if sources == {index}:
                self.problems.cyclic([index], wanted)
                return
            givers = [giver for giver in givers if giver[0] in sources]

        earlier = [giver for giver in givers if self._is_earlier(giver[0], index)]
        fitting = [giver for giver in earlier if matches(giver[1].type, wanted.type)]
        if len(fitting) == 1:
            source = fitting[0][0]
            self.edges.append(Edge(self.names[source], wanted.name, self.names[index], wanted.name))
            self.before[index].add(source)
        elif fitting:
            self.problems.ambiguous(index, wanted, fitting)
        elif not wanted.required and wanted.from_ is None:
            return
        elif earlier:
            self.problems.mistyped(index, wanted, earlier)
        elif later := [giver for giver in givers if matches(giver[1].type, wanted.type)]:
            self.problems.later_producer(index, wanted, later)
        elif wanted.required or wanted.from_ is not None:
            self.problems.unmet(index, wanted)

    def _find_sources(self, name: str) -> set[int]:
        """The step of that name, or else the steps of the module of that name."""
        if name in self.place:
            return {self.place[name]}
        return {index for index, step in enumerate(self.steps) if step.module_name == name}
