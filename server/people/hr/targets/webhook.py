"""A target that is told of each change by a signed POST, and does with it what it likes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from server.people.hr.desired import Desired
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.http_exchange import HttpExchange, refusal
from server.people.hr.targets.settings import WebhookSettings
from server.people.hr.targets.target import Found, Operation, Order, Sought
from server.platform.notifications.webhook_formats import SIGNATURE, signature


class WebhookAnswer(msgspec.Struct):
    """What a receiver may answer: its own id of the account, and whether that is `active` or `disabled` now."""

    id: str | int | None = None
    state: str | None = None


class WebhookTarget:
    kind = "webhook"
    can_read = False

    def __init__(self, settings: WebhookSettings, now: Callable[[], datetime]) -> None:
        self.concurrency = settings.concurrency
        self._settings = settings
        self._now = now
        self._http = HttpExchange(timeout_s=settings.timeout_s, verify=settings.verify, concurrency=settings.concurrency)

    async def find(self, sought: Sought) -> Found | None:
        """Nothing is known but what was answered."""
        return None

    async def write(self, operation: Operation, order: Order, found: Found | None) -> Found | None:
        account: dict[str, Any] = msgspec.to_builtins(order.desired)
        body = msgspec.json.encode({"id": order.key, "operation": operation.value, "account": account})
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": order.key,
            SIGNATURE: signature(self._settings.secret or "", body, int(self._now().timestamp())),
        }
        answer = await self._http.ask("POST", self._settings.url, headers=headers, body=body)
        if not 200 <= answer.code < 300:
            raise refusal(answer, "", self._now())
        return _found(answer.body or b"", order.desired)

    async def can_enter(self, sought: Sought) -> bool | None:
        return None

    async def close(self) -> None:
        self._http.close()


def _found(body: bytes, desired: Desired) -> Found | None:
    """The account as the receiver says it is; None when it says nothing. Raises TargetError when it says what cannot be read."""
    try:
        answer = msgspec.json.decode(body, type=WebhookAnswer) if body.strip().startswith(b"{") else WebhookAnswer()
    except msgspec.MsgspecError as error:
        raise TargetError(ErrorClass.INVALID, f"it answered what cannot be read: {error}") from error
    if answer.state not in (None, "active", "disabled"):
        raise TargetError(ErrorClass.INVALID, f"it answered with the state {answer.state[:40]!r}")
    if answer.id is None and answer.state is None:
        return None
    active = desired.active if answer.state is None else answer.state == "active"
    external_id = str(answer.id if answer.id is not None else desired.employee_no)[:190]
    return Found(external_id=external_id, employee_no=desired.employee_no, username=desired.username, active=active)
