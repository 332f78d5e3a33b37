"""HR sources: made, changed, tried and removed; strict about every field, and silent about secrets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from server.config import Settings
from server.context import Context
from server.people.hr import sources
from server.people.hr.source_schemas import Secrets
from server.people.hr.tables import hr_persons, hr_sources, hr_targets
from server.platform.tables import audit_log
from tests.api.client import Api
from tests.api.people import organization, user
from tests.peers.hr_server import HrPeer, html, person, refused

PATH = "/api/hr/sources"
REST = {"name": "HR", "kind": "rest", "url": "https://hr.example.edu.cn/api/persons"}
LDAP = {"kind": "ldap", "url": "ldap://127.0.0.1", "bind_dn": "cn=admin", "password": "ldapsecret", "base": "ou=people"}


async def make(api: Api, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await api.post(PATH, {**REST, **more})).result
    return made


async def kept_secrets(ctx: Context, source_id: int) -> Secrets:
    return sources.secrets_of(ctx, await ctx.sql.read(lambda connection: sources.get_source(connection, source_id)))


@pytest.mark.gen_test
async def test_a_source_is_made_shown_changed_and_removed(api: Api, ctx: Context) -> None:
    made = await make(api, field_map={"employee_no": "gh"}, thresholds={"disable": {"count": 5}}, early_days=7, paging={"page_size": 100})
    assert (made["organization_id"], made["enabled"], made["version"]) == (1, True, 1)
    assert made["field_map"]["employee_no"] == "gh"
    assert made["field_map"]["name"] == "name"
    assert made["paging"]["page_size"] == 100
    assert [(target["name"], target["kind"]) for target in made["targets"]] == [("local", "local")]
    assert (await api.get(f"{PATH}/{made['id']}")).result == made
    assert (await api.get(f"{PATH}?q=H")).result["items"] == [made]
    below = await organization(ctx, "physics")
    changed = (await api.patch(f"{PATH}/{made['id']}", {"name": "Staff", "enabled": False, "organization_id": below})).result
    assert (changed["name"], changed["enabled"], changed["organization_id"], changed["version"]) == ("Staff", False, below, 2)
    assert changed["thresholds"] == {"disable": {"count": 5, "percent": None}}
    assert changed["early_days"] == 7
    assert (await api.delete(f"{PATH}/{made['id']}")).result == {"done": True}
    assert (await api.get(f"{PATH}/{made['id']}")).type == "hr_source_not_found"
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(hr_targets)).all()) == []


@pytest.mark.gen_test
async def test_secrets_are_sealed_and_never_told(api: Api, ctx: Context) -> None:
    made = await make(api, token="t0psecret", headers={"X-Api-Key": "k3y"}, targets=[LDAP])
    await api.patch(f"{PATH}/{made['id']}", {"token": "t1psecret"})
    listed = await api.get(PATH)
    assert made["token"] == "set"
    assert made["headers"] == {"X-Api-Key": "set"}
    assert made["targets"][0]["settings"]["password"] == "set"
    assert (await kept_secrets(ctx, made["id"])).token == "t1psecret"

    def everything(connection: sa.Connection) -> str:
        rows = [connection.execute(sa.select(table)).all() for table in (hr_sources, hr_targets, audit_log)]
        return str(rows)

    written = await ctx.sql.read(everything) + str(made) + listed.body.decode()
    for secret in ("t0psecret", "t1psecret", "k3y", "ldapsecret"):
        assert secret not in written


@pytest.mark.gen_test
async def test_a_secret_that_is_left_out_stays_and_null_removes_it(api: Api, ctx: Context) -> None:
    made = await make(api, token="t0ken", headers={"X-Api-Key": "k"})
    assert (await api.patch(f"{PATH}/{made['id']}", {"timeout_s": 5})).result["token"] == "set"
    changed = (await api.patch(f"{PATH}/{made['id']}", {"token": None})).result
    assert changed["token"] is None
    assert await kept_secrets(ctx, made["id"]) == Secrets(headers={"X-Api-Key": "k"})


@pytest.mark.gen_test
async def test_a_new_address_makes_us_forget_what_was_not_given_anew(api: Api, ctx: Context) -> None:
    made = await make(api, token="t0ken", headers={"X-Api-Key": "k"})
    same = (await api.patch(f"{PATH}/{made['id']}", {"url": REST["url"]})).result
    assert (same["token"], same["dropped"]) == ("set", [])
    moved = (await api.patch(f"{PATH}/{made['id']}", {"url": "https://evil.example/persons"})).result
    assert (moved["token"], moved["headers"], moved["dropped"]) == (None, {}, ["token", "headers"])
    assert await kept_secrets(ctx, made["id"]) == Secrets()
    anew = (await api.patch(f"{PATH}/{made['id']}", {"url": REST["url"], "token": "again"})).result
    assert (anew["token"], anew["dropped"]) == ("set", [])


@pytest.mark.gen_test
async def test_targets_are_matched_by_name_and_keep_their_secrets_at_the_same_place(api: Api, ctx: Context) -> None:
    made = await make(api, targets=["local", {**LDAP, "name": "directory"}])
    bare = {name: value for name, value in LDAP.items() if name != "password"}
    changed = (await api.patch(f"{PATH}/{made['id']}", {"targets": [{**bare, "name": "directory", "enabled": False}]})).result
    (target,) = changed["targets"]
    assert (target["id"], target["enabled"], target["settings"]["password"]) == (made["targets"][1]["id"], False, "set")
    elsewhere = await api.patch(f"{PATH}/{made['id']}", {"targets": [{**bare, "name": "directory", "url": "ldap://evil.example"}]})
    assert elsewhere.fields == ["targets[0].password"]
    other = await api.patch(f"{PATH}/{made['id']}", {"targets": [{"kind": "local", "name": "directory"}]})
    assert other.fields == ["targets[0].kind"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": " "}, ["name"]),
        ({"kind": "ftp"}, ["kind"]),
        ({"url": ""}, ["url"]),
        ({"url": "file:///etc/passwd"}, ["url"]),
        ({"url": "http://169.254.169.254/latest"}, ["url"]),
        ({"url": "http://hr:secret@host/"}, ["url"]),
        ({"url": "http://host:99999/"}, ["url"]),
        ({"departments_url": "https://other.example/departments"}, ["departments_url"]),
        ({"token": "a", "username": "b", "password": "c"}, ["token"]),
        ({"token": "a\r\nX: y"}, ["token"]),
        ({"password": "c"}, ["username"]),
        ({"headers": {"Host": "x"}}, ["headers.Host"]),
        ({"headers": {"X-Key": "a\nb"}}, ["headers.X-Key"]),
        ({"paging": {"style": "scroll"}}, ["paging.style"]),
        ({"paging": {"page_size": 0}}, ["paging.page_size"]),
        ({"timeout_s": 0}, ["timeout_s"]),
        ({"query": "SELECT 1"}, ["query"]),
        ({"path": "x.csv", "dsn": "sqlite:///x"}, ["dsn", "path"]),
        ({"organization_id": 999}, ["organization_id"]),
        ({"thresholds": {"disable": {"percent": 101}}}, ["thresholds.disable.percent"]),
        ({"thresholds": {"explode": {}}}, ["thresholds.explode"]),
        ({"field_map": {"employe_no": "x"}}, ["field_map.employe_no"]),
        ({"targets": []}, ["targets"]),
        ({"targets": ["carrier pigeon"]}, ["targets[0]"]),
        ({"targets": ["local", "local"]}, ["targets[1].name"]),
        ({"targets": [{**LDAP, "bind_dn": None}]}, ["targets[0].bind_dn"]),
        ({"targets": [{**LDAP, "colour": "red"}]}, ["targets[0].colour"]),
        ({"colour": "red"}, ["colour"]),
        ({"kind": "file", "url": "", "path": "../secrets.json"}, ["path"]),
        ({"kind": "file", "url": "", "path": "/etc/passwd"}, ["path"]),
        ({"kind": "file", "url": ""}, ["path"]),
        ({"kind": "file", "path": "a.csv"}, ["url"]),
        ({"kind": "file", "url": "", "watch": {"pattern": "../*"}}, ["watch.pattern"]),
        ({"kind": "sql", "url": ""}, ["dsn", "query"]),
        ({"kind": "sql", "url": "", "dsn": "sqlite:///../zhihui.db", "query": "SELECT 1"}, ["dsn"]),
        ({"kind": "sql", "url": "", "dsn": "postgresql://h/d", "query": "SELECT 1"}, ["dsn"]),
        ({"kind": "sql", "url": "", "dsn": "mysql://u:p@h/d?local_infile=1", "query": "SELECT 1"}, ["dsn"]),
        ({"kind": "sql", "url": "", "dsn": "mysql://u:p@h/d", "query": "DROP TABLE x"}, ["query"]),
        (
            {"kind": "sql", "url": "", "dsn": "mysql://u:p@h/d", "query": "SELECT 1", "departments_query": "SELECT 1; SELECT 2"},
            ["departments_query"],
        ),
    ],
)
@pytest.mark.gen_test
async def test_a_wrong_field_is_named(api: Api, body: dict[str, Any], fields: list[str]) -> None:
    answer = await api.post(PATH, {**REST, **body})
    assert answer.fields == fields
    assert (await api.get(PATH)).result["total"] == 0


@pytest.mark.gen_test
async def test_a_name_is_taken_once(api: Api) -> None:
    made = await make(api)
    other = await make(api, name="Other")
    assert (await api.post(PATH, REST)).fields == ["name"]
    assert (await api.patch(f"{PATH}/{other['id']}", {"name": "HR"})).fields == ["name"]
    assert (await api.patch(f"{PATH}/{made['id']}", {"name": "HR"})).result["name"] == "HR"


@pytest.mark.gen_test
async def test_a_source_is_found_by_name_and_by_number(api: Api, ctx: Context) -> None:
    made = await make(api, name="7")
    for ref in ("7", made["id"], str(made["id"])):
        found = await ctx.sql.read(lambda connection, ref=ref: sources.find_source(connection, ref))  # type: ignore[misc]
        assert found.id == made["id"]
    with pytest.raises(sources.HrSourceNotFound):
        await ctx.sql.read(lambda connection: sources.find_source(connection, "8"))


@pytest.mark.gen_test
async def test_who_changed_the_thresholds_is_kept(api: Api, ctx: Context) -> None:
    made = await make(api)
    before = await ctx.sql.read(lambda connection: sources.get_source(connection, made["id"]))
    await api.patch(f"{PATH}/{made['id']}", {"enabled": False})
    same = await ctx.sql.read(lambda connection: sources.get_source(connection, made["id"]))
    await api.patch(f"{PATH}/{made['id']}", {"thresholds": {"disable": {"count": 1000}}})
    after = await ctx.sql.read(lambda connection: sources.get_source(connection, made["id"]))
    assert before.thresholds_by == after.thresholds_by == 1
    assert before.thresholds_at == same.thresholds_at
    assert before.thresholds_at < after.thresholds_at  # type: ignore[operator]


@pytest.mark.gen_test
async def test_a_source_that_people_came_from_stays(api: Api, ctx: Context) -> None:
    made = await make(api)
    now = ctx.clock.now()
    row = {
        "source_id": made["id"],
        "employee_no": "E1",
        "name": "x",
        "state": "active",
        "row": {},
        "hash": "0" * 64,
        "revision": 1,
        "tasked": 0,
    }
    await ctx.sql.write(
        lambda connection: connection.execute(hr_persons.insert().values(**row, first_seen_at=now, changed_at=now)).rowcount
    )
    assert (await api.delete(f"{PATH}/{made['id']}")).type == "hr_source_in_use"


@pytest.mark.gen_test
async def test_every_change_is_in_the_audit_log(api: Api, ctx: Context) -> None:
    made = await make(api, url=f"{REST['url']}?key=s3cret")
    await api.patch(f"{PATH}/{made['id']}", {"thresholds": {"disable": {"count": 1}}})
    await api.delete(f"{PATH}/{made['id']}")
    wanted = sa.select(audit_log).where(audit_log.c.target == f"hr_source:{made['id']}").order_by(audit_log.c.id)
    rows = await ctx.sql.read(lambda connection: connection.execute(wanted).all())
    assert [row.action for row in rows] == ["hr_source.create", "hr_source.change", "hr_source.delete"]
    assert rows[1].detail["thresholds"] == {"disable": {"count": 1, "percent": None}}
    assert "s3cret" not in str(rows)


@pytest.mark.gen_test
async def test_who_holds_the_scope_in_one_organization_alone_may_nothing(api: Api, anonymous: Api, ctx: Context) -> None:
    made = await make(api)
    below = await organization(ctx, "physics")
    teacher = await user(ctx, anonymous, "teacher", "teacher")
    local = await user(ctx, anonymous, "local", "administrator", below)
    for caller in (teacher, local):
        assert (await caller.get(PATH)).status == 403
        assert (await caller.post(PATH, {**REST, "name": "mine"})).status == 403
        assert (await caller.patch(f"{PATH}/{made['id']}", {"url": "http://evil.example"})).status == 403
        assert (await caller.post(f"{PATH}/{made['id']}/test", {})).status == 403


@pytest.mark.gen_test
async def test_a_source_is_tried_without_keeping_anything(api: Api, ctx: Context, hr: HrPeer) -> None:
    hr.token = "t0ken"
    hr.persons[0] = person(0, email="none", room="301")
    made = await make(api, url=hr.url, departments_url=hr.departments_url, token="t0ken")
    tried = (await api.post(f"{PATH}/{made['id']}/test", {})).result
    assert tried["ok"] is True
    assert (tried["persons"]["rows"], tried["persons"]["total"], tried["departments"]["rows"]) == (12, 12, 3)
    assert "room" in tried["persons"]["columns"]
    assert len(tried["persons"]["first"]) == 5
    assert tried["persons"]["first"][1]["email"] == "e000001@example.edu.cn"
    assert len(tried["problems"]) == 1
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(hr_persons)).all()) == []


@pytest.mark.gen_test
async def test_what_is_wrong_with_a_source_is_told_in_words(api: Api, hr: HrPeer) -> None:
    made = await make(api, url=hr.url)
    hr.mischief.append(html)
    tried = (await api.post(f"{PATH}/{made['id']}/test", {})).result
    assert (tried["ok"], tried["persons"]) == (False, None)
    assert "HTML" in tried["problems"][0]
    hr.mischief.append(refused(403))
    assert "403" in (await api.post(f"{PATH}/{made['id']}/test", {})).result["problems"][0]
    hr.persons[3]["employee_no"] = None
    tried = (await api.post(f"{PATH}/{made['id']}/test", {})).result
    assert tried["ok"] is False
    assert "employee_no" in tried["problems"][0]


@pytest.mark.gen_test
async def test_a_file_is_tried(api: Api, settings: Settings) -> None:
    folder = settings.data / "hr"
    folder.mkdir()
    (folder / "p.csv").write_bytes("工号,姓名,状态\n001,李雷,在职\n".encode("gb18030"))
    field_map = {"employee_no": "工号", "name": "姓名", "status": "状态"}
    made = (await api.post(PATH, {"name": "file", "kind": "file", "path": "p.csv", "field_map": field_map})).result
    tried = (await api.post(f"{PATH}/{made['id']}/test", {})).result
    assert tried["ok"] is True
    assert (tried["persons"]["columns"], tried["persons"]["total"]) == (["工号", "姓名", "状态"], None)
    assert tried["persons"]["first"][0]["name"] == "李雷"
    assert msgspec.json.encode(tried)
