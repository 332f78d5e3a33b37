"""What is to be done about an account, from what was found and what it should be; and whether it then is so."""

from __future__ import annotations

from typing import Any

import msgspec

from server.people.hr.desired import Desired
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.target import Found, Operation

# Compared without regard to case.
_CASELESS = frozenset({"email"})


class Step(msgspec.Struct, frozen=True):
    """What to write, or nothing; `adopts`: the account was there before we made one."""

    write: Operation | None
    adopts: bool = False


def decide(operation: Operation, desired: Desired, found: Found | None, *, attempt: int) -> Step:
    """Compare and choose. Raises TargetError of class conflict when the account is somebody else's."""
    ours = found is not None and found.employee_no == desired.employee_no
    if not desired.active:
        return Step(Operation.DISABLE if ours and found is not None and found.active else None)
    if found is None:
        return Step(Operation.CREATE)
    if not ours:
        whose = f"HR id {found.employee_no}" if found.employee_no else "no HR id"
        raise TargetError(ErrorClass.CONFLICT, f"{found.username or found.external_id} is there already, with {whose}")
    adopts = operation is Operation.CREATE and attempt == 1
    if not found.active:
        return Step(Operation.REVIVE, adopts)
    return Step(Operation.UPDATE if differences(desired, found) else None, adopts)


def differences(desired: Desired, found: Found) -> list[str]:
    """The fields that are not as they should be; those that the target does not tell are taken to be right."""
    return sorted(
        name for name, value in desired.fields.items() if name in found.fields and _plain(name, value) != _plain(name, found.fields[name])
    )


def check_result(desired: Desired, after: Found | None) -> None:
    """Raise TargetError of class not_effective unless the account that was read back is as it should be."""
    if not desired.active:
        if after is not None and after.employee_no == desired.employee_no and after.active:
            raise TargetError(ErrorClass.NOT_EFFECTIVE, "the account was disabled, and is still active")
        return
    if after is None:
        raise TargetError(ErrorClass.NOT_EFFECTIVE, "the account was written, and is not there")
    if not after.active:
        raise TargetError(ErrorClass.NOT_EFFECTIVE, "the account was written, and is not active")
    if wrong := differences(desired, after):
        raise TargetError(ErrorClass.NOT_EFFECTIVE, f"written, but read back otherwise: {', '.join(wrong)}")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip()
        return (value.casefold() if name in _CASELESS else value) or None
    return value
