"""Late instants: the three policies, an outage of a month, and counts that equal walking."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.platform.schedules.calendars_model import Calendar
from server.platform.schedules.counting import count_instants
from server.platform.schedules.misfire import Lateness, Misfire, Verdict, catch_up, gather, settle
from server.platform.schedules.plan import instants
from tests.unit.planning.times import make_cadence, utc

EVERY_MINUTE = make_cadence("* * * * *", zone="UTC")
NOON = utc("2026-06-01 12:00:00")


def verdicts(policy: Misfire, now: str, max_age_s: float, *, minutes: int = 5, tolerance_s: float = 2.0) -> str:
    """One letter for each of the minutes up to 12:00: F fires, m misfires, c closed."""
    found = instants(EVERY_MINUTE, NOON - timedelta(minutes=minutes), NOON, 100)
    letters = {Verdict.FIRE: "F", Verdict.MISFIRE: "m", Verdict.CALENDAR: "c"}
    return "".join(letters[item.verdict] for item in settle(found, utc(now), policy, max_age_s, tolerance_s))


@pytest.mark.parametrize(
    ("policy", "now", "max_age_s", "expected"),
    [
        (Misfire.SKIP, "2026-06-01 12:00:00", 600, "mmmmF"),
        (Misfire.SKIP, "2026-06-01 12:00:02", 600, "mmmmF"),
        (Misfire.SKIP, "2026-06-01 12:00:03", 600, "mmmmm"),
        (Misfire.LAST, "2026-06-01 12:00:01", 600, "mmmmF"),  # the timely one stands for the late ones
        (Misfire.LAST, "2026-06-01 12:00:30", 600, "mmmmF"),
        (Misfire.LAST, "2026-06-01 12:00:30", 30, "mmmmF"),
        (Misfire.LAST, "2026-06-01 12:00:31", 30, "mmmmm"),
        (Misfire.ALL, "2026-06-01 12:00:30", 600, "FFFFF"),
        (Misfire.ALL, "2026-06-01 12:00:30", 150, "mmFFF"),
        (Misfire.ALL, "2026-06-01 12:00:30", 0, "mmmmm"),
    ],
)
def test_policies(policy: Misfire, now: str, max_age_s: float, expected: str) -> None:
    assert verdicts(policy, now, max_age_s) == expected


def test_the_tolerance_is_a_parameter() -> None:
    assert verdicts(Misfire.SKIP, "2026-06-01 12:01:30", 0, tolerance_s=100) == "mmmmF"


def test_reasons_and_lateness() -> None:
    found = instants(EVERY_MINUTE, NOON - timedelta(minutes=2), NOON, 9)
    late = NOON + timedelta(seconds=30)
    assert [(item.why, item.late_s) for item in settle(found, late, Misfire.LAST, 10)] == [
        (Lateness.SUPERSEDED, 90.0), (Lateness.TOO_OLD, 30.0),
    ]  # fmt: skip
    assert {item.why for item in settle(found, late, Misfire.SKIP, 10)} == {Lateness.POLICY_SKIP}


def test_a_closed_date_neither_fires_nor_stands_for_others() -> None:
    calendar = Calendar(exclude=frozenset({date(2026, 6, 2)}))
    cadence = make_cadence("0 0,23 * * *", zone="UTC", calendar=calendar)
    found = instants(cadence, utc("2026-06-01 22:00"), utc("2026-06-02 00:00"), 9)
    settled = settle(found, utc("2026-06-02 00:00:01"), Misfire.LAST, 7200)
    assert [item.verdict for item in settled] == [Verdict.FIRE, Verdict.CALENDAR]


def test_the_shift_counts_for_lateness() -> None:
    found = instants(make_cadence("0 12 * * *", zone="UTC", shift_s=-30), utc("2026-06-01"), utc("2026-06-02"), 9)
    assert [item.late_s for item in settle(found, NOON, Misfire.ALL, 60)] == [30.0]


def test_a_month_of_seconds_is_a_hundred_rows_and_one_span() -> None:
    cadence = make_cadence("* * * * * *", zone="Europe/Berlin")
    after, now = utc("2026-10-10 00:00:00"), utc("2026-11-10 00:00:00")
    caught = catch_up(cadence, after, now, Misfire.ALL, 60)
    assert len(caught.settled) == 100
    assert len(caught.to_fire) == 61
    assert caught.older is not None
    assert caught.older.exact
    assert caught.older.count + 100 == 31 * 86400
    assert caught.older.first == after + timedelta(seconds=1)
    assert caught.older.last == now - timedelta(seconds=100)


def test_a_short_outage_has_no_span() -> None:
    caught = catch_up(EVERY_MINUTE, NOON - timedelta(minutes=100), NOON, Misfire.LAST, 300)
    assert caught.older is None
    assert len(caught.settled) == 100
    assert [item.planned_at for item in caught.to_fire] == [NOON]


def test_one_more_than_the_limit_is_a_span_of_one() -> None:
    caught = catch_up(EVERY_MINUTE, NOON - timedelta(minutes=101), NOON, Misfire.LAST, 300)
    assert caught.older is not None
    assert (caught.older.count, caught.older.first == caught.older.last) == (1, True)


def test_nothing_missed_is_nothing() -> None:
    caught = catch_up(EVERY_MINUTE, NOON, NOON, Misfire.ALL, 300)
    assert (caught.settled, caught.older, caught.to_fire) == ([], None, [])
    assert catch_up(make_cadence(), NOON, NOON + timedelta(days=9), Misfire.ALL, 300).settled == []


def test_closed_dates_in_a_span_are_counted() -> None:
    cadence = make_cadence("0 * * * *", zone="UTC", calendar=Calendar(weekdays=(1, 2, 3, 4, 5)))
    window = gather(cadence, utc("2026-06-01 00:00"), utc("2026-06-14 23:30"), 23)
    assert window.older is not None
    # The 6th, 7th and 13th are closed, and of the 14th the first hour is not among the newest 23.
    assert (window.older.count, window.older.closed) == (13 * 24, 3 * 24 + 1)


def test_a_count_that_would_take_too_long_is_a_lower_bound() -> None:
    crons = [f"{minute} 9 * * 1-5" for minute in range(32)]
    count = count_instants(make_cadence(*crons, zone="UTC"), datetime(2000, 1, 1), datetime(2026, 1, 1))
    assert not count.exact
    assert 0 < count.total < 26 * 366 * 32


minutes = st.sampled_from(["*", "*/7", "0", "30", "10-40/3"])
hours = st.sampled_from(["*", "2", "1-3", "*/5"])
days = st.sampled_from(["* * *", "* * 1-5", "1,15 * *", "* * sun"])
seconds = st.sampled_from(["", " 0", " */20"])
crons = st.builds("{} {} {}{}".format, minutes, hours, days, seconds)
zones = st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana"])


@given(
    some=st.lists(crons, min_size=1, max_size=3),
    zone=zones,
    start=st.one_of(
        st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)),
        st.sampled_from(
            [datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 10, 3, 15), datetime(2026, 4, 4, 14), datetime(2026, 11, 1)]
        ),
    ),
    length=st.timedeltas(timedelta(0), timedelta(days=2)),
)
@settings(max_examples=80, deadline=None)
def test_counting_equals_walking(some: list[str], zone: str, start: datetime, length: timedelta) -> None:
    calendar = Calendar(weekdays=(1, 2, 3, 6))
    cadence = make_cadence(*some, zone=zone, calendar=calendar)
    walked = instants(cadence, utc(start.isoformat()), utc((start + length).isoformat()), 1_000_000)
    count = count_instants(cadence, start, start + length)
    assert count.exact
    assert (count.total, count.closed) == (len(walked), sum(instant.excluded is not None for instant in walked))
