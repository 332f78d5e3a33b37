"""The instants of a cadence: zones, changes of the clock, shifts, several crons, calendars."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.platform.schedules.calendars_model import Calendar
from server.platform.schedules.plan import ClockChange, Cursor, Instant, instants, newest_first, next_instant
from tests.unit.planning.times import make_cadence, planned, slow_planned, utc, walls

# Around each change of the clock; Apia skipped a whole day, Lord Howe changes by half an hour, Dublin's summer is its standard time.
CHANGES = [
    ("Europe/Berlin", "2026-03-29 01:00"),
    ("Europe/Berlin", "2026-10-25 01:00"),
    ("America/New_York", "2026-03-08 07:00"),
    ("America/New_York", "2026-11-01 06:00"),
    ("Australia/Lord_Howe", "2026-10-03 15:30"),
    ("Australia/Lord_Howe", "2026-04-04 15:00"),
    ("Europe/Dublin", "2026-10-25 01:00"),
    ("America/Havana", "2026-11-01 05:00"),
    ("Pacific/Apia", "2011-12-30 10:00"),
    ("Africa/Casablanca", "2026-02-15 02:00"),
    ("America/Sao_Paulo", "2018-02-18 02:00"),
    ("Asia/Shanghai", "1991-09-14 17:00"),
    ("Asia/Kathmandu", "2026-06-01 00:00"),
]
hour_fields = st.sampled_from(["*", "*/1", "*/2", "0", "1", "2", "3", "1-3", "0,2", "23", "22-23"])
minute_fields = st.sampled_from(["*", "0", "30", "*/15", "59", "0,30", "5-20/5"])
time_crons = st.builds("{} {} * * *".format, minute_fields, hour_fields)


def test_two_crons_on_one_instant_fire_once() -> None:
    cadence = make_cadence("*/10 10 * * *", "0,20,40 10 * * *")
    assert walls(cadence, "2026-06-01 01:59", "2026-06-01 02:21") == ["06-01 10:00", "06-01 10:10", "06-01 10:20"]


def test_shanghai_is_eight_hours_ahead() -> None:
    assert planned(make_cadence("0 9 * * 1-5"), "2026-06-05 00:00", "2026-06-09 00:00") == ["2026-06-05 01:00:00", "2026-06-08 01:00:00"]


def test_shanghai_had_summer_time_once() -> None:
    assert planned(make_cadence("0 9 * * *"), "1991-09-13 12:00", "1991-09-15 12:00") == ["1991-09-14 00:00:00", "1991-09-15 01:00:00"]


def test_berlin_spring_moves_a_skipped_time_to_the_first_instant_after() -> None:
    cadence = make_cadence("30 2 * * *", zone="Europe/Berlin")
    assert planned(cadence, "2026-03-28 00:00", "2026-03-30 12:00") == ["2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00"]
    moved = instants(cadence, utc("2026-03-29 00:00"), utc("2026-03-30 00:00"), 5)
    assert [(instant.local, instant.clock) for instant in moved] == [(datetime(2026, 3, 29, 3), ClockChange.MOVED)]


def test_berlin_spring_moves_all_skipped_times_to_one_instant() -> None:
    cadence = make_cadence("*/10 2 * * *", "0 3 * * *", zone="Europe/Berlin")
    assert planned(cadence, "2026-03-29 00:00", "2026-03-29 12:00") == ["2026-03-29 01:00:00"]


def test_berlin_spring_lets_every_hour_pass_by() -> None:
    cadence = make_cadence("30 * * * *", zone="Europe/Berlin")
    assert walls(cadence, "2026-03-29 00:00", "2026-03-29 02:00") == ["03-29 01:30", "03-29 03:30"]


def test_berlin_autumn_fires_a_time_of_day_once() -> None:
    cadence = make_cadence("30 2 * * *", zone="Europe/Berlin")
    assert planned(cadence, "2026-10-24 00:00", "2026-10-26 12:00") == ["2026-10-24 00:30:00", "2026-10-25 00:30:00", "2026-10-26 01:30:00"]


def test_berlin_autumn_fires_every_hour_in_both_passes() -> None:
    cadence = make_cadence("30 * * * *", zone="Europe/Berlin")
    found = instants(cadence, utc("2026-10-25 00:00"), utc("2026-10-25 03:00"), 9)
    assert [(f"{instant.local:%H:%M}", instant.clock) for instant in found] == [
        ("02:30", ClockChange.FIRST_PASS), ("02:30", ClockChange.SECOND_PASS), ("03:30", None),
    ]  # fmt: skip


def test_a_start_inside_the_second_pass_does_not_fire_again() -> None:
    cadence = make_cadence("45 2 * * *", zone="Europe/Berlin")
    assert planned(cadence, "2026-10-25 01:10", "2026-10-26 12:00") == ["2026-10-26 01:45:00"]


def test_new_york_both_changes() -> None:
    cadence = make_cadence("15 1,2 * * *", zone="America/New_York")
    assert walls(cadence, "2026-03-08 05:00", "2026-03-08 12:00") == ["03-08 01:15", "03-08 03:00"]
    assert planned(cadence, "2026-11-01 04:00", "2026-11-01 12:00") == ["2026-11-01 05:15:00", "2026-11-01 07:15:00"]


def test_lord_howe_changes_by_half_an_hour() -> None:
    spring = make_cadence("*/15 2 * * *", zone="Australia/Lord_Howe")
    assert walls(spring, "2026-10-03 14:00", "2026-10-03 20:00") == ["10-04 02:30", "10-04 02:45"]
    autumn = make_cadence("*/15 1 * * *", zone="Australia/Lord_Howe")
    assert walls(autumn, "2026-04-04 13:00", "2026-04-04 20:00") == ["04-05 01:00", "04-05 01:15", "04-05 01:30", "04-05 01:45"]


def test_a_negative_shift_crosses_midnight() -> None:
    cadence = make_cadence("0 0 1 * *", shift_s=-30)
    (instant,) = instants(cadence, utc("2026-05-31 15:59:29"), utc("2026-05-31 15:59:30"), 5)
    assert instant.starts_at == utc("2026-05-31 15:59:30")
    assert instant.planned_at == utc("2026-05-31 16:00")
    assert instant.local == datetime(2026, 6, 1)
    assert instants(cadence, instant.starts_at, utc("2026-06-30 15:00"), 5) == []


def test_a_shift_of_days_moves_the_start_and_not_the_cron_time() -> None:
    instant = next_instant(make_cadence("0 12 * * *", shift_s=2 * 86400), utc("2026-06-10 00:00"))
    assert instant is not None
    assert (instant.planned_at, instant.starts_at) == (utc("2026-06-08 04:00"), utc("2026-06-10 04:00"))


def test_seconds_come_last() -> None:
    cadence = make_cadence("59 23 * * * */20", zone="UTC")
    assert planned(cadence, "2026-06-01 23:59", "2026-06-03 00:00") == [
        "2026-06-01 23:59:20", "2026-06-01 23:59:40", "2026-06-02 23:59:00", "2026-06-02 23:59:20", "2026-06-02 23:59:40",
    ]  # fmt: skip


def test_leap_day_comes_every_four_years() -> None:
    cadence = make_cadence("0 0 29 2 *", zone="UTC")
    assert planned(cadence, "2026-01-01", "2037-01-01") == ["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]


def test_without_crons_there_is_nothing() -> None:
    assert next_instant(make_cadence(), utc("2026-01-01")) is None
    assert list(newest_first(make_cadence(), utc("2026-01-01"))) == []


def test_planning_ends_at_its_horizon() -> None:
    assert next_instant(make_cadence("0 0 1 1 *", zone="UTC"), utc("2199-06-01")) is None


def test_the_interval_is_open_below_and_closed_above() -> None:
    cadence = make_cadence("* * * * *", zone="UTC")
    assert planned(cadence, "2026-01-01 00:00", "2026-01-01 00:02") == ["2026-01-01 00:01:00", "2026-01-01 00:02:00"]


def test_closed_dates_are_marked_and_can_be_passed_over() -> None:
    calendar = Calendar(name="cn", exclude=frozenset({date(2026, 10, 1)}), weekdays=(1, 2, 3, 4, 5))
    cadence = make_cadence("0 9 * * *", calendar=calendar)
    found = instants(cadence, utc("2026-09-30 02:00"), utc("2026-10-05 02:00"), 9)
    assert [(f"{instant.local:%m-%d}", instant.excluded) for instant in found] == [
        ("10-01", "excluded_date"), ("10-02", None), ("10-03", "closed_weekday"), ("10-04", "closed_weekday"), ("10-05", None),
    ]  # fmt: skip
    following = next_instant(cadence, utc("2026-10-02 02:00"), open_only=True)
    assert following is not None
    assert following.local == datetime(2026, 10, 5, 9)


def test_the_calendar_goes_by_the_date_in_the_zone() -> None:
    cadence = make_cadence("30 0 * * *", calendar=Calendar(exclude=frozenset({date(2026, 10, 1)})))
    instant = next_instant(cadence, utc("2026-09-30 12:00"))
    assert instant is not None
    assert instant.planned_at == utc("2026-09-30 16:30")
    assert instant.excluded == "excluded_date"


def test_a_calendar_without_an_open_date_ends_the_search() -> None:
    assert next_instant(make_cadence("0 9 * * *", calendar=Calendar(include_only=True)), utc("2026-01-01"), open_only=True) is None


def test_a_cursor_shows_before_it_steps() -> None:
    cursor = Cursor(make_cadence("0 * * * *", "30 * * * *", zone="UTC"), utc("2026-01-01"))
    shown = cursor.peek()
    assert shown is cursor.peek()
    assert cursor.pop() == shown
    following = cursor.peek()
    assert following is not None
    assert following.planned_at == utc("2026-01-01 01:00")


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@given(crons=st.lists(time_crons, min_size=1, max_size=3), offset=st.integers(-200, 100))
@settings(max_examples=25, deadline=None)
def test_around_a_change_the_rule_holds(zone: str, change: str, crons: list[str], offset: int) -> None:
    after = utc(change) + timedelta(minutes=offset)
    until = utc(change) + timedelta(minutes=300)
    cadence = make_cadence(*crons, zone=zone)
    found = [instant.planned_at for instant in instants(cadence, after, until, 10_000)]
    assert found == slow_planned(tuple(crons), zone, after, until)
    assert backward(cadence, after, until) == instants(cadence, after, until, 10_000)


def backward(cadence, after: datetime, until: datetime) -> list[Instant]:  # type: ignore[no-untyped-def]
    found = []
    for instant in newest_first(cadence, until):
        if instant.starts_at <= after:
            break
        found.append(instant)
    return found[::-1]


day_crons = st.builds(
    "{} {} {} * {}".format, minute_fields.filter(lambda field: field != "*"), hour_fields, st.sampled_from(["*", "1,15", "l", "*/9"]),
    st.sampled_from(["*", "1-5", "sun"]),
)  # fmt: skip
zones = st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "America/Havana"])
starts = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1))


@given(crons=st.lists(day_crons, min_size=1, max_size=4), zone=zones, start=starts, shift=st.integers(-90_000, 90_000), parts=st.data())
@settings(max_examples=50, deadline=None)
def test_properties_of_instants(crons: list[str], zone: str, start: datetime, shift: int, parts: st.DataObject) -> None:
    after = utc(start.isoformat())
    until = after + timedelta(days=12)
    cadence = make_cadence(*crons, zone=zone, shift_s=shift)
    whole = instants(cadence, after, until, 10_000)

    moments = [instant.planned_at for instant in whole]
    assert all(earlier < later for earlier, later in pairwise(moments)), "strictly rising, none twice"
    assert all(after < instant.starts_at <= until for instant in whole)

    single = [instants(make_cadence(cron, zone=zone, shift_s=shift), after, until, 10_000) for cron in crons]
    assert moments == sorted({instant.planned_at for one in single for instant in one}), "the union of its crons"

    middle = parts.draw(st.one_of(st.datetimes(start, start + timedelta(days=12)).map(lambda at: utc(at.isoformat()))))
    middle = parts.draw(st.sampled_from([middle, *(instant.starts_at for instant in whole[:50])]))
    assert instants(cadence, after, middle, 10_000) + instants(cadence, middle, until, 10_000) == whole, "the same in two parts"

    assert backward(cadence, after, until) == whole
