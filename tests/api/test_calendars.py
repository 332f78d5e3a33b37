"""Calendars: made, imported, used by workflows, and kept while they are used."""

from __future__ import annotations

import io
from typing import Any

import openpyxl
import pytest

from tests.api.client import Api
from tests.api.module import FakeModule


def xlsx(rows: list[list[str]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


@pytest.mark.gen_test
async def test_a_calendar_is_made_and_replaced(api: Api) -> None:
    made = (await api.post("/api/calendars", {"name": "cn", "exclude": ["2027-01-01"], "weekdays": [1, 2, 3, 4, 5]})).result
    assert (made["exclude"], made["used_by"]) == (["2027-01-01"], 0)
    replaced = (await api.post("/api/calendars", {"name": "cn", "include": ["2027-01-02"]})).result
    assert (replaced["id"], replaced["exclude"], replaced["include"]) == (made["id"], [], ["2027-01-02"])
    assert [one["name"] for one in (await api.get("/api/calendars")).result] == ["cn"]
    assert (await api.delete("/api/calendars/cn")).status == 200
    missing = await api.get("/api/calendars/cn")
    assert (missing.status, missing.type) == (404, "calendar_not_found")


@pytest.mark.gen_test
async def test_bad_dates_name_their_field(api: Api) -> None:
    assert (await api.post("/api/calendars", {"name": "x", "exclude": ["2027-02-30"]})).fields == ["exclude[0]"]
    assert (await api.post("/api/calendars", {"name": "x", "weekdays": [8]})).fields == ["weekdays[0]"]
    both = {"name": "x", "exclude": ["2027-01-01"], "include": ["2027-01-01"]}
    assert (await api.post("/api/calendars", both)).fields == ["include"]


@pytest.mark.holds_loop
@pytest.mark.gen_test
async def test_import_from_a_sheet(api: Api) -> None:
    content = xlsx([["日期", "类型", "说明"], ["2027-02-06", "休", "春节"], ["2027-02-13", "班", "调休"]])
    path = "/api/calendars/%E8%8A%82%E5%81%87%E6%97%A5/import"
    made = (await api.post(path, body=content)).result
    assert (made["name"], made["exclude"], made["include"]) == ("节假日", ["2027-02-06"], ["2027-02-13"])
    broken = await api.post("/api/calendars/x/import", body=xlsx([["date", "kind"], ["tomorrow", "exclude"]]))
    assert broken.status == 422
    assert (await api.post("/api/calendars/x/import", body=b"not json")).status == 422


@pytest.mark.gen_test
async def test_a_used_calendar_stays(api: Api, module: FakeModule) -> None:
    await api.post("/api/calendars", {"name": "closed", "include_only": True})
    body: dict[str, Any] = {"name": "w", "execute_cron_list": ["0 9 * * *"], "calendar": "closed", "execute_modules": [module.step]}
    made = (await api.post("/workflow/create", body)).result
    assert made["next_fires"] == []
    refused = await api.delete("/api/calendars/closed")
    assert (refused.status, refused.type) == (409, "calendar_in_use")
    await api.post("/api/calendars", {"name": "closed", "weekdays": [1, 2, 3, 4, 5, 6, 7]})
    assert len((await api.get(f"/workflow/{made['id']}")).result["next_fires"]) == 10
    assert (await api.post("/workflow/create", {**body, "name": "v", "calendar": "none"})).fields == ["calendar"]
