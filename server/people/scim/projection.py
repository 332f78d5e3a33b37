"""Which attributes of a resource an answer holds: `attributes` and `excludedAttributes` (RFC 7644, 3.4.2.5)."""

from __future__ import annotations

from typing import Any

from server.people.scim.schema_model import COMMON, Attribute, ResourceKind, find_place

# What is in every answer, whatever was asked for.
ALWAYS = ("schemas", "id")


class Projection:
    """Names of attributes as a client gave them; unknown ones are as if not named. With `attributes`, `excluded` is not looked at."""

    def __init__(self, attributes: list[str], excluded: list[str]) -> None:
        self._attributes = attributes
        self._excluded = [] if attributes else excluded

    def shows(self, kind: ResourceKind, name: str) -> bool:
        """Whether anything of an attribute of the core schema is shown."""
        if self._attributes:
            return name in ALWAYS or any(self._is(kind, path, name) for path in self._attributes)
        return not any(self._is(kind, path, name) and "." not in path.rpartition(":")[2] for path in self._excluded)

    def _is(self, kind: ResourceKind, path: str, name: str) -> bool:
        place = find_place(kind, path)
        return place is not None and place.attribute is not None and not place.extension and place.attribute.name == name

    def of(self, kind: ResourceKind, resource: dict[str, Any]) -> dict[str, Any]:
        """The resource as it is answered."""
        if self._attributes:
            return self._only(kind, resource)
        if not self._excluded:
            return resource
        shown = {name: dict(value) if isinstance(value, dict) else value for name, value in resource.items()}
        for path in self._excluded:
            self._drop(kind, shown, path)
        return shown

    def _only(self, kind: ResourceKind, resource: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {name: resource[name] for name in ALWAYS if name in resource}
        for path in self._attributes:
            place = find_place(kind, path)
            if place is None:
                continue
            if place.attribute is None:
                if place.extension in resource:
                    shown[place.extension] = resource[place.extension]
                continue
            source = resource.get(place.extension, {}) if place.extension else resource
            if place.attribute.name not in source:
                continue
            target = shown.setdefault(place.extension, {}) if place.extension else shown
            _copy(target, source, place.attribute, place.sub)
        return shown

    def _drop(self, kind: ResourceKind, shown: dict[str, Any], path: str) -> None:
        place = find_place(kind, path)
        if place is None:
            return
        if place.attribute is None:
            shown.pop(place.extension, None)
            return
        if not place.extension and place.attribute.name in ALWAYS:
            return
        holder = shown.get(place.extension, {}) if place.extension else shown
        if place.sub is None:
            holder.pop(place.attribute.name, None)
            if place.extension and not holder:
                shown.pop(place.extension, None)
            return
        value, sub = holder.get(place.attribute.name), place.sub.name
        if isinstance(value, list):
            holder[place.attribute.name] = [{name: part for name, part in one.items() if name != sub} for one in value]
        elif isinstance(value, dict):
            holder[place.attribute.name] = {name: part for name, part in value.items() if name != sub}


def _copy(target: dict[str, Any], source: dict[str, Any], attribute: Attribute, sub: Attribute | None) -> None:
    value = source[attribute.name]
    if sub is None:
        target[attribute.name] = value
    elif isinstance(value, list):
        before = target.get(attribute.name) or [{} for _ in value]
        if before is not value:
            target[attribute.name] = [
                {**one, **({sub.name: part[sub.name]} if sub.name in part else {})} for one, part in zip(before, value, strict=True)
            ]
    elif isinstance(value, dict) and sub.name in value:
        target[attribute.name] = {**target.get(attribute.name, {}), sub.name: value[sub.name]}


def listed(names: str) -> list[str]:
    """The names of a query parameter, which have commas between them."""
    return [name.strip() for name in names.split(",") if name.strip()]


assert {one.name for one in COMMON} >= set(ALWAYS)
