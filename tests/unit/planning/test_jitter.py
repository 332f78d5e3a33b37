"""Jitter: drawn from the instant, within its bounds, in order, and the same however it is looked at."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice, pairwise

import msgspec
import pytest

from server.platform.schedules.cadence import Cadence
from server.platform.schedules.jitter import jitter
from server.platform.schedules.misfire import gather
from server.platform.schedules.plan import Cursor, instants, newest_first, start_of
from server.platform.schedules.preview import preview
from tests.unit.planning.times import make_cadence, utc

AFTER, UNTIL = utc("2026-03-01 00:00"), utc("2026-03-01 06:00")


def jittered(*crons: str, jitter_s: int = 60, seed: str = "7", **more: int) -> Cadence:
    return msgspec.structs.replace(make_cadence(*crons, zone="UTC", **more), jitter_s=jitter_s, seed=seed)


def test_two_instances_draw_the_same() -> None:
    at = utc("2026-03-01 10:00")
    assert jitter("7", at, 60, None) == jitter("7", at, 60, None)
    drawn = {jitter("7", at + timedelta(minutes=number), 60, None) for number in range(100)}
    assert len(drawn) > 90
    assert timedelta() <= min(drawn) < timedelta(seconds=5)
    assert timedelta(seconds=55) < max(drawn) <= timedelta(seconds=60)


def test_another_schedule_draws_otherwise() -> None:
    at = utc("2026-03-01 10:00")
    assert len({jitter(str(number), at, 3600, None) for number in range(50)}) > 45


@pytest.mark.parametrize("jitter_s", [1, 60, 3600])
@pytest.mark.parametrize("crons", [("*/5 * * * *",), ("0,7 * * * *", "3-50/9 1-4 * * *"), ("* * * * * */20",)], ids=str)
def test_starts_keep_their_order_and_planned_times_theirs(crons: tuple[str, ...], jitter_s: int) -> None:
    begin = AFTER - timedelta(days=1, seconds=1)
    plain = instants(make_cadence(*crons, zone="UTC"), begin, UNTIL, 10_000)
    late = [one for one in instants(jittered(*crons, jitter_s=jitter_s), begin, UNTIL, 10_000) if one.planned_at > begin]
    assert [one.planned_at for one in late] == [one.planned_at for one in plain][: len(late)]
    assert len(late) >= len(plain) - 1
    starts = [one.starts_at for one in late]
    assert starts == sorted(set(starts))
    assert all(timedelta() <= one.starts_at - one.planned_at <= timedelta(seconds=jitter_s) for one in late)
    assert all(one.starts_at < following.planned_at for one, following in pairwise(late))


@pytest.mark.parametrize("shift_s", [0, 90, -3600])
@pytest.mark.parametrize("crons", [("*/5 * * * *",), ("0,7 * * * *", "3-50/9 1-4 * * *")], ids=str)
def test_wherever_a_walk_begins_it_finds_the_same_starts(crons: tuple[str, ...], shift_s: int) -> None:
    cadence = jittered(*crons, jitter_s=240, shift_s=shift_s)
    whole = instants(cadence, AFTER, UNTIL, 10_000)
    for number, one in enumerate(whole):
        for at in (one.starts_at, one.starts_at - timedelta(milliseconds=1), one.planned_at + timedelta(seconds=shift_s)):
            expected = next((other for other in whole if other.starts_at > at), None)
            found = Cursor(cadence, at).peek()
            assert expected is None or found == expected
        assert start_of(cadence, one.planned_at) == one.starts_at
        back = list(islice(newest_first(cadence, one.starts_at), number + 1))
        assert back == whole[: number + 1][::-1]


def test_an_outage_is_gathered_without_a_gap_or_a_double() -> None:
    cadence = jittered("* * * * *", jitter_s=50)
    whole = instants(cadence, AFTER, UNTIL, 10_000)
    window = gather(cadence, AFTER, UNTIL, 100)
    assert window.instants == whole[-100:]
    assert window.older is not None
    assert (window.older.first, window.older.last) == (whole[0].planned_at, whole[-101].planned_at)
    assert window.older.count == len(whole) - 100


def test_a_preview_shows_it() -> None:
    cadence = jittered("0 * * * *", jitter_s=600)
    assert [fire.instant for fire in preview(cadence, AFTER, days=1)] == instants(cadence, AFTER, AFTER + timedelta(days=1), 1000)
