"""What the requirement solver takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from server.dispatch.requirements import Requirement
from server.messages import Text


class StepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a workflow. `index` is its place in execute_modules; an empty `name` becomes the module's name."""

    index: int
    name: str = ""
    module_name: str
    inputs: list[Requirement] = []
    outputs: list[Requirement] = []
    args: Mapping[str, Any] = {}
    depends_on: list[str] = []


class Edge(msgspec.Struct, frozen=True, order=True):
    """The output of one step goes to the input of another; steps by name."""

    producer: str
    output: str
    consumer: str
    input: str


class Reason(StrEnum):
    """Why a workflow cannot be planned."""

    UNMET = "unmet"  # nothing gives the input
    AMBIGUOUS = "ambiguous"  # several steps give it, and `from` does not choose
    MISTYPED = "mistyped"  # what gives it is of another type
    CYCLIC = "cyclic"  # steps wait for each other
    UNKNOWN_FROM = "unknown_from"  # `from` names no step
    UNKNOWN_STEP = "unknown_step"  # depends_on names no step
    DUPLICATE_NAME = "duplicate_name"  # two steps have one name
    LATER_PRODUCER = "later_producer"  # only a step that does not come before gives it
    BAD_ARGS = "bad_args"  # args hold a value of another type


class Nearest(msgspec.Struct, frozen=True):
    """Something that may have been meant; `name` and `type` are empty when a step itself is."""

    step: str
    name: str = ""
    type: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: at which step (`index` in the list), which requirement (empty: the step itself), why, and in words.

    `part` is the part of the step that is wrong, such as `input_data.stock_price`.
    """

    step: str
    index: int
    requirement: str
    reason: Reason
    nearest: list[Nearest]
    part: str
    text: Text


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a workflow.

    `names`: the unique name of each step, in the order of the list. `edges`: the data that flows. `waits_for`: for each step
    the steps that must end before it starts, by data or by depends_on. `order`: levels; a step's predecessors are all in
    levels before its own (steps of a cycle, and what waits for them, are in none). `problems`: empty when it can run.
    """

    names: list[str]
    edges: list[Edge]
    waits_for: dict[str, list[str]]
    order: list[list[str]]
    problems: list[Problem]
