"""Many operations in one request (RFC 7644, 3.7): each is a transaction of its own, in the order of what they refer to."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from server.actor import Actor
from server.context import Context
from server.errors import DomainError, TooLarge
from server.messages import text
from server.people.scim import groups, users
from server.people.scim.checking import check_message
from server.people.scim.discovery import MOST_BULK_OPERATIONS
from server.people.scim.errors import InvalidValue, ResourceNotFound, ScimRefused
from server.people.scim.group_resources import ReadGroup
from server.people.scim.user_resources import ReadUser

METHODS = ("POST", "PUT", "PATCH", "DELETE")
REFERENCE = "bulkId:"
_PATH = re.compile(r"/(?P<endpoint>Users|Groups)(?:/(?P<id>[^/?#]+))?")
_REFERRED = re.compile(r"bulkId:([^/\s\"']+)")


class Outcome(NamedTuple):
    """What became of an operation: the resource, or the error; neither after a deletion."""

    method: str
    bulk_id: str
    endpoint: str
    resource_id: str
    read: ReadUser | ReadGroup | None
    error: DomainError | None


class _Operation(NamedTuple):
    place: int
    method: str
    bulk_id: str
    path: str
    version: str
    data: Any

    @property
    def referred(self) -> set[str]:
        return set(_named(self.data)) | set(_REFERRED.findall(self.path))


async def run(ctx: Context, actor: Actor, body: Any) -> list[Outcome]:
    """Do the operations; what refers to a resource that another one makes waits for it. With `failOnErrors` it stops after so many
    errors, and answers what was done. Raises ScimRefused, TooLarge."""
    given = check_message("BulkRequest", body)
    operations, most_errors = _operations(given), given.get("failOnErrors") or 0
    if not isinstance(most_errors, int) or isinstance(most_errors, bool):
        raise InvalidValue(detail=text("scim.value_wrong", name="failOnErrors", type="integer"))
    made: dict[str, str] = {}
    outcomes: dict[int, Outcome] = {}
    waiting, errors = operations, 0
    promised = {one.bulk_id for one in operations if one.method == "POST"}
    while waiting and not (most_errors and errors >= most_errors):
        # What waits for something that will never be made is done too, and says so.
        ready = next((one for one in waiting if not (one.referred & promised) - made.keys()), waiting[0])
        waiting = [one for one in waiting if one is not ready]
        outcome = await _do(ctx, actor, ready, made)
        outcomes[ready.place] = outcome
        if outcome.error is not None:
            errors += 1
            promised.discard(ready.bulk_id)
        elif ready.bulk_id:
            made[ready.bulk_id] = outcome.resource_id
    return [outcomes[place] for place in sorted(outcomes)]


def _operations(given: dict[str, Any]) -> list[_Operation]:
    listed = given.get("Operations")
    if not isinstance(listed, list) or not listed:
        raise ScimRefused(detail=text("scim.operations", limit=MOST_BULK_OPERATIONS))
    if len(listed) > MOST_BULK_OPERATIONS:
        raise TooLarge(limit=f"{MOST_BULK_OPERATIONS} operations")
    found, seen = [], set[str]()
    for place, one in enumerate(listed):
        if not isinstance(one, dict):
            raise ScimRefused(detail=text("scim.no_object"))
        parts = {name: str(one.get(name) or "") for name in ("bulkId", "path", "version")}
        method = str(one.get("method") or "").upper()
        if method not in METHODS or (method == "POST" and not parts["bulkId"]) or parts["bulkId"] in seen:
            raise ScimRefused(detail=text("scim.bulk_operation", number=place + 1))
        if parts["bulkId"]:
            seen.add(parts["bulkId"])
        found.append(_Operation(place, method, parts["bulkId"], parts["path"], parts["version"], one.get("data")))
    return found


async def _do(ctx: Context, actor: Actor, one: _Operation, made: dict[str, str]) -> Outcome:
    endpoint, resource_id = "", ""
    try:
        matched = _PATH.fullmatch(_REFERRED.sub(lambda found: _known(made, found[1]), one.path))
        if matched is None or (one.method == "POST") != (matched["id"] is None):
            raise ResourceNotFound()
        endpoint, resource_id = matched["endpoint"], matched["id"] or ""
        read = await _act(ctx, actor, one, endpoint, resource_id, _resolved(one.data, made))
        return Outcome(one.method, one.bulk_id, endpoint, str(read.row.id) if read else resource_id, read, None)
    except DomainError as error:
        return Outcome(one.method, one.bulk_id, endpoint, resource_id, None, error)


async def _act(ctx: Context, actor: Actor, one: _Operation, endpoint: str, resource_id: str, data: Any) -> ReadUser | ReadGroup | None:
    of_users = endpoint == "Users"
    match one.method:
        case "POST":
            return await (users.create_user if of_users else groups.create_group)(ctx, actor, data)
        case "PUT":
            return await (users.replace_user if of_users else groups.replace_group)(ctx, actor, resource_id, data, one.version)
        case "PATCH":
            return await (users.patch_user if of_users else groups.patch_group)(ctx, actor, resource_id, data, one.version)
        case _:
            await (users.delete_user if of_users else groups.delete_group)(ctx, actor, resource_id, one.version)
            return None


def _named(data: Any) -> list[str]:
    """The bulkIds that data refers to."""
    if isinstance(data, str):
        return _REFERRED.findall(data) if REFERENCE in data else []
    parts = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [name for part in parts for name in _named(part)]


def _resolved(data: Any, made: dict[str, str]) -> Any:
    """The data with ids in place of bulkIds. Raises InvalidValue for one that was not made."""
    if isinstance(data, str):
        return _REFERRED.sub(lambda found: _known(made, found[1]), data) if REFERENCE in data else data
    if isinstance(data, dict):
        return {name: _resolved(part, made) for name, part in data.items()}
    return [_resolved(part, made) for part in data] if isinstance(data, list) else data


def _known(made: dict[str, str], bulk_id: str) -> str:
    if bulk_id not in made:
        raise InvalidValue(detail=text("scim.bulk_reference", name=bulk_id[:200]))
    return made[bulk_id]
