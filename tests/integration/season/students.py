"""Student projects: an opening, teams that find together, one place for two, milestones, and the end."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from tests.documents.pdf import pdf
from tests.integration.season.people import Person, University

OPENING = "A library of small compilers"


async def study(uni: University) -> None:
    """From the opening to the archive."""
    opening = await _offer(uni)
    leads = await _apply(uni, opening)
    await _take_one(uni, opening, leads)
    await _work(uni)


async def _offer(uni: University) -> int:
    body = {
        "title": OPENING,
        "description": "Three passes, one summer.",
        "organization_id": uni.places["software"],
        "places": 1,
        "team_least": 2,
        "team_most": 3,
        "deadline": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }
    await uni["student1"].ask("POST", "/api/student-projects", body, status=403)
    made = await uni["teacher1"].post("/api/student-projects", body)
    assert (made["state"], made["mentor_id"], made["accepting"]) == ("open", uni["teacher1"].id, True)
    seen = (await uni["student2"].get("/api/student-projects?accepting=1"))["items"]
    assert made["id"] in [one["id"] for one in seen]
    return int(made["id"])


async def _apply(uni: University, opening: int) -> dict[str, int]:
    """Two teams that are complete, one of whom somebody was invited who would rather not, and one that is not."""
    path = f"/api/student-projects/{opening}/applications"
    made: dict[str, int] = {}
    for lead, invited in (("student1", ["student2", "student3"]), ("student4", ["student5"]), ("student6", ["student7"])):
        application = await uni[lead].post(path, {"statement": f"{lead} would like to.", "usernames": invited})
        assert not application["complete"]
        made[lead] = application["id"]
    answer = "/api/student-projects/applications"
    await uni["student2"].post(f"{answer}/{made['student1']}/join")
    await uni["student3"].post(f"{answer}/{made['student1']}/refuse")
    await uni["student5"].post(f"{answer}/{made['student4']}/join")
    await uni["student2"].ask("POST", f"{answer}/{made['student1']}/join", status=409)
    # One who has joined a team for an opening is in no other one of it.
    await uni["student5"].ask("POST", path, {"statement": "Alone, then."}, status=409)
    [own] = (await uni["student1"].get(answer))["items"]
    assert (own["complete"], own["size"]) == (True, 2)
    assert await uni["student8"].status(f"{answer}/{made['student1']}") == 404
    return made


async def _take_one(uni: University, opening: int, applications: dict[str, int]) -> None:
    """The mentor accepts two teams at the same moment; there is one place."""
    mentor, answer = uni["teacher1"], "/api/student-projects/applications"
    await uni["teacher2"].ask("POST", f"{answer}/{applications['student1']}/decide", {"decision": "accept"}, status=404)
    refused = await mentor.refused("POST", f"{answer}/{applications['student6']}/decide", {"decision": "accept"}, status=409)
    assert refused == "team_incomplete"
    wanted = ("student1", "student4")
    answers = await asyncio.gather(
        *(mentor.fetch("POST", f"{answer}/{applications[lead]}/decide", {"decision": "accept", "comment": "Welcome."}) for lead in wanted)
    )
    assert sorted(one.code for one in answers) == [200, 409]
    [place] = [place for place, one in enumerate(answers) if one.code == 200]
    [other] = [json.loads(one.body)["error"]["type"] for one in answers if one.code == 409]
    assert other == "opening_full"
    uni.projects["S"] = json.loads(answers[place].body)["result"]["project_id"]
    for lead in ("student6", wanted[1 - place]):
        await mentor.post(f"{answer}/{applications[lead]}/decide", {"decision": "decline", "comment": "Next year."})
    path = f"/api/student-projects/{opening}"
    assert await uni["student8"].refused("POST", f"{path}/applications", {"statement": "Late."}, status=409) == "opening_full"
    assert (await mentor.post(f"{path}/close"))["state"] == "closed"
    assert await uni["student8"].refused("POST", f"{path}/applications", {"statement": "Later."}, status=409) == "opening_closed"
    shown = await mentor.get(path)
    assert (shown["places_taken"], shown["waiting"], shown["accepting"]) == (1, 0, False)
    project = await mentor.project(uni.projects["S"])
    assert (project["kind"], project["state"], project["title"]) == ("student", "draft", OPENING)
    members = (await mentor.get(f"/api/projects/{uni.projects['S']}/members"))["items"]
    second = {"student1": "student2", "student4": "student5"}[wanted[place]]
    assert {one["username"]: one["role"] for one in members} == {wanted[place]: "lead", second: "member", "teacher1": "mentor"}


async def _work(uni: University) -> None:
    """Planned, approved, delivered, returned, passed, completed, archived."""
    project, mentor = uni.projects["S"], uni["teacher1"]
    members = (await mentor.get(f"/api/projects/{project}/members"))["items"]
    [lead] = [uni[one["username"]] for one in members if one["role"] == "lead"]
    path = f"/api/projects/{project}/milestones"
    due = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    await lead.ask("POST", path, {"title": "I pass myself", "kind": "final"}, status=403)
    midterm, final = [(await mentor.post(path, {"title": kind, "kind": kind, "due_at": due}))["id"] for kind in ("midterm", "final")]
    assert await lead.act(project, "submit") == "in_review"
    await uni["chair_software"].decide(project)
    assert await lead.act(project, "start") == "running"
    [row] = (await mentor.get("/api/student-projects/mentors"))["items"]
    assert (row["mentor_id"], row["running"], row["students"], row["above_limit"]) == (mentor.id, 1, 2, False)

    await lead.ask("POST", f"{path}/{midterm}/check", {"decision": "pass"}, status=403)
    await mentor.ask("POST", f"{path}/{midterm}/check", {"decision": "pass"}, status=409)
    await _deliver(uni, lead, f"{path}/{midterm}", "The first pass works.")
    await mentor.post(f"{path}/{midterm}/check", {"decision": "return", "comment": "Which tests?"})
    await lead.post(f"{path}/{midterm}/deliver", {"note": "All of them."})
    assert (await mentor.post(f"{path}/{midterm}/check", {"decision": "pass"}))["state"] == "passed"
    refused = await mentor.refused("POST", f"/api/projects/{project}/transitions", {"action": "complete"}, status=409)
    assert refused == "finals_open"
    await _deliver(uni, lead, f"{path}/{final}", "Three passes, done.")
    await mentor.post(f"{path}/{final}/check", {"decision": "pass", "comment": "Well done."})
    assert await mentor.act(project, "complete") == "completed"
    assert await uni["head_engineering"].act(project, "archive") == "archived"


async def _deliver(uni: University, lead: Person, milestone: str, note: str) -> None:
    """A paper, which the mentor can then read."""
    document = await lead.upload(pdf([note]), "delivery.pdf", visibility="private")
    delivered = await lead.post(f"{milestone}/deliver", {"document_id": document, "note": note})
    assert (delivered["state"], delivered["late"]) == ("delivered", False)
    assert await uni["teacher1"].status(f"/api/documents/{document}") == 200
    assert await uni["teacher2"].status(f"/api/documents/{document}") == 404
