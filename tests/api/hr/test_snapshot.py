"""A snapshot is staged whole or not at all, and cheaply where nothing changed."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from server.config import Settings
from server.context import Context
from server.people.hr import snapshot, sources
from server.people.hr.person_row import PersonRow, row_hash
from server.people.hr.refusals import SnapshotRefused
from server.people.hr.tables import hr_persons, hr_rows
from tests.api.client import Api
from tests.peers.hr_server import HrPeer, department, fine, held, html, person

RUN = "0" * 32


async def source(api: Api, ctx: Context, hr: HrPeer, **more: Any) -> sources.Source:
    body = {"name": "HR", "kind": "rest", "url": hr.url, "departments_url": hr.departments_url, "paging": {"page_size": 5}, **more}
    made = (await api.post("/api/hr/sources", body)).result
    return await ctx.sql.read(lambda connection: sources.get_source(connection, made["id"]))


async def staged(ctx: Context, what: str = "person") -> dict[str, Any]:
    wanted = sa.select(hr_rows).where(hr_rows.c.run_id == RUN, hr_rows.c.what == what)
    return {row.key: row for row in await ctx.sql.read(lambda connection: connection.execute(wanted).all())}


@pytest.mark.gen_test
async def test_everything_is_staged(api: Api, ctx: Context, hr: HrPeer) -> None:
    heard: list[int] = []

    async def report(persons: int) -> None:
        heard.append(persons)

    made = await snapshot.stage(ctx, await source(api, ctx, hr), RUN, report)
    persons, departments = await staged(ctx), await staged(ctx, "department")
    assert (made.persons, made.departments, made.pages, made.has_departments) == (12, 3, 4, True)
    assert (len(persons), len(departments)) == (12, 3)
    assert heard == [5, 10, 12]
    row = msgspec.convert(persons["E000003"].row, PersonRow)
    assert (row.name, row.title, row.department_code) == ("教师3", "讲师", "D000")
    assert persons["E000003"].hash == row_hash(row)
    assert persons["E000003"].email_key == "e000003@example.edu.cn"


@pytest.mark.gen_test
async def test_the_same_rows_have_the_same_hash_in_any_order(api: Api, ctx: Context, hr: HrPeer) -> None:
    read = await source(api, ctx, hr)
    first = await snapshot.stage(ctx, read, RUN)
    hr.persons.reverse()
    again = await snapshot.stage(ctx, read, RUN)
    hr.persons[0]["title"] = "院长"
    changed = await snapshot.stage(ctx, read, RUN)
    assert first.hash == again.hash != changed.hash
    assert len(await staged(ctx)) == 12


@pytest.mark.gen_test
async def test_what_we_have_already_is_staged_without_its_row(api: Api, ctx: Context, hr: HrPeer) -> None:
    read = await source(api, ctx, hr)
    await snapshot.stage(ctx, read, RUN)
    known = (await staged(ctx))["E000001"]
    now = ctx.clock.now()
    more = {"source_id": read.id, "state": "gone", "revision": 1, "tasked": 0, "first_seen_at": now, "changed_at": now}
    values = {"employee_no": known.key, "name": "x", "row": known.row, "hash": known.hash}
    await ctx.sql.write(lambda connection: connection.execute(hr_persons.insert().values(**values, **more)).rowcount)
    await snapshot.stage(ctx, read, RUN)
    rows = await staged(ctx)
    assert rows["E000001"].row == {}
    assert rows["E000001"].hash == known.hash
    assert all(row.row for key, row in rows.items() if key != "E000001")


@pytest.mark.gen_test
async def test_a_source_without_departments_says_so(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await snapshot.stage(ctx, await source(api, ctx, hr, departments_url=""), RUN)
    assert (made.departments, made.has_departments) == (0, False)
    assert "_problems" not in (await staged(ctx))["E000001"].row["extra"]


@pytest.mark.gen_test
async def test_a_person_in_an_unknown_department_is_told(api: Api, ctx: Context, hr: HrPeer) -> None:
    hr.persons[1]["department_code"] = "D999"
    await snapshot.stage(ctx, await source(api, ctx, hr), RUN)
    assert (await staged(ctx))["E000001"].row["extra"] == {"_problems": "department"}


@pytest.mark.gen_test
async def test_a_row_that_comes_twice_is_one(api: Api, ctx: Context, hr: HrPeer) -> None:
    hr.persons.append(dict(hr.persons[0]))
    made = await snapshot.stage(ctx, await source(api, ctx, hr), RUN)
    assert made.persons == len(await staged(ctx)) == 12


def spoil(hr: HrPeer, how: str) -> None:
    """Something wrong on the last page, when the others are staged already."""
    if how == "duplicate":
        hr.persons[11]["employee_no"] = hr.persons[0]["employee_no"]
    elif how == "incomplete":
        hr.persons[11]["name"] = ""
    elif how == "not_json":
        hr.mischief.extend([fine, fine, fine, html])
    elif how == "empty":
        hr.persons.clear()
    elif how == "empty_departments":
        hr.departments.clear()
    elif how == "cycle":
        hr.departments = [department(0, parent_code="D002"), department(1), department(2)]
    elif how == "itself":
        hr.departments = [department(0, parent_code="D000")]
    else:
        hr.departments = [department(1)]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("duplicate", "hr_source_duplicate"),
        ("incomplete", "hr_source_incomplete"),
        ("not_json", "hr_source_not_json"),
        ("empty", "hr_source_empty"),
        ("empty_departments", "hr_source_empty"),
        ("cycle", "hr_source_cycle"),
        ("itself", "hr_source_cycle"),
        ("no_parent", "hr_source_incomplete"),
    ],
)
@pytest.mark.gen_test
async def test_any_doubt_leaves_nothing(api: Api, ctx: Context, hr: HrPeer, how: str, error: str) -> None:
    read = await source(api, ctx, hr)
    spoil(hr, how)
    with pytest.raises(SnapshotRefused) as refusal:
        await snapshot.stage(ctx, read, RUN)
    assert refusal.value.type == error
    assert refusal.value.text.say("zh")
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(hr_rows)).all()) == []


@pytest.mark.gen_test
async def test_two_rows_of_one_number_are_named(api: Api, ctx: Context, hr: HrPeer) -> None:
    read = await source(api, ctx, hr)
    hr.persons[7] = person(3, name="另一人")
    with pytest.raises(SnapshotRefused, match=r"E000003 .* row 8"):
        await snapshot.stage(ctx, read, RUN)


@pytest.mark.gen_test(timeout=20)
async def test_a_source_that_never_ends_is_given_up(api: Api, ctx: Context, hr: HrPeer) -> None:
    read = await source(api, ctx, hr, total_timeout_s=1)
    for_ever = asyncio.Event()
    hr.mischief.extend([fine, held(for_ever)])
    with pytest.raises(SnapshotRefused) as refusal:
        await snapshot.stage(ctx, read, RUN)
    assert refusal.value.type == "hr_source_away"
    assert await staged(ctx, "department") == {}
    for_ever.set()


@pytest.mark.gen_test
async def test_a_cancelled_snapshot_leaves_nothing_and_can_be_taken_again(api: Api, ctx: Context, hr: HrPeer) -> None:
    read = await source(api, ctx, hr)
    held_up, for_ever = asyncio.Event(), asyncio.Event()

    async def apply(handler: Any, answer: Any) -> None:
        held_up.set()
        await held(for_ever)(handler, answer)

    hr.mischief.extend([fine, fine, apply])
    taking = asyncio.ensure_future(snapshot.stage(ctx, read, RUN))
    await held_up.wait()
    taking.cancel()
    await asyncio.wait([taking])
    for_ever.set()
    assert taking.cancelled()
    assert await staged(ctx) == {}
    assert (await snapshot.stage(ctx, read, RUN)).persons == 12


@pytest.mark.gen_test
async def test_files_with_departments_are_staged(api: Api, ctx: Context, settings: Settings) -> None:
    folder = settings.data / "hr"
    folder.mkdir()
    (folder / "p.csv").write_text("employee_no,name,department_code\nE1,李雷,D1\n")
    (folder / "d.csv").write_text("code,name,parent_code\nD1,物理学院,\nD2,光学所,D1\n")
    made = (await api.post("/api/hr/sources", {"name": "f", "kind": "file", "path": "p.csv", "departments_path": "d.csv"})).result
    read = await ctx.sql.read(lambda connection: sources.get_source(connection, made["id"]))
    taken = await snapshot.stage(ctx, read, RUN)
    assert (taken.persons, taken.departments) == (1, 2)
    assert (await staged(ctx, "department"))["D2"].row["parent_code"] == "D1"
