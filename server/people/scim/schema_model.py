"""What a SCIM schema is made of: attributes with their characteristics, and the kinds of resources that they describe (RFC 7643, 7)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

CORE = "urn:ietf:params:scim:schemas:core:2.0"
USER_URN = f"{CORE}:User"
GROUP_URN = f"{CORE}:Group"
ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MESSAGES_URN = "urn:ietf:params:scim:api:messages:2.0"


class Attribute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One attribute, with RFC 7643's words for what it holds; `sub` are those of a complex one."""

    name: str
    type: str = "string"
    multi: bool = False
    description: str = ""
    required: bool = False
    case_exact: bool = False
    mutability: str = "readWrite"
    returned: str = "default"
    uniqueness: str = "none"
    canonical: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    sub: tuple[Attribute, ...] = ()

    def find_sub(self, name: str) -> Attribute | None:
        """The sub-attribute of a name, however it is spelt."""
        return find(self.sub, name)


class ResourceKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of resource: its schema, its extension, and where it is served below the base address."""

    name: str
    endpoint: str
    urn: str
    description: str
    attributes: tuple[Attribute, ...]
    extension_urn: str = ""
    extension: tuple[Attribute, ...] = ()


class Place(NamedTuple):
    """Where a path leads: an attribute or a sub-attribute, perhaps of the extension; without an attribute it is the whole extension."""

    extension: str
    attribute: Attribute | None
    sub: Attribute | None = None

    @property
    def last(self) -> Attribute | None:
        return self.sub or self.attribute


# Attributes of every resource, which no schema lists (RFC 7643, 3.1).
META = Attribute(
    name="meta",
    type="complex",
    mutability="readOnly",
    sub=(
        Attribute(name="resourceType", mutability="readOnly", case_exact=True),
        Attribute(name="created", type="dateTime", mutability="readOnly"),
        Attribute(name="lastModified", type="dateTime", mutability="readOnly"),
        Attribute(name="location", type="reference", mutability="readOnly", case_exact=True),
        Attribute(name="version", mutability="readOnly", case_exact=True),
    ),
)
EXTERNAL_ID = Attribute(name="externalId", case_exact=True)
COMMON = (
    Attribute(name="schemas", type="reference", multi=True, case_exact=True, returned="always"),
    Attribute(name="id", mutability="readOnly", case_exact=True, returned="always", uniqueness="server"),
    EXTERNAL_ID,
    META,
)


def find(attributes: tuple[Attribute, ...], name: str) -> Attribute | None:
    """The attribute of a name; names are the same in any spelling of capitals."""
    wanted = name.casefold()
    return next((one for one in attributes if one.name.casefold() == wanted), None)


def find_place(kind: ResourceKind, path: str) -> Place | None:
    """Where `attribute`, `attribute.sub`, or either after a schema's URN and a colon leads; None when the kind has no such attribute."""
    extension, attributes, rest = "", (*COMMON, *kind.attributes), path
    if path.casefold().startswith("urn:"):
        for urn, these in ((kind.urn, attributes), (kind.extension_urn, kind.extension)):
            if urn and path.casefold() == urn.casefold():
                return Place(urn, None) if urn == kind.extension_urn else None
            if urn and path.casefold().startswith(urn.casefold() + ":"):
                extension, attributes, rest = "" if urn == kind.urn else urn, these, path[len(urn) + 1 :]
                break
        else:
            return None
    name, dot, below = rest.partition(".")
    attribute = find(attributes, name)
    if attribute is None or not dot:
        return Place(extension, attribute) if attribute is not None else None
    sub = attribute.find_sub(below)
    return Place(extension, attribute, sub) if sub is not None else None


def values_at(resource: dict[str, Any], place: Place) -> list[Any]:
    """The values that a resource has at a place: one for a single attribute, all of a multi-valued one, none when it is unassigned."""
    holder: Any = resource.get(place.extension) if place.extension else resource
    if place.attribute is None:
        return [holder] if holder else []
    found = holder.get(place.attribute.name) if isinstance(holder, dict) else None
    values = found if isinstance(found, list) else [found]
    if place.sub is not None:
        values = [value.get(place.sub.name) for value in values if isinstance(value, dict)]
    return [value for value in values if value is not None]
