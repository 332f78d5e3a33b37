"""Reading data requirements from what clients send, and which values meet them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from server.dispatch.requirements import Kind, Requirement, accepts, matches, parse_requirements
from server.errors import Invalid


def refusal(value: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        parse_requirements(value, "input_data")
    return {field: reasons[0].english() for field, reasons in caught.value.fields.items()}


@pytest.mark.parametrize("nothing", [None, "", "  ", "[]", "null", []])
def test_nothing_is_no_requirements(nothing: Any) -> None:
    assert parse_requirements(nothing, "input_data") == []


def test_text_and_list_are_read_alike() -> None:
    items = [{"name": "stock_price", "type": "table", "required": False, "from": "prices", "description": "…"}, {"name": "x"}]
    expected = [Requirement("stock_price", Kind.TABLE, False, "prices", "…"), Requirement("x", Kind.ANY)]
    assert parse_requirements(items, "input_data") == expected
    assert parse_requirements(json.dumps(items), "input_data") == expected


def test_a_requirement_is_written_as_it_is_read() -> None:
    written = msgspec.json.encode(parse_requirements('[{"name": "x", "from": "a"}]', "input_data"))
    assert json.loads(written) == [{"name": "x", "type": "any", "required": True, "from": "a", "description": ""}]
    assert msgspec.json.decode(written, type=list[Requirement]) == [Requirement("x", from_="a")]


def test_null_where_a_text_may_be_left_out() -> None:
    assert parse_requirements([{"name": "x", "from": None, "description": None}], "input_data") == [Requirement("x")]


def test_requirements_that_were_read_pass_again() -> None:
    read = parse_requirements([{"name": "x"}], "input_data")
    assert parse_requirements(read, "input_data") == read


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"name": "x", "type": "integer"}, "input_data[0].type"),
        ({"name": "x", "type": 5}, "input_data[0].type"),
        ({"name": "x", "type": []}, "input_data[0].type"),
        ({"name": "x", "required": "yes"}, "input_data[0].required"),
        ({"name": "x", "unit": "CNY"}, "input_data[0].unit"),
        ({"name": 5}, "input_data[0].name"),
        ({"name": " "}, "input_data[0].name"),
        ({"name": "x" * 101}, "input_data[0].name"),
        ({"type": "table"}, "input_data[0].name"),
        ({"name": "x", "from": 1}, "input_data[0].from"),
        ("stock_price", "input_data[0]"),
        (None, "input_data[0]"),
    ],
)
def test_a_wrong_item_is_named(item: Any, field: str) -> None:
    assert list(refusal([item])) == [field]


def test_all_wrong_items_are_told_at_once() -> None:
    assert list(refusal([{"name": "a"}, {"type": "table"}, {"name": "a"}, 5])) == [
        "input_data[1].name",
        "input_data[2].name",
        "input_data[3]",
    ]
    assert "input_data[0]" in refusal([{"name": "a"}, {"name": "a"}])["input_data[1].name"]


@pytest.mark.parametrize("value", ["{", '{"name": "x"}', '"x"', "5", 5, {"name": "x"}, "[" * 100_000, "\ud800"])
def test_what_is_no_list_is_refused(value: Any) -> None:
    assert list(refusal(value)) == ["input_data"]


def test_too_many_are_refused() -> None:
    assert "200" in refusal([{"name": str(number)} for number in range(201)])["input_data"]


def test_a_table_is_an_array_and_not_the_other_way() -> None:
    assert matches(Kind.TABLE, Kind.ARRAY)
    assert not matches(Kind.ARRAY, Kind.TABLE)
    assert not matches(Kind.NUMBER, Kind.BOOLEAN)
    assert all(matches(kind, kind) and matches(kind, Kind.ANY) and matches(Kind.ANY, kind) for kind in Kind)


GOOD: list[tuple[Kind, Any]] = [
    (Kind.STRING, ""), (Kind.NUMBER, 1), (Kind.NUMBER, 1.5), (Kind.BOOLEAN, False), (Kind.OBJECT, {}), (Kind.ARRAY, [1, "a"]),
    (Kind.TABLE, []), (Kind.TABLE, [{"a": 1}]), (Kind.TABLE, [[1], [2]]), (Kind.FILE, {"$file": "f1"}), (Kind.FILE, "https://a/b"),
    (Kind.FILE, "/api/files/x"), (Kind.ANY, None),
]  # fmt: skip
BAD: list[tuple[Kind, Any]] = [
    (Kind.STRING, 1), (Kind.STRING, None), (Kind.NUMBER, True), (Kind.NUMBER, "1"), (Kind.BOOLEAN, 1), (Kind.OBJECT, []), (Kind.ARRAY, {}),
    (Kind.TABLE, [1]), (Kind.TABLE, [{"a": 1}, [1]]), (Kind.TABLE, {}), (Kind.FILE, "name.csv"), (Kind.FILE, {"file": "x"}), (Kind.FILE, 5),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), GOOD)
def test_values_that_meet(kind: Kind, value: Any) -> None:
    assert accepts(kind, value)


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_values_that_do_not_meet(kind: Kind, value: Any) -> None:
    assert not accepts(kind, value)
