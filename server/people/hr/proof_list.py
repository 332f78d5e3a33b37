"""Proofs of an end, as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.paging import Page, PageQuery, page_of
from server.people.hr.tables import deprovisionings, hr_persons
from server.people.hr.why import seconds_to_zero


class DeprovisioningQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    state: str = ""
    source_id: int | None = None
    person_id: int | None = None


class Deprovisioning(msgspec.Struct):
    """One account's end. `checks` are the doors as they were last tried: door, closed, at, detail."""

    id: int
    person_id: int
    employee_no: str
    person: str
    user_id: int | None
    run_id: str | None
    state: str
    ordered_at: datetime
    zero_at: datetime | None
    seconds_to_zero: float | None
    tries: int
    checks: Any


async def list_deprovisionings(ctx: Context, actor: Actor, query: DeprovisioningQuery) -> Page[Deprovisioning]:
    wanted = sa.select(deprovisionings, hr_persons.c.employee_no, hr_persons.c.name.label("person")).join(
        hr_persons, hr_persons.c.id == deprovisionings.c.person_id
    )
    if query.state:
        wanted = wanted.where(deprovisionings.c.state == query.state)
    if query.source_id is not None:
        wanted = wanted.where(hr_persons.c.source_id == query.source_id)
    if query.person_id is not None:
        wanted = wanted.where(deprovisionings.c.person_id == query.person_id)
    sortable = {"ordered_at": deprovisionings.c.ordered_at, "zero_at": deprovisionings.c.zero_at, "id": deprovisionings.c.id}
    searched = (hr_persons.c.employee_no, hr_persons.c.name)
    return await ctx.sql.read(
        lambda connection: page_of(connection, wanted, query, _shown, sortable=sortable, searched=searched, order="-ordered_at")
    )


def _shown(row: Any) -> Deprovisioning:
    kept = {name: getattr(row, name) for name in Deprovisioning.__struct_fields__ if name != "seconds_to_zero"}
    return Deprovisioning(**kept, seconds_to_zero=seconds_to_zero(row))
