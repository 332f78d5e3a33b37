"""HR's rows become ours: one spelling, essential fields or nothing, and what is unusable left out and told."""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from server.people.hr.field_map import FieldMap, Mapped
from server.people.hr.normalizing import BadField, DepartmentReader, PersonReader
from server.people.hr.person_row import PersonRow, Position, problems_of, row_hash

GIVEN = {"employee_no": "20230001", "name": "李雷", "email": "Li@example.edu.cn", "department_code": "D1", "status": "active"}
DEPARTMENTS = frozenset({"D1", "D2"})


def read(field_map: FieldMap | None = None, **more: Any) -> PersonRow:
    reader = PersonReader(field_map or FieldMap(), DEPARTMENTS, date(2026, 9, 1), ZoneInfo("Asia/Shanghai"))
    return reader.read({**GIVEN, **more})


@pytest.mark.parametrize("written", ["20230001", " 20230001 ", "２０２３０００１", 20230001, 20230001.0])
def test_a_number_is_the_same_however_it_is_written(written: Any) -> None:
    assert row_hash(read(employee_no=written)) == row_hash(read())


def test_leading_zeros_stay() -> None:
    assert read(employee_no="0007").employee_no == "0007"


@pytest.mark.parametrize("written", [None, "", "   ", "x" * 65, "a\x00b", ["1"], 1.2345e17])
def test_a_row_without_a_number_is_refused(written: Any) -> None:
    with pytest.raises(BadField) as bad:
        read(employee_no=written)
    assert bad.value.field == "employee_no"


@pytest.mark.parametrize("written", [None, " ", "x" * 191, "a\x07", {}])
def test_a_row_without_a_name_is_refused(written: Any) -> None:
    with pytest.raises(BadField, match="name"):
        read(name=written)


@pytest.mark.parametrize(
    ("written", "status"), [("在职", "active"), ("离职", "left"), ("ACTIVE", "active"), ("", "active"), (None, "active")]
)
def test_a_status_is_understood(written: Any, status: str) -> None:
    assert read(status=written).status == status


def test_a_status_that_nobody_explained_is_never_guessed() -> None:
    with pytest.raises(BadField, match="status"):
        read(status="3")
    assert read(FieldMap(status=Mapped(field="status", values={"3": "left"})), status=3).status == "left"


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("email", "not an address"),
        ("start_date", "2031-09-01"),
        ("start_date", "soon"),
        ("end_date", "2026-02-30"),
        ("title", "x" * 191),
        ("phone", 1.2345e17),
        ("positions", "讲师"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_told(field: str, written: Any) -> None:
    row = read(**{field: written})
    assert getattr(row, field) in (None, [])
    assert problems_of(row) == [field]


def test_an_end_that_never_comes_is_no_end() -> None:
    row = read(end_date="9999-12-31")
    assert row.end_date is None
    assert problems_of(row) == []


def test_an_unknown_department_is_told_and_kept() -> None:
    row = read(department_code="D9")
    assert row.department_code == "D9"
    assert problems_of(row) == ["department"]


def test_a_phone_is_text() -> None:
    assert read(phone=13800000001).phone == "13800000001"
    assert read(phone="＋86 138").phone == "+86 138"


def test_positions_and_further_fields_are_kept() -> None:
    row = read(FieldMap(extra={"room": "where.room"}), positions=[{"department_code": "D2", "title": "院长"}, {}, "?"], where={"room": 301})
    assert row.positions == [Position(department_code="D2", title="院长")]
    assert row.extra == {"room": "301", "_problems": "positions"}


def test_a_department_is_read() -> None:
    reader = DepartmentReader(FieldMap().departments)
    row = reader.read({"code": " D1 ", "name": "物理  学院", "parent_code": ""})
    assert (row.code, row.name, row.parent_code) == ("D1", "物理 学院", None)
    with pytest.raises(BadField, match="code"):
        reader.read({"name": "x"})
