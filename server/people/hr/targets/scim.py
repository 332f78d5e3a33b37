"""A SCIM 2.0 service as a target (RFC 7643, 7644): looked up by externalId, changed by PATCH or PUT with If-Match."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from tornado.httpclient import HTTPResponse

from server.people.hr.desired import Desired
from server.people.hr.targets.deciding import differences
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.http_exchange import HttpExchange, refusal
from server.people.hr.targets.scim_user import ScimUser, changes, merged, new_user, read_user
from server.people.hr.targets.settings import ScimSettings
from server.people.hr.targets.target import Found, Operation, Order, Sought

TYPE = "application/scim+json"
PATCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class ScimTarget:
    kind = "scim"
    can_read = True

    def __init__(self, settings: ScimSettings, now: Callable[[], datetime]) -> None:
        self.concurrency = settings.concurrency
        self._settings = settings
        self._now = now
        self._users = settings.url.rstrip("/") + "/Users"
        self._http = HttpExchange(timeout_s=settings.timeout_s, verify=settings.verify, concurrency=settings.concurrency)

    async def find(self, sought: Sought) -> Found | None:
        if sought.external_id:
            answer = await self._ask("GET", self._address(sought.external_id), missing=True)
            if answer is not None:
                found = self._user(_decoded(answer), answer)
                if found.employee_no == sought.employee_no:
                    return found
        for attribute, value in (("externalId", sought.employee_no), ("userName", sought.username)):
            user = await self._search(attribute, value)
            if user is not None:
                return user
        return None

    async def _search(self, attribute: str, value: str) -> ScimUser | None:
        query = urlencode({"filter": f"{attribute} eq {msgspec.json.encode(value).decode()}", "count": 2})
        answer = await self._ask("GET", f"{self._users}?{query}", unfiltered=attribute == "externalId")
        if answer is None:
            return None
        listed = _decoded(answer)
        resources = listed.get("Resources") or []
        if not isinstance(resources, list):
            raise TargetError(ErrorClass.INVALID, "it answered a search with what is no list")
        # A service that overlooks the filter answers with everybody.
        users = [self._user(one, None) for one in resources if isinstance(one, dict)]
        fitting = [
            one
            for one in users
            if (one.employee_no if attribute == "externalId" else (one.username or "").casefold()) == _key(attribute, value)
        ]
        if len(fitting) > 1:
            raise TargetError(ErrorClass.CONFLICT, f"{len(fitting)} users have the {attribute} {value}")
        if not fitting and int(listed.get("totalResults") or 0) > len(resources):
            raise TargetError(ErrorClass.INVALID, f"it does not search by {attribute}")
        return fitting[0] if fitting else None

    async def write(self, operation: Operation, order: Order, found: Found | None) -> Found | None:
        if operation is Operation.CREATE:
            return await self._create(order)
        if not isinstance(found, ScimUser):
            raise TargetError(ErrorClass.BROKEN, f"{operation} of an account that was not found")
        return await self._change(operation, order.desired, found)

    async def _create(self, order: Order) -> Found | None:
        try:
            answer = await self._ask("POST", self._users, body=new_user(order.desired))
        except TargetError as error:
            if error.error_class is not ErrorClass.CONFLICT:
                raise
            # Made meanwhile, or under a name that only they take to be the same.
            found = await self.find(order.sought)
            if not isinstance(found, ScimUser) or found.employee_no != order.desired.employee_no:
                raise
            return await self._change(Operation.REVIVE, order.desired, found)
        if answer is None or not (answer.body or b"").strip():
            return None
        return self._user(_decoded(answer), answer)

    async def _change(self, operation: Operation, desired: Desired, found: ScimUser) -> Found | None:
        fields = {} if operation is Operation.DISABLE else {name: desired.fields[name] for name in differences(desired, found)}
        active = None if found.active == desired.active else desired.active
        if not fields and active is None:
            return found
        headers = {"If-Match": found.version} if found.version else {}
        address = self._address(found.external_id)
        if self._settings.update == "put":
            answer = await self._ask("PUT", address, body=merged(found.resource, fields, active), headers=headers)
        else:
            body = {"schemas": [PATCH_SCHEMA], "Operations": changes(fields, active)}
            answer = await self._ask("PATCH", address, body=body, headers=headers)
        return self._user(_decoded(answer), answer) if answer is not None and (answer.body or b"").strip() else None

    async def can_enter(self, sought: Sought) -> bool | None:
        """SCIM has no way to try: the service is taken at its word."""
        found = await self.find(sought)
        return found is not None and found.employee_no == sought.employee_no and found.active

    async def close(self) -> None:
        self._http.close()

    def _address(self, external_id: str) -> str:
        return f"{self._users}/{quote(external_id, safe='')}"

    def _user(self, resource: dict[str, Any], answer: HTTPResponse | None) -> ScimUser:
        version = answer.headers.get("ETag") if answer is not None else None
        return read_user(resource, self._settings.fields, version)

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        missing: bool = False,
        unfiltered: bool = False,
    ) -> HTTPResponse | None:
        """The answer; None for 404 when `missing` is allowed, for 400 when the service may not know the filter (`unfiltered`)."""
        sent = {"Accept": f"{TYPE}, application/json", "Authorization": self._authorization(), **(headers or {})}
        if body is not None:
            sent["Content-Type"] = TYPE
        answer = await self._http.ask(method, url, headers=sent, body=msgspec.json.encode(body) if body is not None else None)
        if 200 <= answer.code < 300:
            return answer
        if (answer.code == 404 and missing) or (answer.code in (400, 501) and unfiltered):
            return None
        if answer.code == 404 and method != "GET" and body is not None and url != self._users:
            raise TargetError(ErrorClass.BUSY, "it went away meanwhile", retry_after_s=1)  # the next try makes it anew
        raise refusal(answer, _said(answer), self._now())

    def _authorization(self) -> str:
        if self._settings.token:
            return f"Bearer {self._settings.token}"
        pair = f"{self._settings.login}:{self._settings.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


def _key(attribute: str, value: str) -> str:
    return value if attribute == "externalId" else value.casefold()


def _decoded(answer: HTTPResponse) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body or b"", type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise TargetError(ErrorClass.AWAY, f"it answered what is no SCIM: {error}") from error


def _said(answer: HTTPResponse) -> str:
    """What the service says of an error: `scimType` and `detail`."""
    try:
        said = msgspec.json.decode(answer.body or b"", type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    return " ".join(str(said[name]) for name in ("scimType", "detail") if said.get(name))[:500]
