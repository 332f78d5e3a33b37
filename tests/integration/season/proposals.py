"""The call goes out, last season is looked back on, and people propose."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.documents.pdf import pdf
from tests.integration.library import listening
from tests.integration.season.papers import IDEAS, paper
from tests.integration.season.people import University

CALL = "Call for projects of the season: proposals reach the office before the plum rains."
BUDGET = [{"what": "devices", "amount": 1_250_050}, {"what": "travel", "amount": 30_000}]
STEPS = ("Department", "School", "Experts", "Office")


async def call(uni: University) -> None:
    """The office publishes the call as a paper, which teachers find by what it says."""
    uni.documents["call"] = await uni["office"].upload(pdf([CALL, "项目申报通知"]), "call.pdf", visibility="public", title="The call")
    await uni["office"].ready(uni.documents["call"])
    [hit, *_] = await uni["teacher8"].hits("plum rains", mode="keyword")
    assert hit["document_id"] == uni.documents["call"]
    assert "<mark>" in hit["snippet"]


async def last_season(uni: University) -> None:
    """Two projects from before there was a chain: whoever may audit in the department decides, and one step is enough."""
    for letter, owner, place, decision in (
        ("past1", "teacher6", "hardware", "approve"),
        ("past2", "teacher10", "physics", "reject"),
    ):
        uni.projects[letter] = await _draft(uni, owner, place, f"Last year's {place}")
        if letter == "past1":  # whoever was in it does not review its people for years
            body = {"username": "expert1", "role": "member"}
            await uni[owner].post(f"/api/projects/{uni.projects[letter]}/members", body)
        assert await uni[owner].act(uni.projects[letter], "submit") == "in_review"
        assert uni.projects[letter] not in await uni["chair_software"].queue()
        await uni[f"chair_{place}"].decide(uni.projects[letter], decision, "as agreed last year")
    await uni.check_states(past1="approved", past2="rejected")


async def lay_chain(uni: University) -> None:
    """The office's chain is tried on last season's cases before it holds."""
    office = uni["office"]
    experts = [uni["expert4"].id, uni["expert5"].id]
    steps: list[dict[str, Any]] = [
        {"name": "Department", "reviewers": {"positions": ["chair"]}, "due_days": 7},
        {"name": "School", "reviewers": {"roles": ["organization_admin"], "where": "parent"}, "due_days": 7},
        {"name": "Experts", "mode": "all", "reviewers": {"user_ids": experts}, "due_days": 14},
        {"name": "Office", "reviewers": {"roles": ["organization_admin"], "where": "root"}, "parallel_with_previous": True},
    ]
    body = {"kind": "research", "organization_id": uni.places[""], "steps": steps}
    assert await uni["teacher1"].refused("PUT", "/api/audit-chains", body, status=403) == "forbidden"
    chain = await office.ask("PUT", "/api/audit-chains", body)
    where = f"/api/audit-chains/{chain['id']}"
    assert (chain["state"], chain["version"], [step["name"] for step in chain["steps"]]) == ("draft", 1, list(STEPS))
    await office.ask("POST", f"{where}/publish", {}, status=409)
    replay = await office.post(f"{where}/replay", {})
    cases = {case["project_id"]: (case["steps_before"], case["steps_now"], case["could_end"]) for case in replay["cases"]}
    assert cases == {uni.projects[letter]: (1, 4, True) for letter in ("past1", "past2")}
    assert (replay["more_steps"], replay["fewer_steps"], replay["stuck"]) == (6, 0, 0)
    assert set(replay["steps_empty"].values()) == {0}
    asked = {"Chair_hardware", "Chair_physics", "Head_engineering", "Head_science", "Expert4", "Expert5", "Office"}
    assert set(replay["people"].values()) == asked
    assert (await office.post(f"{where}/publish", {}))["state"] == "published"


async def propose(uni: University) -> None:
    """Nine proposals with their papers, written at the same time; one of them stays a draft that nobody else knows of."""
    await asyncio.gather(*(_write(uni, letter) for letter in IDEAS))
    await uni["teacher2"].post(f"/api/projects/{uni.projects['B']}/members", {"username": "expert2", "role": "member"})
    await _change_together(uni)
    await asyncio.gather(*(uni[idea.owner].act(uni.projects[letter], "submit") for letter, idea in IDEAS.items() if letter != "H"))
    await uni.check_states(**{letter: "in_review" for letter in IDEAS if letter != "H"}, H="draft")
    assert {await uni[name].status(f"/api/projects/{uni.projects['H']}") for name in ("teacher3", "office")} == {200}
    assert {await uni[name].status(f"/api/projects/{uni.projects['H']}") for name in ("teacher1", "chair_software", "auditor")} == {404}
    # Before it is decided on a proposal is nothing for colleagues, and its paper is for who decides.
    document = f"/api/documents/{uni.documents['A']}"
    assert await uni["teacher4"].status(f"/api/projects/{uni.projects['A']}") == 404
    assert [await uni[name].status(document) for name in ("teacher4", "student1", "chair_software")] == [404, 404, 200]


async def withdraw(uni: University) -> None:
    """One thinks better of it; what was to be decided of it is over."""
    audit = (await uni["chair_hardware"].queue())[uni.projects["I"]]
    assert await uni["teacher7"].act(uni.projects["I"], "withdraw", "The robot does not like wool.") == "withdrawn"
    body = {"decision": "approve"}
    assert await uni["chair_hardware"].refused("POST", f"/api/audits/{audit}/decide", body, status=409) == "audit_ended"
    assert uni.projects["I"] not in await uni["chair_hardware"].queue()


async def _write(uni: University, letter: str) -> None:
    """A draft and its paper, read to the end."""
    idea = IDEAS[letter]
    owner = uni[idea.owner]
    uni.projects[letter] = await _draft(uni, idea.owner, idea.place, idea.title, summary=" ".join(idea.lines), budget=BUDGET)
    document = uni.documents[letter] = await owner.upload(paper(idea), f"{letter}.pdf", visibility="private", title=f"Paper {letter}")
    async with listening(owner, f"document:{document}"):
        await owner.post(f"/api/projects/{uni.projects[letter]}/attachments", {"document_id": document, "purpose": "proposal"})
        assert (await owner.ready(document))["pages"] == 2


async def _draft(uni: University, owner: str, place: str, title: str, **more: Any) -> int:
    body = {"kind": "research", "title": title, "organization_id": uni.places[place], "ends_on": "2028-06-30", **more}
    made = await uni[owner].post("/api/projects", body)
    assert (made["state"], made["owner_id"]) == ("draft", uni[owner].id)
    return int(made["id"])


async def _change_together(uni: University) -> None:
    """Of two who change the same version, the second is told to look again."""
    path = f"/api/projects/{uni.projects['B']}"
    version = (await uni["expert2"].project(uni.projects["B"]))["version"]
    changed = await uni["teacher2"].ask("PATCH", path, {"version": version, "fields": {"region": "north"}})
    assert changed["version"] > version
    await uni["teacher2"].ask("PATCH", path, {"version": version, "title": "Trains"}, status=409)
    assert (await uni["teacher2"].project(uni.projects["B"]))["title"] == IDEAS["B"].title
