"""The accounts of people at targets, as they were last read back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.people.hr.tables import hr_accounts, hr_persons


class AccountState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class ReadBack(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an account after a task; without `external_id` what was known of that stays."""

    person_id: int
    target_id: int
    external_id: str | None
    user_id: int | None
    state: AccountState
    hash: str


def accounts_of(connection: sa.Connection, person_ids: Collection[int], target_id: int | None = None) -> dict[tuple[int, int], Any]:
    """Rows of hr_accounts by person and target."""
    wanted = sa.select(hr_accounts).where(hr_accounts.c.person_id.in_(person_ids))
    if target_id is not None:
        wanted = wanted.where(hr_accounts.c.target_id == target_id)
    return {(row.person_id, row.target_id): row for row in connection.execute(wanted)}


def keep(connection: sa.Connection, now: datetime, found: Sequence[ReadBack]) -> None:
    """Write what was read back."""
    if not found:
        return
    present = accounts_of(connection, {one.person_id for one in found})
    fresh = []
    for one in found:
        before = present.get((one.person_id, one.target_id))
        values: dict[str, Any] = {"state": one.state.value, "hash": one.hash, "verified_at": now}
        if one.external_id is not None:
            values |= {"external_id": one.external_id, "user_id": one.user_id}
        if before is not None:
            connection.execute(hr_accounts.update().where(hr_accounts.c.id == before.id).values(values))
        else:
            more = {"external_id": one.external_id, "user_id": one.user_id, "created_at": now}
            fresh.append({"person_id": one.person_id, "target_id": one.target_id, **values, **more})
    if fresh:
        connection.execute(hr_accounts.insert(), fresh)


def owned_user_ids(connection: sa.Connection, user_ids: Collection[int]) -> dict[int, set[int]]:
    """Those of the users who are HR's, each with the ids of the persons whose account it is."""
    owned: dict[int, set[int]] = {}
    for table, column in ((hr_accounts.c.person_id, hr_accounts.c.user_id), (hr_persons.c.id, hr_persons.c.adopted_user_id)):
        for row in connection.execute(sa.select(table.label("person_id"), column.label("user_id")).where(column.in_(user_ids))):
            owned.setdefault(row.user_id, set()).add(row.person_id)
    return owned
