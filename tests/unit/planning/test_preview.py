"""The preview: coming fires with a word on odd ones, and what an edit changes."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from server.platform.schedules.calendars_model import Calendar
from server.platform.schedules.preview import diff, preview
from tests.unit.planning.times import make_cadence, utc


def test_plain_fires_have_no_notes() -> None:
    fires = preview(make_cadence("0 9 * * *"), utc("2026-06-01 00:00"), days=3)
    assert [f"{fire.instant.local:%m-%d %H}" for fire in fires] == ["06-01 09", "06-02 09", "06-03 09"]
    assert all(fire.notes == () for fire in fires)


def test_a_closed_date_says_which_calendar_and_why() -> None:
    day = date(2026, 10, 1)
    calendar = Calendar(name="cn", exclude=frozenset({day}), weekdays=(1, 2, 3, 4, 5), notes={day: "国庆节"})
    fires = preview(make_cadence("0 9 * * *", calendar=calendar), utc("2026-09-30 02:00"), days=4)
    assert [[note.english() for note in fire.notes] for fire in fires] == [
        ["Calendar cn excludes 2026-10-01; it will not run.", "(国庆节)"],
        [],
        ["2026-10-03 is a Saturday, on which calendar cn is closed; it will not run."],
        ["2026-10-04 is a Sunday, on which calendar cn is closed; it will not run."],
    ]
    assert "星期六" in fires[2].notes[0].say("zh")


def test_a_date_that_is_not_listed_says_so() -> None:
    calendar = Calendar(name="exam", include=frozenset({date(2026, 6, 2)}), include_only=True)
    first, second = preview(make_cadence("0 9 * * *", calendar=calendar), utc("2026-06-01 00:00"), days=2)
    assert "listed dates alone" in first.notes[0].english()
    assert second.notes == ()


@pytest.mark.parametrize(
    ("cron", "after", "words"),
    [
        ("30 2 * * *", "2026-03-29 00:00", "goes forward"),
        ("30 2 * * *", "2026-10-25 00:00", "the first time"),
        ("30 * * * *", "2026-10-25 01:00", "second time"),
    ],
)
def test_changes_of_the_clock_have_a_note(cron: str, after: str, words: str) -> None:
    (note,) = preview(make_cadence(cron, zone="Europe/Berlin"), utc(after), days=1)[0].notes
    assert words in note.english()
    assert "Europe/Berlin" in note.say("zh")


def test_days_and_number_are_bounded() -> None:
    daily = make_cadence("0 9 * * *")
    assert len(preview(daily, utc("2026-06-01"), days=10_000)) == 90
    assert len(preview(make_cadence("* * * * * *"), utc("2026-06-01"), days=90, limit=25)) == 25


def test_a_diff_counts_starts() -> None:
    now = utc("2026-06-01 00:00")
    old, new = make_cadence("0 9,10 * * *"), make_cadence("0 10,11,12 * * *")
    change = diff(old, new, now, days=10)
    assert (change.added, change.dropped, change.capped) == (20, 10, False)
    assert diff(None, new, now, days=10).added == 30
    unchanged = diff(old, old, now, days=10)
    assert (unchanged.added, unchanged.dropped) == (0, 0)


def test_a_shift_and_a_calendar_are_changes() -> None:
    now = utc("2026-06-01 00:00")
    old = make_cadence("0 9 * * *")
    shifted = diff(old, make_cadence("0 9 * * *", shift_s=60), now, days=7)
    assert (shifted.added, shifted.dropped) == (7, 7)
    closed = diff(old, make_cadence("0 9 * * *", calendar=Calendar(weekdays=(1, 2, 3, 4, 5))), now, days=7)
    assert (closed.added, closed.dropped) == (0, 2)


def test_a_capped_diff_compares_what_both_sides_looked_at() -> None:
    now = utc("2026-06-01 00:00")
    change = diff(make_cadence("* * * * *"), make_cadence("* * * * * */30"), now, days=90, limit=100)
    assert change.capped
    assert change.until == now + timedelta(seconds=3000)
    assert (change.added, change.dropped) == (50, 0)
