"""Comparing a person whom we know with what HR says now: which change that is, and by which rule."""

from __future__ import annotations

import msgspec

from server.people.hr.person_row import PersonRow
from server.people.hr.states import PRESENT, ChangeKind, PersonState


class Seen(msgspec.Struct, frozen=True):
    """A person at one time: state, the row, its hash."""

    state: PersonState
    row: PersonRow
    hash: str


class Compared(msgspec.Struct, frozen=True):
    kind: ChangeKind
    rule: str


MISSING = Compared(ChangeKind.DISABLE, "not_in_snapshot")


def compared(before: Seen, after: Seen) -> Compared | None:
    """The change from one to the other; None when nothing is to be done. States follow dates, so an unchanged row may need one."""
    was, is_now = before.state in PRESENT, after.state in PRESENT
    if is_now and not was:
        return Compared(ChangeKind.REVIVE, "reappeared")
    if was and not is_now:
        return Compared(ChangeKind.DISABLE, why_left(after.row))
    if before.state is PersonState.ACTIVE and after.state is PersonState.LATER:
        return Compared(ChangeKind.DISABLE, "starts_later")
    if before.state is PersonState.LATER and after.state is PersonState.ACTIVE:
        return Compared(ChangeKind.UPDATE, "started")
    if before.hash == after.hash:
        return Compared(ChangeKind.UPDATE, why_left(after.row)) if before.state is not after.state else None
    if is_now and before.row.department_code != after.row.department_code:
        return Compared(ChangeKind.MOVE, "moved")
    return Compared(ChangeKind.UPDATE, "changed")


def why_left(row: PersonRow) -> str:
    return "end_date_passed" if row.status == "active" else "left_status"
