"""A data requirement: what a module takes and gives, read from what clients send, and what values meet it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from server.errors import Fields, Invalid
from server.messages import Text, text

MAX_REQUIREMENTS = 200
MAX_NAME = 100
MAX_DESCRIPTION = 2000


class Kind(StrEnum):
    """The type of a piece of data."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    TABLE = "table"  # a list of rows, each an object or a list
    FILE = "file"  # an object with `$file`, or an address
    ANY = "any"


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """One input that a module needs, or one output that it gives. `from_` names the step to take it from."""

    name: str
    type: Kind = Kind.ANY
    required: bool = True
    from_: str | None = None
    description: str = ""


def parse_requirements(value: str | Sequence[Any] | None, field: str) -> list[Requirement]:
    """The requirements in a list or in its JSON text; nothing, `""` and `null` are no requirements.

    An item needs only its name. Raises Invalid with every wrong field, such as `input_data[0].type`.
    """
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise Invalid.field(field, "field.json", detail=str(error)) from error
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Invalid.field(field, "field.type", expected="array", got=type_name(value))
    if len(value) > MAX_REQUIREMENTS:
        raise Invalid.field(field, "requirement.too_many", limit=MAX_REQUIREMENTS)

    fields: Fields = {}
    found: list[Requirement] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(value):
        where = f"{field}[{index}]"
        requirement = item if isinstance(item, Requirement) else _read(item, where, fields)
        if requirement is None:
            continue
        if requirement.name in seen:
            fields[f"{where}.name"] = [text("requirement.twice", name=requirement.name, first=f"{field}[{seen[requirement.name]}]")]
        seen.setdefault(requirement.name, index)
        found.append(requirement)
    if fields:
        raise Invalid(fields=fields)
    return found


def _read(item: Any, where: str, fields: Fields) -> Requirement | None:
    """One item; None, and why in `fields`, when it is wrong."""
    if not isinstance(item, dict):
        fields[where] = [text("field.type", expected="object", got=type_name(item))]
        return None
    wrong: dict[str, Text] = {str(key): text("field.unknown") for key in item if key not in _EXPECTED}
    for key, (expected, types) in _EXPECTED.items():
        if key in item and not isinstance(item[key], types):
            wrong[key] = text("field.type", expected=expected, got=type_name(item[key]))
    if "name" not in item:
        wrong["name"] = text("field.required")
    for key, limit in (("name", MAX_NAME), ("from", MAX_NAME), ("description", MAX_DESCRIPTION)):
        if key not in wrong and len(item.get(key) or "") > limit:
            wrong[key] = text("field.too_long", limit=limit)
    if "name" not in wrong and not item["name"].strip():
        wrong["name"] = text("field.empty")
    if "type" not in wrong and item.get("type", "any") not in list(Kind):
        wrong["type"] = text("field.choice", choices=", ".join(Kind))
    if wrong:
        fields.update({f"{where}.{key}": [why] for key, why in wrong.items()})
        return None
    return Requirement(
        name=item["name"],
        type=Kind(item.get("type", "any")),
        required=item.get("required", True),
        from_=item.get("from") or None,
        description=item.get("description") or "",
    )


_NONE = type(None)
_EXPECTED: dict[str, tuple[str, tuple[type, ...]]] = {
    "name": ("string", (str,)),
    "type": ("string", (str,)),
    "required": ("boolean", (bool,)),
    "from": ("string", (str, _NONE)),
    "description": ("string", (str, _NONE)),
}


def matches(given: Kind, wanted: Kind) -> bool:
    """Whether data of type `given` may go where `wanted` is asked; a table is an array, an array is not always a table."""
    return given == wanted or Kind.ANY in (given, wanted) or (given is Kind.TABLE and wanted is Kind.ARRAY)


def accepts(wanted: Kind, value: Any) -> bool:
    """Whether a JSON value is of the type `wanted`; true and false are no numbers, null is only `any`."""
    match wanted:
        case Kind.STRING:
            return isinstance(value, str)
        case Kind.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Kind.BOOLEAN:
            return isinstance(value, bool)
        case Kind.OBJECT:
            return isinstance(value, dict)
        case Kind.ARRAY:
            return isinstance(value, list)
        case Kind.TABLE:
            return isinstance(value, list) and (all(isinstance(row, dict) for row in value) or all(isinstance(row, list) for row in value))
        case Kind.FILE:
            if isinstance(value, dict):
                return isinstance(value.get("$file"), str)
            return isinstance(value, str) and value.startswith(("http://", "https://", "/"))
        case Kind.ANY:
            return True


def type_name(value: Any) -> str:
    """The JSON name of a value's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case dict():
            return "object"
        case list() | tuple():
            return "array"
        case _:
            return type(value).__name__
