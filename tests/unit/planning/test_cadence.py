"""Checking what a body says about time: every wrong field is named."""

from __future__ import annotations

import pytest

from server.errors import Invalid
from server.platform.schedules.cadence import MAX_CRONS, FieldNames, check_cadence


def fields_of_refusal(*args: object, **kwargs: object) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        check_cadence(*args, **kwargs)  # type: ignore[arg-type]
    return {field: reasons[0].english() for field, reasons in caught.value.fields.items()}


def test_a_good_cadence_is_kept_as_written() -> None:
    cadence = check_cadence(["*/10 10 * * 1-5", " 0 9 * * * 30 "], "Asia/Shanghai", -30, "m")
    assert cadence.crons == ("*/10 10 * * 1-5", "0 9 * * * 30")
    assert cadence.shift_s == -1800


@pytest.mark.parametrize(("unit", "seconds"), [("s", 2), ("m", 120), ("h", 7200), ("d", 172800)])
def test_units(unit: str, seconds: int) -> None:
    assert check_cadence([], "UTC", 2, unit).shift_s == seconds


def test_the_wrong_cron_is_named_by_its_place() -> None:
    found = fields_of_refusal(["0 9 * * *", "0 0 31 2 *"], "Asia/Shanghai")
    assert found == {"execute_cron_list[1]": "'0 0 31 2 *' names a date that never comes."}


def test_all_wrong_parts_are_told_at_once() -> None:
    found = fields_of_refusal(["nonsense"], "Mars/Olympus", 3, "weeks")
    assert list(found) == ["execute_cron_list[0]", "timezone", "execute_shift_unit"]
    assert "s, m, h, d" in found["execute_shift_unit"]


def test_names_follow_the_body_of_the_caller() -> None:
    assert list(fields_of_refusal(["61 * * * *"], "UTC", names=FieldNames(crons="cron"))) == ["cron[0]"]


@pytest.mark.parametrize("zone", ["", "Asia", "Asia/Nowhere", "../etc/passwd", "/etc/localtime", "localtime", "UTC\0", "Z" * 500])
def test_bad_zones(zone: str) -> None:
    assert list(fields_of_refusal([], zone)) == ["timezone"]


def test_too_many_crons() -> None:
    assert "32" in fields_of_refusal(["0 9 * * *"] * (MAX_CRONS + 1), "UTC")["execute_cron_list"]


def test_a_body_full_of_bad_crons_is_told_of_the_first_few() -> None:
    assert list(fields_of_refusal(["0 0 31 2 *"] * 32, "UTC")) == [f"execute_cron_list[{index}]" for index in range(4)]


def test_a_shift_beyond_a_year_is_refused() -> None:
    assert "366" in fields_of_refusal([], "UTC", -367, "d")["execute_shift_time"]
