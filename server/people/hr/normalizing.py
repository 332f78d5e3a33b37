"""From HR's row to ours, in one spelling: what is essential must be there, and of the rest what is unusable is left out."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import date, timedelta, tzinfo
from typing import Any, Literal

from server.messages import Text, text
from server.people.hr.dates import ENDLESS_YEAR, read_date
from server.people.hr.field_map import DepartmentMap, FieldMap, Lookup, MappedPositions, dig
from server.people.hr.person_row import PROBLEMS_KEY, DepartmentRow, PersonRow, Position
from server.people.user_fields import wrong_email

PROBLEMS = ("email", "phone", "title", "start_date", "end_date", "positions", "extra", "department")
LONGEST_KEY = 64
LONGEST_TEXT = 190
LONGEST_EXTRA = 1000
MOST_POSITIONS = 20
# A first day further ahead than this is a slip of the pen.
LATEST_START = timedelta(days=731)
# Excel keeps 15 digits of a number and makes the rest zeros.
LARGEST_NUMBER = 10**15
STATUSES: Mapping[str, Literal["active", "left"]] = {
    **dict.fromkeys(("active", "在职", "在岗", "在编", "employed"), "active"),
    **dict.fromkeys(("left", "离职", "已离职", "退休", "terminated", "resigned", "retired"), "left"),
}


class BadField(Exception):
    """A field that the row cannot be without is missing or unusable."""

    def __init__(self, field: str, why: Text) -> None:
        super().__init__(f"{field}: {why.english()}")
        self.field = field
        self.why = why


class PersonReader:
    """Reads HR's rows of persons; `today` and `zone` are those of the run."""

    def __init__(self, field_map: FieldMap, departments: frozenset[str] | None, today: date, zone: tzinfo) -> None:
        """`departments` are the codes that HR itself names; None when it names no departments."""
        self._departments = departments
        self._zone = zone
        self._latest_start = today + LATEST_START
        self._employee_no, self._name = Lookup(field_map.employee_no), Lookup(field_map.name)
        self._email, self._phone = Lookup(field_map.email), Lookup(field_map.phone)
        self._department, self._title = Lookup(field_map.department_code), Lookup(field_map.title)
        self._status = Lookup(field_map.status)
        self._start, self._end = Lookup(field_map.start_date), Lookup(field_map.end_date)
        self._extra = {name: Lookup(place) for name, place in field_map.extra.items()}
        positions = field_map.positions
        self._positions = MappedPositions(field=positions) if isinstance(positions, str) else positions

    def read(self, given: Mapping[str, Any]) -> PersonRow:
        """Our row. Raises BadField."""
        problems: list[str] = []
        row = PersonRow(
            employee_no=_key("employee_no", self._employee_no(given)),
            name=_name(self._name(given)),
            email=self._mail(given, problems),
            phone=_optional("phone", self._phone(given), LONGEST_KEY, problems),
            department_code=_optional_key("department_code", self._department(given)),
            title=_optional("title", self._title(given), LONGEST_TEXT, problems),
            status=self._read_status(given),
            start_date=self._day("start_date", self._start(given), problems),
            end_date=self._day("end_date", self._end(given), problems),
            positions=self._read_positions(given, problems),
        )
        for name, lookup in self._extra.items():
            value = _optional("extra", lookup(given), LONGEST_EXTRA, problems)
            if value is not None:
                row.extra[name] = value
        if self._departments is not None and row.department_code is not None and row.department_code not in self._departments:
            problems.append("department")
        if problems:
            row.extra[PROBLEMS_KEY] = ",".join(dict.fromkeys(problems))
        return row

    def _mail(self, given: Mapping[str, Any], problems: list[str]) -> str | None:
        email = _optional("email", self._email(given), 1000, problems)
        if email is None or wrong_email(email) is None:
            return email
        problems.append("email")
        return None

    def _read_status(self, given: Mapping[str, Any]) -> Literal["active", "left"]:
        """Missing means active; a word that nobody explained is never guessed."""
        try:
            written = _text(self._status(given))
        except ValueError as error:
            raise BadField("status", text("field.value", detail=str(error))) from None
        if not written:
            return "active"
        status = STATUSES.get(written.casefold())
        if status is None:
            raise BadField("status", text("hr.source.unknown_status", value=written[:60]))
        return status

    def _day(self, field: str, value: Any, problems: list[str]) -> str | None:
        try:
            day = read_date(value, self._zone)
        except ValueError:
            problems.append(field)
            return None
        if day is None or (field == "end_date" and day.year >= ENDLESS_YEAR):
            return None
        if field == "start_date" and day > self._latest_start:
            problems.append(field)
            return None
        return day.isoformat()

    def _read_positions(self, given: Mapping[str, Any], problems: list[str]) -> list[Position]:
        mapped = self._positions
        found = None if mapped is None else dig(given, mapped.field)
        if mapped is None or found is None or found == "":
            return []
        if not isinstance(found, list) or len(found) > MOST_POSITIONS:
            problems.append("positions")
            return []
        positions = []
        for one in found:
            position = self._read_position(one, mapped) if isinstance(one, Mapping) else None
            if position is None:
                problems.append("positions")
            else:
                positions.append(position)
        return positions

    def _read_position(self, given: Mapping[str, Any], mapped: MappedPositions) -> Position | None:
        unusable: list[str] = []
        try:
            code = _optional_key("department_code", dig(given, mapped.department_code))
        except BadField:
            return None
        title = _optional("title", dig(given, mapped.title), LONGEST_TEXT, unusable)
        return None if unusable or (code is None and title is None) else Position(department_code=code, title=title)


class DepartmentReader:
    """Reads HR's rows of departments."""

    def __init__(self, mapped: DepartmentMap) -> None:
        self._code, self._name, self._parent = Lookup(mapped.code), Lookup(mapped.name), Lookup(mapped.parent_code)

    def read(self, given: Mapping[str, Any]) -> DepartmentRow:
        """Our row. Raises BadField."""
        return DepartmentRow(
            code=_key("code", self._code(given)),
            name=_name(self._name(given)),
            parent_code=_optional_key("parent_code", self._parent(given)),
        )


def _text(value: Any) -> str:
    """A value as one would write it, in one spelling of its letters, without spaces at its ends. Raises ValueError for what is no text."""
    if value is None:
        return ""
    if isinstance(value, str):
        written = value
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        if isinstance(value, (list, dict)):
            raise ValueError("a list or an object is no text")
        written = str(value)
    elif abs(value) >= LARGEST_NUMBER and isinstance(value, float):
        raise ValueError("the number has lost its last digits")
    else:
        written = str(int(value)) if float(value).is_integer() else str(value)
    if written.isascii():
        return written.strip()
    return unicodedata.normalize("NFKC", written).strip()


def _key(field: str, value: Any) -> str:
    code = _optional_key(field, value)
    if code is None:
        raise BadField(field, text("field.empty"))
    return code


def _optional_key(field: str, value: Any) -> str | None:
    """What rows are known by. Unusable is worse than missing: nothing else can stand for it. Raises BadField."""
    try:
        written = _text(value)
    except ValueError as error:
        raise BadField(field, text("field.value", detail=str(error))) from None
    if len(written) > LONGEST_KEY:
        raise BadField(field, text("field.too_long", limit=LONGEST_KEY))
    if not written.isprintable():
        raise BadField(field, text("organization.unprintable"))
    return written or None


def _name(value: Any) -> str:
    try:
        written = " ".join(_text(value).split())
    except ValueError as error:
        raise BadField("name", text("field.value", detail=str(error))) from None
    if not written:
        raise BadField("name", text("field.empty"))
    if len(written) > LONGEST_TEXT:
        raise BadField("name", text("field.too_long", limit=LONGEST_TEXT))
    if not written.isprintable():
        raise BadField("name", text("organization.unprintable"))
    return written


def _optional(field: str, value: Any, longest: int, problems: list[str]) -> str | None:
    try:
        written = " ".join(_text(value).split())
    except ValueError:
        problems.append(field)
        return None
    if len(written) > longest or not written.isprintable():
        problems.append(field)
        return None
    return written or None
