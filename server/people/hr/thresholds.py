"""Thresholds: how much of a population one plan may change without a person's word."""

from __future__ import annotations

from collections.abc import Mapping

from server.people.hr.run_schemas import Exceeded
from server.people.hr.source_schemas import Threshold

# So few changes are never too many by percent: of ten people one is a tenth.
FEW = 5
DEPARTMENTS, UNDONE = "departments", "undone"
DEFAULTS: Mapping[str, Threshold] = {
    "create": Threshold(),
    "update": Threshold(percent=50),
    "disable": Threshold(count=50, percent=10),
    "revive": Threshold(percent=50),
    "move": Threshold(percent=30),
    DEPARTMENTS: Threshold(percent=30),
}


def exceeded(
    counts: Mapping[str, int],
    population: int,
    limits: Mapping[str, Threshold],
    *,
    first: bool = False,
    departments: tuple[int, int] = (0, 0),
) -> list[Exceeded]:
    """The limits that a plan is above: either the count or the percent is enough.

    `population`: the people present before; `departments`: how many change and how many there are. The first sync of a source may
    create as many as it names.
    """
    found = []
    for kind, default in DEFAULTS.items():
        limit = limits.get(kind, default)
        count, whole = departments if kind == DEPARTMENTS else (counts.get(kind, 0), population)
        if kind == "create" and first:
            continue
        percent = percent_of(count, whole)
        above = limit.count is not None and count > limit.count
        if above or (limit.percent is not None and count > FEW and percent > limit.percent):
            found.append(Exceeded(kind=kind, count=count, percent=percent, limit_count=limit.count, limit_percent=limit.percent))
    return found


def percent_of(count: int, whole: int) -> float:
    """To one decimal; anything of nothing is all of it."""
    return round(100 * count / whole, 1) if whole else 100.0 * bool(count)


def of_undone(count: int, population: int) -> Exceeded:
    """People whom an undo last changed would be changed again: that always needs a word."""
    return Exceeded(kind=UNDONE, count=count, percent=percent_of(count, population), limit_count=0, limit_percent=None)
