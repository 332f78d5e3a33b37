"""Applies the operations of a PATCH to a resource (RFC 7644, 3.5.2), as strictly as its clients allow."""

from __future__ import annotations

import copy
from typing import Any

from server.messages import text
from server.people.scim.checking import check_message, check_whole, check_writable, clean_object, clean_value
from server.people.scim.errors import InvalidPath, InvalidValue, NoTarget, NotMutable, ScimRefused
from server.people.scim.filters import Compare, Every, Node, parse_path
from server.people.scim.matching import Test, UnknownAttribute, make_value_test
from server.people.scim.schema_model import Attribute, Place, ResourceKind, find_place

MOST_OPERATIONS = 1000
# What a PATCH without a path may carry along, as a copy of what it read, and changes nothing.
_CARRIED = {"id", "schemas", "meta", "groups"}


def patched(kind: ResourceKind, resource: dict[str, Any], body: Any) -> dict[str, Any]:
    """The resource after all operations; the one given stays as it is.

    Raises ScimRefused and, for one operation, InvalidPath, InvalidValue, InvalidFilter, NoTarget, NotMutable.
    """
    given = check_message("PatchOp", body)
    operations = next((value for name, value in given.items() if name.casefold() == "operations"), None)
    if not isinstance(operations, list) or not operations or len(operations) > MOST_OPERATIONS:
        raise ScimRefused(detail=text("scim.operations", limit=MOST_OPERATIONS))
    after = copy.deepcopy(resource)
    for operation in operations:
        _apply(kind, after, operation)
    check_whole(kind, after)
    return after


def _apply(kind: ResourceKind, resource: dict[str, Any], operation: Any) -> None:
    if not isinstance(operation, dict):
        raise ScimRefused(detail=text("scim.no_object"))
    fields = {str(name).casefold(): value for name, value in operation.items()}
    verb, path, value = str(fields.get("op", "")).casefold(), fields.get("path"), fields.get("value")
    if verb not in ("add", "replace", "remove"):
        raise ScimRefused(detail=text("scim.operation_unknown", verb=str(fields.get("op"))[:40]))
    if verb != "remove" and "value" not in fields:
        raise InvalidValue(detail=text("scim.value_missing"))
    if path is not None and not isinstance(path, str):
        raise InvalidPath(detail=text("scim.path_unreadable", path=str(path)[:200]))
    if path:
        _at_path(kind, resource, verb, path, value)
        return
    if verb == "remove":
        raise NoTarget(detail=text("scim.path_missing"))
    if not isinstance(value, dict):
        raise InvalidValue(detail=text("scim.no_object"))
    for name, one in value.items():
        if name.casefold() not in _CARRIED:
            _at_path(kind, resource, verb, name, one)


def _at_path(kind: ResourceKind, resource: dict[str, Any], verb: str, path: str, value: Any) -> None:
    parsed = parse_path(path)
    place = find_place(kind, parsed.path)
    if place is None:
        raise InvalidPath(detail=text("scim.path_unknown", path=path[:200]))
    if place.attribute is None:
        _extension(kind, resource, verb, place.extension, value)
        return
    check_writable(place.attribute, path)
    if place.sub is not None:
        check_writable(place.sub, path)
    if place.attribute.name in ("schemas", "id", "meta"):
        raise NotMutable(detail=text("scim.read_only", path=path[:200]))
    holder = resource.setdefault(place.extension, {}) if place.extension else resource
    if parsed.condition is not None:
        _filtered(holder, place, verb, parsed.condition, parsed.sub, value, path)
    elif place.sub is not None:
        _sub(holder, place, verb, value)
    elif verb == "remove" or value is None:
        _remove(holder, place.attribute, value)
    else:
        _put(holder, place.attribute, verb, value)
    if place.extension and not holder:
        resource.pop(place.extension)
    required = place.sub is None and place.attribute.required
    if required and place.attribute.name not in holder:
        raise NotMutable(detail=text("scim.value_required", name=place.attribute.name))


def _extension(kind: ResourceKind, resource: dict[str, Any], verb: str, urn: str, value: Any) -> None:
    if verb == "remove" or value is None:
        resource.pop(urn, None)
        return
    if not isinstance(value, dict):
        raise InvalidValue(detail=text("scim.no_object"))
    merged = {**resource.get(urn, {}), **clean_object(kind.extension, value)}
    if merged:
        resource[urn] = merged


def _put(holder: dict[str, Any], attribute: Attribute, verb: str, value: Any) -> None:
    """Add or replace an attribute."""
    cleaned = clean_value(attribute, value)
    if cleaned is None:
        if verb == "replace":
            holder.pop(attribute.name, None)
    elif attribute.multi:
        before = holder.get(attribute.name, []) if verb == "add" else []
        holder[attribute.name] = clean_value(attribute, _joined(attribute, before, cleaned))
    elif attribute.type == "complex":
        holder[attribute.name] = {**holder.get(attribute.name, {}), **cleaned}
    else:
        holder[attribute.name] = cleaned


def _joined(attribute: Attribute, before: list[Any], added: list[Any]) -> list[Any]:
    """The values with those that are new; a new primary one takes the place of the old."""
    if any(isinstance(one, dict) and one.get("primary") is True for one in added):
        before = [{**one, "primary": False} if isinstance(one, dict) and one.get("primary") else one for one in before]
    if attribute.name == "members":  # one member is one member, however it is written
        known = {one.get("value") for one in before}
        return [*before, *(one for one in added if one.get("value") not in known)]
    return [*before, *(one for one in added if one not in before)]


def _remove(holder: dict[str, Any], attribute: Attribute, value: Any) -> None:
    """Unassign an attribute; of a multi-valued one only the values that are named, as Entra does with members."""
    if not attribute.multi or value in (None, []):
        holder.pop(attribute.name, None)
        return
    named = clean_value(attribute, value) or []
    ids = {one.get("value") for one in named if isinstance(one, dict)} - {None}
    kept = [one for one in holder.get(attribute.name, []) if one not in named and not (isinstance(one, dict) and one.get("value") in ids)]
    _keep(holder, attribute, kept)


def _sub(holder: dict[str, Any], place: Place, verb: str, value: Any) -> None:
    """Change a sub-attribute: of the one value, or of all values of a multi-valued attribute."""
    attribute, sub = place.attribute, place.sub
    assert attribute is not None
    assert sub is not None
    if attribute.multi:
        values = holder.get(attribute.name, [])
        if not values and verb != "remove":
            raise NoTarget(detail=text("scim.no_match", path=attribute.name))
        _set_sub(values, sub, verb, value)
        _keep(holder, attribute, [one for one in values if one])
        return
    present = holder.get(attribute.name, {})
    _set_sub([present], sub, verb, value)
    if present:
        holder[attribute.name] = present
    else:
        holder.pop(attribute.name, None)


def _set_sub(values: list[dict[str, Any]], sub: Attribute, verb: str, value: Any) -> None:
    cleaned = None if verb == "remove" else clean_value(sub, value)
    for one in values:
        if cleaned is None:
            one.pop(sub.name, None)
        else:
            one[sub.name] = cleaned


def _filtered(holder: dict[str, Any], place: Place, verb: str, condition: Node, below: str, value: Any, path: str) -> None:
    """Change those values of a multi-valued attribute that meet a condition."""
    attribute = place.attribute
    assert attribute is not None
    sub = attribute.find_sub(below) if below else None
    if not attribute.multi or place.sub is not None or (below and sub is None):
        raise InvalidPath(detail=text("scim.path_unknown", path=path[:200]))
    if sub is not None:
        check_writable(sub, path)
    try:
        meets: Test = make_value_test(attribute, condition)
    except UnknownAttribute:
        raise InvalidPath(detail=text("scim.path_unknown", path=path[:200])) from None
    values = holder.get(attribute.name, [])
    found = [one for one in values if meets(one)]
    if verb == "remove" and sub is None:
        _keep(holder, attribute, [one for one in values if not meets(one)])  # already gone is as good as removed
        return
    if not found:
        if verb == "remove":
            return
        if verb == "replace" or (made := _described(attribute, condition)) is None:
            raise NoTarget(detail=text("scim.no_match", path=path[:200]))
        values, found = [*values, made], [made]  # Entra adds emails[type eq "work"].value where there is none
    if sub is not None:
        _set_sub(found, sub, verb, value)
    else:
        cleaned = clean_value(attribute, value)
        if not cleaned or len(cleaned) != 1:
            raise InvalidValue(detail=text("scim.value_wrong", name=attribute.name, type=attribute.type))
        for one in found:
            if verb == "replace":
                one.clear()
            one.update(cleaned[0])
    if len(found) == 1 and found[0].get("primary") is True:
        for one in values:
            if one is not found[0] and one.get("primary"):
                one["primary"] = False
    _keep(holder, attribute, [one for one in values if one])


def _described(attribute: Attribute, condition: Node) -> dict[str, Any] | None:
    """The value that a condition of nothing but `eq` describes; None for any other condition."""
    parts = condition.conditions if isinstance(condition, Every) else (condition,)
    if not all(isinstance(part, Compare) and part.operator == "eq" for part in parts):
        return None
    return clean_object(attribute.sub, {part.path: part.value for part in parts if isinstance(part, Compare)})


def _keep(holder: dict[str, Any], attribute: Attribute, values: list[Any]) -> None:
    if values:
        holder[attribute.name] = clean_value(attribute, values)
    else:
        holder.pop(attribute.name, None)
