"""Module routes: registration as old and new clients do it, lists, one module, messages, large files."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from server.config import Settings
from tests.api.client import Api
from tests.api.conftest import PRICE, Register
from tests.api.module import FakeModule
from tests.embedded import MODULE_KEY, settings_in

STRANGER = {"X-Forwarded-For": "203.0.113.7"}
NOBODY = 32 * "0"


@pytest.mark.gen_test
async def test_registering_by_query_as_older_clients_do(anonymous: Api, api: Api) -> None:
    query = urlencode({"name": "股价", "description": "d", "input_data": "[]", "output_data": json.dumps([PRICE]), "modelHash": "m1"})
    made = (await anonymous.get(f"/module/register?{query}")).result
    assert set(made) >= {"hash", "module_id"}
    shown = (await api.get(f"/module/{made['hash']}")).result
    assert (shown["name"], shown["model_hash"], shown["module_id"], shown["online"]) == ("股价", "m1", made["module_id"], False)
    assert [requirement["name"] for requirement in shown["output_data"]] == ["price"]


@pytest.mark.gen_test
async def test_registering_by_post(anonymous: Api) -> None:
    as_json = await anonymous.post("/module/register", {"name": "a", "output_data": [PRICE], "modelHash": "m"})
    as_text = await anonymous.post("/module/register", {"name": "a", "output_data": json.dumps([PRICE]), "modelHash": "m"})
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    as_form = await anonymous.post(
        "/module/register", body=urlencode({"name": "a", "modelHash": "m", "description": "x&y=z"}), headers=form
    )
    in_query = await anonymous.post("/module/register?" + urlencode({"name": "a", "modelHash": "m"}))
    assert as_json.result == as_text.result == as_form.result == in_query.result


@pytest.mark.gen_test
async def test_the_same_name_and_model_keep_their_hash_and_update_the_rest(api: Api) -> None:
    first = (await api.post("/module/register", {"name": "a", "modelHash": "m", "description": "old"})).result
    again = (await api.post("/module/register", {"name": "a", "modelHash": "m", "description": "new", "input_data": [PRICE]})).result
    other = (await api.post("/module/register", {"name": "a", "modelHash": "n"})).result
    assert first == again
    assert other["hash"] != first["hash"]
    shown = (await api.get(f"/module/{first['hash']}")).result
    assert (shown["description"], len(shown["input_data"])) == ("new", 1)
    assert len((await api.get("/module/list")).result) == 2


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "a", "model_hash": "x"}, ["model_hash"]),
        ({"name": "a", "input_data": "{"}, ["input_data"]),
        ({"name": "a", "input_data": "5"}, ["input_data"]),
        ({"name": "a", "output_data": [{"type": "number"}]}, ["output_data[0].name"]),
        ({"name": "a", "output_data": [{"name": "x", "type": "colour"}]}, ["output_data[0].type"]),
        ({"name": "a", "output_data": [PRICE, PRICE]}, ["output_data[1].name"]),
        ({"name": "a", "output_data": {"name": "x"}}, ["output_data"]),
        ({"name": "a" * 191}, ["name"]),
        ({"name": ["a"]}, ["name"]),
        ({"name": "a", "colour": "red"}, ["colour"]),
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_what_is_no_module(anonymous: Api, body: dict[str, Any], fields: list[str]) -> None:
    assert (await anonymous.post("/module/register", body)).fields == fields


@pytest.mark.gen_test
async def test_registering_by_head_registers_nothing(api: Api) -> None:
    assert (await api.request("HEAD", "/module/register?name=a")).status == 405
    assert (await api.get("/module/list")).result == []


@pytest.mark.gen_test
async def test_a_stranger_needs_a_key_or_an_account(anonymous: Api, api: Api) -> None:
    body = {"name": "a"}
    refused = await anonymous.post("/module/register", body, headers=STRANGER)
    assert (refused.status, refused.type) == (403, "registration_refused")
    for headers in ({"X-Real-IP": "127.0.0.1"}, {"Authorization": "Bearer wrong"}):
        assert (await anonymous.post("/module/register", body, headers={**STRANGER, **headers})).status == 403
    assert (await anonymous.post("/module/register", {**body, "key": "wrong"}, headers=STRANGER)).status == 403
    accepted = [
        await anonymous.post("/module/register", body, headers=STRANGER, token=MODULE_KEY),
        await anonymous.post("/module/register", {**body, "key": MODULE_KEY}, headers=STRANGER),
        await anonymous.post(f"/module/register?key={MODULE_KEY}", body, headers=STRANGER),
        await anonymous.get(f"/module/register?name=a&key={MODULE_KEY}", headers=STRANGER),
        await api.post("/module/register", body, headers=STRANGER),
    ]
    assert {answer.result["hash"] for answer in accepted} == {accepted[0].result["hash"]}
    shown = await api.get(f"/module/{accepted[0].result['hash']}")
    assert MODULE_KEY not in shown.body.decode()


@pytest.mark.gen_test
async def test_a_stranger_sees_no_modules(anonymous: Api, module: FakeModule) -> None:
    assert [one["hash"] for one in (await anonymous.get("/module/online")).result] == [module.hash]
    assert (await anonymous.get("/module/online", headers=STRANGER)).status == 401
    assert (await anonymous.get("/module/online", headers=STRANGER, token=MODULE_KEY)).status == 200
    assert (await anonymous.get("/module/list")).status == 401


class TestInProduction:
    """With DEBUG=False not even loopback is trusted."""

    @pytest.fixture
    def settings(self, tmp_path: Any) -> Settings:
        return settings_in(tmp_path / "data", debug=False, allowed_hosts="127.0.0.1", notification_email="a@b.c", email_host="mail")

    @pytest.mark.gen_test
    async def test_loopback_needs_the_key(self, anonymous: Api, settings: Settings) -> None:
        assert not settings.debug
        assert (await anonymous.post("/module/register", {"name": "a"})).status == 403
        assert (await anonymous.get("/module/register?name=a")).status == 403
        assert (await anonymous.get("/module/online")).status == 401
        assert (await anonymous.post("/module/register", {"name": "a"}, token=MODULE_KEY)).status == 200

    @pytest.mark.gen_test
    async def test_other_host_names_are_refused(self, anonymous: Api) -> None:
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost"):
            refused = await anonymous.get("/health/live", headers={"Host": host})
            assert (refused.status, refused.type, refused.envelope["code"]) == (400, "host_not_allowed", "4001")
            for path in ("/websocket?hash=x", "/ws/events?ticket=x", "/nowhere"):
                assert (await anonymous.get(path, headers={"Host": host})).type == "host_not_allowed"
        assert (await anonymous.get("/health/live")).status == 200


@pytest.mark.gen_test
async def test_a_module_as_it_is_described(api: Api, module: FakeModule) -> None:
    shown = (await api.get(f"/module/{module.hash}")).result
    contract = "module_id hash name description model_hash input_data output_data online connected_at last_seen address running".split()
    assert set(contract) <= set(shown)
    assert shown["online"] is True
    assert shown["address"] == "127.0.0.1"
    assert shown["running"] == 0
    assert (await api.get("/module/online")).result == (await api.get("/module/list")).result == [shown]


@pytest.mark.gen_test
async def test_changing_a_module(api: Api, register: Register) -> None:
    made = await register("a", output_data=[PRICE])
    changed = (await api.patch(f"/module/{made.hash}", {"description": "better", "output_data": []})).result
    assert (changed["description"], changed["output_data"]) == ("better", [])
    assert (await api.patch(f"/module/{made.hash}", {})).result["description"] == "better"
    assert (await api.patch(f"/module/{made.hash}", {"name": "b"})).fields == ["name"]
    assert (await api.patch(f"/module/{made.hash}", {"input_data": [{}]})).fields == ["input_data[0].name"]


@pytest.mark.gen_test
async def test_removing_a_module(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    used = await api.delete(f"/module/{module.hash}")
    assert (used.status, used.type) == (409, "module_in_use")
    assert "daily" in used.envelope["message"]
    await api.delete(f"/workflow/{workflow['id']}")
    assert (await api.delete(f"/module/{module.hash}")).status == 200
    assert await module.closed() == 1008
    assert (await api.get(f"/module/{module.hash}")).status == 404


@pytest.mark.parametrize("hash", [NOBODY, "x", NOBODY[:-1], NOBODY.upper()[:-1] + "A", "..%2f..%2fetc%2fpasswd", "%00"])
@pytest.mark.gen_test
async def test_an_unknown_hash(api: Api, hash: str) -> None:
    for method in ("GET", "DELETE"):
        assert (await api.request(method, f"/module/{hash}")).status == 404
    assert (await api.patch(f"/module/{hash}", {})).status == 404


@pytest.mark.gen_test
async def test_a_message_goes_verbatim_or_as_json(api: Api, module: FakeModule) -> None:
    for message, sent in [
        ('{"type": "x",  "y": 1}', '{"type": "x",  "y": 1}'),
        ("你好", "你好"),
        ({"type": "x", "y": ["é"]}, '{"type":"x","y":["é"]}'),
        (5, "5"),
        (None, "null"),
    ]:
        assert (await api.post("/module/send_message", {"module_hash": module.hash, "message": message})).result == {"message": sent}
        assert await module.text() == sent


@pytest.mark.gen_test
async def test_a_message_to_nobody(api: Api, register: Register) -> None:
    offline = await register("a")
    refused = await api.post("/module/send_message", {"module_hash": offline.hash, "message": "x"})
    assert (refused.status, refused.type) == (409, "module_offline")
    assert (await api.post("/module/send_message", {"module_hash": NOBODY, "message": "x"})).type == "module_not_found"
    assert (await api.post("/module/send_message", {"module_hash": offline.hash})).fields == ["message"]
    assert (await api.post("/module/send_message", {"message": "x"})).fields == ["module_hash"]


@pytest.mark.gen_test
async def test_a_large_output_goes_by_file(api: Api, anonymous: Api, module: FakeModule) -> None:
    content = msgspec.json.encode(["行" * 1000] * 200)
    stored = (await anonymous.post(f"/module/{module.hash}/files", body=content, headers={"Content-Type": "application/json"})).result
    assert stored["size"] == len(content)
    fetched = await anonymous.get(stored["url"].partition("10080")[2])
    assert fetched.body == content
    assert fetched.headers["Content-Disposition"].startswith("attachment")
    assert (await anonymous.post(f"/module/{module.hash}/files", body=b"x", headers=STRANGER)).status == 403
    assert (await anonymous.post(f"/module/{module.hash}/files?key={MODULE_KEY}", body=b"x", headers=STRANGER)).status == 200
    assert (await api.post(f"/module/{NOBODY}/files", body=b"x")).type == "module_not_found"
    assert (await anonymous.post(f"/module/{module.hash}/files", body=b"")).result["size"] == 0


class TestSmallUploads:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> Settings:
        return settings_in(tmp_path / "data", max_upload_mb=1)

    @pytest.mark.gen_test
    async def test_an_upload_over_the_limit_is_told_so_and_leaves_nothing(self, api: Api, register: Register, settings: Settings) -> None:
        made = await register("a")
        refused = await api.post(f"/module/{made.hash}/files", body=b"x" * ((1 << 20) + 1))
        assert (refused.status, refused.type) == (413, "too_large")
        assert [path for path in settings.files.rglob("*") if path.is_file()] == []


@pytest.mark.gen_test
async def test_a_page_of_somebody_elses_registers_nothing(anonymous: Api) -> None:
    for site in ("cross-site", "same-site"):
        refused = await anonymous.get("/module/register?name=evil", headers={"Sec-Fetch-Site": site})
        assert (refused.status, refused.type) == (403, "registration_refused")
    assert (await anonymous.get("/module/register?name=own", headers={"Sec-Fetch-Site": "same-origin"})).status == 200
    assert [module["name"] for module in (await anonymous.get("/module/online")).result] == []
