"""The way through a chain, without a database: stages, when one is done, how a step ends, and where it may return to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec

from server.projects.audit_schemas import ChainStep


class AuditState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    RETURNED = "returned"
    REJECTED = "rejected"
    CANCELLED = "cancelled"  # the project was withdrawn, or another step of the same stage ended it
    SKIPPED = "skipped"  # nobody was left to be asked


# What counts as done where steps join.
DONE = (AuditState.APPROVED, AuditState.SKIPPED)
ENDS = {"approve": AuditState.APPROVED, "return": AuditState.RETURNED, "reject": AuditState.REJECTED}


class Seat(msgspec.Struct, frozen=True):
    """One who is asked. A delegate's decision fills the seat of `delegated_by`; `away`: can no longer decide."""

    user_id: int
    delegated_by: int | None = None
    decision: str | None = None
    away: bool = False


def stages(steps: Sequence[ChainStep]) -> list[list[int]]:
    """The numbers (from 1) of the steps that are open together, in order; a first step has none to be parallel with."""
    found: list[list[int]] = []
    for number, step in enumerate(steps, start=1):
        if step.parallel_with_previous and found:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def stage_of(steps: Sequence[ChainStep], number: int) -> int:
    """The place (from 0) of the stage that a step is in."""
    return next(place for place, stage in enumerate(stages(steps)) if number in stage)


def is_done(stage: Collection[int], states: Mapping[int, str]) -> bool:
    """Whether every step of a stage is done; `states`: of the latest audit of each step."""
    return all(states.get(number) in DONE for number in stage)


def ending(mode: str, decision: str, seats: Collection[Seat]) -> AuditState | None:
    """How a step ends by a decision that is among the seats already; None while others must still be heard.

    A return or a refusal ends it at once. Where all must approve, nobody counts twice: who has a seat fills that alone.
    """
    if decision != "approve" or mode == "any":
        return ENDS[decision]
    filled = {seat.delegated_by or seat.user_id for seat in seats if seat.decision == "approve"}
    waiting = [seat for seat in seats if seat.delegated_by is None and not seat.away and seat.user_id not in filled]
    return None if waiting else AuditState.APPROVED


def earlier(steps: Sequence[ChainStep], number: int, states: Mapping[int, str]) -> list[int]:
    """The steps to which one may return from a step: those of earlier stages that somebody decided."""
    before = [one for stage in stages(steps)[: stage_of(steps, number)] for one in stage]
    return [one for one in before if states.get(one) == AuditState.APPROVED]
