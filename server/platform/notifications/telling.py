"""Telling people: one notification a person and event, in the transaction of what it is about; sockets, mail, webhooks hear later."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.events import Event
from server.platform.notifications import webhook_queue
from server.platform.notifications.delivery_settings import AT_ANY_TIME, timing_of
from server.platform.notifications.kinds import Channel, Kind
from server.platform.notifications.preferences import wanted_by
from server.platform.notifications.quiet import leave, next_mail
from server.platform.tables import notifications
from server.platform.tasks import Queue, TaskQueued, enqueue

NOTIFICATION_MAIL, DIGEST_MAIL = "mail.notification", "mail.digest"
AT_ONCE = 500


class NotificationsChanged(Event, frozen=True):
    """These users have a new notification, known by its `event_key`, or, without one, have read some."""

    user_ids: tuple[int, ...]
    event_key: str = ""


class Told(msgspec.Struct, frozen=True):
    """Who is told anew by a transaction: `shown` in the application, `mailed` by that many mails, `posted` at that many webhooks."""

    shown: tuple[int, ...] = ()
    mailed: int = 0
    event_key: str = ""
    posted: int = 0


def key_of(kind: str, event_key: str) -> str:
    """What happened, as it is kept: of any text a hash of one length."""
    return hashlib.sha256(f"{kind}:{event_key}".encode()).hexdigest()


def notify(
    connection: sa.Connection,
    now: datetime,
    user_ids: Iterable[int],
    kind: Kind,
    event_key: str,
    params: Mapping[str, Any],
    link: str = "",
    organization_id: int | None = None,
) -> Told:
    """Tell each of the users, in the channels that they want, unless they have been told of this event before.

    `event_key` names what happened, among those of its kind; `params` fill the kind's sentence and are JSON; `link` is a path of the
    interface. Call `announce` with what it answers once the transaction is committed.
    """
    key, shown, mailed, posted = key_of(kind.value, event_key), [], 0, 0
    values = {
        "event_key": key,
        "kind": kind.value,
        "params": dict(params),
        "link": link[:500],
        "organization_id": organization_id,
        "created_at": now,
    }
    wanted = sorted(set(user_ids))
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        channels, hooks = wanted_by(connection, kind, some), webhook_queue.of_users(connection, some)
        for one in some:
            if one not in hooks:
                channels[one].discard(Channel.WEBHOOK)
        together = _together(connection, now, [one for one in some if Channel.MAIL in channels[one]])
        rows = [
            {**values, "user_id": one, "shown": Channel.APP in channels[one], "digest_at": together.get(one)}
            for one in some
            if channels[one]
        ]
        told = _insert(connection, rows)
        shown += [one for one in told if Channel.APP in channels[one]]
        by_mail = [one for one in told if Channel.MAIL in channels[one]]
        mailed += _order_mails(connection, now, key, [one for one in by_mail if one not in together])
        for one in by_mail:
            if one in together:
                _order_digest(connection, now, one, together[one])
        posting = [hook for one in told if Channel.WEBHOOK in channels[one] for hook in hooks[one]]
        posted += webhook_queue.put(connection, now, posting, key, kind, params, link)
    return Told(tuple(shown), mailed, key, posted)


def notify_places(
    connection: sa.Connection,
    now: datetime,
    organization_ids: Collection[int],
    kind: Kind,
    event_key: str,
    params: Mapping[str, Any],
    link: str = "",
) -> Told:
    """Tell the webhooks of organizations, each once of an event; who is above what it happened in is for the caller to say."""
    key = key_of(kind.value, event_key)
    hooks = webhook_queue.of_places(connection, organization_ids, kind)
    return Told(event_key=key, posted=webhook_queue.put(connection, now, hooks, key, kind, params, link))


def put_off(connection: sa.Connection, now: datetime, user_id: int, which: sa.ColumnElement[bool]) -> bool:
    """When the reader's quiet hours have begun before a mail went out: have it told at their end, with what else waits for that."""
    quiet = timing_of(connection, [user_id]).get(user_id, AT_ANY_TIME).quiet
    end = leave(quiet, now)
    if end == now:
        return False
    connection.execute(notifications.update().where(notifications.c.user_id == user_id, which).values(digest_at=end))
    _order_digest(connection, now, user_id, end)
    return True


def _together(connection: sa.Connection, now: datetime, user_ids: list[int]) -> dict[int, datetime]:
    """When those are told by mail who do not get a mail of its own at once."""
    times = {one: next_mail(timing.daily, timing.quiet, now) for one, timing in timing_of(connection, user_ids).items()}
    return {one: at for one, at in times.items() if at is not None}


def _order_digest(connection: sa.Connection, now: datetime, user_id: int, at: datetime) -> None:
    """One mail for all that waits for an instant: the first to wait orders it."""
    payload = {"user_id": user_id, "at": at.isoformat()}
    unique = f"{DIGEST_MAIL}:{user_id}:{at.isoformat()}"
    enqueue(connection, Queue.MAIL, DIGEST_MAIL, payload, now=now, run_at=at, max_attempts=10, unique_key=unique)


def _insert(connection: sa.Connection, rows: list[dict[str, Any]]) -> list[int]:
    """Put in what is not there yet; the users of those that are new."""
    if not rows:
        return []
    ids = [row["user_id"] for row in rows]
    held = sa.select(notifications.c.user_id).where(notifications.c.user_id.in_(ids), notifications.c.event_key == rows[0]["event_key"])
    present = set(connection.execute(held).scalars())
    new = [row for row in rows if row["user_id"] not in present]
    if not new:
        return []
    try:
        with connection.begin_nested():
            connection.execute(notifications.insert(), new)
        return [row["user_id"] for row in new]
    except sa.exc.IntegrityError:  # another transaction tells some of them of it at the same moment
        return [row["user_id"] for row in new if _insert_one(connection, row)]


def _insert_one(connection: sa.Connection, row: dict[str, Any]) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(notifications.insert(), [row])
    except sa.exc.IntegrityError:
        return False
    return True


def _order_mails(connection: sa.Connection, now: datetime, key: str, user_ids: list[int]) -> int:
    """A mail task for each new row, in the same transaction: as there is one row a person and event, there is one mail."""
    if not user_ids:
        return 0
    made = sa.select(notifications.c.id).where(notifications.c.user_id.in_(user_ids), notifications.c.event_key == key)
    ids = list(connection.execute(made).scalars())
    for notification_id in ids:
        enqueue(connection, Queue.MAIL, NOTIFICATION_MAIL, {"notification_id": notification_id}, now=now, max_attempts=10)
    return len(ids)


async def announce(ctx: Context, *told: Told) -> None:
    """After the commit: open sockets show what is new, and mails and messages to webhooks go at once."""
    for one in told:
        if one.shown:
            await ctx.events.publish(NotificationsChanged(one.shown, one.event_key))
    if any(one.mailed or one.posted for one in told):
        await ctx.events.publish(TaskQueued(Queue.MAIL.value))
