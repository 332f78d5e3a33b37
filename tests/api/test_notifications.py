"""/api/notifications: told once, seen by their reader alone, live in every window, and by mail to those who want it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from jobs import maintenance
from jobs import notifications as jobs
from jobs.registry import Work
from server.clock import HeldClock
from server.context import Context
from server.people.tables import users
from server.platform.notifications.kinds import KINDS, Kind
from server.platform.notifications.telling import NOTIFICATION_MAIL, Told, announce, notify
from server.platform.tables import notifications, tasks
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_live_events import browser


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def tell(ctx: Context, *user_ids: int, kind: Kind = Kind.MEMBER_JOINED, event: str = "e", **params: Any) -> Told:
    given = params or {"name": "Ann", "organization": "Physics"}
    found = await ctx.sql.write(lambda connection: notify(connection, ctx.clock.now(), user_ids, kind, event, given, "/#/x"))
    await announce(ctx, found)
    return found


async def number_of(ctx: Context, name: str) -> int:
    found = await ctx.sql.read(lambda connection: connection.execute(sa.select(users.c.id).where(users.c.username_key == name)).scalar())
    assert found is not None
    return int(found)


async def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await api.get(f"/api/notifications{query}")).result["items"]
    return items


async def unread(api: Api) -> int:
    return int((await api.get("/api/notifications/unread-count")).result["unread"])


async def have_mail(ctx: Context, user_id: int, address: str | None) -> None:
    change = users.update().where(users.c.id == user_id).values(email=address, email_key=address)
    await ctx.sql.write(lambda connection: connection.execute(change))


async def mail_tasks(ctx: Context) -> list[int]:
    wanted = sa.select(tasks.c.payload).where(tasks.c.kind == NOTIFICATION_MAIL)
    return [row["notification_id"] for row in await ctx.sql.read(lambda connection: connection.execute(wanted).scalars().all())]


# Reading.


@pytest.mark.gen_test
async def test_they_are_listed_newest_first_in_the_readers_language(api: Api, ctx: Context) -> None:
    await tell(ctx, 1, event="first")
    await tell(ctx, 1, event="second", kind=Kind.DOCUMENT_FAILED, title="Optics", error="no text")
    english = (await api.get("/api/notifications", headers={"Accept-Language": "en"})).result["items"]
    assert [one["text"] for one in english] == [
        "The document “Optics” could not be processed: no text",
        "Ann is now a member of “Physics”.",
    ]
    assert [one["text"] for one in await listed(api)] == ["文档“Optics”处理失败：no text", "Ann 成为“Physics”的成员。"]
    assert [one["kind"] for one in await listed(api, "?kind=document.failed")] == ["document.failed"]
    assert (english[0]["link"], english[0]["read_at"]) == ("/#/x", None)
    page = (await api.get("/api/notifications?page_size=1&page=2")).result
    assert (page["total"], [one["kind"] for one in page["items"]]) == (2, ["member.joined"])
    for query in ("?kind=moon.landed", "?unread=2", "?user_id=1", "?sort=text"):
        assert (await api.get(f"/api/notifications{query}")).status == 422, query


@pytest.mark.gen_test
async def test_reading_some_and_all(api: Api, ctx: Context) -> None:
    for event in "abc":
        await tell(ctx, 1, event=event)
    first = (await listed(api))[2]["id"]
    assert await unread(api) == 3
    assert (await api.post("/api/notifications/read", {"ids": [first]})).result == {"read": 1, "unread": 2}
    assert (await api.post("/api/notifications/read", {"ids": [first, 999]})).result == {"read": 0, "unread": 2}
    assert first not in {one["id"] for one in await listed(api, "?unread=1")}
    assert (await api.post("/api/notifications/read", {"all": True})).result == {"read": 2, "unread": 0}
    assert await listed(api, "?unread=1") == []
    for body in ({}, {"ids": [], "all": False}, {"ids": [first], "all": True}, {"ids": [0]}, {"ids": ["x"]}, {"all": 1}):
        assert (await api.post("/api/notifications/read", body)).status == 422, body


@pytest.mark.gen_test
async def test_nobody_sees_or_reads_anybody_elses(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    await tell(ctx, 1)
    mine = (await listed(api))[0]["id"]
    assert (await listed(ann), await unread(ann)) == ([], 0)
    assert (await ann.post("/api/notifications/read", {"ids": [mine]})).result == {"read": 0, "unread": 0}
    assert (await ann.post("/api/notifications/read", {"all": True})).result == {"read": 0, "unread": 0}
    assert await unread(api) == 1


@pytest.mark.gen_test
async def test_keys_and_modules_are_not_told(api: Api, anonymous: Api, ctx: Context) -> None:
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:read"]})).result["key"]
    for caller in (anonymous.as_caller(key), anonymous.as_caller(ctx.secrets.module_key)):
        for path in ("", "/unread-count", "/preferences"):
            assert (await caller.get(f"/api/notifications{path}")).status == 403
        assert (await caller.post("/api/notifications/read", {"all": True})).status == 403
        assert (await caller.request("PUT", "/api/notifications/preferences", {"preferences": []})).status == 403
    async with browser(anonymous.as_caller(key)) as socket:
        assert await socket.ask("notifications") == [("notifications", "refused")]


# Live.


@pytest.mark.gen_test
async def test_every_window_of_the_reader_hears_and_nobody_elses(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "administrator")
    ticket = (await api.post("/api/auth/ticket", headers={"Accept-Language": "en"})).result["ticket"]
    async with browser(api) as one, browser(api, ticket) as other, browser(ann) as theirs:
        for socket in (one, other, theirs):
            assert await socket.ask("notifications") == [("notifications", "subscribed")]
        await tell(ctx, 1)
        said = [await one.event(), await other.event()]
        assert {(event["topic"], event["event"], event["data"]["unread"]) for event in said} == {
            ("notifications", "NotificationsChanged", 1)
        }
        texts = [event["data"]["notification"]["text"] for event in said]
        assert texts == ["Ann 成为“Physics”的成员。", "Ann is now a member of “Physics”."]
        assert set(said[0]["data"]["notification"]) == set((await listed(api))[0])
        await api.post("/api/notifications/read", {"all": True})
        for socket in (one, other):
            assert (await socket.event())["data"] == {"notification": None, "unread": 0}
        # The next thing that the stranger hears is about itself.
        await tell(ctx, await number_of(ctx, "ann"), name="Bob", organization="Physics", event="theirs")
        assert (await theirs.event())["data"]["notification"]["params"]["name"] == "Bob"


@pytest.mark.gen_test
async def test_what_comes_by_mail_alone_is_neither_shown_nor_counted(api: Api, ctx: Context) -> None:
    choice = {"kind": "member.joined", "app": False, "mail": True}
    assert (await api.request("PUT", "/api/notifications/preferences", {"preferences": [choice]})).status == 200
    async with browser(api) as socket:
        await socket.ask("notifications")
        await tell(ctx, 1)
        await tell(ctx, 1, kind=Kind.DOCUMENT_FAILED, title="t", error="e")
        assert (await socket.event())["data"]["notification"]["kind"] == "document.failed"
    assert [one["kind"] for one in await listed(api)] == ["document.failed"]
    assert await unread(api) == 1
    assert len(await mail_tasks(ctx)) == 1


# Preferences.


@pytest.mark.gen_test
async def test_preferences_have_defaults_and_keep_what_is_chosen(api: Api, anonymous: Api, ctx: Context) -> None:
    path = "/api/notifications/preferences"
    before = {one["kind"]: one for one in (await api.get(path)).result["preferences"]}
    assert set(before) == set(Kind)
    assert {kind for kind, one in before.items() if one["mail"]} == {kind for kind, described in KINDS.items() if described.by_mail}
    assert before["hr.plan_waiting"]["mail"]
    assert not before["member.joined"]["mail"]
    assert all(one["app"] and one["name"] for one in before.values())
    body = {"preferences": [{"kind": "hr.plan_waiting", "mail": False}, {"kind": "member.joined", "app": False, "mail": True}]}
    for _ in range(2):
        after = {one["kind"]: one for one in (await api.request("PUT", path, body)).result["preferences"]}
    assert after["hr.plan_waiting"] == {**before["hr.plan_waiting"], "mail": False}
    assert after["member.joined"] == {**before["member.joined"], "app": False, "mail": True}
    changed = {kind for kind in before if after[kind] != before[kind]}
    assert changed == {"hr.plan_waiting", "member.joined"}
    ann = await user(ctx, anonymous, "ann", None)
    assert {one["kind"]: one for one in (await ann.get(path)).result["preferences"]} == before


@pytest.mark.gen_test
async def test_preferences_that_cannot_be(api: Api) -> None:
    path = "/api/notifications/preferences"
    for choices, field in (
        ([{"kind": "member.joined"}, {"kind": "member.joined"}], "preferences.1.kind"),
        ([{"kind": "password.changed", "app": False}], "preferences.0.app"),
    ):
        answer = await api.request("PUT", path, {"preferences": choices})
        assert (answer.status, list(answer.envelope["error"]["fields"])) == (422, [field])
    for body in ({}, {"preferences": [{"kind": "moon.landed"}]}, {"preferences": [{"kind": "member.joined", "sms": True}]}):
        assert (await api.request("PUT", path, body)).status == 422, body


# Mail.


@pytest.mark.gen_test
async def test_a_mail_goes_out_once_to_who_wants_it(api: Api, ctx: Context) -> None:
    await have_mail(ctx, 1, "admin@example.org")
    for _ in range(2):
        await tell(ctx, 1, kind=Kind.PLAN_WAITING, source="SAP <b>", changes=3)
    [notification_id] = await mail_tasks(ctx)
    sent = await jobs.notification_mail.compose(ctx, notification_id)
    again = await jobs.notification_mail.compose(ctx, notification_id)
    assert sent is not None
    assert again is not None
    assert (sent.to, sent.message_id) == (["admin@example.org"], again.message_id)
    assert "人事来源“SAP <b>”" in sent.subject
    assert "等待批准" in sent.text
    assert "waits for approval" in sent.text
    assert f"{ctx.settings.url}/#/x" in sent.text
    assert "SAP &lt;b&gt;" in sent.html
    assert "<b>" not in sent.html
    assert await jobs.send(ctx, notification_id) == {"sent": True}


@pytest.mark.gen_test
async def test_who_has_no_address_or_is_disabled_gets_no_mail(ctx: Context, api: Api) -> None:
    await tell(ctx, 1, kind=Kind.PLAN_WAITING, source="SAP", changes=3)
    [notification_id] = await mail_tasks(ctx)
    assert (await jobs.send(ctx, notification_id))["sent"] is False
    await have_mail(ctx, 1, "admin@example.org")
    await ctx.sql.write(lambda connection: connection.execute(users.update().where(users.c.id == 1).values(state="disabled")))
    assert (await jobs.send(ctx, notification_id))["sent"] is False
    assert (await jobs.send(ctx, 10**9))["sent"] is False


@pytest.mark.gen_test
async def test_old_ones_are_removed_with_the_other_records(api: Api, ctx: Context, clock: HeldClock) -> None:
    await tell(ctx, 1, event="old")
    clock.advance(seconds=(ctx.settings.retention_days + 1) * 86400)
    await tell(ctx, 1, event="new")

    async def progress(_percent: int, _message: str) -> None:
        pass

    removed = await maintenance.clean_up(ctx, Work(ctx, progress, 1, 1))
    assert removed["notifications"] == 1
    left = await ctx.sql.read(lambda connection: connection.execute(sa.select(sa.func.count()).select_from(notifications)).scalar())
    assert left == 1
