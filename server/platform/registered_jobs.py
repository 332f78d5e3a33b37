"""What is known of the jobs that this server can do: their queues, limits and parameters, and which may be scheduled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from server.errors import Fields, Invalid
from server.messages import text
from server.platform.tasks import Queue


class Parameter(NamedTuple):
    """One keyword argument of a job; `kind` is its annotation."""

    name: str
    kind: Any
    required: bool
    default: Any


class JobKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of task, as its job was declared."""

    kind: str
    queue: Queue
    summary: str
    schedulable: bool
    max_attempts: int
    time_limit_s: float
    parameters: tuple[Parameter, ...]


class ParameterView(msgspec.Struct):
    name: str
    type: str
    required: bool
    default: Any


class JobView(msgspec.Struct):
    """A job that may be scheduled."""

    job: str
    queue: str
    summary: str
    parameters: list[ParameterView]


class RegisteredJobs:
    """The jobs of this server by kind, the names of the system's own schedules, and each queue's concurrency unless people set another."""

    def __init__(self, kinds: Iterable[JobKind], *, built_in: Collection[str], concurrency: Mapping[Queue, int]) -> None:
        self.kinds = {kind.kind: kind for kind in kinds}
        self.built_in = frozenset(built_in)
        self.concurrency = dict(concurrency)

    def schedulable(self) -> list[JobView]:
        return [
            JobView(
                kind.kind,
                kind.queue.value,
                kind.summary,
                [ParameterView(one.name, _name_of(one.kind), one.required, one.default) for one in kind.parameters],
            )
            for kind in self.kinds.values()
            if kind.schedulable
        ]

    def get_schedulable(self, job: str) -> JobKind:
        """Raises Invalid, naming `job`."""
        kind = self.kinds.get(job)
        if kind is None or not kind.schedulable:
            choices = ", ".join(sorted(one.kind for one in self.kinds.values() if one.schedulable))
            raise Invalid.field("job", "field.choice", choices=choices)
        return kind

    def check(self, job: str, kwargs: Mapping[str, Any]) -> JobKind:
        """The job, if it may be scheduled and takes these arguments. Raises Invalid, naming `job` or each wrong `kwargs.NAME`."""
        kind = self.get_schedulable(job)
        known = {one.name: one for one in kind.parameters}
        fields: Fields = {f"kwargs.{name}": [text("field.unknown")] for name in kwargs if name not in known}
        for one in kind.parameters:
            if one.name not in kwargs:
                if one.required:
                    fields[f"kwargs.{one.name}"] = [text("field.required")]
                continue
            try:
                msgspec.convert(kwargs[one.name], one.kind)
            except msgspec.ValidationError as error:
                fields[f"kwargs.{one.name}"] = [text("field.value", detail=str(error))]
        if fields:
            raise Invalid(fields=fields)
        return kind


def _name_of(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
