"""Whether a resource meets a filter (RFC 7644, 3.4.2.2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from server.messages import text
from server.people.scim.errors import InvalidFilter
from server.people.scim.filters import Compare, Every, Node, Not, Present, Some, Within
from server.people.scim.schema_model import Attribute, ResourceKind, find_place, values_at

Test = Callable[[dict[str, Any]], bool]
Values = Callable[[dict[str, Any]], list[Any]]
Locate = Callable[[str], tuple[Attribute, Values]]
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda have, wanted: have > wanted,
    "ge": lambda have, wanted: have >= wanted,
    "lt": lambda have, wanted: have < wanted,
    "le": lambda have, wanted: have <= wanted,
}
_PARTS: dict[str, Callable[[str, str], bool]] = {
    "co": lambda have, wanted: wanted in have,
    "sw": lambda have, wanted: have.startswith(wanted),
    "ew": lambda have, wanted: have.endswith(wanted),
}


# Stands for an attribute of another kind.
NOTHING = Attribute(name="")


class UnknownAttribute(Exception):
    """A filter names an attribute that this kind of resource does not have."""


def make_test(kind: ResourceKind, node: Node, *, among_others: bool = False) -> Test:
    """The filter as a test of resources of a kind.

    Text is compared with regard to capitals only where the schema says so; `ne` is true also for what is unassigned. `among_others`:
    what this kind does not have counts as unassigned, as another kind may have it. Raises InvalidFilter for a comparison that the
    attribute's type does not have, UnknownAttribute.
    """

    def locate(path: str) -> tuple[Attribute, Values]:
        place = find_place(kind, path)
        if place is None or place.last is None:
            if among_others:
                return NOTHING, lambda _resource: []
            raise UnknownAttribute(path)
        if place.last.returned == "never":
            raise InvalidFilter(detail=text("scim.filter_secret", path=path))
        return place.last, lambda resource: values_at(resource, place)

    return _make(node, locate)


def make_value_test(attribute: Attribute, node: Node) -> Test:
    """A condition between brackets as a test of the values of a multi-valued attribute. Raises InvalidFilter, UnknownAttribute."""

    def locate(path: str) -> tuple[Attribute, Values]:
        sub = attribute.find_sub(path)
        if sub is None:
            raise UnknownAttribute(path)
        return sub, lambda value: [value[sub.name]] if value.get(sub.name) is not None else []

    return _make(node, locate)


def _make(node: Node, locate: Locate) -> Test:
    match node:
        case Every():
            tests = [_make(one, locate) for one in node.conditions]
            return lambda resource: all(test(resource) for test in tests)
        case Some():
            tests = [_make(one, locate) for one in node.conditions]
            return lambda resource: any(test(resource) for test in tests)
        case Not():
            inner = _make(node.condition, locate)
            return lambda resource: not inner(resource)
        case Present():
            values = locate(node.path)[1]
            return lambda resource: any(value not in ("", {}, []) for value in values(resource))
        case Within():
            attribute, holders = locate(node.path)
            if attribute is NOTHING:
                return lambda _resource: False
            meets = make_value_test(attribute, node.condition)
            return lambda resource: any(meets(value) for value in holders(resource) if isinstance(value, dict))
        case Compare():
            return _comparison(node, *_comparable(*locate(node.path)))


def _comparable(attribute: Attribute, values: Values) -> tuple[Attribute, Values]:
    """A complex attribute is compared by its `value`, when it has one."""
    value = attribute.find_sub("value") if attribute.type == "complex" else None
    if value is None:
        return attribute, values
    return value, lambda resource: [one["value"] for one in values(resource) if isinstance(one, dict) and one.get("value") is not None]


def _comparison(node: Compare, attribute: Attribute, values: Values) -> Test:
    operator = node.operator
    if attribute is NOTHING:
        return lambda _resource: (operator == "ne") == (node.value is not None) and operator in ("eq", "ne")
    if node.value is None:
        if operator not in ("eq", "ne"):
            raise _unfit(node)
        return lambda resource: bool(values(resource)) == (operator == "ne")
    wanted = comparable(attribute, node.value)
    fits = {"eq", "ne"} | (set() if isinstance(wanted, bool) else _ORDERS.keys()) | (_PARTS.keys() if isinstance(wanted, str) else set())
    if wanted is None or operator not in fits:
        raise _unfit(node)

    def have(resource: dict[str, Any]) -> list[Any]:
        return [found for value in values(resource) if (found := comparable(attribute, value)) is not None]

    if operator in ("eq", "ne"):
        return lambda resource: (wanted in have(resource)) == (operator == "eq")
    compare = _ORDERS.get(operator) or _PARTS[operator]
    return lambda resource: any(compare(one, wanted) for one in have(resource))


def comparable(attribute: Attribute, value: Any) -> Any:
    """A value as it is compared and sorted; None for one that the attribute's type cannot have."""
    match attribute.type:
        case "boolean":
            if isinstance(value, str):  # Entra sends "True"
                return {"true": True, "false": False}.get(value.casefold())
            return value if isinstance(value, bool) else None
        case "integer" | "decimal":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "dateTime":
            return _instant(value)
        case "complex":
            return None
        case _:
            if not isinstance(value, str):
                return None
            return value if attribute.case_exact else value.casefold()


def _instant(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _unfit(node: Compare) -> InvalidFilter:
    return InvalidFilter(detail=text("scim.filter_unfit", path=node.path, operator=node.operator))
