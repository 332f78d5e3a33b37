"""Workflow routes: create, read, replace, switch, preview, remove; and every way in which a body can be wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from server.clock import HeldClock
from tests.api.client import Api
from tests.api.conftest import PRICE, Register
from tests.api.module import FakeModule

MISSING = "/workflow/" + 32 * "0"
CRONS = ["*/10 10 * * 1-5", "*/10 14 * * 1-5"]


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(datetime(2026, 1, 5, 0, 0, tzinfo=UTC))  # a Monday, 08:00 in Shanghai


async def create(api: Api, module: FakeModule, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await api.post("/workflow/create", {"name": "w", "execute_modules": [module.step], **more})).result
    return made


@pytest.mark.gen_test
async def test_a_whole_body_comes_back_as_it_went(api: Api, module: FakeModule) -> None:
    assert (await api.post("/api/calendars", {"name": "cn-trading", "weekdays": [1, 2, 3, 4, 5], "exclude": ["2026-01-06"]})).status == 200
    body = {
        "name": "股价",
        "description": "d",
        "enable": True,
        "execute_cron_list": CRONS,
        "timezone": "Asia/Shanghai",
        "calendar": "cn-trading",
        "execute_shift_time": -30,
        "execute_shift_unit": "s",
        "execute_modules": [
            {
                "module_hash": module.hash,
                "args": {"a": [1, {"b": None}]},
                "name": "prices",
                "depends_on": [],
                "timeout_s": 60,
                "retry": {"max_attempts": 3, "backoff_s": 1.5},
            }
        ],
        "misfire": "all",
        "misfire_max_age_s": 60,
        "overlap": "parallel",
        "offline_grace_s": 5,
        "notify": ["a@example.org"],
    }
    made = (await api.post("/workflow/create", body)).result
    assert {name: made[name] for name in body} == body
    assert set(made) >= {"id", "workflow_id", "name"}
    for ref in (made["id"], made["workflow_id"]):
        shown = (await api.get(f"/workflow/{ref}")).result
        assert shown == made
    assert len(shown["next_fires"]) == 10
    assert shown["next_fires"][0] == "2026-01-05T01:59:30Z"  # 10:00 in Shanghai, half a minute before
    assert not any(fire.startswith("2026-01-06") for fire in shown["next_fires"])
    [listed] = (await api.get("/workflow/list")).result
    assert listed["id"] == made["id"]
    [job] = [job for job in (await api.get("/scheduler/jobs")).result if job["kind"] == "workflow"]
    assert (job["workflow_id"], job["cron"], job["calendar"]) == (made["workflow_id"], CRONS, "cn-trading")


@pytest.mark.gen_test
async def test_little_has_to_be_said(api: Api, module: FakeModule) -> None:
    made = await create(api, module)
    assert (made["enable"], made["timezone"], made["overlap"], made["misfire"], made["next_fires"]) == (
        True,
        "Asia/Shanghai",
        "queue",
        "last",
        [],
    )
    assert made["organization_id"] == 1


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": ""}, ["name"]),
    ({"name": None}, ["name"]),
    ({"name": "x" * 191}, ["name"]),
    ({"name": "\ud800"}, []),
    ({"enable": "yes"}, ["enable"]),
    ({"enabled": True}, ["enabled"]),
    ({"execute_cron_list": "* * * * *"}, ["execute_cron_list"]),
    ({"execute_cron_list": ["* * * *"]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["* * * * *", "61 * * * *"]}, ["execute_cron_list[1]"]),
    ({"execute_cron_list": ["0 0 31 2 *"]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["0 0 30 2 *"]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["H * * * *"]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": [""]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["@reboot"]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["* * * * * * *"]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["*" * 5000]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["\x00 * * * *"]}, ["execute_cron_list[0]"]),
    ({"execute_cron_list": ["* * * * *"] * 33}, ["execute_cron_list"]),
    ({"execute_cron_list": [5]}, ["execute_cron_list[0]"]),
    ({"timezone": "Mars/Olympus"}, ["timezone"]),
    ({"timezone": "../../etc/passwd"}, ["timezone"]),
    ({"timezone": "Asia"}, ["timezone"]),
    ({"timezone": "\x00"}, ["timezone"]),
    ({"timezone": 8}, ["timezone"]),
    ({"calendar": "nowhere"}, ["calendar"]),
    ({"execute_shift_unit": "weeks"}, ["execute_shift_unit"]),
    ({"execute_shift_time": 10**9}, ["execute_shift_time"]),
    ({"execute_shift_time": 10**30}, ["execute_shift_time"]),
    ({"execute_shift_time": 1.5}, ["execute_shift_time"]),
    ({"misfire": "never"}, ["misfire"]),
    ({"misfire_max_age_s": -1}, ["misfire_max_age_s"]),
    ({"overlap": "sometimes"}, ["overlap"]),
    ({"offline_grace_s": 10**9}, ["offline_grace_s"]),
    ({"notify": ["nobody"]}, ["notify[0]"]),
    ({"notify": ["a@b.c\nBcc: all@example.org"]}, ["notify[0]"]),
    ({"notify": "a@b.c"}, ["notify"]),
    ({"execute_modules": []}, ["execute_modules"]),
    ({"execute_modules": None}, ["execute_modules"]),
    ({"execute_modules": [{}]}, ["execute_modules[0].module_hash"]),
    ({"execute_modules": [{"module_hash": 32 * "0"}]}, ["execute_modules[0].module_hash"]),
    ({"execute_modules": [{"module_hash": "HASH", "args": []}]}, ["execute_modules[0].args"]),
    ({"execute_modules": [{"module_hash": "HASH", "timeout_s": 0}]}, ["execute_modules[0].timeout_s"]),
    ({"execute_modules": [{"module_hash": "HASH", "retry": {"max_attempts": 0}}]}, ["execute_modules[0].retry.max_attempts"]),
    ({"execute_modules": [{"module_hash": "HASH", "retry": {"attempts": 1}}]}, ["execute_modules[0].retry.attempts"]),
    ({"execute_modules": [{"module_hash": "HASH", "depends_on": ["nobody"]}]}, ["execute_modules[0].depends_on"]),
    ({"execute_modules": [{"module_hash": "HASH", "name": "a"}, {"module_hash": "HASH", "name": "a"}]}, ["execute_modules[1].name"]),
    ({"organization_id": "one"}, ["organization_id"]),
    ({"organization_id": 10**30}, ["organization_id"]),
    ({"organization_id": -(2**63)}, ["organization_id"]),
    ({"organization_id": 999}, ["organization_id"]),
    ({"organization_id": 0}, ["organization_id"]),
]


@pytest.mark.gen_test(timeout=60)
async def test_every_wrong_field_is_named(api: Api, module: FakeModule) -> None:
    failures = []
    for change, fields in WRONG:
        body = {"name": "w", "execute_modules": [module.step], **change}
        for step in body["execute_modules"] or []:
            if step.get("module_hash") == "HASH":
                step["module_hash"] = module.hash
        if not fields:
            continue
        answer = await api.post("/workflow/create", body)
        if answer.status != 422 or answer.fields != fields:
            failures.append((change, answer))
    assert failures == []
    assert (await api.get("/workflow/list")).result == []


@pytest.mark.gen_test
async def test_all_wrong_fields_are_named_at_once(api: Api, module: FakeModule) -> None:
    answer = await api.post(
        "/workflow/create",
        {
            "name": "w",
            "execute_cron_list": ["x", "* * * * *", "y"],
            "timezone": "Mars",
            "notify": ["a"],
            "execute_modules": [module.step, {"module_hash": "x"}],
        },
    )
    assert answer.fields == ["execute_cron_list[0]", "execute_cron_list[2]", "execute_modules[1].module_hash", "notify[0]", "timezone"]


@pytest.mark.gen_test
async def test_unmet_requirements_are_refused_with_the_nearest(api: Api, register: Register) -> None:
    giver = await register("prices", output_data=[{"name": "stock_prices", "type": "table"}])
    taker = await register("indicators", input_data=[{"name": "stock_price", "type": "table"}])
    refused = await api.post(
        "/workflow/create", {"name": "w", "execute_modules": [giver.step, taker.step]}, headers={"Accept-Language": "en"}
    )
    assert refused.status == 422
    [[field, [sentence]]] = refused.error["fields"].items()
    assert field.startswith("execute_modules[1]")
    assert "stock_price " in sentence
    assert "stock_prices" in sentence
    by_hand = {**taker.step, "args": {"stock_price": [{"x": 1}]}}
    assert (await api.post("/workflow/create", {"name": "w", "execute_modules": [giver.step, by_hand]})).status == 200


@pytest.mark.gen_test
async def test_a_ring_is_refused(api: Api, register: Register) -> None:
    one = await register("one", input_data=[{"name": "b", "from": "second"}], output_data=[{"name": "a"}])
    two = await register("two", input_data=[{"name": "a", "from": "first"}], output_data=[{"name": "b"}])
    steps = [{**one.step, "name": "first", "depends_on": ["second"]}, {**two.step, "name": "second", "depends_on": ["first"]}]
    refused = await api.post("/workflow/create", {"name": "w", "execute_modules": steps})
    assert refused.status == 422
    assert all(name.startswith("execute_modules[") for name in refused.fields)


@pytest.mark.gen_test
async def test_names_are_taken_once(api: Api, module: FakeModule) -> None:
    first = await create(api, module)
    assert (await api.post("/workflow/create", {"name": "w", "execute_modules": [module.step]})).fields == ["name"]
    second = await create(api, module, name="W")
    assert (await api.put(f"/workflow/{second['id']}", {"name": "w", "execute_modules": [module.step]})).fields == ["name"]
    assert (await api.put(f"/workflow/{first['id']}", {"name": "w", "execute_modules": [module.step]})).status == 200
    await api.delete(f"/workflow/{first['id']}")
    assert (await api.put(f"/workflow/{second['id']}", {"name": "w", "execute_modules": [module.step]})).result["name"] == "w"


@pytest.mark.gen_test
async def test_replacing(api: Api, module: FakeModule) -> None:
    made = await create(api, module, execute_cron_list=CRONS, description="old")
    changed = (
        await api.put(
            f"/workflow/{made['workflow_id']}", {"name": "v", "execute_modules": [module.step], "execute_cron_list": ["0 0 * * *"]}
        )
    ).result
    assert (changed["id"], changed["name"], changed["description"], changed["execute_cron_list"]) == (made["id"], "v", "", ["0 0 * * *"])
    assert changed["version"] == made["version"] + 1
    assert (await api.put(f"/workflow/{made['id']}", {"name": "v"})).fields == ["execute_modules"]
    assert (
        await api.put(f"/workflow/{made['id']}", {"name": "v", "execute_modules": [module.step], "execute_cron_list": ["x"]})
    ).status == 422
    assert (await api.get(f"/workflow/{made['id']}")).result == changed


@pytest.mark.gen_test
async def test_enabling_and_disabling(api: Api, module: FakeModule) -> None:
    made = await create(api, module, execute_cron_list=CRONS)
    off = (await api.post(f"/workflow/{made['id']}/disable")).result
    assert (off["enable"], off["next_fires"]) == (False, [])
    on = (await api.post(f"/workflow/{made['id']}/enable")).result
    assert on["enable"] is True
    assert len(on["next_fires"]) == 10


@pytest.mark.gen_test
async def test_removing(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    assert (await api.delete(f"/workflow/{workflow['id']}")).status == 200
    for method, more in [("GET", ""), ("DELETE", ""), ("GET", "/runs"), ("GET", "/fires"), ("POST", "/execute"), ("POST", "/enable")]:
        assert (await api.request(method, f"/workflow/{workflow['id']}{more}")).type == "workflow_not_found"
    assert [job for job in (await api.get("/scheduler/jobs")).result if job["kind"] == "workflow"] == []


@pytest.mark.parametrize("ref", [32 * "0", "999", "9" * 18, "0", "000"])
@pytest.mark.gen_test
async def test_an_unknown_workflow(api: Api, module: FakeModule, ref: str) -> None:
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/enable"),
        ("POST", "/disable"),
        ("POST", "/execute"),
        ("GET", "/fires"),
        ("GET", "/runs"),
    ]:
        assert (await api.request(method, f"/workflow/{ref}{path}")).type == "workflow_not_found"
    assert (await api.get(f"/workflow/{ref}/why?at=2026-01-01T00:00:00")).type == "workflow_not_found"
    assert (await api.put(f"/workflow/{ref}", {"name": "w", "execute_modules": [module.step]})).type == "workflow_not_found"
    assert (await api.post("/workflow/preview", {"id": ref, "execute_modules": [module.step]})).type == "workflow_not_found"


@pytest.mark.gen_test
async def test_a_preview_saves_nothing(api: Api, register: Register) -> None:
    giver = await register("prices", output_data=[PRICE])
    taker = await register("taker", input_data=[PRICE])
    body = {"execute_modules": [giver.step, taker.step], "execute_cron_list": ["0 10 * * *"], "days": 3}
    shown = (await api.post("/workflow/preview", body)).result
    assert set(shown) == {"fires", "edges", "problems", "diff"}
    assert [fire["planned_at"] for fire in shown["fires"]] == [f"2026-01-0{day}T02:00:00Z" for day in (5, 6, 7)]
    assert shown["fires"][0]["local"].startswith("2026-01-05T10:00:00")
    assert shown["edges"] == [{"producer": "prices", "output": "price", "consumer": "taker", "input": "price"}]
    assert shown["problems"] == []
    assert shown["diff"] == {"added": 3, "dropped": 0, "capped": False, "until": "2026-01-08T00:00:00Z"}
    assert (await api.get("/workflow/list")).result == []


@pytest.mark.gen_test
async def test_a_preview_shows_what_an_edit_would_change(api: Api, module: FakeModule) -> None:
    made = await create(api, module, execute_cron_list=["0 10 * * *", "0 11 * * *"])
    for ref in (made["id"], str(made["workflow_id"])):
        draft = {
            "id": ref,
            "name": "w",
            "execute_modules": [module.step],
            "execute_cron_list": ["0 11 * * *", "0 12 * * *", "0 13 * * *"],
            "days": 2,
        }
        diff = (await api.post("/workflow/preview", draft)).result["diff"]
        assert (diff["added"], diff["dropped"]) == (4, 2)
        off = (await api.post("/workflow/preview", {**draft, "enable": False})).result["diff"]
        assert (off["added"], off["dropped"]) == (0, 4)


@pytest.mark.gen_test
async def test_a_preview_tells_what_is_wrong(api: Api, register: Register) -> None:
    taker = await register("taker", input_data=[PRICE])
    body = {"execute_modules": [taker.step, {"module_hash": "x"}], "execute_cron_list": ["0 0 31 2 *"], "notify": ["a"]}
    shown = (await api.post("/workflow/preview", body)).result
    assert shown["fires"] == []
    assert {problem["field"].partition(".")[0] for problem in shown["problems"]} == {
        "execute_modules[0]",
        "execute_modules[1]",
        "execute_cron_list[0]",
        "notify[0]",
    }
    assert all(problem["message"] for problem in shown["problems"])


@pytest.mark.parametrize(
    ("change", "fields"),
    [({"days": 0}, ["days"]), ({"days": 91}, ["days"]), ({"days": "7"}, ["days"]), ({"ids": "x"}, ["ids"]), ({"id": 5}, ["id"])],
)
@pytest.mark.gen_test
async def test_a_preview_that_cannot_be_made(api: Api, module: FakeModule, change: dict[str, Any], fields: list[str]) -> None:
    assert (await api.post("/workflow/preview", {"execute_modules": [module.step], **change})).fields == fields


@pytest.mark.parametrize("ref", ["²", "", "x", "-1", "1 or 1=1", "9" * 40, "\x00"])
@pytest.mark.gen_test
async def test_a_preview_of_what_has_no_such_name(api: Api, module: FakeModule, ref: str) -> None:
    answer = await api.post("/workflow/preview", {"execute_modules": [module.step], "id": ref})
    assert answer.status == (200 if ref == "" else 404)


@pytest.mark.gen_test
async def test_a_busy_cron_is_listed_up_to_a_limit(api: Api, module: FakeModule) -> None:
    shown = (
        await api.post("/workflow/preview", {"execute_modules": [module.step], "execute_cron_list": ["* * * * * *"], "days": 90})
    ).result
    assert len(shown["fires"]) == 1000
    assert shown["diff"] == {"added": 5000, "dropped": 0, "capped": True, "until": "2026-01-05T01:23:20Z"}
