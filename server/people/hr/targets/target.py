"""What every target can do: find an account, write it, and say whether anybody can still get in."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

import msgspec

from server.people.hr.desired import Desired


class Operation(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DISABLE = "disable"
    REVIVE = "revive"  # active again, with all fields as they should be now


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """By what an account is looked for: what the target called it, then the HR id, then the user name."""

    person_id: int
    employee_no: str
    username: str
    email: str | None = None
    external_id: str | None = None
    adopted_user_id: int | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to come about of one account. `key` is the same for each try of one task, `attempt` counts them from 1."""

    operation: Operation
    desired: Desired
    sought: Sought
    key: str
    attempt: int = 1


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An account as the target has it. `employee_no` is the HR id that it carries there; without the person's, it is somebody else's.

    `fields`: those of Desired that the target can tell, None for what is empty.
    """

    external_id: str
    employee_no: str | None
    username: str | None
    active: bool
    fields: dict[str, Any] = {}
    version: str | None = None

    def shown(self) -> dict[str, Any]:
        """For people to read: of an attempt, before and after."""
        return {"external_id": self.external_id, "username": self.username, "active": self.active, **self.fields}


class Target(Protocol):
    """Every method raises TargetError, and nothing else but for a fault of ours."""

    kind: str
    concurrency: int
    # Whether `find` tells anything; else what `write` answers is all that is known.
    can_read: bool

    async def find(self, sought: Sought) -> Found | None:
        """The person's account, or the one that stands in its way."""

    async def write(self, operation: Operation, order: Order, found: Found | None) -> Found | None:
        """Bring the account about by what was found to be needed; what the target answers, when it says how the account is now.

        Asked twice with the same order, the second time changes nothing.
        """

    async def can_enter(self, sought: Sought) -> bool | None:
        """Whether anybody could still sign in with a disabled account; None when that cannot be known."""

    async def close(self) -> None: ...
