"""The end of the season: what runs, what is found, what is counted, what is printed, and what everybody heard."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.contract.waiting import until
from tests.integration.season.ears import Ear
from tests.integration.season.papers import IDEAS, rows_of
from tests.integration.season.people import University

# Where everything has come to. H is a draft of teacher3's.
STATES = {
    "A": "running",
    "B": "approved",
    "C": "approved",
    "E": "approved",
    "D": "rejected",
    "F": "rejected",
    "G": "rejected",
    "H": "draft",
    "I": "withdrawn",
    "S": "archived",
    "past1": "approved",
    "past2": "rejected",
}
# How far everything has come at least, without what is archived.
FUNNEL = {"proposed": 11, "submitted": 10, "decided": 9, "approved": 5, "running": 1, "completed": 0}
# The totals of the round in ten parts of 1.6 points, from 11 to 27.
PARTS = [2, 2, 0, 1, 3, 1, 2, 2, 2, 3]
WAY_OF_C = [
    ("submit", "teacher5"),
    ("review", "teacher5"),
    ("return", "chair_hardware"),
    ("submit", "teacher5"),
    ("review", "teacher5"),
    ("approve", "expert5"),
]
DECISIONS_ON_C = [
    ("return", "chair_hardware"),
    ("approve", "chair_hardware"),
    ("approve", "head_engineering"),
    ("approve", "expert4"),
    ("approve", "office"),
    ("approve", "expert5"),
]
# What who decides was asked to decide, by audits that were opened for them.
WAITED = {
    "chair_software": 4,  # A, B, B again from the school, the students' project
    "chair_hardware": 5,  # last year's, C, C again, D, I
    "chair_physics": 3,  # last year's, E, F
    "head_engineering": 7,  # A, B, B again, C, D; for the other head E and G
    "head_science": 3,  # G in the department's place, E, G
    "expert4": 6,
    "expert5": 6,
    "office": 6,
}


async def begin_work(uni: University) -> None:
    """An approved project begins, and cannot be completed by who proposed it."""
    assert await uni["teacher1"].act(uni.projects["A"], "start") == "running"
    await uni["teacher1"].ask("POST", f"/api/projects/{uni.projects['A']}/transitions", {"action": "complete"}, status=403)
    await uni.check_states(**STATES)


async def search(uni: University) -> None:
    """By words, by meaning, and by what papers say to those who may read them; only what may be seen."""
    [hit] = (await uni["teacher8"].get("/api/projects/search?mode=keyword&q=mud"))["hits"]
    assert (hit["project"]["id"], hit["by"]) == (uni.projects["C"], ["words"])
    for name, document in (("teacher5", uni.documents["C"]), ("teacher8", None)):
        hits = (await uni[name].get("/api/projects/search?q=paper%20strips%20that%20measure%20salt%20in%20rivers"))["hits"]
        found = {hit["project"]["id"]: hit["document_id"] for hit in hits}
        assert found[uni.projects["C"]] == document, name
    refused = (await uni["teacher8"].get("/api/projects/search?q=radio%20heat%20hand"))["hits"]
    assert uni.projects["D"] not in [hit["project"]["id"] for hit in refused]
    similar = (await uni["office"].get(f"/api/projects/{uni.projects['E']}/similar"))["items"]
    assert uni.projects["E"] not in [one["project"]["id"] for one in similar]


async def records(uni: University) -> None:
    """What happened to C, which was returned once, in its history and in the log that the auditor reads."""
    project = uni.projects["C"]
    history = (await uni["teacher5"].get(f"/api/projects/{project}/history?page_size=200&sort=id"))["items"]
    assert [(one["action"], one["actor"]) for one in history if one["what"] == "transition"] == WAY_OF_C
    assert [(one["action"], one["actor"]) for one in history if one["what"] == "audit"] == DECISIONS_ON_C
    logged = (await uni["auditor"].get(f"/api/audit-log?target=project:{project}&sort=id&page_size=200"))["items"]
    moves = [(row["action"], row["actor"]) for row in logged if row["action"].removeprefix("project.") in dict(WAY_OF_C)]
    assert moves == [(f"project.{action}", actor) for action, actor in WAY_OF_C]
    assert await uni["teacher5"].status("/api/audit-log") == 403


async def sheets(uni: University) -> None:
    """The list as a workbook: all of it for the office, for a teacher what teachers see; and it can be read in again."""
    header, *rows = await rows_of(await uni["office"].sheet("/api/projects/export.xlsx", "spreadsheetml"))
    found = {row[header.index("title")]: row[header.index("state")] for row in rows}
    expected = {idea.title: STATES[letter] for letter, idea in IDEAS.items()}
    assert {title: state for title, state in found.items() if title in expected} == expected
    assert len(rows) == len(STATES)
    [line] = [row for row in rows if row[header.index("title")] == IDEAS["C"].title]
    assert (line[header.index("owner")], line[header.index("budget")]) == ("teacher5", "devices: 12500.50; travel: 300.00")
    header, *rows = await rows_of(await uni["teacher4"].sheet("/api/projects/export.xlsx", "spreadsheetml"))
    # teacher4 reads in software: what is approved, runs or is archived there, and nothing of other departments.
    assert {row[header.index("title")] for row in rows} == {IDEAS["A"].title, IDEAS["B"].title, "A library of small compilers"}


async def lists(uni: University) -> None:
    """Counts of the list by state are those of the table."""
    office = uni["office"]
    for state, count in Counter(STATES.values()).items():
        assert (await office.get(f"/api/projects?state={state}"))["total"] == count, state
    science = await office.get(f"/api/projects?organization_id={uni.places['science']}")
    assert {one["id"] for one in science["items"]} == set(uni.ids(("E", "F", "G", "past2")))
    assert {one["id"] for one in (await uni["teacher1"].get("/api/projects?mine=1"))["items"]} == set(uni.ids("AS"))


async def dashboard(uni: University) -> None:
    """The figures of the office and of a teacher are those of what each may see."""
    figures = await uni["office"].get("/api/dashboard")
    shown = figures["projects"]
    counted = Counter(("student" if letter == "S" else "research", state) for letter, state in STATES.items())
    assert {(one["kind"], one["state"]): one["number"] for one in shown["counts"]} == counted
    assert {one["stage"]: one["number"] for one in shown["funnel"]} == FUNNEL
    waiting = {"submitted": 0, "in_review": 0, "returned": 0, "approved": 4}
    assert {one["state"]: (one["number"], one["overdue"]) for one in shown["waiting"]} == {
        state: (number, 0) for state, number in waiting.items()
    }
    assert figures["reviewers"] == []
    [given] = figures["scores"]
    assert (given["submitted"], given["least"], given["most"], given["parts"]) == (18, 11, 27, PARTS)
    assert given["mean"] == pytest.approx(357 / 18, abs=1e-3)
    assert await _entered(uni, "office", "submitted") == 12  # eight of this season, one of them again, two of last, the students'
    assert await _entered(uni, "office", "approved") == 6
    assert (
        await _entered(uni, "head_engineering", "submitted") == 10
    )  # A, B, C twice, D, I, last year's, the students', and for the other head E, G
    standing = (await uni["office"].get("/api/dashboard/series?metric=standing.approved"))["points"]
    assert standing[-1]["value"] == 4

    seen = (await uni["teacher4"].get("/api/dashboard"))["projects"]
    assert {(one["kind"], one["state"]): one["number"] for one in seen["counts"]} == {
        ("research", "running"): 1,
        ("research", "approved"): 1,
        ("student", "archived"): 1,
    }
    assert await uni["expert1"].status("/api/dashboard") == 403


async def live(uni: University) -> None:
    """A dashboard that is open hears of a new draft, and shows it at once."""
    office, writer = uni["office"], uni["teacher12"]

    async def total() -> int:
        return int((await office.get("/api/dashboard"))["projects"]["total"])

    async def is_back() -> bool:
        return await total() == len(STATES)

    ear = await Ear.open(office.url, (await office.post("/api/auth/ticket"))["ticket"], ["dashboard"])
    try:
        draft = await writer.post("/api/projects", {"title": "Snow", "organization_id": uni.places["physics"]})
        await until(lambda: ear.data("dashboard"))
        assert await total() == len(STATES) + 1
        await writer.ask("DELETE", f"/api/projects/{draft['id']}")
        await until(lambda: len(ear.data("dashboard")) > 1)
        await until(is_back)  # the first frame may be followed by one that is of the draft, too
    finally:
        await ear.end()


async def blindness(uni: University) -> None:
    """While the round was open nothing told its reviewers whose the projects were."""
    assert uni.told_blindly == []


async def _entered(uni: University, name: str, state: str) -> int:
    points: list[Any] = (await uni[name].get(f"/api/dashboard/series?metric=entered.{state}"))["points"]
    return sum(point["value"] for point in points)


async def notices(uni: University) -> None:
    """Everybody heard each thing once, and who decides was asked as often as there was something to decide."""
    heard = await uni.check_everybody_heard()
    assert {name: kinds["audit.waiting"] for name, kinds in heard.items() if kinds["audit.waiting"]} == WAITED
    told = {name: kinds["review.assigned"] for name, kinds in heard.items() if kinds["review.assigned"]}
    assert told == dict.fromkeys(("expert1", "expert2", "expert3", "teacher11"), 1)
    results = {name for name, kinds in heard.items() if kinds["round.results"]}
    assert results == {IDEAS[letter].owner for letter in "ABCDEG"} | {"expert2"}
    assert heard["teacher1"]["application.received"] == 3
    # C was returned and approved; the owner did everything else alone.
    assert heard["teacher5"]["project.transition"] == 2
    assert not heard["expert6"]
    assert not heard["student9"]
