"""The chain: departments, schools, then experts and the office side by side."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.integration.season.people import University
from tests.integration.season.scores import ACCEPTED, LEFT_OUT

# How much waits for whom when all is handed in and one is withdrawn; G, of a chair's own, waits in the school.
FIRST = {"Chair_software": 2, "Chair_hardware": 2, "Chair_physics": 2, "Head_science": 1}
REASON = "Say how the salt is told from the mud."


async def departments(uni: University) -> None:
    """A batch, a return to the author with a second passage, a refusal, and a chair who may not judge her own."""
    figures = await uni["office"].get("/api/dashboard")
    assert {one["name"]: one["audits"] for one in figures["reviewers"]} == FIRST
    assert (await uni["chair_hardware"].get("/api/dashboard"))["own"]["audits"] == 2
    await uni["chair_software"].decide_all(uni.ids("AB"), comment="sound")
    hardware, owner = uni["chair_hardware"], uni["teacher5"]
    audit = (await hardware.queue())[uni.projects["C"]]
    assert await hardware.refused("POST", f"/api/audits/{audit}/decide", {"decision": "return"}, status=422) == "invalid"
    await hardware.decide(uni.projects["C"], "return", REASON)
    await uni.check_states(C="returned")
    newest = (await owner.get(f"/api/projects/{uni.projects['C']}/history"))["items"]
    assert REASON in [entry["comment"] for entry in newest]
    await owner.ask("PATCH", f"/api/projects/{uni.projects['C']}", {"summary": "The salt is told from the mud by its glow."})
    await owner.act(uni.projects["C"], "submit", "The salt glows.")
    assert (await hardware.queue())[uni.projects["C"]] != audit
    await hardware.decide_all(uni.ids("CD"))

    await uni["chair_physics"].decide(uni.projects["E"])
    await uni["chair_physics"].decide(uni.projects["F"], "reject", "There is one already.")
    await uni.check_states(F="rejected")
    assert uni.projects["G"] not in await uni["chair_physics"].queue()
    # Nobody is left in the department, so that who may audit in the school is asked instead.
    assert (await uni["head_science"].queue()).keys() == set(uni.ids("EG"))
    await uni["head_science"].decide(uni.projects["G"], comment="for the department")


async def schools(uni: University) -> None:
    """A return to the department, and a head who is away."""
    head = uni["head_engineering"]
    assert (await head.queue()).keys() == set(uni.ids("ABCD"))
    await head.decide(uni.projects["B"], "return", "Has the department seen the costs?", return_to=1)
    assert uni.projects["B"] not in await head.queue()
    await uni.check_states(B="in_review")
    await uni["chair_software"].decide(uni.projects["B"], comment="It has now.")
    await head.decide_all(uni.ids("ABCD"))

    away, ends_at = uni["head_science"], (datetime.now(UTC) + timedelta(days=3)).isoformat()
    delegation = await away.post("/api/audits/delegations", {"to_username": "head_engineering", "ends_at": ends_at})
    assert delegation["active"]
    assert (await head.queue()).keys() == set(uni.ids("EG"))
    decided = await head.decide(uni.projects["E"], comment="in her name")
    await head.decide(uni.projects["G"])
    [school] = [step for step in decided["steps"] if step["name"] == "School"]
    assert [(one["user_id"], one["delegated_by"]) for one in school["decisions"] if one["decision"]] == [(head.id, away.id)]
    assert await away.queue() == {}
    for name in ("expert4", "expert5", "office"):
        assert (await uni[name].queue()).keys() == set(uni.ids("ABCDEG")), name


async def panel(uni: University) -> None:
    """Experts must all agree while the office decides beside them; two decisions at the same moment are one."""
    first, second, office = uni["expert4"], uni["expert5"], uni["office"]
    accepted, left_out = uni.ids(ACCEPTED), uni.ids(LEFT_OUT)
    await first.decide_all(accepted, comment="yes")
    await uni.check_states(**dict.fromkeys(ACCEPTED, "in_review"))
    assert (await first.queue()).keys() == set(left_out)
    await office.decide_all(accepted, comment="funded")
    await uni.check_states(**dict.fromkeys(ACCEPTED, "in_review"))
    # The last word, twice at once: by the same person from two windows.
    audit = (await second.queue())[uni.projects["A"]]
    [experts] = [step for step in (await second.get(f"/api/audits/{audit}"))["steps"] if step["name"] == "Experts"]
    assert [one["decision"] for one in experts["decisions"] if one["decision"]] == []  # what the other said is not told yet
    answers = await asyncio.gather(*(second.fetch("POST", f"/api/audits/{audit}/decide", {"decision": "approve"}) for _ in range(2)))
    assert sorted(answer.code for answer in answers) == [200, 409]
    await second.decide_all([one for one in accepted if one != uni.projects["A"]], comment="yes")
    await uni.check_states(**dict.fromkeys(ACCEPTED, "approved"))

    await office.decide_all(left_out, "reject", "The money ends here.")
    await uni.check_states(**dict.fromkeys(LEFT_OUT, "rejected"))
    for name in ("expert4", "expert5", "office"):
        assert await uni[name].queue() == {}, name
    # What is approved is for everybody to see, also who was blind to it before.
    assert (await uni["teacher4"].project(uni.projects["A"]))["owner"] == "Teacher1"
    assert await uni["teacher4"].status(f"/api/projects/{uni.projects['D']}") == 404
