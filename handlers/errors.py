"""From a domain error to an HTTP status, by the error's MRO; and from msgspec's words to named fields."""

from __future__ import annotations

import re

import msgspec

from server.errors import (
    Conflict,
    DomainError,
    EngineAway,
    Fields,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    NotSignedIn,
    TooLarge,
    TooMany,
)
from server.messages import Text, text


class RouteNotFound(NotFound):
    type = "route_not_found"


class MethodNotAllowed(DomainError):
    type = "method_not_allowed"


class HostNotAllowed(Malformed):
    type = "host_not_allowed"


class OriginNotAllowed(Forbidden):
    """A page of another site asked for it."""

    type = "origin_not_allowed"


class UpgradeNeeded(Malformed):
    """The address is a socket's, and the request asks for none."""

    type = "upgrade_needed"


class Draining(DomainError):
    """The server is going down and takes nothing new."""

    type = "draining"


# class -> (HTTP status, what is added to status × 10 for the envelope's code)
STATUSES: dict[type[DomainError], tuple[int, int]] = {
    DomainError: (500, 0),
    Malformed: (400, 0),
    HostNotAllowed: (400, 1),
    UpgradeNeeded: (400, 2),
    NotSignedIn: (401, 0),
    Forbidden: (403, 0),
    NotFound: (404, 0),
    MethodNotAllowed: (405, 0),
    Conflict: (409, 0),
    TooLarge: (413, 0),
    Invalid: (422, 0),
    TooMany: (429, 0),
    EngineAway: (503, 0),
    Draining: (503, 1),
}


def status_of(error: DomainError) -> tuple[int, str]:
    """The HTTP status of an error and the envelope's code."""
    for kind in type(error).__mro__:
        if kind in STATUSES:
            status, more = STATUSES[kind]
            return status, str(status * 10 + more)
    raise AssertionError("DomainError itself is in the table")


_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]+)`")
_TYPE = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`$")
_EMPTY = re.compile(r"Expected `str` of length >= 1$")
_LONG = re.compile(r"Expected `str` of length <= (?P<limit>\d+)$")
_CHOICE = re.compile(r"Invalid enum value")


def fields_of(error: msgspec.ValidationError) -> Fields:
    """The field that msgspec complains about, with the reason as a sentence of the catalogue."""
    matched = _AT.match(str(error))
    assert matched
    what, path = matched["what"], (matched["path"] or "$").removeprefix("$").lstrip(".")
    reason: Text
    if named := _MISSING.match(what):
        path, reason = _below(path, named["name"]), text("field.required")
    elif named := _UNKNOWN.match(what):
        path, reason = _below(path, named["name"]), text("field.unknown")
    elif named := _TYPE.match(what):
        reason = text("field.type", expected=named["expected"], got=named["got"])
    elif _EMPTY.match(what):
        reason = text("field.empty")
    elif named := _LONG.match(what):
        reason = text("field.too_long", limit=named["limit"])
    else:
        reason = text("field.value", detail=what)
    return {path or "body": [reason]}


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
