"""Past cases in a new chain, without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from server.projects.audit_asked import Asked
from server.projects.audit_schemas import Chain, ChainStep, ReplayedCase, ReplayedStep
from server.projects.chain_replay import outcome_of, run_through, summary

STEPS = [ChainStep(name="department"), ChainStep(name="school")]
DAY = datetime(2026, 3, 1, tzinfo=UTC)
NAMED, SKIPPED, NOBODY = Asked("named", 5, (7, 8)), Asked("skipped", 5), Asked("nobody", 1)
HOLDERS = Asked("holders", 1, (1,))


def row(state: str, minute: int) -> Any:
    return SimpleNamespace(state=state, ended_at=DAY.replace(minute=minute))


def case(before: int, now: int, *hows: str) -> ReplayedCase:
    steps = [ReplayedStep(step=number, name="", how=how, user_ids=[]) for number, how in enumerate(hows, start=1)]
    values = {"project_id": 1, "passage": 1, "title": "", "outcome": "approved", "could_end": "nobody" not in hows}
    return ReplayedCase(**values, steps_before=before, steps_now=now, steps=steps)


def test_each_step_is_told_with_whom_it_would_have_asked() -> None:
    steps, could_end = run_through(STEPS, [NAMED, HOLDERS], HOLDERS)
    assert [(one.step, one.name, one.how, one.user_ids) for one in steps] == [
        (1, "department", "named", [7, 8]),
        (2, "school", "holders", [1]),
    ]
    assert could_end


def test_a_case_with_a_step_that_nobody_can_decide_could_not_have_ended() -> None:
    assert not run_through(STEPS, [NAMED, NOBODY], NOBODY)[1]


def test_when_every_step_is_skipped_the_last_is_asked_of_who_may_audit_above() -> None:
    steps, could_end = run_through(STEPS, [SKIPPED, SKIPPED], HOLDERS)
    assert [one.how for one in steps] == ["skipped", "holders"]
    assert could_end


def test_a_skipped_step_beside_another_stays_skipped() -> None:
    assert [one.how for one in run_through(STEPS, [NAMED, SKIPPED], HOLDERS)[0]] == ["named", "skipped"]


def test_what_ended_last_is_the_outcome() -> None:
    assert outcome_of([row("approved", 1), row("approved", 2)]) == "approved"
    assert outcome_of([row("approved", 1), row("returned", 2), row("approved", 3)]) == "approved"
    assert outcome_of([row("approved", 1), row("rejected", 2), row("cancelled", 2)]) == "rejected"
    assert outcome_of([row("returned", 1)]) == "returned"


def test_a_case_that_was_withdrawn_has_no_outcome() -> None:
    assert outcome_of([row("approved", 1), row("cancelled", 2)]) is None
    assert outcome_of([row("cancelled", 1)]) is None


def test_the_summary_counts_empty_steps_and_steps_more_and_fewer() -> None:
    values = {"id": 1, "kind": "research", "organization_id": 1, "organization": "", "version": 1, "state": "draft", "steps": STEPS}
    chain = Chain(**values, created_at=DAY, changed_at=DAY, replayed_at=DAY, published_at=None)
    cases = [case(1, 2, "named", "holders"), case(4, 1, "named", "skipped"), case(1, 2, "named", "nobody")]
    told = summary(chain, cases, {})
    assert told.steps_empty == {1: 0, 2: 3}
    assert (told.more_steps, told.fewer_steps, told.stuck) == (2, 3, 1)
