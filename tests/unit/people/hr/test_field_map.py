"""HR's fields in our names: paths, and words that mean something."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from server.people.hr.field_map import FieldMap, Lookup, Mapped


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("gh", "7"),
        ("org.code", "D1"),
        ("posts.1.name", "院长"),
        ("posts.9.name", None),
        ("org.none.deep", None),
        ("a.b", "dotted"),
        ("no", None),
    ],
)
def test_a_path_leads_to_its_value(path: str, found: Any) -> None:
    row = {"gh": "7", "org": {"code": "D1"}, "posts": [{"name": "讲师"}, {"name": "院长"}], "a.b": "dotted", "a": {"b": "deep"}}
    assert Lookup(path)(row) == found


@pytest.mark.parametrize(
    ("given", "meant"), [("在职", "active"), (1, "active"), (1.0, "active"), (True, "left"), (" 2 ", "left"), ("?", "?"), (None, None)]
)
def test_words_are_explained_and_others_stay(given: Any, meant: Any) -> None:
    look = Lookup(Mapped(field="zt", values={"在职": "active", "1": "active", "true": "left", "2": "left"}))
    assert look({"zt": given}) == meant


def test_what_is_not_wanted_is_not_looked_at() -> None:
    assert Lookup(None)({"None": 1}) is None


def test_a_map_is_read_from_json() -> None:
    given = {"employee_no": "gh", "status": {"field": "zt", "values": {"1": "active"}}, "email": None, "departments": {"code": "bh"}}
    read = msgspec.convert(given, FieldMap)
    assert (read.employee_no, read.email, read.name, read.departments.code) == ("gh", None, "name", "bh")
    assert read.status == Mapped(field="zt", values={"1": "active"})
    assert msgspec.convert(msgspec.to_builtins(read), FieldMap) == read


@pytest.mark.parametrize("given", [{"employe_no": "gh"}, {"name": ""}, {"status": {"values": {}}}, {"extra": {"_problems": "x"}}])
def test_a_wrong_map_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, FieldMap)
