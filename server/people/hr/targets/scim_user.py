"""A SCIM user: our fields among its attributes, and the changes that bring them about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from server.people.hr.desired import Desired
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.target import Found

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
# Our field -> the attribute; `department` is of the enterprise extension.
_PATHS = {"name": "displayName", "email": "emails", "phone": "phoneNumbers", "title": "title", "department": f"{ENTERPRISE}:department"}
_LISTS = frozenset({"email", "phone"})


class ScimUser(Found, frozen=True, kw_only=True):
    """A user with the resource as it came, which a PUT sends back."""

    resource: dict[str, Any]


def read_user(resource: dict[str, Any], fields: Collection[str], version: str | None) -> ScimUser:
    """Raises TargetError for a resource without an id."""
    extension, meta = _dict(resource.get(ENTERPRISE)), _dict(resource.get("meta"))
    if not isinstance(resource.get("id"), str | int):
        raise TargetError(ErrorClass.INVALID, "it answered with a user that has no id")
    known = {
        "name": resource.get("displayName") or _dict(resource.get("name")).get("formatted"),
        "email": _first(resource.get("emails")),
        "phone": _first(resource.get("phoneNumbers")),
        "title": resource.get("title"),
        "department": extension.get("department"),
    }
    return ScimUser(
        external_id=str(resource["id"]),
        employee_no=resource.get("externalId") or extension.get("employeeNumber"),
        username=resource.get("userName"),
        active=resource.get("active", True) is not False,
        fields={name: known[name] for name in fields},
        version=meta.get("version") or version,
        resource=resource,
    )


def new_user(desired: Desired) -> dict[str, Any]:
    """The resource of a POST."""
    made: dict[str, Any] = {
        "schemas": [USER, ENTERPRISE],
        "userName": desired.username,
        "externalId": desired.employee_no,
        "active": True,
        ENTERPRISE: {"employeeNumber": desired.employee_no},
    }
    return merged(made, {name: value for name, value in desired.fields.items() if name in _PATHS and value}, None)


def merged(resource: Mapping[str, Any], fields: Mapping[str, Any], active: bool | None) -> dict[str, Any]:
    """The resource with other values; what is None goes away."""
    made = {name: value for name, value in resource.items() if name != "meta"}
    for name, value in fields.items():
        if name == "department":
            made[ENTERPRISE] = {**_dict(made.get(ENTERPRISE)), "department": value}
            made["schemas"] = list(dict.fromkeys([*made.get("schemas", [USER]), ENTERPRISE]))
        else:
            made[_PATHS[name]] = _value(name, value) if value else None
        if name == "name":
            made["name"] = {**_dict(made.get("name")), "formatted": value}
    if active is not None:
        made["active"] = active
    return {name: value for name, value in made.items() if value is not None}


def changes(fields: Mapping[str, Any], active: bool | None) -> list[dict[str, Any]]:
    """The operations of a PATCH."""
    operations: list[dict[str, Any]] = []
    for name, value in fields.items():
        if value:
            operations.append({"op": "replace", "path": _PATHS[name], "value": _value(name, value)})
        else:
            operations.append({"op": "remove", "path": _PATHS[name]})
        if name == "name" and value:
            operations.append({"op": "replace", "path": "name.formatted", "value": value})
    if active is not None:
        operations.append({"op": "replace", "path": "active", "value": active})
    return operations


def _value(name: str, value: Any) -> Any:
    return [{"value": value, "type": "work", "primary": True}] if name in _LISTS else value


def _first(values: Any) -> Any:
    """The primary one of a list of values, else the first."""
    found = [one for one in values or () if isinstance(one, dict)]
    primary = [one for one in found if one.get("primary") is True] or found
    return primary[0].get("value") if primary else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
