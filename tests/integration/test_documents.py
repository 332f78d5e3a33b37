"""Documents on whole servers: as a user sees a manual come in, and with whatever serves it killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from tornado.web import RequestHandler

from tests.contract.waiting import until
from tests.integration.house import PASSWORD
from tests.integration.library import Library, beside, children_of, lives, vector_engine_of, workers_of, written_pages
from tests.integration.running_server import RunningServer
from tests.peers.embedding_server import Answer, EmbeddingPeer, Mischief, fine, running_embeddings
from tests.peers.process import require

# The embeddings endpoint computes on the test's loop; the servers are processes of their own.
pytestmark = [pytest.mark.integration, pytest.mark.holds_loop]

MANUAL = Path("/usr/share/debian-reference/debian-reference.zh-cn.pdf")
# A question, and what the heading above its answer says.
QUESTIONS = {
    "如何重置 root 密码": "密码",
    "防火墙 netfilter 设置": "Netfilter",
    "网络接口名称": "网络接口",
    "how to record a shell session": "shell 活动",
}
PAGES = 150


@asynccontextmanager
async def running(data: Path, kind: Literal["server", "gunicorn"] = "server", **settings: Any) -> AsyncIterator[RunningServer]:
    server = await asyncio.to_thread(RunningServer, data, kind, admin_password=PASSWORD, rate_limit="off", **settings)
    try:
        await asyncio.to_thread(server.wait_ready)
        yield server
    finally:
        await asyncio.to_thread(server.end)


async def curl(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec("curl", "-sS", "--noproxy", "*", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


@pytest.mark.gen_test(timeout=400)
async def test_a_manual_is_uploaded_and_found_while_it_is_still_being_read(tmp_path: Path) -> None:
    """With nothing but what comes along: SQLite, Milvus Lite, the bundled model."""
    require(str(MANUAL), MANUAL.exists())
    async with running(tmp_path / "data") as server:
        library = Library(server.url)
        token = f"Authorization: Bearer {await library.sign_in()}"
        uploaded = json.loads(await curl("-H", token, "-F", f"file=@{MANUAL}", "-F", "title=手册", f"{server.url}/api/documents"))
        assert uploaded["code"] == "2000"
        manual = int(uploaded["result"]["document_id"])

        begun = time.monotonic()
        shown: list[tuple[str, int]] = []
        first_found: tuple[float, int] | None = None
        slowest = 0.0
        while not shown or shown[-1][0] not in ("ready", "failed", "no_text"):
            document = await library.document(manual)
            shown.append((document["status"], document["progress"]))
            if first_found is None and document["searchable"] and await library.hits("Debian", mode="keyword"):
                first_found = time.monotonic() - begun, document["progress"]
            asked = time.monotonic()
            assert (await asyncio.to_thread(server.get, "/health/live"))[0] == 200
            slowest = max(slowest, time.monotonic() - asked)
            await asyncio.sleep(0.2)
        print(f"first found after {first_found and first_found[0]:.1f} s, ready after {time.monotonic() - begun:.1f} s")
        print(f"slowest answer of /health/live meanwhile {slowest * 1000:.0f} ms")
        progress = [percent for _, percent in shown]
        assert progress == sorted(progress)
        assert len(set(progress)) > 5
        assert first_found is not None
        assert first_found[1] < 50
        assert [status for status in ("queued", "parsing", "embedding", "ready") if status in dict(shown)][-2:] == ["embedding", "ready"]

        document = await library.ready(manual)
        assert (document["title"], document["unreadable"]) == ("手册", 0)
        assert document["pages_read"] == document["pages"] > 200
        assert len(document["outline"]) > 100
        for question, heading in QUESTIONS.items():
            for mode in ("hybrid", "dense", *(["keyword"] if not question.isascii() else [])):
                hits = await library.hits(question, mode=mode)
                assert heading in hits[0]["path"][-1], (question, mode, hits[0])
                page = await library.get(f"/api/documents/{manual}/pages/{hits[0]['page']}")
                assert hits[0]["chunk_id"] in {chunk["chunk_id"] for chunk in page["chunks"]}
        [marked, plain] = [
            await curl("-H", token, f"{server.url}/api/documents/{manual}/pages/{hits[0]['page']}.png{more}")
            for more in (f"?highlight={hits[0]['chunk_id']}", "")
        ]
        assert marked.startswith(b"\x89PNG")
        assert plain.startswith(b"\x89PNG")
        assert marked != plain
        async with beside(server.data) as engines:
            pages = document["pages"]
            assert document["chunks"] > pages
            [collection] = await engines.vectors.collections()
            assert await engines.vectors.count(collection) == document["chunks"]
        below = children_of(server.process.pid)
        library.close()
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait_end) == 0
        await until(lambda: not [pid for pid in below if lives(pid)])


class Gate:
    """Holds one request to the embedding engine, and says when that has come."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    def mischief(self, after: int) -> list[Mischief]:
        """Good answers to so many requests, then the one that is held."""

        async def hold(_handler: RequestHandler, _answer: Answer) -> None:
            self.reached.set()
            await self.open.wait()

        return [*[fine] * after, hold]


@asynccontextmanager
async def held_at(embeddings: EmbeddingPeer, after: int) -> AsyncIterator[Gate]:
    """Until the end of the block the embedding engine answers so many requests and no more than that one."""
    gate = Gate()
    embeddings.mischief.clear()
    embeddings.mischief.extend(gate.mischief(after))
    try:
        yield gate
    finally:
        embeddings.mischief.clear()
        gate.open.set()


async def reached(gate: Gate) -> None:
    await asyncio.wait_for(gate.reached.wait(), 60)


def engine(embeddings: EmbeddingPeer, **more: Any) -> dict[str, Any]:
    return {"embedding_url": embeddings.url, "embedding_model": embeddings.model, "ws": 1, **more}


async def whole(server: RunningServer, library: Library, document_id: int, pages: int = PAGES) -> None:
    """Ready, complete, and nothing beside it."""
    document = await library.ready(document_id)
    assert (document["pages"], document["pages_read"], document["unreadable"]) == (pages, pages, 0)
    await library.quiet()
    async with beside(server.data) as engines:
        await engines.check_whole(document_id, pages)
        await engines.check_no_orphans()
    for page in (1, pages // 2, pages):
        [hit, *_] = await library.hits(f"the anvil of page {page} drawer 1{page}", mode="keyword", document_id=document_id)
        assert hit["page"] == page


@pytest.mark.gen_test(timeout=300)
async def test_kill_9_and_a_stop_in_the_middle_of_a_document(tmp_path: Path) -> None:
    """Before anything is embedded, with a part embedded, with all read: it goes on, and nothing is there twice."""
    content = await asyncio.to_thread(written_pages, PAGES)
    async with running_embeddings() as embeddings:
        data, port, manual, ended = tmp_path / "data", 0, 0, []
        for after, end in ((1, signal.SIGKILL), (3, signal.SIGKILL), (2, signal.SIGTERM)):
            async with running(data, **engine(embeddings), server_port=port) as server, held_at(embeddings, after) as gate:
                port, library = server.port, Library(server.url)
                if not manual:
                    manual = await library.upload(content)
                else:
                    async with beside(data) as engines:
                        ended.append(await engines.end_leases())
                await reached(gate)
                document = await library.document(manual)
                assert document["status"] in ("parsing", "embedding")
                below = children_of(server.process.pid)
                assert [command for command in below.values() if "spawn_main" in command]
                library.close()
                began = time.monotonic()
                server.signal(end)
                assert await asyncio.to_thread(server.wait_end, 40) == (-end if end is signal.SIGKILL else 0)
                took = time.monotonic() - began
                print(f"{end.name} at {document['progress']} %, {document['pages_read']} pages read: ended in {took:.1f} s")
                await until(lambda below=below: not [pid for pid in below if lives(pid)])
        assert ended == [1, 1]
        async with running(data, **engine(embeddings), server_port=port) as server:
            library = Library(server.url)
            await whole(server, library, manual)
            document = await library.document(manual)
            assert len(embeddings.texts) < 2.5 * document["chunks"]  # what was embedded once is not embedded again
            library.close()


@pytest.mark.gen_test(timeout=300)
async def test_its_worker_and_its_vector_engine_are_killed_in_the_middle(tmp_path: Path) -> None:
    content = await asyncio.to_thread(written_pages, PAGES)
    async with running_embeddings() as embeddings, running(tmp_path / "data", **engine(embeddings)) as server:
        library = Library(server.url)
        first = await library.upload(await asyncio.to_thread(written_pages, 2))
        await library.ready(first)

        # A worker that is frozen has its work in hand when it is killed: here it is to open the document.
        [worker] = workers_of(server.process.pid)
        os.kill(worker, signal.SIGSTOP)
        manual = await library.upload(content)
        await library.until(manual, lambda document: document["status"] == "parsing")
        os.kill(worker, signal.SIGKILL)
        # The next one is killed while pages are read, or shortly after.
        await library.until(manual, lambda document: document["pages_read"] > 0)
        for pid in workers_of(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        await library.ready(manual)

        async with held_at(embeddings, 2) as gate:
            again = await library.upload(await asyncio.to_thread(written_pages, PAGES + 1))
            await reached(gate)
            os.kill(vector_engine_of(server.data), signal.SIGKILL)
        await library.ready(again)
        assert not [hit for hit in await library.hits("anvil", document_id=again, limit=50) if hit["document_id"] != again]
        await library.quiet()
        async with beside(server.data) as engines:
            for document_id, pages in ((first, 2), (manual, PAGES), (again, PAGES + 1)):
                await engines.check_whole(document_id, pages)
            await engines.check_no_orphans()
        library.close()


@pytest.mark.gen_test(timeout=300)
async def test_a_reload_in_the_middle_of_a_document_fails_no_request(tmp_path: Path) -> None:
    content = await asyncio.to_thread(written_pages, PAGES)
    async with running_embeddings() as embeddings, running(tmp_path / "data", "gunicorn", **engine(embeddings)) as server:
        library, old = Library(server.url), server.worker
        await library.ready(await library.upload(await asyncio.to_thread(written_pages, 1)))
        answers: list[int] = []

        async def ask() -> None:
            while True:
                for path in (f"/api/documents/{manual}", "/api/search?q=anvil&mode=keyword", f"/api/documents/{manual}/pages/1"):
                    answers.append((await library.fetch("GET", path)).code)

        async with held_at(embeddings, 2) as gate:
            manual = await library.upload(content)
            await reached(gate)
            asking = asyncio.create_task(ask())
            server.signal(signal.SIGHUP)
            await until(lambda: server.note.exists() and server.worker != old, timeout_s=60)
            # The old one hands the document back; the request that it waits for is never answered.
            await until(lambda: not lives(old), timeout_s=60)
        await library.ready(manual)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert set(answers) == {200}
        print(f"{len(answers)} requests during the reload")
        await whole(server, library, manual)
        library.close()
