"""Puts what is wrong with a workflow into words, with the nearest things that may have been meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.dispatch.nearest import Names
from server.dispatch.requirements import Requirement, type_name
from server.dispatch.solver_model import Nearest, Problem, Reason, StepPlan
from server.messages import Text, text

MAX_NEAREST = 3
# Looking for names costs up to a millisecond; a workflow with more problems than this has a larger one than spelling.
MAX_SEARCHES = 32


class Problems:
    """Collects the problems of one workflow, in the order in which they are found."""

    def __init__(self, steps: Sequence[StepPlan], names: Sequence[str]) -> None:
        self.found: list[Problem] = []
        self._steps = steps
        self._names = names
        self._outputs: Names | None = None
        self._searches = 0

    def duplicate_name(self, index: int, name: str, first: int) -> None:
        self._add(index, "", Reason.DUPLICATE_NAME, "name", [], name=name, first=first + 1)

    def unknown_step(self, index: int, name: str) -> None:
        self._add(index, "", Reason.UNKNOWN_STEP, "depends_on", self._steps_like(index, name), name=name)

    def unknown_from(self, index: int, wanted: Requirement) -> None:
        nearest = [*self._givers_of(index, wanted.name), *self._steps_like(index, wanted.from_ or "")]
        self._about(index, wanted, Reason.UNKNOWN_FROM, nearest, name=wanted.from_)

    def bad_args(self, index: int, wanted: Requirement, value: Any) -> None:
        self._add(
            index, wanted.name, Reason.BAD_ARGS, f"args.{wanted.name}", [], requirement=wanted.name, type=wanted.type, got=type_name(value)
        )

    def ambiguous(self, index: int, wanted: Requirement, givers: Sequence[tuple[int, Requirement]]) -> None:
        self._about(index, wanted, Reason.AMBIGUOUS, self._as_nearest(givers), count=len(givers))

    def mistyped(self, index: int, wanted: Requirement, givers: Sequence[tuple[int, Requirement]]) -> None:
        nearest = [*self._as_nearest(givers), *self._outputs_like(index, wanted.name)]
        self._about(index, wanted, Reason.MISTYPED, nearest, giver=self._names[givers[0][0]], got=givers[0][1].type)

    def later_producer(self, index: int, wanted: Requirement, givers: Sequence[tuple[int, Requirement]]) -> None:
        self._about(index, wanted, Reason.LATER_PRODUCER, self._as_nearest(givers), giver=self._names[givers[0][0]])

    def unmet(self, index: int, wanted: Requirement) -> None:
        nearest = [*self._args_like(index, wanted.name), *self._outputs_like(index, wanted.name)]
        key = "from" if wanted.from_ is not None else ""
        self._about(index, wanted, Reason.UNMET, nearest, key, name=wanted.from_)

    def cyclic(self, cycle: Sequence[int], wanted: Requirement | None = None) -> None:
        """Steps that wait for each other in a ring; noted at the first of them that says so in depends_on."""
        ring = " → ".join(self._names[index] for index in [*cycle, cycle[0]])
        if wanted is not None:
            self._about(cycle[0], wanted, Reason.CYCLIC, [], ring=ring)
            return
        before = dict(zip(cycle, [cycle[-1], *cycle[:-1]], strict=True))
        saying = [index for index in cycle if self._names[before[index]] in self._steps[index].depends_on]
        self._add(min(saying or cycle), "", Reason.CYCLIC, "depends_on", [], ring=ring)

    def _about(
        self, index: int, wanted: Requirement, reason: Reason, nearest: Sequence[Nearest], variant: str = "", /, **params: Any
    ) -> None:
        part = f"input_data.{wanted.name}"
        self._add(index, wanted.name, reason, part, nearest, variant, requirement=wanted.name, type=wanted.type, **params)

    def _add(
        self, index: int, requirement: str, reason: Reason, part: str, nearest: Sequence[Nearest], variant: str = "", /, **params: Any
    ) -> None:
        chosen = list(dict.fromkeys(nearest))[:MAX_NEAREST]
        key = f"solver.{reason}.{variant}" if variant else f"solver.{reason}"
        params = {name: str(value) if isinstance(value, str) else value for name, value in params.items()}
        sentence = text(key, step=self._names[index], nearest=_say_nearest(chosen), **params)
        self.found.append(
            Problem(step=self._names[index], index=index, requirement=requirement, reason=reason, nearest=chosen, part=part, text=sentence)
        )

    def _as_nearest(self, givers: Sequence[tuple[int, Requirement]]) -> list[Nearest]:
        return [Nearest(self._names[index], output.name, output.type) for index, output in givers]

    def _givers_of(self, index: int, name: str) -> list[Nearest]:
        """The outputs of that very name in other steps, those before it first."""
        found = [
            (number, output) for number, step in enumerate(self._steps) if number != index for output in step.outputs if output.name == name
        ]
        return self._as_nearest(sorted(found, key=lambda giver: giver[0] > index))

    def _outputs_like(self, index: int, name: str) -> list[Nearest]:
        if not self._may_search():
            return []
        if self._outputs is None:
            self._outputs = Names(output.name for step in self._steps for output in step.outputs)
        return [nearest for like in self._outputs.like(name) for nearest in self._givers_of(index, like)]

    def _args_like(self, index: int, name: str) -> list[Nearest]:
        if not self._may_search():
            return []
        args = self._steps[index].args
        return [Nearest(self._names[index], like, type_name(args[like])) for like in Names(args).like(name, limit=1)]

    def _steps_like(self, index: int, name: str) -> list[Nearest]:
        if not self._may_search():
            return []
        return [Nearest(like) for like in Names(self._names).like(name, limit=MAX_NEAREST + 1) if like != self._names[index]]

    def _may_search(self) -> bool:
        self._searches += 1
        return self._searches <= MAX_SEARCHES


def _say_nearest(nearest: Sequence[Nearest]) -> Text:
    if not nearest:
        return text("solver.no_nearest")
    return text("solver.nearest", items=", ".join(f"{item.step}.{item.name} ({item.type})" if item.name else item.step for item in nearest))
