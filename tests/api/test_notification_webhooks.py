"""Webhooks of people and organizations: signed, of DingTalk and of WeCom, each told once of an event."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from jobs import notifications as jobs
from server.clock import HeldClock
from server.context import Context
from server.messages import say
from server.people import told
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce
from server.platform.notifications.webhook_formats import Format, Line, NotTaken, check_answer, dingtalk_address, markdown, signature
from server.platform.notifications.webhook_queue import MOST_ATTEMPTS, WEBHOOK_POST
from server.platform.notifications.webhook_sending import may_reach
from server.platform.tables import notification_webhooks, notifications, webhook_messages
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_notification_channels import SETTINGS, at, ordered, row_of, tell
from tests.api.test_notifications import number_of

SECRET = "a secret of the receiver's own"
WEBHOOKS = "/api/notifications/webhooks"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(datetime(2026, 3, 2, 8, tzinfo=UTC))  # 16:00 in Shanghai


class Receiver:
    """What listens at the other end; answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.answer, self.headers = 200, b'{"errcode":0,"errmsg":"ok"}', dict[str, str]()
        self.url = ""

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.got]


@pytest.fixture
def receiver(io_loop: IOLoop) -> Iterator[Receiver]:
    made = Receiver()

    class Taking(RequestHandler):
        def post(self) -> None:
            made.got.append((self.request.uri or "", dict(self.request.headers), self.request.body))
            self.set_status(made.status)
            for name, value in made.headers.items():
                self.set_header(name, value)
            self.write(made.answer)

    socket, port = bind_unused_port()
    server = HTTPServer(Application([(r"/.*", Taking)]))
    server.add_socket(socket)
    made.url = f"http://127.0.0.1:{port}/robot/send?access_token=tok"
    yield made
    server.stop()
    io_loop.run_sync(server.close_all_connections, timeout=10)


async def hook(api: Api, receiver: Receiver, **more: Any) -> dict[str, Any]:
    body = {"name": "mine", "url": receiver.url, "secret": SECRET, "locale": "en", **more}
    made: dict[str, Any] = (await api.post(WEBHOOKS, body)).result
    return made


@pytest.mark.gen_test
async def test_a_signed_webhook_is_told_once_and_can_check_it(api: Api, ctx: Context, receiver: Receiver) -> None:
    made = await hook(api, receiver)
    for _ in range(2):
        await tell(ctx, 1, source="SAP", changes=3)
    [(payload, run_at)] = await ordered(ctx, WEBHOOK_POST)
    assert (payload, run_at) == ({"webhook_id": made["id"]}, ctx.clock.now())
    assert await jobs.post(ctx, **payload) == {"sent": 1}
    assert await jobs.post(ctx, **payload) == {"sent": 0}
    [(_, headers, body)] = receiver.got
    seconds = int(ctx.clock.now().timestamp())
    signed = hmac.new(SECRET.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Zhihui-Signature"] == f"t={seconds},v1={signed}" == signature(SECRET, body, seconds)
    [line] = json.loads(body)["notifications"]
    assert (line["kind"], line["params"]) == ("hr.plan_waiting", {"source": "SAP", "changes": 3})
    assert line["text"] == "The sync plan of the HR source “SAP” (3 changes) waits for approval."
    assert line["link"] == f"{ctx.settings.url}/#/x"


@pytest.mark.gen_test
async def test_dingtalk_is_signed_as_it_wants(api: Api, ctx: Context, receiver: Receiver) -> None:
    made = await hook(api, receiver, format="dingtalk", secret="SEC0123")
    await tell(ctx, 1, source="<@all> [x](http://evil)", changes=3)
    assert await jobs.post(ctx, made["id"]) == {"sent": 1}
    [(uri, _, body)] = receiver.got
    query = {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
    ms = str(int(ctx.clock.now().timestamp() * 1000))
    assert query["timestamp"] == ms
    signed = hmac.new(b"SEC0123", f"{ms}\nSEC0123".encode(), hashlib.sha256).digest()
    assert (query["access_token"], query["sign"]) == ("tok", base64.b64encode(signed).decode())
    said = json.loads(body)
    assert (said["msgtype"], set(said["markdown"])) == ("markdown", {"title", "text"})
    assert "＜@all＞ ［x］(http://evil)" in said["markdown"]["text"]
    assert dingtalk_address("https://x/send?access_token=t", "", 1) == "https://x/send?access_token=t"


@pytest.mark.gen_test
async def test_wecom_is_told_together_after_a_pause(api: Api, ctx: Context, receiver: Receiver, clock: HeldClock) -> None:
    made = await hook(api, receiver, format="wecom", secret="")
    await tell(ctx, 1, event="a")
    assert await jobs.post(ctx, made["id"]) == {"sent": 1}
    await tell(ctx, 1, event="b")
    await tell(ctx, 1, event="c")
    assert "until" in await jobs.post(ctx, made["id"])
    assert (await ordered(ctx, WEBHOOK_POST))[-1].run_at == clock.at + timedelta(seconds=3)
    clock.advance(seconds=3)
    assert await jobs.post(ctx, made["id"]) == {"sent": 2}
    first, second = receiver.bodies
    assert set(first) == {"msgtype", "markdown"}
    assert second["markdown"]["content"].count("waits for approval") == 2


def test_a_robots_message_has_an_end() -> None:
    lines = [Line(str(number), "k", 400 * "字", {}, "https://x/y", datetime.now(UTC)) for number in range(20)]
    said = markdown(lines, "zh", 4096)
    assert len(said.encode()) <= 4096
    assert "另有" in said
    long = [Line("1", "k", 4000 * "字", {}, "https://x/y", datetime.now(UTC))]
    assert len(markdown(long, "en", 4096).encode()) <= 4096


def test_what_robots_answer() -> None:
    check_answer(Format.WECOM, 200, {}, b'{"errcode":0,"errmsg":"ok"}')
    check_answer(Format.SIGNED, 204, {}, b"")
    for kind, status, body in (
        (Format.WECOM, 200, b'{"errcode":93000,"errmsg":"invalid webhook url"}'),
        (Format.DINGTALK, 200, b'{"errcode":310000,"errmsg":"sign not match"}'),
        (Format.DINGTALK, 200, b"<html>"),
        (Format.SIGNED, 302, b""),
    ):
        with pytest.raises(NotTaken):
            check_answer(kind, status, {}, body)
    with pytest.raises(NotTaken) as busy:
        check_answer(Format.WECOM, 200, {}, b'{"errcode":45009,"errmsg":"freq"}')
    assert busy.value.retry_after_s == 60


@pytest.mark.gen_test
async def test_what_is_not_taken_comes_again_later_and_not_for_ever(api: Api, ctx: Context, receiver: Receiver, clock: HeldClock) -> None:
    made = await hook(api, receiver)
    receiver.status = 500
    await tell(ctx, 1)
    assert await jobs.post(ctx, made["id"]) == {"sent": 0, "why": "HTTP 500"}
    [shown] = (await api.get(WEBHOOKS)).result["webhooks"]
    assert (shown["failures"], shown["last_error"], shown["waiting"]) == (1, "HTTP 500", 1)
    assert (await ordered(ctx, WEBHOOK_POST))[-1].run_at == clock.at + timedelta(seconds=5)
    assert "until" in await jobs.post(ctx, made["id"]), "nobody asks before the pause is over"
    clock.advance(seconds=5)
    receiver.status, receiver.headers = 429, {"Retry-After": "90"}
    await jobs.post(ctx, made["id"])
    assert (await ordered(ctx, WEBHOOK_POST))[-1].run_at == clock.at + timedelta(seconds=90)
    for _ in range(MOST_ATTEMPTS):
        clock.advance(seconds=3601)
        await jobs.post(ctx, made["id"])
    assert len(receiver.got) == MOST_ATTEMPTS
    assert (await row_of(ctx, webhook_messages)).state == "failed"
    receiver.status = 200
    await tell(ctx, 1, event="next")
    clock.advance(seconds=3601)
    assert await jobs.post(ctx, made["id"]) == {"sent": 1}


@pytest.mark.gen_test
async def test_what_a_lost_server_had_taken_is_sent_by_another(api: Api, ctx: Context, receiver: Receiver, clock: HeldClock) -> None:
    made = await hook(api, receiver)
    await tell(ctx, 1)
    lost = webhook_messages.update().values(claimed_until=clock.at + timedelta(seconds=60))
    await ctx.sql.write(lambda connection: connection.execute(lost))
    assert await jobs.post(ctx, made["id"]) == {"sent": 0}
    run_at = (await ordered(ctx, WEBHOOK_POST))[-1].run_at
    assert run_at == clock.at + timedelta(seconds=61)
    clock.at = run_at
    assert await jobs.post(ctx, made["id"]) == {"sent": 1}


@pytest.mark.gen_test
async def test_quiet_hours_hold_for_webhooks_too(api: Api, ctx: Context, receiver: Receiver, clock: HeldClock) -> None:
    made = await hook(api, receiver)
    await api.put(SETTINGS, {"quiet_from": "15:00", "quiet_to": "17:00"})
    await tell(ctx, 1)
    [(payload, run_at)] = await ordered(ctx, WEBHOOK_POST)
    assert (run_at, (await jobs.post(ctx, **payload))["sent"]) == (at(2, 9), 0)
    clock.at = run_at
    assert await jobs.post(ctx, made["id"]) == {"sent": 1}


@pytest.mark.gen_test
async def test_a_kind_can_be_kept_from_webhooks_or_sent_there_alone(api: Api, ctx: Context, receiver: Receiver) -> None:
    await hook(api, receiver)
    path = "/api/notifications/preferences"
    await api.put(path, {"preferences": [{"kind": "hr.plan_waiting", "webhook": False}]})
    await tell(ctx, 1)
    assert await ordered(ctx, WEBHOOK_POST) == []
    await api.put(path, {"preferences": [{"kind": "document.failed", "app": False, "mail": False}]})
    await tell(ctx, 1, kind=Kind.DOCUMENT_FAILED, title="t", error="e")
    assert len(await ordered(ctx, WEBHOOK_POST)) == 1
    assert (await api.get("/api/notifications/unread-count")).result == {"unread": 1}
    assert (await row_of(ctx, notifications, kind="document.failed")).shown is False


@pytest.mark.gen_test
async def test_nobody_is_told_whose_account_has_ended(api: Api, anonymous: Api, ctx: Context, receiver: Receiver) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    made = await hook(ann, receiver)
    number = await number_of(ctx, "ann")
    await tell(ctx, number)
    users = sa.table("users", sa.column("id"), sa.column("state"))
    await ctx.sql.write(lambda connection: connection.execute(users.update().where(users.c.id == number).values(state="disabled")))
    assert (await jobs.post(ctx, made["id"]))["sent"] == 0
    assert receiver.got == []


@pytest.mark.gen_test
async def test_addresses_and_secrets_are_never_shown(api: Api, anonymous: Api, ctx: Context, receiver: Receiver) -> None:
    made = await hook(api, receiver)
    assert (made["host"], made["secret"], made["format"]) == ("127.0.0.1", "set", "signed")
    answers = [made, (await api.get(WEBHOOKS)).result, (await api.get("/api/audit-log?page_size=50")).result]
    for said in answers:
        assert SECRET not in json.dumps(said)
        assert "access_token" not in json.dumps(said)
    stored = (await row_of(ctx, notification_webhooks)).sealed
    assert SECRET not in stored
    assert "access_token" not in stored
    one = f"{WEBHOOKS}/{made['id']}"
    assert (await api.patch(one, {"url": receiver.url})).fields == ["secret"], "a new address forgets the secret"
    assert (await api.patch(one, {"url": receiver.url, "secret": SECRET, "enabled": False})).result["enabled"] is False
    ann = await user(ctx, anonymous, "ann", "administrator")
    assert (await ann.get(WEBHOOKS)).result == {"webhooks": []}
    for answer in (await ann.patch(one, {"name": "x"}), await ann.delete(one), await ann.post(f"{one}/test")):
        assert (answer.status, answer.type) == (404, "webhook_not_found")
    assert (await api.delete(one)).status == 200
    assert (await api.get(WEBHOOKS)).result == {"webhooks": []}


@pytest.mark.gen_test
async def test_webhooks_that_cannot_be(api: Api) -> None:
    good = {"name": "x", "url": "https://example.org/x", "secret": SECRET}
    for change, field in (
        ({"url": "ftp://example.org"}, "url"),
        ({"url": "https://me@example.org/"}, "url"),
        ({"url": "https:///x"}, "url"),
        ({"url": "https://example.org/#x"}, "url"),
        ({"url": "https://example.org/a b"}, "url"),
        ({"secret": "short"}, "secret"),
        ({"format": "wecom"}, "secret"),
        ({"format": "fax"}, "format"),
        ({"locale": "fr"}, "locale"),
    ):
        assert (await api.post(WEBHOOKS, {**good, **change})).fields == [field], change
    for _ in range(10):
        assert (await api.post(WEBHOOKS, good)).status == 200
    assert (await api.post(WEBHOOKS, good)).fields == ["name"]


@pytest.mark.parametrize(
    ("address", "anybody", "inside"),
    [
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("::ffff:127.0.0.1", False, False),
        ("169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("10.1.2.3", False, True),
        ("192.168.1.1", False, True),
        ("fd00::1", False, True),
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
    ],
)
def test_addresses_that_may_be_posted_to(address: str, anybody: bool, inside: bool) -> None:
    assert (may_reach(address, inside=False), may_reach(address, inside=True)) == (anybody, inside)


@pytest.mark.gen_test
async def test_a_test_message_says_what_came_of_it(api: Api, ctx: Context, receiver: Receiver) -> None:
    made = await hook(api, receiver, format="dingtalk", secret="")
    assert (await api.post(f"{WEBHOOKS}/{made['id']}/test")).result == {"sent": True, "error": None}
    assert say("notification.test", "en") in receiver.bodies[0]["markdown"]["text"]
    receiver.answer = b'{"errcode":310000,"errmsg":"sign not match"}'
    tried = (await api.post(f"{WEBHOOKS}/{made['id']}/test")).result
    assert tried == {"sent": False, "error": "errcode 310000: sign not match"}


@pytest.mark.gen_test
async def test_an_organizations_webhook_is_told_of_what_is_in_it_and_below(
    api: Api, anonymous: Api, ctx: Context, receiver: Receiver, clock: HeldClock
) -> None:
    school = (await api.post("/api/organizations", {"name": "Physics", "code": "ph", "kind": "school"})).result["id"]
    klass = (await api.post("/api/organizations", {"name": "1", "code": "c", "kind": "class", "parent_id": school})).result["id"]
    other = (await api.post("/api/organizations", {"name": "History", "code": "hi", "kind": "school"})).result["id"]
    path = f"/api/organizations/{school}/webhooks"
    body = {"name": "chat", "url": receiver.url, "secret": SECRET, "locale": "en", "kinds": ["document.failed"]}
    made = (await api.post(path, {**body, "quiet_from": "00:00", "quiet_to": "06:00"})).result
    assert (made["kinds"], made["timezone"]) == (["document.failed"], ctx.settings.timezone)
    for number, place in enumerate((klass, school, other)):
        for _ in range(2):

            def happen(connection: sa.Connection, number: int = number, place: int = place) -> Told:
                given = {"title": f"t{number}", "error": "e"}
                return told.tell_organization(connection, clock.at, place, Kind.DOCUMENT_FAILED, f"d{number}", given)

            await announce(ctx, await ctx.sql.write(happen))
    joined = {"name": "n", "organization": "o"}
    await ctx.sql.write(lambda connection: told.tell_organization(connection, clock.at, school, Kind.MEMBER_JOINED, "m", joined))
    assert await jobs.post(ctx, made["id"]) == {"sent": 2}
    texts = [line["params"]["title"] for line in receiver.bodies[0]["notifications"]]
    assert texts == ["t0", "t1"]
    assert (await api.patch(f"{path}/{made['id']}", {"quiet_from": None, "quiet_to": None, "kinds": []})).result["quiet_from"] is None
    ann = await user(ctx, anonymous, "ann", "teacher", school)
    assert (await ann.get(path)).status == 403
    assert (await api.get(f"/api/organizations/{other}/webhooks")).result == {"webhooks": []}
    assert (await api.patch(f"/api/organizations/{other}/webhooks/{made['id']}", {"name": "x"})).status == 404
    assert (await api.delete(f"/api/organizations/{klass}")).status == 200
    assert (await api.delete(f"/api/organizations/{school}")).status in (200, 409)
