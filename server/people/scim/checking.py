"""Brings what a client sends into the schema's form: names as the schema spells them, values of the right type, nothing that is not its."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from server.messages import text
from server.people.scim.errors import InvalidValue, NotMutable, ScimRefused
from server.people.scim.matching import comparable
from server.people.scim.schema_model import EXTERNAL_ID, MESSAGES_URN, Attribute, ResourceKind, find

LARGEST = 64 << 10  # of what is kept of one resource beside our own columns, in bytes
LONGEST = 8192
LONGEST_EXTERNAL_ID = 190
MOST_VALUES = 200
# Members of a group are rows of their own.
MOST_MEMBERS = 20_000


def clean(kind: ResourceKind, body: Any) -> dict[str, Any]:
    """A resource as a client sent it, whole. What is read-only or unknown is left out; null and [] mean unassigned.

    Raises ScimRefused, InvalidValue.
    """
    given = _object(body)
    _check_schemas(kind, given)
    resource = clean_object((*kind.attributes, EXTERNAL_ID), given)
    if kind.extension_urn:
        extension = next((value for name, value in given.items() if name.casefold() == kind.extension_urn.casefold()), None)
        if extension is not None and (cleaned := clean_object(kind.extension, _object(extension))):
            resource[kind.extension_urn] = cleaned
    check_whole(kind, resource)
    return resource


def clean_object(attributes: tuple[Attribute, ...], given: dict[str, Any]) -> dict[str, Any]:
    """The attributes that a client may write, each of its type."""
    cleaned: dict[str, Any] = {}
    for name, value in given.items():
        attribute = find(attributes, name)
        if attribute is None or attribute.mutability == "readOnly":
            continue
        found = clean_value(attribute, value)
        if found is None:
            cleaned.pop(attribute.name, None)
        else:
            cleaned[attribute.name] = found
    return cleaned


def clean_value(attribute: Attribute, value: Any) -> Any:
    """The value of an attribute, a list when it has many; None for unassigned. Raises InvalidValue."""
    if value is None or value == []:
        return None
    if not attribute.multi:
        return _one(attribute, value)
    values = value if isinstance(value, list) else [value]
    if len(values) > (MOST_MEMBERS if attribute.name == "members" else MOST_VALUES):
        raise InvalidValue(detail=text("scim.value_many", name=attribute.name))
    cleaned = [found for one in values if (found := _one(attribute, one)) not in (None, {})]
    if sum(one.get("primary") is True for one in cleaned if isinstance(one, dict)) > 1:
        raise InvalidValue(detail=text("scim.value_primary", name=attribute.name))
    return cleaned or None


def _one(attribute: Attribute, value: Any) -> Any:
    if value is None:
        return None
    if attribute.type == "complex":
        if isinstance(value, str) and attribute.find_sub("value") is not None:
            value = {"value": value}  # Entra sends a manager, and members, so
        if not isinstance(value, dict):
            raise _wrong(attribute)
        cleaned = clean_object(attribute.sub, value)
        # A reference alone says as much as the id that it ends in.
        if "$ref" in cleaned and "value" not in cleaned and attribute.find_sub("value") is not None:
            cleaned["value"] = cleaned["$ref"].rstrip("/").rpartition("/")[2]
        return cleaned or None
    if attribute.type == "boolean":
        found = comparable(attribute, value)
        if found is None:
            raise _wrong(attribute)
        return found
    if isinstance(value, int | float) and not isinstance(value, bool) and attribute.type == "string":
        value = str(value)
    if comparable(attribute, value) is None or len(str(value)) > (LARGEST if attribute.type == "binary" else LONGEST):
        raise _wrong(attribute)
    if attribute.type == "binary":
        _check_base64(attribute, value)
    if isinstance(value, str) and "\x00" in value:
        raise _wrong(attribute)
    return value


def check_whole(kind: ResourceKind, resource: dict[str, Any]) -> None:
    """Raise InvalidValue when a required attribute is missing or all of it together is too large."""
    for attribute in kind.attributes:
        if attribute.required and not str(resource.get(attribute.name) or "").strip():
            raise InvalidValue(detail=text("scim.value_required", name=attribute.name))
    if len(resource.get("externalId", "")) > LONGEST_EXTERNAL_ID:
        raise InvalidValue(detail=text("field.too_long", limit=LONGEST_EXTERNAL_ID))
    kept = {name: value for name, value in resource.items() if name != "members"}
    if len(msgspec.json.encode(kept)) > LARGEST:
        raise InvalidValue(detail=text("scim.value_large", limit=LARGEST >> 10))


def check_writable(attribute: Attribute, path: str) -> None:
    """Raise NotMutable for what a client never writes."""
    if attribute.mutability == "readOnly":
        raise NotMutable(detail=text("scim.read_only", path=path))


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ScimRefused(detail=text("scim.no_object"))
    return body


def _check_schemas(kind: ResourceKind, given: dict[str, Any]) -> None:
    schemas = next((value for name, value in given.items() if name.casefold() == "schemas"), None)
    if schemas is None:
        return  # some clients leave it out
    named = {str(one).casefold() for one in schemas} if isinstance(schemas, list) else set()
    if kind.urn.casefold() not in named:
        raise InvalidValue(detail=text("scim.schemas", urn=kind.urn))


def check_message(name: str, body: Any) -> dict[str, Any]:
    """The body of a message such as `PatchOp`, whose `schemas` must say so when they are there. Raises ScimRefused."""
    given, urn = _object(body), f"{MESSAGES_URN}:{name}"
    schemas = given.get("schemas")
    if schemas is not None and (not isinstance(schemas, list) or urn not in schemas):
        raise ScimRefused(detail=text("scim.schemas", urn=urn))
    return given


def _check_base64(attribute: Attribute, value: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(attribute) from None


def _wrong(attribute: Attribute) -> InvalidValue:
    return InvalidValue(detail=text("scim.value_wrong", name=attribute.name, type=attribute.type))
