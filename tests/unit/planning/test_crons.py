"""Reading crons, and walking their wall-clock times: equal to croniter, forward and backward."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from server.platform.schedules.crons import BadCron, Ticks, check_cron, parse_cron


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    pair = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    return st.one_of(
        st.just("*"),
        number,
        st.integers(1, high).map(lambda step: f"*/{step}"),
        pair.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(pair, st.integers(1, 7)).map(lambda given: f"{given[0][0]}-{given[0][1]}/{given[1]}"),
        st.lists(st.integers(low, high), min_size=2, max_size=4).map(lambda some: ",".join(map(str, some))),
    )


day_of_month = st.one_of(numbers(1, 28), st.sampled_from(["l", "31", "29", "15w", "1w", "?"]))
weekday = st.one_of(numbers(0, 6), st.sampled_from(["mon-fri", "sun", "7", "mon#2", "l5", "?"]))
# Given twice, to make most crons plain ones.
crons = st.one_of(
    st.tuples(numbers(0, 59), numbers(0, 23), st.just("*"), st.just("*"), st.sampled_from(["*", "1-5"])),
    st.tuples(numbers(0, 59), numbers(0, 23), day_of_month, numbers(1, 12), weekday),
    st.tuples(numbers(0, 59), numbers(0, 23), day_of_month, st.just("*"), weekday, numbers(0, 59)),
).map(" ".join)
moments = st.datetimes(datetime(2023, 1, 1), datetime(2033, 1, 1))


def is_usable(cron: str) -> bool:
    try:
        check_cron(cron)
    except BadCron:
        return False
    return True


@given(cron=crons.filter(is_usable), start=moments)
@settings(max_examples=150, deadline=None)
def test_ticks_are_what_croniter_finds(cron: str, start: datetime) -> None:
    reference = croniter(cron, start)
    ticks = Ticks(parse_cron(cron))
    walked = [ticks.seek_after(start), *(ticks.next() for _ in range(20))]
    assert walked == [reference.get_next(datetime) for _ in range(21)]


@given(cron=crons.filter(is_usable), start=moments)
@settings(max_examples=150, deadline=None)
def test_backward_is_forward_reversed(cron: str, start: datetime) -> None:
    forward = Ticks(parse_cron(cron))
    walked = [forward.seek_after(start), *(forward.next() for _ in range(12))]
    end = walked[-1]
    assert end is not None
    backward = Ticks(parse_cron(cron))
    returned = [backward.seek_before(end + timedelta(seconds=1)), *(backward.previous() for _ in range(12))]
    assert returned[::-1] == walked


@pytest.mark.parametrize(
    ("cron", "key"),
    [
        ("", "cron.empty"),
        ("   ", "cron.empty"),
        ("* * * *", "cron.fields"),
        ("0 0 * * * * 2027", "cron.fields"),
        ("@reboot", "cron.fields"),
        ("61 * * * *", "cron.syntax"),
        ("* * * * mon-", "cron.syntax"),
        ("* * * * * 60", "cron.syntax"),
        ("*/0 * * * *", "cron.syntax"),
        ("R * * * *", "cron.hashed"),
        ("h(0-5) * * * *", "cron.hashed"),
        ("0 0 31 2 *", "cron.impossible"),
        ("0 0 30,31 2 *", "cron.impossible"),
        ("0 0 31 4,6,9,11 *", "cron.impossible"),
        ("0 0 5 * 1#2", "cron.impossible"),
        ("0 " * 150, "cron.too_long"),
    ],
)
def test_bad_crons_say_why(cron: str, key: str) -> None:
    with pytest.raises(BadCron) as caught:
        check_cron(cron)
    assert caught.value.key == key


@pytest.mark.parametrize(
    "cron",
    ["* * * * *", "*/10 10 * * 1-5", "0 0 29 2 *", "0 0 29 2 1#5", "@daily", "@HOURLY", "0 0 l * *", "0 9 * * mon,fri 30", " 5 4 * * * "],
)
def test_good_crons_pass(cron: str) -> None:
    check_cron(cron)
    assert Ticks(parse_cron(cron)).seek_after(datetime(2026, 1, 1)) is not None


@pytest.mark.parametrize(("hours", "every"), [("*", True), ("*/1", True), ("0-23", True), ("*/2", False), ("3", False), ("1-23", False)])
def test_only_a_plain_wildcard_means_every_hour(hours: str, every: bool) -> None:
    assert parse_cron(f"0 {hours} * * *").every_hour is every


def test_a_walk_does_not_disturb_another_of_the_same_cron() -> None:
    first, second = Ticks(parse_cron("0 0 1 * *")), Ticks(parse_cron("0 0 1 * *"))
    assert first.seek_after(datetime(2026, 1, 15)) == datetime(2026, 2, 1)
    assert second.seek_after(datetime(2030, 6, 15)) == datetime(2030, 7, 1)
    assert first.next() == datetime(2026, 3, 1)
