"""What can go wrong at a target, by class: the class alone decides what becomes of the task."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from server.errors import DomainError


class ErrorClass(StrEnum):
    AWAY = "away"  # no answer, or one of a server in trouble
    BUSY = "busy"  # asked to come later
    REFUSED = "refused"  # our own credentials: nothing else will go either
    INVALID = "invalid"  # the target will not take it as it is
    CONFLICT = "conflict"  # somebody else has the name
    NOT_EFFECTIVE = "not_effective"  # taken, but it does not hold
    PROTECTED = "protected"  # an account that HR must not touch
    BROKEN = "broken"  # a fault of ours


class Policy(msgspec.Struct, frozen=True):
    """How often a task is tried, and how long is waited after the first try: doubled with each, jittered, up to an hour."""

    tries: int
    wait_s: float = 30.0


LONGEST_WAIT_S = 3600.0
POLICIES: dict[ErrorClass, Policy] = {
    ErrorClass.AWAY: Policy(8),
    ErrorClass.BUSY: Policy(20),
    ErrorClass.REFUSED: Policy(20, 300.0),
    ErrorClass.INVALID: Policy(1),
    ErrorClass.CONFLICT: Policy(1),
    ErrorClass.NOT_EFFECTIVE: Policy(3),
    ErrorClass.PROTECTED: Policy(1),
    ErrorClass.BROKEN: Policy(3),
}


class TargetError(DomainError):
    """`detail` is for operators and holds no secret; `retry_after_s` is what the target asked for."""

    type = "target_failed"

    def __init__(self, error_class: ErrorClass, detail: str, *, retry_after_s: float | None = None) -> None:
        self.error_class = error_class
        self.detail = detail[:2000]
        self.retry_after_s = retry_after_s
        super().__init__(error_class=error_class.value, detail=self.detail)


def wait_s(error_class: ErrorClass, attempt: int, jitter: float) -> float:
    """Seconds after a failed attempt, from 1; `jitter` from 0 to 1 chooses within the upper half."""
    most = min(POLICIES[error_class].wait_s * 2.0 ** min(attempt - 1, 20), LONGEST_WAIT_S)
    return most / 2 + most / 2 * jitter
