"""The assistant on a whole server: real documents, the bundled model, and llmock as the model that words the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.documents.pdf import pdf
from tests.integration.house import PASSWORD
from tests.integration.library import Library, beside
from tests.integration.test_documents import running
from tests.peers.llm_server import Llmock, running_llmock

pytestmark = pytest.mark.integration

COVER = ["Handbook of the library", "This handbook is for everybody who borrows books."]
LOANS = ["Loans", "A book may be kept for 28 days.", "It may be renewed twice, unless somebody waits for it."]
FINES = ["Fines", "Each day of delay costs 20 cents.", "A lost book is replaced at its price of today."]
SECRET = ["Loans in the other school", "A book may be kept for 99 days, and the code of the cabinet is osprey."]
QUESTION = "For how many days may a book be kept?"


@pytest.fixture(scope="module")
def llmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llmock]:
    with running_llmock(tmp_path_factory.mktemp("llmock")) as peer:
        yield peer


def reply(text: str) -> dict[str, Any]:
    return {"type": "reply", "text": text}


def split(events: list[tuple[str, dict[str, Any]]]) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """The deltas together, the citations, and the end, of a stream that is as it should be."""
    names = [name for name, _ in events]
    assert names[0] == "started"
    assert names[-1] == "done"
    assert set(names[1:-1]) <= {"delta", "citation"}
    text = "".join(data["text"] for name, data in events if name == "delta")
    done = events[-1][1]
    assert text == done["answer"]
    return text, [data for name, data in events if name == "citation"], done


async def check_quotes(library: Library, done: dict[str, Any]) -> None:
    """Each citation names a page on which its quote stands, and a passage of that page."""
    assert done["citations"]
    for citation in done["citations"]:
        page = await library.get(f"/api/documents/{citation['document_id']}/pages/{citation['page']}")
        plain = " ".join(page["text"].split())
        for line in citation["quote"].splitlines():
            assert " ".join(line.split()) in plain
        assert citation["chunk_id"] in {chunk["chunk_id"] for chunk in page["chunks"]}
        assert f"[{citation['n']}]" in done["answer"]


def prompts(llmock: Llmock) -> str:
    """All that the model was sent since the last scenario."""
    return msgspec.json.encode(llmock.requests()).decode()


@pytest.mark.gen_test(timeout=240)
async def test_questions_are_answered_from_documents_that_the_asker_may_see(llmock: Llmock, tmp_path: Path) -> None:
    async with running(tmp_path / "data", llm_url=llmock.url, llm_model="gpt-4o", ark_api_key="sk-of-the-test") as server:
        admin = Library(server.url)
        async with beside(server.data) as engines:
            here, there = [await engines.organization(code) for code in ("here", "there")]
            await engines.person("hua", "student", here)
            await engines.person("tian", "student", there)
        handbook = await admin.upload(pdf(COVER, LOANS, FINES), "handbook.pdf", organization_id=str(here))
        secret = await admin.upload(pdf(SECRET), "secret.pdf", organization_id=str(there))
        for document_id in (handbook, secret):
            await admin.ready(document_id)
        hua, tian = [Library(server.url, name, PASSWORD) for name in ("hua", "tian")]

        # Streamed, with a citation of the page that says it.
        await asyncio.to_thread(llmock.scenario, reply("A book may be kept for 28 days [1]."))
        text, citations, done = split(await hua.answered(QUESTION))
        assert (done["mode"], done["known"], done["state"]) == ("llm", True, "complete")
        assert text.startswith("A book may be kept for 28 days")
        assert [(citation["document_id"], citation["page"]) for citation in citations] == [(handbook, 2)]
        assert citations == done["citations"]
        await check_quotes(hua, done)
        sent = await asyncio.to_thread(prompts, llmock)
        assert "28 days" in sent
        assert "osprey" not in sent
        assert "99 days" not in sent
        conversation = done["conversation_id"]

        # A question that only makes sense after the first.
        await asyncio.to_thread(
            llmock.scenario,
            reply("How often may the loan of a book be renewed?"),
            reply("It may be renewed twice [1]. It costs 7 euros [1]."),
        )
        text, citations, done = split(await hua.answered("And how often can it be renewed?", conversation_id=conversation))
        assert done["conversation_id"] == conversation
        assert "renewed twice" in text
        assert {(citation["document_id"], citation["page"]) for citation in citations} == {(handbook, 2)}
        assert "7 euros [" not in text  # no passage says so: the reference is taken away
        await check_quotes(hua, done)
        kept = await hua.get(f"/api/conversations/{conversation}")
        assert [message["role"] for message in kept["messages"]] == ["person", "assistant"] * 2
        assert kept["messages"][-1]["text"] == text
        await tian.ask("GET", f"/api/conversations/{conversation}", status=404)
        await tian.ask("POST", "/api/assistant/ask", {"question": "And?", "conversation_id": conversation}, status=404)

        # The other one, in the other organization, hears of the other document alone, whatever the model claims or the scope asks for.
        await asyncio.to_thread(llmock.scenario, reply("A book may be kept for 99 days [1]. A book may be kept for 28 days [1][2][3]."))
        text, citations, done = split(await tian.answered(QUESTION))
        assert {citation["document_id"] for citation in citations} == {secret}
        assert "28 days" not in await asyncio.to_thread(prompts, llmock)
        await asyncio.to_thread(llmock.scenario, reply("A book may be kept for 28 days [1]."))
        text, citations, done = split(await tian.answered(QUESTION, scope={"document_ids": [handbook]}))
        assert (citations, done["known"]) == ([], False)
        assert "28 days" not in await asyncio.to_thread(prompts, llmock)

        # What is made private after it was cited loses its quote.
        await admin.ask("PATCH", f"/api/documents/{handbook}", {"visibility": "private"})
        kept = await hua.get(f"/api/conversations/{conversation}")
        shown = [citation for message in kept["messages"] for citation in message["citations"]]
        assert shown
        assert {(citation["visible"], citation["quote"], citation["title"]) for citation in shown} == {(False, "", "")}
        await admin.ask("PATCH", f"/api/documents/{handbook}", {"visibility": "organization"})

        # The model breaks off: what came is kept, and it is said. It is away: passages are quoted.
        await asyncio.to_thread(
            llmock.scenario,
            reply("A book may be kept for 28 days [1]. It may be"),
            {"type": "stream_fault", "kind": "truncate", "after_chunks": 4},
        )
        text, citations, done = split(await hua.answered(QUESTION))
        assert (done["mode"], done["state"]) == ("llm", "cut")
        assert done["note"]
        await asyncio.to_thread(llmock.stop)
        text, citations, done = split(await hua.answered(QUESTION))
        assert (done["mode"], done["known"], done["state"]) == ("extractive", True, "complete")
        assert done["note"]
        assert (handbook, 2) in {(citation["document_id"], citation["page"]) for citation in citations}
        assert secret not in {citation["document_id"] for citation in citations}
        await check_quotes(hua, done)
        assert "sk-of-the-test" not in (server.data / "logs" / "server.log").read_text(encoding="utf-8")
        for library in (admin, hua, tian):
            library.close()


@pytest.mark.gen_test(timeout=240)
async def test_without_a_model_passages_are_quoted(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as server:
        library = Library(server.url)
        handbook = await library.upload(pdf(COVER, LOANS, FINES), "handbook.pdf")
        await library.ready(handbook)
        _, citations, done = split(await library.answered(QUESTION))
        assert (done["mode"], done["known"], done["note"]) == ("extractive", True, None)
        assert "28 days" in done["answer"]
        assert (citations[0]["document_id"], citations[0]["page"]) == (handbook, 2)
        await check_quotes(library, done)
        whole = await library.post("/api/assistant/ask", {"question": QUESTION})
        assert (whole["answer"], whole["mode"]) == (done["answer"], "extractive")
        await library.ask("DELETE", f"/api/documents/{handbook}")
        _, citations, done = split(await library.answered(QUESTION))
        assert (citations, done["known"]) == ([], False)
        library.close()
