"""The audit log as it is read, exported and checked, and how denials get into it."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tornado.httpclient import HTTPResponse

from jobs.audit import seal_audit
from server.actor import Actor, ActorKind
from server.clock import HeldClock
from server.context import Context
from server.errors import EngineAway
from server.ids import new_id
from server.platform import audit, audit_chain
from server.platform.audit import DENIED, MOST_A_MINUTE
from server.platform.audit_reading import safe_cell
from server.platform.tables import audit_log, tasks
from tests.api.client import Api
from tests.api.people import organization, user

LOG = "/api/audit-log"
AT = datetime(2040, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> HeldClock:
    """Later than whatever the database was prepared with."""
    return HeldClock(datetime(2040, 6, 1, tzinfo=UTC))


async def add(ctx: Context, *rows: tuple[str, str, str, int | None], at: datetime = AT, **detail: Any) -> None:
    """Rows of (actor, action, target, user), a second apart."""

    def transaction(connection: sa.Connection) -> None:
        for number, (name, action, target, user_id) in enumerate(rows):
            actor = Actor(ActorKind.PERSON, name, user_id=user_id, address=f"10.0.0.{number}", request_id=f"r{number}")
            audit.note(connection, at + timedelta(seconds=number), actor, action, target, **detail)

    await ctx.sql.write(transaction)


async def targets(api: Api, query: str) -> list[str]:
    return [row["target"] for row in (await api.get(f"{LOG}?{query}")).result["items"]]


async def download(api: Api, query: str = "", method: str = "GET", language: str = "zh") -> HTTPResponse:
    headers = {"Authorization": f"Bearer {api.token}", "Accept-Language": language}
    return await api.client.fetch(f"{api.base_url}{LOG}/export.csv{query}", method=method, headers=headers, raise_error=False)


def cells(response: HTTPResponse) -> list[dict[str, str]]:
    assert response.code == 200, response.body
    assert response.body.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(response.body.decode("utf-8-sig"), newline="")))


async def denials(ctx: Context, action: str = DENIED) -> list[Any]:
    wanted = sa.select(audit_log).where(audit_log.c.action == action).order_by(audit_log.c.id)
    return list(await ctx.sql.read(lambda connection: connection.execute(wanted).all()))


@pytest.mark.gen_test(timeout=60)
async def test_filters(api: Api, ctx: Context) -> None:
    await add(
        ctx, ("ann", "thing.make", "thing:1", 901), ("bob", "thing.drop", "thing:2", 902), ("ann", "things", "thing:3", 901), word="张三"
    )
    assert await targets(api, "action=thing.") == ["thing:2", "thing:1"]
    assert await targets(api, "action=thing") == ["thing:3", "thing:2", "thing:1"]
    assert await targets(api, "action=thing.make") == ["thing:1"]
    assert await targets(api, "action=Thing") == await targets(api, "action=%E4%BA%8B") == await targets(api, "action=th_ng") == []
    assert await targets(api, "actor=ann&sort=id") == ["thing:1", "thing:3"]
    assert await targets(api, "user_id=902") == ["thing:2"]
    assert await targets(api, "target=thing:3") == ["thing:3"]
    assert await targets(api, "address=10.0.0.1") == ["thing:2"]
    assert await targets(api, "address=%E4%BA%8B") == []
    assert await targets(api, "from=2040-05-04T03:02:02Z&to=2040-05-04T03:02:03Z") == ["thing:2"]
    assert await targets(api, "from=2040-05-04T11:02:03&to=2040-05-04T12:00:00") == ["thing:3"], "in the server's zone"
    assert len(await targets(api, "q=%E5%BC%A0%E4%B8%89")) == 3, "details are searched"
    assert await targets(api, "q=r1") == ["thing:2"]
    page = (await api.get(f"{LOG}?action=thing&page=2&page_size=2")).result
    assert (page["total"], page["page"], [row["target"] for row in page["items"]]) == (3, 2, ["thing:1"])
    (row,) = page["items"]
    assert (row["actor"], row["user_id"], row["address"], row["request_id"]) == ("ann", 901, "10.0.0.0", "r0")
    assert (row["at"], row["detail"], row["hash"]) == ("2040-05-04T03:02:01Z", {"word": "张三"}, None)


@pytest.mark.gen_test
async def test_bad_filters_are_refused(api: Api) -> None:
    for query, field in [
        ("from=yesterday", "from"),
        ("to=0001-01-01T00:00:00%2B08:00", "to"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("user_id=x", "user_id"),
        ("action=a%00", "action"),
        ("sort=detail", "sort"),
        ("users=1", "users"),
    ]:
        assert (await api.get(f"{LOG}?{query}")).fields == [field], query
        if field != "sort":
            response = await download(api, f"?{query}")
            assert (response.code, list(msgspec.json.decode(response.body)["error"]["fields"])) == (422, [field]), query


@pytest.mark.gen_test(timeout=60)
async def test_only_who_may_read_it_everywhere_does(api: Api, anonymous: Api, ctx: Context) -> None:
    callers = [
        await user(ctx, anonymous, "auditor", "auditor"),
        await user(ctx, anonymous, "of-one", "auditor", await organization(ctx, "physics")),
        await user(ctx, anonymous, "head", "organization_admin"),
        await user(ctx, anonymous, "operator", "operator"),
        await user(ctx, anonymous, "teacher", "teacher"),
    ]
    statuses = {}
    for path in (LOG, f"{LOG}/verify"):
        statuses[path] = [(await caller.get(path)).status for caller in callers]
        assert (await anonymous.get(path)).status == 401
    statuses["export"] = [(await download(caller)).code for caller in callers]
    assert (await anonymous.get(f"{LOG}/export.csv")).status == 401
    assert set(map(tuple, statuses.values())) == {(200, 403, 403, 403, 403)}
    for path in (LOG, f"{LOG}/export.csv", f"{LOG}/verify"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await api.request(method, path)).status == 405, "rows are only ever added"


@pytest.mark.gen_test(timeout=60)
async def test_export_is_whole_safe_and_noted(api: Api, ctx: Context) -> None:
    many = [("ann", "bulk.row", f"n:{number}", None) for number in range(520)]
    await add(ctx, *many)
    await add(ctx, ('=HYPERLINK("http://x")', "evil", "+1", 5), ("-2", "evil", "@SUM(A1)", 6), ("\t=1", "evil", 'a,"b"\n=c', 7), note="=1")
    response = await download(api)
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="audit-log.csv"'
    assert response.headers["Cache-Control"] == "no-store"
    rows = cells(response)
    assert [row["target"] for row in rows if row["action"] == "bulk.row"] == [target for _, _, target, _ in many]
    assert [(row["actor"], row["target"], row["user_id"]) for row in rows if row["action"] == "evil"] == [
        ('\'=HYPERLINK("http://x")', "'+1", "5"),
        ("'-2", "'@SUM(A1)", "6"),
        ("'\t=1", 'a,"b"\n=c', "7"),
    ]
    assert [int(row["id"]) for row in rows] == sorted(int(row["id"]) for row in rows)
    assert {row["detail"] for row in rows if row["action"] == "evil"} == {'{"note":"=1"}'}
    assert [row["target"] for row in cells(await download(api, "?action=evil&q=HYPER&page_size=1&sort=at"))] == ["'+1"]
    assert cells(await download(api, "?q=%25")) == [], "no pattern"
    noted = await denials(ctx, "audit.export")
    assert [row.detail for row in noted] == [{"filters": {}}, {"filters": {"action": "evil", "q": "HYPER"}}, {"filters": {"q": "%"}}]
    assert noted[0].actor == "admin"
    head = await download(api, method="HEAD")
    assert (head.code, head.body, head.headers["Content-Type"]) == (200, b"", "text/csv; charset=utf-8")


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_a_cell_is_no_formula(begin: str) -> None:
    assert safe_cell(begin + "1") == "'" + begin + "1"
    assert safe_cell("1" + begin) == "1" + begin
    assert safe_cell("") == ""


@pytest.mark.gen_test(timeout=60)
async def test_verify(api: Api, ctx: Context, clock: HeldClock) -> None:
    before = (await api.get(f"{LOG}/verify")).result
    assert (before["state"], before["checked"], before["waiting"]) == ("whole", 0, 1), "the sign-in has not settled yet"
    clock.advance(seconds=10)
    await add(ctx, *[("ann", "bulk.row", f"n:{number}", None) for number in range(600)])
    assert (await api.get(f"{LOG}/verify")).result["waiting"] == 0, "what has settled is sealed at the end"
    total = (await api.get(LOG)).result["total"]
    whole = (await api.get(f"{LOG}/verify")).result
    assert (whole["state"], whole["checked"], whole["first_broken"]) == ("whole", total, None)
    assert whole["sealed_until"] == "2040-05-04T03:12:00Z"
    newest = (await api.get(LOG)).result["items"][0]
    assert whole["head"] == newest["hash"]
    await ctx.sql.write(lambda connection: connection.execute(audit_log.update().where(audit_log.c.target == "n:300").values(actor="bob")))
    changed = (await api.get(f"{LOG}?target=n:300")).result["items"][0]["id"]
    broken = (await api.get(f"{LOG}/verify")).result
    assert (broken["state"], broken["first_broken"], broken["checked"]) == ("broken", changed, changed - 1)


def _succeeded(result: dict[str, Any]) -> Any:
    """A task that ended with a result."""
    state = {"state": "succeeded", "result": result, "attempts": 1, "max_attempts": 3, "cancel_requested": False}
    times = {"run_at": AT, "created_at": AT, "ended_at": AT}
    row = {"id": new_id(), "queue": "maintenance", "kind": audit_chain.SEAL, "payload": {}, "progress": 100, **state, **times}
    return lambda connection: connection.execute(tasks.insert().values(**row))


@pytest.mark.gen_test(timeout=60)
async def test_what_the_job_reported_tells_of_an_end_that_was_cut_off(api: Api, ctx: Context, clock: HeldClock) -> None:
    clock.advance(seconds=10)
    await add(ctx, *[("ann", "bulk.row", f"n:{number}", None) for number in range(5)])
    reported = await seal_audit(ctx)
    assert reported["sealed"] > 5
    assert (await seal_audit(ctx))["head"] == reported["head"]
    for number in range(300):  # more than are read at once
        await ctx.sql.write(_succeeded({**reported, "sealed": number % 290}))
    assert (await api.get(f"{LOG}/verify")).result["state"] == "whole"
    cut = audit_log.delete().where(audit_log.c.id > reported["through"] - 2)
    await ctx.sql.write(lambda connection: connection.execute(cut))
    await add(ctx, *[("ann", "bulk.row", "other", None) for _ in range(5)])
    await seal_audit(ctx)
    broken = (await api.get(f"{LOG}/verify")).result
    assert (broken["state"], broken["first_broken"]) == ("broken", reported["through"])


@pytest.mark.gen_test(timeout=60)
async def test_old_rows_are_swept_and_the_rest_is_whole(api: Api, ctx: Context, clock: HeldClock) -> None:
    clock.advance(seconds=10)
    await seal_audit(ctx)
    clock.advance(days=800)
    token = (await api.post("/api/auth/login", {"username": "admin", "password": "correct horse battery"})).result["access_token"]
    now = clock.now()
    gone = await ctx.sql.write(lambda connection: audit_chain.sweep(connection, now, now - timedelta(days=730), 2000))
    assert gone > 1
    clock.advance(seconds=10)
    again = api.as_caller(token)
    await again.get(f"{LOG}/verify")
    verdict = (await again.get(f"{LOG}/verify")).result
    assert (verdict["state"], verdict["checked"], verdict["waiting"]) == ("whole", 2, 0)
    assert [row["action"] for row in (await again.get(LOG)).result["items"]] == ["audit.swept", "login"]


@pytest.mark.gen_test(timeout=60)
async def test_a_flood_of_denials_is_a_few_rows_and_a_count(ctx: Context, clock: HeldClock) -> None:
    ann = Actor(ActorKind.PERSON, "ann", user_id=901, address="10.0.0.1", request_id="r")
    key = Actor(ActorKind.API_KEY, "ann", user_id=901, key_id=7, address="10.0.0.2")
    for _ in range(MOST_A_MINUTE + 25):
        await audit.note_denied(ctx, ann, "users:read", "GET /api/users")
    await audit.note_denied(ctx, key, "users:read", "GET /api/users")
    rows = await denials(ctx)
    assert len(rows) == MOST_A_MINUTE + 1
    assert (rows[0].actor, rows[0].user_id, rows[0].target, rows[0].address) == ("ann", 901, "GET /api/users", "10.0.0.1")
    assert rows[0].detail == {"scope": "users:read"}
    assert await audit.tell_surplus(ctx) == 0, "the minute is not over"
    clock.advance(minutes=1)
    await audit.note_denied(ctx, ann, "users:read", "GET /api/users")
    assert (await seal_audit(ctx))["surpluses"] == 1
    assert await audit.tell_surplus(ctx) == 0
    last = (await denials(ctx))[-1]
    assert (last.actor, last.user_id, last.target, last.address) == ("ann", 901, "many", "10.0.0.1")
    assert last.detail == {"more": 25, "minute": "2040-06-01T00:00:00+00:00"}
    assert len(await denials(ctx)) == MOST_A_MINUTE + 3


@pytest.mark.gen_test(timeout=60)
async def test_whoever_is_told_no_is_noted(api: Api, anonymous: Api, ctx: Context) -> None:
    teacher = await user(ctx, anonymous, "teacher", "teacher")
    auditor = await user(ctx, anonymous, "of-one", "auditor", await organization(ctx, "physics"))
    assert (await teacher.post("/module/send_message", {"module_hash": "x", "message": "x"})).status == 403
    assert (await auditor.get(LOG)).status == 403, "a scope in one organization is not enough"
    assert (await anonymous.get(LOG)).status == 401
    rows = [(row.actor, row.target, row.detail["scope"], row.address) for row in await denials(ctx)]
    assert rows == [
        ("teacher", "POST /module/send_message", "modules:send", "127.0.0.1"),
        ("of-one", f"GET {LOG}", "audit:read", "127.0.0.1"),
    ]
    assert all(row.user_id and row.request_id for row in await denials(ctx))


@pytest.mark.gen_test(timeout=60)
async def test_a_refused_sign_in_is_noted_and_bounded(api: Api, anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    for number in range(MOST_A_MINUTE + 5):
        answer = await anonymous.post("/api/auth/login", {"username": f"nobody{number}", "password": "wrong wrong"})
        assert answer.status == 401
    assert len(await denials(ctx, "login.refused")) == MOST_A_MINUTE
    clock.advance(minutes=1)
    await seal_audit(ctx)
    last = (await denials(ctx, "login.refused"))[-1]
    assert (last.actor, last.address, last.detail["more"]) == ("address:127.0.0.1", "127.0.0.1", 5)
    assert "wrong" not in str([row._asdict() for row in await denials(ctx, "login.refused")])


@pytest.mark.gen_test
async def test_a_note_that_cannot_be_made_costs_the_caller_nothing(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: Any, **__: Any) -> int:
        raise EngineAway("bus")

    monkeypatch.setattr(ctx.bus, "increment", away)
    await audit.note_denied(ctx, Actor(ActorKind.MODULE, "m", address="::1"), "users:read", "GET /api/users")
    assert "access.denied of module:::1 is not in the audit log" in caplog.text
    assert await denials(ctx) == []
