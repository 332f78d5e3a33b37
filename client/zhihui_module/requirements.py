"""A module's declarations: the inputs it needs and the outputs it gives, checked when they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class DataType(StrEnum):
    """The types that a requirement may have; the server matches them between steps."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    TABLE = "table"
    FILE = "file"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One input or output. `from_` (written `from` in a dict) picks between two modules that give the same output."""

    name: str
    type: DataType = DataType.ANY
    required: bool = True
    from_: str | None = None
    description: str = ""

    def as_json(self) -> dict[str, Any]:
        """The shape that the server reads."""
        shape: dict[str, Any] = {"name": self.name, "type": self.type.value, "required": self.required, "description": self.description}
        if self.from_ is not None:
            shape["from"] = self.from_
        return shape


def parse_requirements(field: str, values: Iterable[Requirement | Mapping[str, Any]]) -> tuple[Requirement, ...]:
    """Check the declarations of `field` ("inputs" or "outputs").

    Raises ValueError naming the place, such as `inputs[0].type`.
    """
    if isinstance(values, (str, bytes, Mapping, Requirement)):
        raise ValueError(f"{field}: must be a list of requirements")
    parsed: list[Requirement] = []
    seen: set[str] = set()
    for index, value in enumerate(values):
        place = f"{field}[{index}]"
        requirement = _parse(place, value)
        if requirement.name in seen:
            raise ValueError(f"{place}.name: {requirement.name!r} is declared twice")
        seen.add(requirement.name)
        parsed.append(requirement)
    return tuple(parsed)


def _parse(place: str, value: Requirement | Mapping[str, Any]) -> Requirement:
    if isinstance(value, Requirement):
        value = {"name": value.name, "type": value.type, "required": value.required, "from": value.from_, "description": value.description}
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: must be an object with a name and a type, not {type(value).__name__}")
    unknown = sorted(str(key) for key in value if key not in ("name", "type", "required", "from", "description"))
    if unknown:
        raise ValueError(f"{place}.{unknown[0]}: unknown field; a requirement has name, type, required, from, description")
    name = value.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{place}.name: must be a string that is not empty")
    kind = value.get("type", DataType.ANY)
    if not isinstance(kind, str) or kind not in set(DataType):
        raise ValueError(f"{place}.type: {kind!r} is not one of {', '.join(DataType)}")
    required = value.get("required", True)
    if not isinstance(required, bool):
        raise ValueError(f"{place}.required: must be true or false, not {required!r}")
    source = value.get("from")
    if source is not None and (not isinstance(source, str) or not source.strip()):
        raise ValueError(f"{place}.from: must be the name of a module")
    description = value.get("description", "")
    if not isinstance(description, str):
        raise ValueError(f"{place}.description: must be a string")
    return Requirement(name, DataType(kind), required, source, description)
