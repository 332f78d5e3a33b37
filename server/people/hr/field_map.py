"""Which field of HR's rows is which of ours: names or dotted paths, with lists of values where HR has words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Values = Annotated[dict[str, str], msgspec.Meta(max_length=500)]


class Mapped(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`values`: what HR writes → what it means to us; a value that is not listed stays as it is, one that means "" counts as missing."""

    field: Path
    values: Values = {}


class MappedPositions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A list of further positions, and what its items call their department and title."""

    field: Path = "positions"
    department_code: Path = "department_code"
    title: Path = "title"


# Null: HR's field is not looked at.
Place = Path | Mapped | None


class DepartmentMap(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Our fields of a department by HR's."""

    code: Place = "code"
    name: Place = "name"
    parent_code: Place = "parent_code"


class FieldMap(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Our fields of a person by HR's; what is left out has our own name. `extra` are further fields to keep, by names of the operator."""

    employee_no: Place = "employee_no"
    name: Place = "name"
    email: Place = "email"
    phone: Place = "phone"
    department_code: Place = "department_code"
    title: Place = "title"
    status: Place = "status"
    start_date: Place = "start_date"
    end_date: Place = "end_date"
    positions: Path | MappedPositions | None = "positions"
    extra: Annotated[
        dict[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")], Path | Mapped], msgspec.Meta(max_length=30)
    ] = {}
    departments: DepartmentMap = msgspec.field(default_factory=DepartmentMap)


class Lookup:
    """One field's way into a row, worked out once."""

    def __init__(self, place: Place) -> None:
        self.path = place.field if isinstance(place, Mapped) else place
        self._values = place.values if isinstance(place, Mapped) else None

    def __call__(self, row: Mapping[str, Any]) -> Any:
        """HR's value; None when there is none."""
        path = self.path
        if path is None:
            return None
        value = row[path] if path in row else dig(row, path)
        if self._values is not None and value is not None:
            written = written_as(value)
            return self._values.get(written, value)
        return value


def dig(found: Any, path: str) -> Any:
    """What is at a dotted path of nested objects and lists (`a.0.b`); None when there is nothing."""
    for step in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def written_as(value: Any) -> str:
    """A value as the left side of `values` names it: 1, true and 1.0 of JSON or Excel as "1", "true" and "1"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
