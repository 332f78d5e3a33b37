"""A run of an evaluation set on documents that were read: figures, ranks, and whom it asks for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.context import Context
from server.evaluating import report_of_sets
from server.knowledge import evaluation_runs
from tests.api.client import Api
from tests.api.knowledge.conftest import LONG_S, Library
from tests.api.people import organization, user

FIREWALL = ["Firewall", "The firewall is configured with nftables rules."]
KITCHEN = ["Kitchen", "Boil the noodles for four minutes and drain them."]
MAIL = ["Mail", "The mail transport agent delivers letters to a queue."]


async def ended(api: Api, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(LONG_S):
        while True:
            run: dict[str, Any] = (await api.get(f"/api/evaluation-runs/{run_id}")).result
            if run["state"] in ("succeeded", "failed"):
                return run
            await asyncio.sleep(0.05)


def expected(document_id: int, *pages: int) -> list[dict[str, Any]]:
    return [{"document_id": document_id, "pages": list(pages)}]


@pytest.mark.gen_test(timeout=120)
async def test_a_run_measures_every_mode(library: Library, api: Api, ctx: Context) -> None:
    first, second = await library.ready(FIREWALL, KITCHEN), await library.ready(MAIL)
    set_id = (await api.post("/api/evaluations", {"name": "manual"})).result["id"]
    questions = [
        {"question": "nftables rules", "kind": "words", "expected": expected(first, 1)},
        {"question": "boil the noodles", "kind": "words", "expected": expected(first, 2)},
        {"question": "zzzz qqqq", "kind": "nonsense", "expected": expected(second, 1)},
    ]
    assert (await api.put(f"/api/evaluations/{set_id}/questions", {"questions": questions})).status == 200
    started = (await api.post(f"/api/evaluations/{set_id}/run")).result
    run = await ended(api, started["id"])
    assert (run["state"], run["error"], run["model"]) == ("succeeded", None, "bigrams-64")
    figures = run["figures"]
    assert figures["questions"] == 3
    assert list(figures["kinds"]) == ["words", "nonsense"]
    words = figures["kinds"]["words"]
    assert (words["questions"], words["keyword"]["mrr"], words["hybrid"]["mrr"]) == (2, 1.0, 1.0)
    assert figures["kinds"]["nonsense"]["keyword"] == {"mrr": 0.0, "recall": 0.0, "ndcg": 0.0, "found": 0.0}
    assert figures["overall"]["keyword"]["mrr"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["readers"] == [1]
    assert figures["took_s"] > 0
    assert [(one["question"], one["keyword"], one["hybrid"]) for one in figures["ranks"][:2]] == [
        ("nftables rules", 1, 1),
        ("boil the noodles", 1, 1),
    ]
    assert figures["ranks"][2]["keyword"] is None
    [listed] = (await api.get(f"/api/evaluations/{set_id}/runs")).result["items"]
    assert (listed["id"], listed["figures"]["overall"], listed["figures"]["ranks"]) == (run["id"], figures["overall"], [])

    said: list[str] = []
    report = await report_of_sets(ctx, "manual", said.append)
    assert "words" in report
    assert "bigrams-64" in report
    assert said
    assert "no evaluation set" in await report_of_sets(ctx, "other", said.append)


@pytest.mark.gen_test(timeout=120)
async def test_a_run_asks_as_a_reader_of_the_organization(library: Library, api: Api, anonymous: Api, ctx: Context) -> None:
    school = await organization(ctx, "school")
    own = await library.ready(FIREWALL, organization_id=str(school))
    await library.ready(FIREWALL, FIREWALL, visibility="private", name="private.pdf", organization_id=str(school))
    elsewhere = await library.ready(FIREWALL, KITCHEN, name="elsewhere.pdf")
    set_id = (await api.post("/api/evaluations", {"name": "manual", "organization_id": school})).result["id"]
    asked = {"question": "nftables rules", "expected": expected(own, 1)}
    assert (await api.put(f"/api/evaluations/{set_id}/questions", {"questions": [asked]})).status == 200
    run = await ended(api, (await api.post(f"/api/evaluations/{set_id}/run")).result["id"])
    # The same words stand in documents that a reader cannot see: they take no place.
    assert run["figures"]["overall"]["dense"]["mrr"] == 1.0
    assert run["figures"]["ranks"] == [{"question": "nftables rules", "kind": "", "keyword": 1, "dense": 1, "hybrid": 1}]
    student = await user(ctx, anonymous, "student", "student", school)
    assert (await student.get(f"/api/evaluation-runs/{run['id']}")).result["figures"]["questions"] == 1
    stranger = await user(ctx, anonymous, "stranger", "student", await organization(ctx, "other"))
    answer = await stranger.get(f"/api/evaluation-runs/{run['id']}")
    assert (answer.status, answer.type) == (404, "evaluation_run_not_found")
    assert elsewhere


@pytest.mark.gen_test(timeout=120)
async def test_a_set_that_goes_while_it_is_run_is_no_fault(library: Library, api: Api, ctx: Context) -> None:
    document_id = await library.ready(FIREWALL)
    set_id = (await api.post("/api/evaluations", {"name": "manual"})).result["id"]
    asked = {"question": "nftables rules", "expected": expected(document_id, 1)}
    await api.put(f"/api/evaluations/{set_id}/questions", {"questions": [asked]})
    run = await ended(api, (await api.post(f"/api/evaluations/{set_id}/run")).result["id"])
    assert run["state"] == "succeeded"
    assert (await api.delete(f"/api/evaluations/{set_id}")).status == 200
    assert (await api.get(f"/api/evaluation-runs/{run['id']}")).status == 404

    async def report(_percent: int, _message: str) -> None: ...

    assert await evaluation_runs.measure_set(ctx, set_id, report) is None
    assert "skipped" in await evaluation_runs.carry_out(ctx, run["id"], report, last_try=False)
