"""Calendars: made, replaced, imported from JSON and xlsx, and not removed while a schedule uses them."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import quote

import openpyxl
import pytest

from tests.api.client import Api
from tests.api.module import FakeModule

HOLIDAY = {"name": "cn", "exclude": ["2026-10-01"], "include": ["2026-10-10"], "weekdays": [1, 2, 3, 4, 5], "notes": {"2026-10-01": "国庆"}}


def xlsx(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


@pytest.mark.gen_test
async def test_making_reading_and_replacing(api: Api) -> None:
    made = (await api.post("/api/calendars", HOLIDAY)).result
    assert {name: made[name] for name in HOLIDAY} == HOLIDAY
    assert (made["used_by"], made["include_only"]) == (0, False)
    assert (await api.get("/api/calendars/cn")).result == made
    replaced = (await api.post("/api/calendars", {"name": "cn", "exclude": ["2026-10-02", "2026-10-01"]})).result
    assert (replaced["id"], replaced["exclude"], replaced["weekdays"]) == (made["id"], ["2026-10-01", "2026-10-02"], None)
    assert (await api.get("/api/calendars")).result == [replaced]
    assert (await api.delete("/api/calendars/cn")).status == 200
    assert (await api.get("/api/calendars/cn")).type == "calendar_not_found"
    assert (await api.delete("/api/calendars/cn")).type == "calendar_not_found"


@pytest.mark.parametrize("name", ["节假日", "a b", "a/b", "100%", "a%20b", "a+b", "..", "?x=1#y", "%2F", "ä" * 190, "a\x00b"])
@pytest.mark.gen_test
async def test_a_name_may_be_anything(api: Api, name: str) -> None:
    assert (await api.post("/api/calendars", {"name": name})).result["name"] == name
    path = f"/api/calendars/{quote(name, safe='')}"
    assert (await api.get(path)).result["name"] == name
    assert (await api.post(f"{path}/import", body=b'{"exclude": ["2026-10-01"]}')).result["name"] == name
    assert len((await api.get("/api/calendars")).result) == 1
    assert (await api.delete(path)).status == 200
    assert (await api.get("/api/calendars")).result == []


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "x" * 191}, ["name"]),
        ({"exclude": ["2026-02-31"]}, ["exclude[0]"]),
        ({"exclude": ["1.10.2026"]}, ["exclude[0]"]),
        ({"exclude": "2026-10-01"}, ["exclude"]),
        ({"include": ["2026-10-01"]}, ["include"]),
        ({"weekdays": [0]}, ["weekdays[0]"]),
        ({"weekdays": [1, 8]}, ["weekdays[1]"]),
        ({"notes": []}, ["notes"]),
        ({"holidays": []}, ["holidays"]),
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_what_is_no_calendar(api: Api, change: dict[str, Any], fields: list[str]) -> None:
    answer = await api.post("/api/calendars", {**HOLIDAY, **change}, headers={"Accept-Language": "en"})
    assert answer.fields == fields
    assert all(reason.isascii() for reasons in answer.error["fields"].values() for reason in reasons)


@pytest.mark.gen_test
async def test_importing_a_workbook(api: Api) -> None:
    book = xlsx(["日期", "类型", "说明"], ["2026-10-01", "休", "国庆"], ["2026年10月10日", "班", None])
    made = (await api.post("/api/calendars/cn/import", body=book, headers={"Content-Type": "application/vnd.ms-excel"})).result
    assert (made["exclude"], made["include"], made["notes"]) == (["2026-10-01"], ["2026-10-10"], {"2026-10-01": "国庆"})


@pytest.mark.parametrize(
    "book",
    [
        b"",
        b"nothing",
        b"[",
        b'{"exclude": ["2026-02-31"]}',
        b'{"exclude": 5}',
        b'{"everything": []}',
        b"[" * 100_000,
        b"PK\x03\x04 torn",
        b"\xff\xfe\x00",
        xlsx(["when"], ["2026-10-01"]),
        xlsx(["date"], ["2026-02-31"]),
        xlsx(["date", "kind"], ["2026-10-01", "perhaps"]),
        xlsx(["date", "kind"], ["2026-10-01", "exclude"], ["2026-10-01", "include"]),
        xlsx(),
    ],
    ids=lambda book: book[:3].hex(),
)
@pytest.mark.gen_test
async def test_a_file_that_cannot_be_read(api: Api, book: bytes) -> None:
    assert (await api.post("/api/calendars/cn/import", body=book)).status == 422
    assert (await api.get("/api/calendars")).result == []


@pytest.mark.gen_test
async def test_a_calendar_in_use_stays(api: Api, module: FakeModule) -> None:
    await api.post("/api/calendars", HOLIDAY)
    body = {"name": "w", "calendar": "cn", "execute_modules": [module.step], "execute_cron_list": ["0 10 * * *"]}
    made = (await api.post("/workflow/create", body)).result
    assert (await api.get("/api/calendars/cn")).result["used_by"] == 1
    refused = await api.delete("/api/calendars/cn")
    assert (refused.status, refused.type) == (409, "calendar_in_use")
    await api.post("/api/calendars", {"name": "cn", "include_only": True})
    assert (await api.get(f"/workflow/{made['id']}")).result["next_fires"] == [], "schedules follow their calendar at once"
    await api.delete(f"/workflow/{made['id']}")
    assert (await api.delete("/api/calendars/cn")).status == 200
