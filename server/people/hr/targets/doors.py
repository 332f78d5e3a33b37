"""Whether an account that was to end still opens a target: asked of the target itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.people.hr.tables import hr_persons, hr_targets
from server.people.hr.targets.opening import open_target
from server.people.hr.targets.target import Sought


class DoorState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    UNKNOWN = "unknown"  # it did not answer: to be asked again
    UNTOLD = "untold"  # a target that cannot tell, by its kind or its settings: nothing is proven, and nothing waited for


async def try_target(ctx: Context, account: Any) -> tuple[DoorState, str]:
    """Try to get in with an account of hr_accounts. Raises TargetError when the target does not answer."""

    def transaction(connection: sa.Connection) -> tuple[Any, Any]:
        target = connection.execute(sa.select(hr_targets).where(hr_targets.c.id == account.target_id)).one()
        return target, connection.execute(sa.select(hr_persons).where(hr_persons.c.id == account.person_id)).one()

    row, person = await ctx.sql.read(transaction)
    target = await open_target(ctx, row)
    try:
        sought = Sought(
            person_id=person.id,
            employee_no=person.employee_no,
            username=person.employee_no,
            external_id=account.external_id,
            adopted_user_id=person.adopted_user_id,
        )
        entered = await target.can_enter(sought)
    finally:
        await target.close()
    if entered is None:
        return DoorState.UNTOLD, f"{row.kind} {row.name} cannot tell"
    return (DoorState.OPEN if entered else DoorState.CLOSED), f"{row.kind} {row.name}"
