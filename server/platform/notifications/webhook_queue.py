"""What waits for webhooks: put in once of an event, taken in turns, settled; several servers take nothing twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.platform.notifications.delivery_settings import AT_ANY_TIME, timing_of
from server.platform.notifications.kinds import Kind
from server.platform.notifications.quiet import Quiet, leave, quiet_of
from server.platform.notifications.webhook_formats import Format
from server.platform.tables import notification_webhooks as webhooks
from server.platform.tables import webhook_messages as messages
from server.platform.tasks import Queue, enqueue

WEBHOOK_POST = "webhook.post"
AT_ONCE = 500
MOST_TOGETHER = 20
MOST_ATTEMPTS = 12
# Longer than a post takes: what is taken and neither sent nor given back after it may be taken again.
CLAIM = timedelta(seconds=60)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 3600.0


class MessageState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # tries used up, or the webhook was turned off


class Taken(msgspec.Struct, frozen=True):
    """A webhook's row and the messages that are its turn now; with `until`, nothing before that time."""

    webhook: Any
    rows: Sequence[Any] = ()
    until: datetime | None = None


def of_users(connection: sa.Connection, user_ids: Collection[int]) -> dict[int, list[Any]]:
    """The enabled webhooks of each of at most 500 users."""
    found: dict[int, list[Any]] = {}
    if user_ids:
        wanted = sa.select(webhooks).where(webhooks.c.user_id.in_(sorted(user_ids)), webhooks.c.enabled.is_(True))
        for row in connection.execute(wanted):
            found.setdefault(row.user_id, []).append(row)
    return found


def of_places(connection: sa.Connection, organization_ids: Collection[int], kind: Kind) -> list[Any]:
    """The enabled webhooks of organizations that want a kind."""
    wanted = sa.select(webhooks).where(webhooks.c.organization_id.in_(sorted(organization_ids)), webhooks.c.enabled.is_(True))
    return [row for row in connection.execute(wanted) if not row.kinds or kind.value in row.kinds] if organization_ids else []


def put(connection: sa.Connection, now: datetime, hooks: Sequence[Any], key: str, kind: Kind, params: Mapping[str, Any], link: str) -> int:
    """Let each of the webhooks be told, unless it was told of this event before; how many are."""
    told = 0
    for first in range(0, len(hooks), AT_ONCE):
        some = hooks[first : first + AT_ONCE]
        quiet = _quiet_of_all(connection, some)
        held = sa.select(messages.c.webhook_id).where(messages.c.webhook_id.in_([hook.id for hook in some]), messages.c.event_key == key)
        present = set(connection.execute(held).scalars())
        for hook in some:
            values = {"event_key": key, "kind": kind.value, "params": dict(params), "link": link[:500]}
            if hook.id not in present and _insert(connection, {**values, "webhook_id": hook.id, "created_at": now}):
                order(connection, now, hook, quiet[hook.id])
                told += 1
    return told


def order(connection: sa.Connection, now: datetime, hook: Any, quiet: Quiet | None) -> datetime:
    """Have the webhook looked at as soon as it may be told; when that is."""
    at = ready_at(hook, quiet, now)
    # Of those that wait for the same instant one is enough; at once, each is a task: one that runs may have looked already.
    unique = None if at == now else f"{WEBHOOK_POST}:{hook.id}:{at.isoformat()}"
    enqueue(connection, Queue.MAIL, WEBHOOK_POST, {"webhook_id": hook.id}, now=now, run_at=at, unique_key=unique)
    return at


def ready_at(hook: Any, quiet: Quiet | None, now: datetime) -> datetime:
    """When the webhook may be told next: after its pause, and outside its quiet hours."""
    return leave(quiet, max(now, hook.paused_until) if hook.paused_until is not None else now)


def take(connection: sa.Connection, now: datetime, webhook_id: int, owner_is_active: bool) -> Taken | None:
    """The messages whose turn it is, taken for a minute. None when the webhook is gone or off: then nothing waits for it any more."""
    # Locked: of two who take at once the later one finds what is left.
    one = sa.select(webhooks).where(webhooks.c.id == webhook_id).with_for_update()
    hook = connection.execute(one).one_or_none()
    waiting = (messages.c.webhook_id == webhook_id, messages.c.state == MessageState.WAITING.value)
    if hook is None or not hook.enabled or not owner_is_active:
        connection.execute(messages.update().where(*waiting).values(state=MessageState.FAILED.value))
        return None
    free = sa.or_(messages.c.claimed_until.is_(None), messages.c.claimed_until < now)
    found = connection.execute(sa.select(messages).where(*waiting, free).order_by(messages.c.id).limit(MOST_TOGETHER)).all()
    if not found:
        _look_again(connection, now, hook, waiting)
        return Taken(hook)
    quiet = _quiet_of_all(connection, [hook])[hook.id]
    if ready_at(hook, quiet, now) > now:
        return Taken(hook, until=order(connection, now, hook, quiet))
    ids = [row.id for row in found]
    connection.execute(messages.update().where(messages.c.id.in_(ids)).values(claimed_until=now + CLAIM, attempts=messages.c.attempts + 1))
    # The next one waits its turn from now on, also when two servers look at the same moment.
    gap_s = Format(hook.format).gap_s
    if gap_s:
        connection.execute(webhooks.update().where(webhooks.c.id == webhook_id).values(paused_until=now + timedelta(seconds=gap_s)))
    return Taken(hook, found)


def settle(connection: sa.Connection, now: datetime, taken: Taken) -> None:
    """They were sent; what waits behind them is next."""
    ids, hook = [row.id for row in taken.rows], taken.webhook
    sent = {"state": MessageState.SENT.value, "sent_at": now, "claimed_until": None}
    connection.execute(messages.update().where(messages.c.id.in_(ids)).values(sent))
    connection.execute(webhooks.update().where(webhooks.c.id == hook.id).values(failures=0, last_error=None, last_sent_at=now))
    _order_rest(connection, now, hook.id)


def give_back(connection: sa.Connection, now: datetime, taken: Taken, why: str, retry_after_s: float | None) -> None:
    """They were not taken: again after a pause that doubles, up to an hour, and not for ever."""
    hook, ids = taken.webhook, [row.id for row in taken.rows]
    pause_s = retry_after_s or min(FIRST_PAUSE_S * 2.0 ** min(hook.failures, 20), LONGEST_PAUSE_S)
    over = [row.id for row in taken.rows if row.attempts + 1 >= MOST_ATTEMPTS]
    connection.execute(messages.update().where(messages.c.id.in_(ids)).values(claimed_until=None))
    if over:
        connection.execute(messages.update().where(messages.c.id.in_(over)).values(state=MessageState.FAILED.value))
    values = {"failures": webhooks.c.failures + 1, "last_error": why[:500], "paused_until": now + timedelta(seconds=pause_s)}
    connection.execute(webhooks.update().where(webhooks.c.id == hook.id).values(values))
    _order_rest(connection, now, hook.id)


def sweep(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Remove messages from before the given time, sent or not; how many."""
    ids = list(connection.execute(sa.select(messages.c.id).where(messages.c.created_at < before).limit(limit)).scalars())
    return connection.execute(messages.delete().where(messages.c.id.in_(ids))).rowcount if ids else 0


def _look_again(connection: sa.Connection, now: datetime, hook: Any, waiting: Sequence[sa.ColumnElement[bool]]) -> None:
    """Another task has taken what waits; should it be lost with its server, somebody must come back."""
    until = connection.execute(sa.select(sa.func.min(messages.c.claimed_until)).where(*waiting)).scalar()
    if until is not None:
        at = until + timedelta(seconds=1)
        unique = f"{WEBHOOK_POST}:{hook.id}:{at.isoformat()}"
        enqueue(connection, Queue.MAIL, WEBHOOK_POST, {"webhook_id": hook.id}, now=now, run_at=at, unique_key=unique)


def _order_rest(connection: sa.Connection, now: datetime, webhook_id: int) -> None:
    waiting = sa.select(messages.c.id).where(messages.c.webhook_id == webhook_id, messages.c.state == MessageState.WAITING.value).limit(1)
    if connection.execute(waiting).first() is not None:
        hook = connection.execute(sa.select(webhooks).where(webhooks.c.id == webhook_id)).one_or_none()
        if hook is not None:
            order(connection, now, hook, _quiet_of_all(connection, [hook])[hook.id])


def _quiet_of_all(connection: sa.Connection, hooks: Sequence[Any]) -> dict[int, Quiet | None]:
    """The quiet hours of each: its own when it is an organization's, else those of the person."""
    timing = timing_of(connection, {hook.user_id for hook in hooks if hook.user_id is not None})
    return {
        hook.id: quiet_of(hook.quiet_from, hook.quiet_to, hook.timezone)
        if hook.user_id is None
        else timing.get(hook.user_id, AT_ANY_TIME).quiet
        for hook in hooks
    }


def _insert(connection: sa.Connection, row: dict[str, Any]) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(messages.insert().values(**row, state=MessageState.WAITING.value, attempts=0))
    except sa.exc.IntegrityError:  # another transaction tells it of this at the same moment
        return False
    return True
