"""The way through a chain: stages, joins, how a step ends, where it may return to."""

from __future__ import annotations

import pytest

from server.projects.audit_schemas import ChainStep
from server.projects.audit_steps import AuditState, Seat, earlier, ending, is_done, stage_of, stages


def chain(shape: str) -> list[ChainStep]:
    """Steps by a word: a letter a step, in capitals when it is parallel with the one before."""
    return [ChainStep(name=letter, parallel_with_previous=letter.isupper()) for letter in shape]


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ("a", [[1]]),
        ("ab", [[1], [2]]),
        ("aBc", [[1, 2], [3]]),
        ("abCDe", [[1], [2, 3, 4], [5]]),
        ("Ab", [[1], [2]]),  # the first has none before it
    ],
)
def test_steps_that_are_parallel_are_one_stage(shape: str, wanted: list[list[int]]) -> None:
    assert stages(chain(shape)) == wanted


def test_every_step_is_in_one_stage() -> None:
    steps = chain("abCDeF")
    assert [stage_of(steps, number) for number in range(1, 7)] == [0, 1, 1, 1, 2, 2]


def test_a_stage_is_done_when_all_of_it_is_approved_or_skipped() -> None:
    assert is_done([1, 2], {1: "approved", 2: "skipped"})
    assert not is_done([1, 2], {1: "approved", 2: "open"})
    assert not is_done([1, 2], {1: "approved"})
    assert not is_done([1], {1: "returned"})


@pytest.mark.parametrize("mode", ["any", "all"])
@pytest.mark.parametrize(("decision", "state"), [("return", AuditState.RETURNED), ("reject", AuditState.REJECTED)])
def test_what_is_said_against_it_ends_a_step_at_once(mode: str, decision: str, state: AuditState) -> None:
    assert ending(mode, decision, [Seat(1, decision=decision), Seat(2)]) is state


def test_where_any_may_decide_the_first_does() -> None:
    assert ending("any", "approve", [Seat(1, decision="approve"), Seat(2)]) is AuditState.APPROVED


def test_where_all_must_approve_the_last_ends_it() -> None:
    first = [Seat(1, decision="approve"), Seat(2)]
    assert ending("all", "approve", first) is None
    assert ending("all", "approve", [first[0], Seat(2, decision="approve")]) is AuditState.APPROVED


def test_a_delegate_fills_the_seat_of_who_delegated() -> None:
    assert ending("all", "approve", [Seat(1), Seat(9, delegated_by=1, decision="approve")]) is AuditState.APPROVED


def test_a_delegate_who_has_said_nothing_is_not_waited_for() -> None:
    assert ending("all", "approve", [Seat(1, decision="approve"), Seat(9, delegated_by=1)]) is AuditState.APPROVED


def test_nobody_counts_twice() -> None:
    """Who decides on a seat of their own does not fill another's."""
    assert ending("all", "approve", [Seat(1), Seat(2, decision="approve")]) is None


def test_who_went_away_is_not_waited_for() -> None:
    assert ending("all", "approve", [Seat(1, decision="approve"), Seat(2, away=True)]) is AuditState.APPROVED


def test_one_may_return_to_what_was_decided_in_earlier_stages() -> None:
    steps, states = chain("abCd"), {1: "skipped", 2: "approved", 3: "approved", 4: "open"}
    assert earlier(steps, 4, states) == [2, 3]
    assert earlier(steps, 3, states) == []
    assert earlier(steps, 1, states) == []
