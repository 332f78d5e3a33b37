"""Projects in and out of spreadsheets: looked at, imported, undone, exported; nothing beyond what the caller may."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any

import openpyxl
import pytest

from jobs.cpu import sheets
from tests.api.client import Api
from tests.api.projects.conftest import School
from tests.documents.form import HEADERS as FORM
from tests.documents.form import form

HEADER = ["title", "kind", "summary", "organization", "owner", "starts on", "ends on", "budget", "fields"]


def book(rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER) -> bytes:
    made = openpyxl.Workbook()
    assert made.active is not None
    for row in (header, *rows):
        made.active.append(list(row))
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


async def send(caller: Api, data: bytes, query: str = "") -> Any:
    return await caller.post(f"/api/projects/import{query}", body=form([("projects.xlsx", data)]), headers=dict(FORM))


async def fetch(caller: Api, path: str) -> list[list[Any]]:
    answer = await caller.get(path)
    assert answer.status == 200
    sheet = openpyxl.load_workbook(io.BytesIO(answer.body)).worksheets[0]
    for row in sheet.iter_rows():
        for cell in row:
            assert cell.data_type in ("s", "n")  # never a formula
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


@pytest.mark.gen_test(timeout=90)
async def test_a_dry_run_tells_of_every_row_and_writes_nothing(school: School) -> None:
    rows = [
        ["Good", "科研", "about", "physics", "", "2026-01-01", "2026/12/31", "books: 12.50; travel: 3", '{"level": 1}'],
        ["", "art", "", "nowhere", "nobody", "soon", "", "much", "[1]"],
        ["Elsewhere", "", "", "history", "", "", "", "", ""],
        ["Of another", "", "", "", "tom", "", "", "", ""],
    ]
    report = (await send(school.tea, book(rows), "?dry_run=1")).result
    assert (report["id"], report["state"], report["counts"]) == (None, "planned", {"create": 1, "update": 0, "unchanged": 0, "error": 3})
    wrong = [sorted({one["column"] for one in row["errors"]}) for row in report["rows"]]
    assert wrong == [
        [],
        ["budget", "fields", "kind", "organization", "owner", "starts_on", "title"],
        ["organization"],
        ["owner"],
    ]
    assert (await school.tea.get("/api/projects")).result["total"] == 0


@pytest.mark.gen_test(timeout=90)
async def test_an_import_proposes_drafts_and_its_undo_takes_back_what_nobody_changed(school: School) -> None:
    rows = [["One", "teaching", "s", "", "", "", "", "books: 1,200.50", ""], ["Two", "", "", "", "", "", "", "", ""], ["", *8 * [""]]]
    report = (await send(school.tea, book(rows))).result
    assert (report["state"], report["counts"]["create"]) == ("done", 2)
    one, two = (row["project_id"] for row in report["rows"])
    made = (await school.tea.get(f"/api/projects/{one}")).result
    assert (made["state"], made["kind"], made["owner"], made["budget"]) == (
        "draft",
        "teaching",
        "tea",
        [{"what": "books", "amount": 120050}],
    )
    await school.tea.patch(f"/api/projects/{two}", {"title": "Two, changed"})
    assert (await school.max.post(f"/api/projects/imports/{report['id']}/undo")).type == "project_import_not_found"
    undone = (await school.tea.post(f"/api/projects/imports/{report['id']}/undo")).result
    assert (undone["state"], undone["counts"]["undone"], undone["counts"]["kept"], undone["kept_rows"]) == ("undone", 1, 1, [3])
    assert [row["title"] for row in (await school.tea.get("/api/projects")).result["items"]] == ["Two, changed"]
    assert (await school.tea.post(f"/api/projects/imports/{report['id']}/undo")).type == "project_import_state"


@pytest.mark.gen_test(timeout=90)
async def test_a_row_with_a_number_changes_that_project_and_its_undo_restores_it(school: School) -> None:
    mine, other = await school.propose(school.tea, "Mine", summary="old"), await school.propose(school.tom, "Other")
    rows = [[str(mine["id"]), "", "new"], [str(other["id"]), "Taken", ""], ["abc", "x", ""]]
    report = (await send(school.tea, book(rows, ["id", "title", "summary"]))).result
    assert [row["action"] for row in report["rows"]] == ["update", "error", "error"]
    changed = (await school.tea.get(f"/api/projects/{mine['id']}")).result
    assert (changed["title"], changed["summary"]) == ("Mine", "new")
    undone = (await school.tea.post(f"/api/projects/imports/{report['id']}/undo")).result
    assert undone["counts"]["undone"] == 1
    assert (await school.tea.get(f"/api/projects/{mine['id']}")).result["summary"] == "old"


@pytest.mark.gen_test(timeout=90)
async def test_who_manages_proposes_for_others(school: School) -> None:
    report = (await send(school.max, book([["For tom", "", "", "", "tom", "", "", "", ""]]))).result
    assert report["counts"]["create"] == 1
    assert (await school.tom.get(f"/api/projects/{report['rows'][0]['project_id']}")).result["relations"] == ["proposer"]


@pytest.mark.gen_test(timeout=90)
async def test_what_is_exported_is_no_formula_and_can_be_imported_again(school: School) -> None:
    made = await school.propose(school.tea, "=1+1", summary="@cmd", fields={"a": 1}, budget=[{"what": "x: y", "amount": 5}])
    header, row = await fetch(school.tea, "/api/projects/export.xlsx")
    assert header[:3] == ["编号", "名称", "类型"]
    assert row[:6] == [str(made["id"]), "=1+1", "research", "@cmd", "physics", "tea"]
    assert row[8:11] == ["x: y: 0.05", '{"a":1}', "draft"]
    again = (await send(school.tea, (await school.tea.get("/api/projects/export.xlsx")).body, "?dry_run=1")).result
    assert [one["action"] for one in again["rows"]] == ["unchanged"], again
    assert len(await fetch(school.tom, "/api/projects/export.xlsx")) == 1
    assert len(await fetch(school.max, "/api/projects/export.xlsx?kind=teaching")) == 1
    template = await fetch(school.tea, "/api/projects/template.xlsx")
    assert template[0] == header[:10]


@pytest.mark.gen_test(timeout=90)
async def test_what_is_no_sheet_is_refused(school: School) -> None:
    for data in (b"nonsense", book([["x"]], ["other"]), book([]), book([["x", "y"]], ["title", "名称"])):
        assert (await send(school.tea, data)).fields == ["file"]
    assert (await school.tea.post("/api/projects/import", {"a": 1})).fields == ["file"]
    assert (await send(school.rev, book([]))).status == 403


class TestLongSheets:
    @pytest.fixture
    def loops(self) -> bool:
        return True

    @pytest.mark.gen_test(timeout=120)
    async def test_a_long_sheet_is_written_and_taken_back_by_tasks(self, school: School) -> None:
        rows = [[f"P{number}"] for number in range(sheets.PIECE + 20)]
        report = (await send(school.tea, book(rows, ["title"]))).result
        assert report["task_id"] is not None
        assert await self._until(school, report["id"], "done") == {"create": len(rows), "update": 0, "unchanged": 0, "error": 0}
        assert (await school.tea.get("/api/projects")).result["total"] == len(rows)
        assert "项目导入" in (await school.tea.get("/api/notifications")).result["items"][0]["text"]
        assert (await school.tea.post(f"/api/projects/imports/{report['id']}/undo")).result["task_id"] is not None
        assert (await self._until(school, report["id"], "undone"))["undone"] == len(rows)
        assert (await school.tea.get("/api/projects")).result["total"] == 0

    async def _until(self, school: School, import_id: str, state: str) -> dict[str, int]:
        async with asyncio.timeout(60):
            while True:
                report = (await school.tea.get(f"/api/projects/imports/{import_id}")).result
                if report["state"] == state:
                    counts: dict[str, int] = report["counts"]
                    return counts
                await asyncio.sleep(0.05)
