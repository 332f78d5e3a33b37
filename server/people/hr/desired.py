"""What an account should be, from what HR says of its person; only the fields that the target is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from server.people.hr.person_row import PersonRow
from server.people.hr.targets.settings import LocalSettings, TargetSettings, fields_of

_ENCODE = msgspec.json.Encoder(order="sorted").encode


class Place(NamedTuple):
    """A department of the source as ours: its organization and its name."""

    organization_id: int
    name: str


class Seat(msgspec.Struct, frozen=True, order=True):
    """A position in one of our organizations."""

    organization_id: int
    title: str


class Desired(msgspec.Struct, kw_only=True):
    """The state that an account should have. What the target is not told is UNSET; None means that it should be empty there."""

    active: bool
    employee_no: str
    username: str
    name: str | UnsetType = UNSET
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    department_code: str | UnsetType | None = UNSET
    department: str | UnsetType | None = UNSET
    organization_id: int | UnsetType = UNSET
    positions: list[Seat] | UnsetType = UNSET

    @property
    def fields(self) -> dict[str, Any]:
        """What is compared with what the target has, as plain values; the user name is not, since it is given once."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in plain.items() if name not in ("active", "employee_no", "username")}


def desired_of(row: PersonRow, settings: TargetSettings, places: Mapping[str, Place], home: int, *, active: bool) -> Desired:
    """The account of a person at a target. `places`: the source's departments by code; `home`: the organization of those in none."""
    department = places.get(row.department_code or "")
    known: dict[str, Any] = {
        "name": row.name,
        "email": row.email,
        "phone": row.phone,
        "title": row.title,
        "department_code": row.department_code,
        "department": department.name if department else None,
        "organization_id": department.organization_id if department else home,
        "positions": _seats(row, places),
    }
    if isinstance(settings, LocalSettings) and not row.email:
        del known["email"]  # HR knows none: one that the person has given us stays, it may be the only way in
    told = fields_of(settings)
    given = {name: value for name, value in known.items() if name in told}
    return Desired(active=active, employee_no=row.employee_no, username=username_of(row, settings.username), **given)


def username_of(row: PersonRow, rule: str) -> str:
    """The user name by a target's rule; without a mail address, its part is the employee number."""
    local = row.email.partition("@")[0] if row.email else row.employee_no
    return rule.replace("{employee_no}", row.employee_no).replace("{email_local}", local)


def desired_hash(desired: Desired) -> str:
    """SHA-256 in hex. One that is not active is the same whatever else HR says of the person."""
    if not desired.active:
        return hashlib.sha256(_ENCODE({"active": False, "employee_no": desired.employee_no})).hexdigest()
    return hashlib.sha256(_ENCODE(desired)).hexdigest()


def _seats(row: PersonRow, places: Mapping[str, Place]) -> list[Seat]:
    """One position an organization, the main one first to have its say."""
    found: dict[int, Seat] = {}
    for code, title in [(row.department_code, row.title), *((one.department_code, one.title) for one in row.positions)]:
        place = places.get(code or "")
        if place is not None and place.organization_id not in found:
            found[place.organization_id] = Seat(place.organization_id, (title or "")[:64])
    return sorted(found.values())
