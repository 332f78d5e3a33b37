"""What becomes of instants that are found late, and of an outage's worth of them, in bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from server.platform.schedules.cadence import Cadence
from server.platform.schedules.counting import count_instants
from server.platform.schedules.plan import Cursor, Instant, newest_first

TOLERANCE_S = 2.0
ROW_LIMIT = 100


class Misfire(StrEnum):
    """What to do with instants whose time passed while nobody could fire them."""

    SKIP = "skip"  # none of them fires
    LAST = "last"  # the newest fires, if it is young enough and no timely one fires in its place
    ALL = "all"  # every one that is young enough fires


class Verdict(StrEnum):
    """What a planned instant becomes; the names of the ledger's outcomes."""

    FIRE = "fire"
    MISFIRE = "misfire"
    CALENDAR = "calendar"


class Lateness(StrEnum):
    """Why a late instant does not fire."""

    POLICY_SKIP = "policy_skip"  # the policy is skip
    SUPERSEDED = "superseded"  # the policy is last, and a newer one fires
    TOO_OLD = "too_old"  # older than the greatest age


class Settled(msgspec.Struct, frozen=True):
    """One instant and its verdict; `late_s` is how long after `starts_at` it was settled (0 when early), `why` explains a misfire."""

    instant: Instant
    verdict: Verdict
    late_s: float
    why: Lateness | None = None


class Span(msgspec.Struct, frozen=True):
    """Older instants of an outage, as one: planned from `first` to `last`, `count` of them (`exact`, or at least), `closed` by calendar."""

    first: datetime
    last: datetime
    count: int
    closed: int
    exact: bool


class Window(msgspec.Struct, frozen=True):
    """The newest instants of an interval in order, and the older ones that were too many to list."""

    instants: list[Instant]
    older: Span | None


class CaughtUp(msgspec.Struct, frozen=True):
    """The newest instants settled one by one, in order, and the older ones, which are all misfires (or closed)."""

    settled: list[Settled]
    older: Span | None

    @property
    def to_fire(self) -> list[Instant]:
        return [item.instant for item in self.settled if item.verdict is Verdict.FIRE]


def settle(
    instants: Sequence[Instant], now: datetime, policy: Misfire, max_age_s: float, tolerance_s: float = TOLERANCE_S
) -> list[Settled]:
    """A verdict for each instant, in order.

    One that is at most `tolerance_s` past its start is timely and fires. A later one follows the policy, and fires only when at most
    `max_age_s` past its start. `last` prefers a timely one: then no late one fires. One that the calendar closes never fires.
    """
    ages = [(now - instant.starts_at).total_seconds() for instant in instants]
    open_ones = [index for index, instant in enumerate(instants) if instant.excluded is None]
    chosen: int | None = None
    if open_ones and policy is Misfire.LAST:
        chosen = max(open_ones, key=lambda index: instants[index].starts_at)

    settled = []
    for index, (instant, age) in enumerate(zip(instants, ages, strict=True)):
        verdict, why = Verdict.MISFIRE, None
        if instant.excluded is not None:
            verdict = Verdict.CALENDAR
        elif age <= tolerance_s:
            verdict = Verdict.FIRE
        elif policy is Misfire.SKIP:
            why = Lateness.POLICY_SKIP
        elif policy is Misfire.LAST and index != chosen:
            why = Lateness.SUPERSEDED
        elif age > max_age_s:
            why = Lateness.TOO_OLD
        else:
            verdict = Verdict.FIRE
        settled.append(Settled(instant, verdict, max(0.0, age), why))
    return settled


def gather(cadence: Cadence, after: datetime, until: datetime, limit: int = ROW_LIMIT) -> Window:
    """The instants that start in `(after, until]`: the newest `limit` one by one, older ones as a span."""
    newest: list[Instant] = []
    overflow: Instant | None = None
    for instant in newest_first(cadence, until):
        if instant.starts_at <= after:
            break
        if len(newest) == limit:
            overflow = instant
            break
        newest.append(instant)
    newest.reverse()
    if overflow is None:
        return Window(newest, None)
    first = Cursor(cadence, after).peek() or overflow
    # From the first on, by their planned times: counting knows of neither shift nor jitter.
    start = first.planned_at.astimezone(UTC).replace(tzinfo=None) - timedelta(seconds=1)
    count = count_instants(cadence, start, overflow.planned_at.replace(tzinfo=None))
    return Window(newest, Span(first.planned_at, overflow.planned_at, count.total, count.closed, count.exact))


def catch_up(
    cadence: Cadence,
    after: datetime,
    now: datetime,
    policy: Misfire,
    max_age_s: float,
    *,
    tolerance_s: float = TOLERANCE_S,
    row_limit: int = ROW_LIMIT,
) -> CaughtUp:
    """Settle all that should have started in `(after, now]`, in bounded time and rows however long the outage was.

    With `all` at most the newest `row_limit` fire: a flood after an outage helps nobody.
    """
    window = gather(cadence, after, now, row_limit)
    return CaughtUp(settle(window.instants, now, policy, max_age_s, tolerance_s), window.older)
