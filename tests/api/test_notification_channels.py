"""Mails that tell together, and wait while their reader wants quiet."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import notifications as jobs
from server.clock import HeldClock
from server.context import Context
from server.engines.sql import open_sql
from server.people import digest_mail
from server.platform.notifications.kinds import Kind
from server.platform.notifications.quiet import Daily, Quiet, leave, next_digest, next_mail
from server.platform.notifications.telling import DIGEST_MAIL, NOTIFICATION_MAIL, Told, announce, notify
from server.platform.tables import tasks
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_notifications import have_mail

SETTINGS = "/api/notifications/settings"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(datetime(2026, 3, 2, 8, tzinfo=UTC))  # 16:00 in Shanghai


async def tell(ctx: Context, *user_ids: int, kind: Kind = Kind.PLAN_WAITING, event: str = "e", **params: Any) -> Told:
    given = params or {"source": "SAP", "changes": 3}
    found = await ctx.sql.write(lambda connection: notify(connection, ctx.clock.now(), user_ids, kind, event, given, "/#/x"))
    await announce(ctx, found)
    return found


async def ordered(ctx: Context, kind: str) -> list[Any]:
    wanted = sa.select(tasks.c.payload, tasks.c.run_at).where(tasks.c.kind == kind).order_by(tasks.c.run_at, tasks.c.id)
    return list(await ctx.sql.read(lambda connection: connection.execute(wanted).all()))


async def row_of(ctx: Context, table: sa.Table, **values: Any) -> Any:
    wanted = sa.select(table).where(*(table.c[name] == value for name, value in values.items()))
    return await ctx.sql.read(lambda connection: connection.execute(wanted).one())


# Times.


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def test_quiet_hours_end_when_they_end() -> None:
    night, noon = Quiet(time(22), time(7), "Asia/Shanghai"), Quiet(time(12), time(14), "UTC")
    assert leave(None, at(2, 3)) == at(2, 3)
    assert leave(night, at(2, 8)) == at(2, 8)
    assert leave(night, at(2, 14)) == at(2, 23)
    assert leave(night, at(2, 16, 30)) == at(2, 23)
    assert leave(night, at(2, 23)) == at(2, 23)
    assert [leave(noon, at(2, hour)) for hour in (11, 12, 13, 14)] == [at(2, 11), at(2, 14), at(2, 14), at(2, 14)]


def test_quiet_hours_end_after_they_began_also_when_the_clock_goes_back() -> None:
    quiet = Quiet(time(0), time(2, 30), "Europe/Berlin")
    for minute in range(0, 300, 10):
        instant = datetime(2026, 10, 24, 22, tzinfo=UTC) + timedelta(minutes=minute)
        assert leave(quiet, instant) >= instant


def test_a_digest_comes_at_its_hour_and_not_in_quiet_hours() -> None:
    daily = Daily(8, "Asia/Shanghai")
    assert next_digest(daily, None, at(2, 8)) == at(3, 0)
    assert next_digest(daily, None, at(3, 0)) == at(4, 0)
    assert next_digest(daily, Quiet(time(7), time(9, 30), "Asia/Shanghai"), at(2, 8)) == at(3, 1, 30)
    assert next_mail(None, None, at(2, 8)) is None
    assert next_mail(None, Quiet(time(8), time(9), "UTC"), at(2, 8)) == at(2, 9)
    assert next_mail(daily, None, at(2, 8)) == at(3, 0)


# Mails.


@pytest.mark.gen_test
async def test_settings_are_ones_own_and_checked(api: Api, anonymous: Api, ctx: Context) -> None:
    plain = {"mail": "at_once", "digest_hour": 8, "quiet_from": None, "quiet_to": None, "timezone": "Asia/Shanghai"}
    assert (await api.get(SETTINGS)).result == plain
    chosen = {"mail": "daily", "digest_hour": 18, "quiet_from": "22:00", "quiet_to": "07:30", "timezone": "Europe/Berlin"}
    assert (await api.put(SETTINGS, chosen)).result == chosen
    assert (await api.get(SETTINGS)).result == chosen
    assert (await (await user(ctx, anonymous, "ann", None)).get(SETTINGS)).result == plain
    for body, field in (
        ({"quiet_from": "22:00"}, "quiet_to"),
        ({"quiet_to": "22:00"}, "quiet_from"),
        ({"quiet_from": "22:00", "quiet_to": "22:00"}, "quiet_to"),
        ({"quiet_from": "25:00", "quiet_to": "22:00"}, "quiet_from"),
        ({"quiet_from": "08:00\n", "quiet_to": "22:00"}, "quiet_from"),
        ({"timezone": "Moon/Base"}, "timezone"),
        ({"timezone": "Asia"}, "timezone"),
        ({"mail": "hourly"}, "mail"),
        ({"digest_hour": 24}, "digest_hour"),
    ):
        assert (await api.put(SETTINGS, body)).fields == [field], body
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:read"]})).result["key"]
    assert (await anonymous.as_caller(key).get(SETTINGS)).status == 403


@pytest.mark.gen_test
async def test_a_daily_mail_tells_all_of_a_day_once(api: Api, ctx: Context, clock: HeldClock) -> None:
    await have_mail(ctx, 1, "admin@example.org")
    await api.put(SETTINGS, {"mail": "daily", "digest_hour": 18})
    for event in "abb":
        await tell(ctx, 1, event=event, source=f"SAP {event} <b>", changes=3)
    assert await ordered(ctx, NOTIFICATION_MAIL) == []
    [(payload, run_at)] = await ordered(ctx, DIGEST_MAIL)
    assert run_at == at(2, 10)
    clock.at = run_at
    mail = await digest_mail.compose(ctx, 1, run_at)
    assert mail is not None
    assert (mail.to, mail.subject) == (["admin@example.org"], "智汇：2 条通知 / 2 notifications")
    assert mail.text.count("waits for approval") == 2
    assert "<b>" not in mail.html
    assert await jobs.send_digest(ctx, **payload) == {"sent": True}
    await tell(ctx, 1, event="c")
    assert [one.run_at for one in await ordered(ctx, DIGEST_MAIL)] == [at(2, 10), at(3, 10)]


@pytest.mark.gen_test
async def test_what_was_read_meanwhile_is_not_mailed(api: Api, ctx: Context) -> None:
    await have_mail(ctx, 1, "admin@example.org")
    await api.put(SETTINGS, {"mail": "daily"})
    await tell(ctx, 1)
    await api.post("/api/notifications/read", {"all": True})
    [(payload, _)] = await ordered(ctx, DIGEST_MAIL)
    assert (await jobs.send_digest(ctx, **payload))["sent"] is False


@pytest.mark.gen_test
async def test_in_quiet_hours_mails_wait_and_the_application_does_not(api: Api, ctx: Context, clock: HeldClock) -> None:
    await have_mail(ctx, 1, "admin@example.org")
    await api.put(SETTINGS, {"quiet_from": "15:00", "quiet_to": "17:00"})
    await tell(ctx, 1, event="a")
    await tell(ctx, 1, event="b")
    assert (await api.get("/api/notifications/unread-count")).result == {"unread": 2}
    [(_, run_at)] = await ordered(ctx, DIGEST_MAIL)
    assert run_at == at(2, 9)
    clock.at = run_at
    await tell(ctx, 1, event="c")
    assert len(await ordered(ctx, NOTIFICATION_MAIL)) == 1


@pytest.mark.gen_test
async def test_a_mail_that_is_late_waits_for_the_end_of_quiet_hours(api: Api, ctx: Context, clock: HeldClock) -> None:
    await have_mail(ctx, 1, "admin@example.org")
    await api.put(SETTINGS, {"quiet_from": "22:00", "quiet_to": "07:00"})
    await tell(ctx, 1)
    [(payload, _)] = await ordered(ctx, NOTIFICATION_MAIL)
    clock.at = at(2, 15)
    assert await jobs.send(ctx, **payload) == {"sent": False, "why": "quiet hours"}
    [(payload, run_at)] = await ordered(ctx, DIGEST_MAIL)
    assert run_at == at(2, 23)
    assert (await jobs.send_digest(ctx, **payload))["sent"] is False
    clock.at = run_at
    assert (await jobs.send_digest(ctx, **payload))["sent"] is True


@pytest.mark.gen_test
async def test_two_servers_tell_nobody_twice(api: Api, ctx: Context) -> None:
    other = await open_sql(ctx.settings)
    now = ctx.clock.now()

    def once(connection: sa.Connection) -> Told:
        return notify(connection, now, range(1, 60), Kind.PLAN_WAITING, "e", {"source": "s", "changes": 1})

    try:
        found = await asyncio.gather(*(door.write(once) for _ in range(4) for door in (ctx.sql, other)))
    finally:
        await other.close()
    assert sorted(one for told_now in found for one in told_now.shown) == list(range(1, 60))
    assert len(await ordered(ctx, NOTIFICATION_MAIL)) == 59
