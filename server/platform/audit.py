"""The audit log: who did what to what, when and from where; rows are only ever added."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor, ActorKind
from server.context import Context
from server.errors import EngineAway
from server.platform.tables import audit_log

log = logging.getLogger(__name__)

DENIED = "access.denied"
# Rows of one caller and action in one minute; what goes beyond is counted, and told in one row when the minute is over.
MOST_A_MINUTE = 10
# Callers in one minute whose surplus is told; there is no row for more of them.
MOST_SURPLUSES = 1000
# Counts are kept on the bus for so long, and written by whoever comes by within so many minutes.
KEPT_S = 1800
LOOKED_BACK = 15
# Parts of a detail's name that a secret would have.
SECRET_WORDS = frozenset({"password", "passwd", "secret", "token", "credential", "credentials"})
HIDDEN = "***"


class _Surplus(msgspec.Struct):
    """Whose minute was full, and of what."""

    caller: str
    action: str
    user_id: int | None
    name: str
    address: str


def note(connection: sa.Connection, now: datetime, actor: Actor, action: str, target: str, **detail: Any) -> None:
    """Add a row in the transaction of what it tells about; `action` such as `workflow.create`, `target` such as `workflow:3`.

    What is named like a secret is hidden: the log is read by people whom it does not concern.
    """
    connection.execute(
        audit_log.insert().values(
            at=now,
            user_id=actor.user_id,
            actor=(actor.name or actor.kind.value)[:190],
            action=action,
            target=target[:190],
            address=actor.address[:64],
            request_id=actor.request_id,
            detail=without_secrets(detail),
        )
    )


def without_secrets(detail: Any) -> Any:
    """The same with every value hidden whose name, or a part of it between underscores, is one of SECRET_WORDS."""
    if isinstance(detail, dict):
        return {name: HIDDEN if is_secret_name(str(name)) else without_secrets(value) for name, value in detail.items()}
    if isinstance(detail, list | tuple):
        return [without_secrets(value) for value in detail]
    return detail


def is_secret_name(name: str) -> bool:
    return not SECRET_WORDS.isdisjoint(name.lower().split("_"))


async def note_denied(ctx: Context, actor: Actor, scope: str, route: str) -> None:
    """A signed-in caller was told 403: `scope` is what was missing, `route` such as `GET /api/users`. Never raises for an engine."""
    await note_bounded(ctx, actor, DENIED, route, caller_of(actor), scope=scope)


async def note_bounded(ctx: Context, actor: Actor, action: str, target: str, caller: str, **detail: Any) -> None:
    """Note what a stranger can repeat at will: at most MOST_A_MINUTE rows a minute of one `caller` and action, then a count.

    `caller` is a plain ASCII name. The count is written by `tell_surplus`. An engine that is away loses the note, not the answer.
    """
    now = ctx.clock.now()
    minute = _minute(now)
    try:
        number = await ctx.bus.increment(_count_key(minute, action, caller), ttl_s=KEPT_S)
        if number <= MOST_A_MINUTE:
            await ctx.sql.write(lambda connection: note(connection, now, actor, action, target, **detail))
        elif number == MOST_A_MINUTE + 1:
            slot = await ctx.bus.increment(_slots_key(minute), ttl_s=KEPT_S)
            if slot <= MOST_SURPLUSES:
                surplus = _Surplus(caller, action, actor.user_id, actor.name, actor.address)
                await ctx.bus.put(_slot_key(minute, slot), msgspec.json.encode(surplus), ttl_s=KEPT_S)
    except EngineAway as away:
        log.warning("%s of %s is not in the audit log: %s", action, caller, away)


async def tell_surplus(ctx: Context) -> int:
    """Write a row with the count for each caller who was beyond the bound in a minute that is over; how many rows."""
    now = ctx.clock.now()
    told = 0
    for minute in range(_minute(now) - LOOKED_BACK, _minute(now)):
        slots = await ctx.bus.take(_slots_key(minute))  # of several instances one gets it
        for slot in range(1, min(int(slots or 0), MOST_SURPLUSES) + 1):
            kept = await ctx.bus.take(_slot_key(minute, slot))
            if kept is not None:
                told += await _tell(ctx, now, minute, msgspec.json.decode(kept, type=_Surplus))
    return told


async def _tell(ctx: Context, now: datetime, minute: int, surplus: _Surplus) -> int:
    counted = await ctx.bus.take(_count_key(minute, surplus.action, surplus.caller))
    more = int(counted or 0) - MOST_A_MINUTE
    if more <= 0:
        return 0
    actor = Actor(ActorKind.SYSTEM, name=surplus.name or surplus.caller, user_id=surplus.user_id, address=surplus.address)
    since = datetime.fromtimestamp(minute * 60, UTC).isoformat()
    await ctx.sql.write(lambda connection: note(connection, now, actor, surplus.action, "many", more=more, minute=since))
    return 1


def caller_of(actor: Actor) -> str:
    """A name for the bound: the key, else the person, else the address."""
    if actor.key_id is not None:
        return f"api_key:{actor.key_id}"
    return f"user:{actor.user_id}" if actor.user_id is not None else f"{actor.kind.value}:{actor.address}"


def _minute(at: datetime) -> int:
    return int(at.timestamp() // 60)


def _count_key(minute: int, action: str, caller: str) -> str:
    return f"noted:{minute}:{action}:{caller}"


def _slots_key(minute: int) -> str:
    return f"noted-slots:{minute}"


def _slot_key(minute: int, slot: int) -> str:
    return f"noted-slot:{minute}:{slot}"
