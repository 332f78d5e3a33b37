"""Thresholds: count or percent, few changes, the first sync, departments."""

from __future__ import annotations

import pytest

from server.people.hr.source_schemas import Threshold
from server.people.hr.thresholds import exceeded, percent_of


def kinds(counts: dict[str, int], population: int, limits: dict[str, Threshold] | None = None, **more: object) -> list[str]:
    return [one.kind for one in exceeded(counts, population, limits or {}, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("disabled", "population", "above"),
    [(50, 1000, False), (51, 1000, True), (10, 100, False), (11, 100, True), (5, 10, False), (6, 10, True), (0, 0, False)],
)
def test_leaving_is_limited_by_count_and_by_percent_with_few_forgiven(disabled: int, population: int, above: bool) -> None:
    assert kinds({"disable": disabled}, population) == (["disable"] if above else [])


def test_either_limit_is_enough_and_null_is_none() -> None:
    assert kinds({"disable": 3}, 1000, {"disable": Threshold(count=2)}) == ["disable"]
    assert kinds({"disable": 900}, 1000, {"disable": Threshold()}) == []
    assert kinds({"update": 501, "move": 300, "revive": 501}, 1000) == ["update", "revive"]
    assert kinds({"move": 301}, 1000) == ["move"]


def test_the_first_sync_may_create_all() -> None:
    limit = {"create": Threshold(count=10)}
    assert kinds({"create": 1000}, 0, limit, first=True) == []
    assert kinds({"create": 1000}, 500, limit) == ["create"]
    assert kinds({"create": 1000}, 500) == []


def test_departments_are_measured_against_departments() -> None:
    assert kinds({}, 1000, departments=(7, 20)) == ["departments"]
    assert kinds({}, 1000, departments=(6, 20)) == []


def test_the_figures_say_what_was_found() -> None:
    [one] = exceeded({"disable": 20}, 80, {"disable": Threshold(count=10, percent=20)})
    assert (one.count, one.percent, one.limit_count, one.limit_percent) == (20, 25.0, 10, 20)
    assert percent_of(1, 3) == 33.3
    assert percent_of(1, 0) == 100.0
