"""Users in and out of spreadsheets: looked at, imported, undone, exported; nothing beyond what the caller may."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import openpyxl
import pytest
import sqlalchemy as sa
from tornado.httpclient import HTTPRequest

from server.clock import HeldClock
from server.context import Context
from server.people import user_import
from server.people.tables import organizations, user_imports, users
from server.platform.tables import audit_log
from server.platform.tables import tasks as tasks_table
from tests.api.client import Answer, Api
from tests.api.people import organization, user
from tests.documents.form import HEADERS, form
from tests.unit.people.test_user_sheets import sheet

TITLES = ["用户名", "姓名", "邮箱", "组织代码", "角色", "类型"]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def send(
    api: Api, rows: Sequence[Sequence[Any]] | bytes, *, dry: bool = False, titles: Sequence[str] = TITLES, **more: Any
) -> Answer:
    data = rows if isinstance(rows, bytes) else await asyncio.to_thread(sheet, rows, titles)
    path = "/api/users/import" + ("?dry_run=1" if dry else "")
    headers = {**HEADERS, **more.pop("headers", {})}
    return await api.post(path, body=form([("名单.xlsx", data)]), headers=headers, timeout_s=60, **more)


async def download(api: Api, path: str, **headers: str) -> list[list[Any]]:
    """The cells of the first sheet that an address answers with; the client of the other tests knows envelopes alone."""
    request = HTTPRequest(api.base_url + path, headers={"Authorization": f"Bearer {api.token}", **headers}, request_timeout=60)
    response = await api.client.fetch(request)
    assert response.headers["Content-Type"] == XLSX
    assert response.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''users")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    book = openpyxl.load_workbook(io.BytesIO(response.body))
    for row in book.worksheets[0].iter_rows():
        assert all(cell.data_type in ("s", "n") and (cell.value is None or cell.data_type == "s") for cell in row)
    return [[cell.value for cell in row] for row in book.worksheets[0].iter_rows()]


async def everything(ctx: Context) -> list[Any]:
    """All that an import could write."""

    def read(connection: sa.Connection) -> list[Any]:
        tables = (users, user_imports, tasks_table, audit_log)
        return [connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all() for table in tables]

    return await ctx.sql.read(read)


async def listed(api: Api) -> dict[str, dict[str, Any]]:
    return {one["username"]: one for one in (await api.get("/api/users?page_size=200")).result["items"]}


@pytest.mark.gen_test(timeout=60)
async def test_looked_at_then_imported_then_undone(api: Api, anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    physics = await organization(ctx, "physics")
    there = (await api.post("/api/users", {"username": "Wang", "name": "王", "email": "w@x.cn"})).result
    rows = [
        ["zhang", "张三", "zhang@x.cn", "PHYSICS", "teacher，reviewer", "人员"],
        ["robot", None, None, None, None, "service"],
        ["wang", "王五", None, "physics", "student", None],
        ["Admin"],
        [None, "无名"],
        ["bad", "=1+1", "no mail", "nowhere", "king", "thing"],
    ]
    clock.advance(seconds=1)
    before = await everything(ctx)
    seen = (await send(api, rows, dry=True)).result
    assert await everything(ctx) == before, "a dry run writes nothing"
    assert (seen["id"], seen["state"], seen["dry_run"]) == (None, "planned", True)
    done = (await send(api, rows)).result
    assert {**done, "id": None, "state": "planned", "dry_run": True} == seen
    assert (done["state"], done["dry_run"], done["filename"]) == ("done", False, "名单.xlsx")
    assert done["counts"] == {"create": 2, "update": 1, "unchanged": 1, "error": 2}
    actions = [(row["row"], row["action"], row["username"]) for row in done["rows"]]
    assert actions[:4] == [(2, "create", "zhang"), (3, "create", "robot"), (4, "update", "wang"), (5, "unchanged", "Admin")]
    assert [sorted(error["column"] for error in row["errors"]) for row in done["rows"][4:]] == [
        ["username"],
        ["email", "kind", "name", "organization", "roles"],
    ]
    now = await listed(api)
    assert set(now) == {"admin", "zhang", "robot", "Wang"}
    assert (now["zhang"]["name"], now["zhang"]["organization_id"], sorted(now["zhang"]["roles"])) == (
        "张三",
        physics,
        ["reviewer", "teacher"],
    )
    assert (now["robot"]["name"], now["robot"]["organization_id"], now["robot"]["kind"]) == ("robot", 1, "service")
    assert (now["Wang"]["id"], now["Wang"]["name"], now["Wang"]["email"], now["Wang"]["roles"]) == (
        there["id"],
        "王五",
        "w@x.cn",
        ["student"],
    )
    assert (await anonymous.post("/api/auth/login", {"username": "zhang", "password": "zhang"})).status == 401, "no password was set"
    assert (await api.get(f"/api/users/imports/{done['id']}")).result == done
    assert [one["id"] for one in (await api.get("/api/users/imports")).result["items"]] == [done["id"]]

    clock.advance(seconds=1)
    undone = (await api.post(f"/api/users/imports/{done['id']}/undo")).result
    assert (undone["state"], undone["kept_rows"]) == ("undone", [])
    assert (undone["counts"]["undone"], undone["counts"]["kept"]) == (3, 0)
    now = await listed(api)
    assert (now["zhang"]["state"], now["robot"]["state"]) == ("disabled", "disabled")
    assert {**now["Wang"], "roles": []} == {name: there[name] for name in now["Wang"]}
    assert (await api.post(f"/api/users/imports/{done['id']}/undo")).type == "import_state"


@pytest.mark.gen_test(timeout=60)
async def test_an_undo_leaves_alone_what_changed_since(api: Api, clock: HeldClock) -> None:
    old = (await api.post("/api/users", {"username": "old", "name": "before"})).result
    clock.advance(seconds=1)
    done = (await send(api, [["a"], ["b"], ["old", "after"], ["c", None, "c@x.cn"]])).result
    clock.advance(seconds=1)
    by_name = await listed(api)
    await api.patch(f"/api/users/{by_name['a']['id']}", {"name": "in use"})
    await api.patch(f"/api/users/{old['id']}", {"name": "later"})
    undone = (await api.post(f"/api/users/imports/{done['id']}/undo")).result
    assert undone["kept_rows"] == [2, 4]
    assert (undone["counts"]["undone"], undone["counts"]["kept"]) == (2, 2)
    now = await listed(api)
    assert [now[name]["state"] for name in "abc"] == ["active", "disabled", "disabled"]
    assert now["old"]["name"] == "later"


@pytest.mark.gen_test(timeout=60)
async def test_twice_in_one_sheet_and_already_taken(api: Api) -> None:
    await api.post("/api/users", {"username": "first", "email": "first@x.cn"})
    rows = [["n1", None, "n@x.cn"], ["N1"], ["n2", None, "N@X.cn"], ["n3", None, "First@x.cn"], ["n4", None, "n5@x.cn"], ["n5@x.cn"]]
    done = (await send(api, rows, headers={"Accept-Language": "en"})).result
    assert [row["action"] for row in done["rows"]] == ["create", "error", "error", "error", "create", "error"]
    assert [row["errors"][0]["column"] for row in done["rows"] if row["errors"]] == ["username", "email", "email", "username"]
    assert done["rows"][1]["errors"][0]["message"] == "The same as in row 2."
    assert done["counts"] == {"create": 2, "update": 0, "unchanged": 0, "error": 4}
    assert set(await listed(api)) == {"admin", "first", "n1", "n4"}


@pytest.mark.gen_test(timeout=60)
async def test_the_head_of_one_organization_imports_there_alone(api: Api, anonymous: Api, ctx: Context) -> None:
    physics, chemistry = await organization(ctx, "physics"), await organization(ctx, "chemistry")
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    await api.post("/api/users", {"username": "theirs", "organization_id": chemistry})
    await api.post("/api/users", {"username": "above", "organization_id": physics, "roles": ["operator"]})
    before = await listed(api)
    rows = [
        ["mine"],
        ["x1", None, None, "chemistry"],
        ["x2", None, None, "root"],
        ["x3", None, None, None, "operator"],
        ["theirs", "changed"],
        ["above", "changed"],
        ["mine2", None, None, None, "teacher"],
    ]
    done = (await send(head, rows)).result
    assert [row["action"] for row in done["rows"]] == ["create", "error", "error", "error", "error", "error", "create"]
    now = await listed(api)
    assert {name: now[name] for name in before} == before
    assert {name: now[name]["organization_id"] for name in set(now) - set(before)} == {"mine": physics, "mine2": physics}
    # Somebody else's import is not there for them.
    other = await user(ctx, anonymous, "other", "organization_admin", chemistry)
    for method, path in [("GET", ""), ("POST", "/undo")]:
        assert (await other.request(method, f"/api/users/imports/{done['id']}{path}")).type == "import_not_found"
    assert (await other.get("/api/users/imports")).result["total"] == 0
    teacher = await user(ctx, anonymous, "teacher", "teacher", physics)
    assert (await send(teacher, [["y"]])).status == 403
    exported = await download(head, "/api/users/export.xlsx")
    assert {row[0] for row in exported[1:]} == {"head", "teacher", "mine", "mine2", "above"}


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 422), (b"not a sheet", 422), (sheet([["x"]], ["姓名"]), 422), (sheet([], TITLES), 422), (9 * (1 << 20) * b"x", 413)],
    ids=["empty", "text", "no user names", "no rows", "huge"],
)
@pytest.mark.gen_test(timeout=60)
async def test_files_that_are_refused(api: Api, data: bytes, status: int) -> None:
    answer = await send(api, data)
    assert answer.status == status
    assert status == 413 or answer.fields == ["file"]
    assert (await api.get("/api/users/imports")).result["total"] == 0


@pytest.mark.gen_test(timeout=60)
async def test_forms_that_are_refused(api: Api) -> None:
    assert (await api.post("/api/users/import", {})).fields == ["file"]
    assert (await api.post("/api/users/import", body=form([("a.xlsx", b"x")], name="sheet"), headers=HEADERS)).fields == ["file"]
    assert (await api.post("/api/users/import", body=form([("a", b"x"), ("b", b"y")]), headers=HEADERS)).fields == ["file"]
    assert (await api.post("/api/users/import", body=b"--x", headers={"Content-Type": "multipart/form-data"})).status in (400, 422)
    assert (await api.post("/api/users/import?dry_run=2", body=b"", headers=HEADERS)).fields == ["dry_run"]
    assert (await api.get("/api/users/imports/" + 32 * "0")).type == "import_not_found"


@pytest.mark.gen_test(timeout=60)
async def test_the_same_file_again_with_one_key_is_one_import(api: Api) -> None:
    data = sheet([["once"]], TITLES)
    first = (await send(api, data, headers={"Idempotency-Key": "k"})).result
    assert (await send(api, data, headers={"Idempotency-Key": "k"})).result == first
    other = await send(api, sheet([["another"]], TITLES), headers={"Idempotency-Key": "k"})
    assert other.status in (409, 422)
    assert (await api.get("/api/users/imports")).result["total"] == 1


@pytest.mark.gen_test(timeout=60)
async def test_an_export_imports_unchanged_and_has_no_formulas(api: Api, ctx: Context) -> None:
    evil = '=HYPERLINK("http://evil.example","x")'
    names = {"a1": evil, "a2": "+1+1", "a3": "-1", "a4": "@SUM(A1)"}
    for username, name in names.items():
        await api.post("/api/users", {"username": username, "name": name, "roles": ["student"]})
    await api.post("/api/users", {"username": "=1"})
    await ctx.sql.write(lambda connection: connection.execute(organizations.update().values(name="=root", code="+root")))
    exported = await download(api, "/api/users/export.xlsx")
    assert exported[0][:6] == TITLES
    assert {row[0]: row[1] for row in exported[1:]} == {"admin": "管理员", "=1": "=1", **names}
    assert (await download(api, "/api/users/export.xlsx", **{"Accept-Language": "en"}))[0][0] == "username"
    for query, expected in [("q=hyperlink", ["a1"]), ("role=administrator", ["admin"]), (f"q={quote('+1')}", ["a2"])]:
        assert [row[0] for row in (await download(api, f"/api/users/export.xlsx?{query}"))[1:]] == expected
    raw = await api.client.fetch(HTTPRequest(f"{api.base_url}/api/users/export.xlsx", headers={"Authorization": f"Bearer {api.token}"}))
    again = (await send(api, raw.body, dry=True)).result
    assert again["counts"] == {"create": 0, "update": 0, "unchanged": 6, "error": 0}
    assert again["ignored_columns"] == ["组织名称", "状态", "创建时间", "最近登录"]
    assert (await download(api, "/api/users/template.xlsx")) == [TITLES]


@pytest.mark.gen_test(timeout=60)
async def test_a_long_sheet_is_written_by_a_task_once(api: Api, ctx: Context, clock: HeldClock) -> None:
    rows = [[f"u{number}", f"N{number}", f"u{number}@x.cn", None, "student"] for number in range(1100)]
    queued = (await send(api, rows)).result
    assert (queued["state"], queued["counts"]["create"]) == ("queued", 1100)
    task = (await api.get(f"/api/tasks/{queued['task_id']}")).result
    assert (task["kind"], task["queue"], task["payload"]) == ("import_users", "account_tasks", {"import_id": queued["id"]})
    assert (await api.get("/api/users")).result["total"] == 1
    assert (await api.post(f"/api/users/imports/{queued['id']}/undo")).type == "import_state"
    # One of the names is taken before the task comes to it.
    await api.post("/api/users", {"username": "U700"})
    told: list[int] = []

    async def progress(percent: int, _message: str) -> None:
        told.append(percent)
        clock.advance(seconds=1)
        if len(told) == 2:
            raise ConnectionError("the worker is lost after the second piece")

    with pytest.raises(ConnectionError):
        await user_import.carry_out(ctx, queued["id"], progress)
    assert (await api.get("/api/users")).result["total"] == 2 + 999
    for _ in range(2):
        await user_import.carry_out(ctx, queued["id"], progress)
    assert told == [33, 66, 33, 66, 100, 33, 66, 100]
    done = (await api.get(f"/api/users/imports/{queued['id']}")).result
    assert (done["state"], done["counts"]) == ("done", {"create": 1099, "update": 0, "unchanged": 0, "error": 1})
    assert [(row["row"], row["errors"][0]["column"]) for row in done["rows"] if row["errors"]] == [(702, "username")]
    assert (await api.get("/api/users?role=student")).result["total"] == 1099
    asked = await api.post(f"/api/users/imports/{queued['id']}/undo")
    assert (asked.status, asked.result["state"]) == (202, "undoing")
    await user_import.carry_out_undo(ctx, queued["id"], 1, None, progress)
    undone = (await api.get(f"/api/users/imports/{queued['id']}")).result
    assert (undone["counts"]["undone"], undone["counts"]["kept"]) == (1099, 0)
    assert (await api.get("/api/users?state=active")).result["total"] == 2


@pytest.mark.gen_test(timeout=60)
async def test_an_import_of_somebody_who_was_disabled_is_not_written(api: Api, anonymous: Api, ctx: Context) -> None:
    second = await user(ctx, anonymous, "second", "administrator")
    queued = (await send(second, [[f"u{number}"] for number in range(501)])).result
    await api.delete(f"/api/users/{(await listed(api))['second']['id']}")

    async def progress(_percent: int, _message: str) -> None:
        await asyncio.sleep(0)

    assert (await user_import.carry_out(ctx, queued["id"], progress))["written"] is False
    assert (await api.get(f"/api/users/imports/{queued['id']}")).result["state"] == "failed"
    assert (await api.get("/api/users")).result["total"] == 2
