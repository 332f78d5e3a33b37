"""Documents past one machine: two instances on MariaDB, Valkey, a Milvus and one folder of files."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from server import migrating
from server.config import Settings
from server.platform.tables import tasks
from tests.contract.waiting import until
from tests.integration.house import PASSWORD
from tests.integration.instances import forget_everything
from tests.integration.library import NOTHING, Beside, Library, beside, faults_in_log, listening, written_pages
from tests.integration.running_server import RunningServer
from tests.integration.test_documents import held_at, reached
from tests.peers.embedding_server import EmbeddingPeer, running_embeddings
from tests.peers.mariadb import MariaDb
from tests.peers.milvus import running_milvus
from tests.peers.valkey import Valkey

# The embeddings endpoint computes on the test's loop; the servers are processes of their own.
pytestmark = [pytest.mark.integration, pytest.mark.holds_loop]

PAGES = 100


class Pair(NamedTuple):
    """Two instances, what each is asked by, and what they share."""

    servers: list[RunningServer]
    libraries: list[Library]
    engines: Beside
    embeddings: EmbeddingPeer
    database: str

    async def working_on(self, document_id: int) -> int:
        """Which of the two has the document in hand."""
        document = await self.libraries[1].document(document_id)
        rows = await self.engines.rows(tasks.select().where(tasks.c.id == document["task_id"]))
        pid = int(rows[0].lease_owner.split("-")[-2])
        return [server.process.pid for server in self.servers].index(pid)


@asynccontextmanager
async def pair_of_instances(mariadb: MariaDb, valkey: Valkey, folder: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(forget_everything, valkey)
        kept = mariadb.database()
        database = await asyncio.to_thread(kept.__enter__)
        stack.push_async_callback(asyncio.to_thread, kept.__exit__, None, None, None)
        (folder / "milvus").mkdir()
        milvus = running_milvus(folder / "milvus")
        peer = await asyncio.to_thread(milvus.__enter__)
        stack.push_async_callback(asyncio.to_thread, milvus.__exit__, None, None, None)
        embeddings = await stack.enter_async_context(running_embeddings())
        settings: dict[str, Any] = {
            **database,
            "redis_url": valkey.url,
            "secret_key": "a-key-that-both-instances-share-in-this-test",
            "admin_password": PASSWORD,
            "files_dir": folder / "files",
            "rate_limit": "off",
            "milvus_host": "127.0.0.1",
            "milvus_port": peer.port,
            "embedding_url": embeddings.url,
            "embedding_model": embeddings.model,
            "ws": 1,
        }
        await asyncio.to_thread(migrating.migrate, Settings(data_dir=str(folder), **database))
        servers, libraries = [], []
        for name in ("a", "b"):
            server = await asyncio.to_thread(RunningServer, folder / name, **settings)
            stack.push_async_callback(asyncio.to_thread, server.end)
            stack.callback(server.signal, signal.SIGCONT)
            servers.append(server)
            libraries.append(Library(server.url))
            stack.callback(libraries[-1].close)
        await asyncio.gather(*(asyncio.to_thread(server.wait_ready) for server in servers))
        engines = await stack.enter_async_context(beside(folder, **{**settings, "files_dir": str(folder / "files")}))
        yield Pair(servers, libraries, engines, embeddings, database["mysql_db"])


async def freeze(server: RunningServer, mariadb: MariaDb, database: str) -> None:
    """Stop a server between two transactions: locks that a frozen one holds are the database's to end."""
    locking = (
        "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
        f" ON p.id = t.trx_mysql_thread_id WHERE t.trx_rows_modified > 0 AND p.db = '{database}'"
    )

    async def held() -> set[int]:
        return {int(thread) for (thread,) in await asyncio.to_thread(mariadb.run, locking)}

    async def left(threads: set[int], within_s: float) -> set[int]:
        """Those of the connections that are within a transaction each time that they are looked at."""
        deadline = asyncio.get_running_loop().time() + within_s
        while threads and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
            threads = threads & await held()
        return threads

    others: set[int] = set()  # what goes on in the same way when the server runs is not the stopped one's
    for _ in range(20):
        server.signal(signal.SIGSTOP)
        stopped = await left(await held() - others, 1)
        if not stopped:
            return
        server.signal(signal.SIGCONT)
        others |= await left(stopped, 5)
    raise AssertionError("it was within a transaction each time")


@pytest.mark.gen_test(timeout=300)
async def test_two_instances_share_documents(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    async with pair_of_instances(mariadb, valkey, tmp_path) as pair:
        a, b = pair.libraries
        engines, embeddings = pair.engines, pair.embeddings

        # Put in at one, followed and found at the other; many at once, so that both work and their transactions meet.
        several = await asyncio.gather(*(a.upload(written_pages(pages), f"{pages}.pdf") for pages in range(1, 9)))
        async with held_at(embeddings, 3) as gate:
            manual = await a.upload(await asyncio.to_thread(written_pages, PAGES), "manual.pdf")
            async with listening(b, f"document:{manual}") as events:
                gate.open.set()
                await b.ready(manual)
                await until(lambda: [event for event in events.data if event.get("status") == "ready"])
                assert all(event["document_id"] == manual for event in events.data)
                progress = [event["progress"] for event in events.data]
                assert progress == sorted(progress)
        for number, document_id in enumerate(several, 1):
            assert (await b.ready(document_id))["pages"] == number
        for library in (a, b):
            for mode in ("keyword", "dense", "hybrid"):
                [hit, *_] = await library.hits(f"the anvil of page {PAGES} drawer 1{PAGES}", mode=mode, document_id=manual)
                assert hit["document_id"] == manual
            assert (await library.hits(f"the anvil of page {PAGES} drawer 1{PAGES}", mode="keyword"))[0]["page"] == PAGES
            assert (await library.fetch("GET", f"/api/documents/{manual}/pages/{PAGES}.png")).body.startswith(b"\x89PNG")
        await b.quiet()
        for number, document_id in enumerate(several, 1):
            await engines.check_whole(document_id, number)
        await engines.check_whole(manual, PAGES)

        # The same again, at the other: copied, not embedded. Read anew: found all the while.
        embedded = len(embeddings.texts)
        twin = await b.upload(await asyncio.to_thread(written_pages, PAGES), "manual again.pdf")
        assert (await a.ready(twin))["duplicates"] == [manual]
        assert len(embeddings.texts) == embedded
        async with held_at(embeddings, 0) as gate:
            task = (await a.ask("POST", f"/api/documents/{several[0]}/reindex", status=202))["task_id"]
            for library in (a, b):
                assert await library.hits("anvil", mode="keyword", document_id=several[0])
            gate.open.set()
            await b.until(several[0], lambda document: document["task_id"] == task and document["status"] == "ready")
        await b.quiet()
        await engines.check_whole(twin, PAGES)
        await engines.check_whole(several[0], 1)

        # Tags and the assistant on the same engines.
        tag = await b.post("/api/tags", {"name": "Workshop", "keywords": ["anvil", "furnace"]})
        assert tag["name"] == "Workshop"
        await a.ask("PUT", f"/api/documents/{manual}/tags", {"tags": ["Workshop"]})
        assert (await b.document(manual))["tags"][0]["name"] == "Workshop"
        assert {hit["document_id"] for hit in await b.hits("anvil", tags="Workshop", limit=50)} == {manual}
        assert (await b.get(f"/api/documents/{several[7]}/tags/suggest"))[0]["name"] == "Workshop"
        events_of_answer = await b.answered("Where is the anvil of page 7 kept?", scope={"document_ids": [manual]})
        name, done = events_of_answer[-1]
        assert (name, done["mode"]) == ("done", "extractive")
        assert done["citations"]
        assert {citation["document_id"] for citation in done["citations"]} == {manual}
        made = await a.post("/api/evaluations", {"name": "drawers"})
        questions = [{"question": "the anvil of page 7", "kind": "exact", "expected": [{"document_id": manual, "pages": [7]}]}]
        await a.ask("PUT", f"/api/evaluations/{made['id']}/questions", {"questions": questions})
        run = await b.post(f"/api/evaluations/{made['id']}/run", status=202)

        async def run_ended() -> bool:
            return (await a.get(f"/api/evaluation-runs/{run['id']}"))["state"] in ("succeeded", "failed")

        await until(run_ended, timeout_s=60)
        assert (await a.get(f"/api/evaluation-runs/{run['id']}"))["state"] == "succeeded"

        # Deleted at the one that does not read it, while it is read.
        async with held_at(embeddings, 2) as gate:
            doomed = await a.upload(await asyncio.to_thread(written_pages, PAGES + 1), "doomed.pdf")
            await reached(gate)
            other = pair.libraries[1 - await pair.working_on(doomed)]
            await other.ask("DELETE", f"/api/documents/{doomed}")
            for library in (a, b):
                await library.ask("GET", f"/api/documents/{doomed}", status=404)
                assert doomed not in {hit["document_id"] for hit in await library.hits("anvil", mode="keyword", limit=50)}
        await b.quiet()
        assert await engines.left(doomed) == NOTHING
        # At both at the same moment, again and again.
        for left, right in zip(several[::2], several[1::2], strict=True):
            await asyncio.gather(a.ask("DELETE", f"/api/documents/{left}"), b.ask("DELETE", f"/api/documents/{right}"))
        for document_id in several:
            assert await engines.left(document_id) == NOTHING
        await engines.check_no_orphans()
        assert [line for server in pair.servers for line in faults_in_log(server.data)] == []


@pytest.mark.gen_test(timeout=300)
async def test_the_other_instance_goes_on_when_the_one_that_reads_is_frozen_or_killed(
    mariadb: MariaDb, valkey: Valkey, tmp_path: Path
) -> None:
    async with pair_of_instances(mariadb, valkey, tmp_path) as pair:
        made = [await pair.libraries[0].upload(written_pages(1))]
        await pair.libraries[1].ready(made[0])
        for end in (signal.SIGSTOP, signal.SIGKILL):
            async with held_at(pair.embeddings, 3) as gate:
                manual = await pair.libraries[0].upload(await asyncio.to_thread(written_pages, PAGES + len(made)))
                await reached(gate)
                reader = await pair.working_on(manual)
                server, left = pair.servers[reader], pair.libraries[1 - reader]
                if end is signal.SIGKILL:
                    server.crash()
                else:
                    await freeze(server, mariadb, pair.database)
                assert (await left.document(manual))["status"] in ("parsing", "embedding")
                assert await pair.engines.end_leases() >= 1
                await left.ready(manual)
            if end is signal.SIGSTOP:  # it wakes up in the middle of work that another has done
                server.signal(signal.SIGCONT)
                await until(lambda: not pair.embeddings.open_requests)
                made.append(await pair.libraries[reader].upload(written_pages(2)))
                await pair.libraries[reader].ready(made[-1])
            made.append(manual)
            await left.quiet()
            document = await left.ready(manual)
            pages = document["pages"]
            assert (document["pages_read"], document["unreadable"]) == (pages, 0)
            await pair.engines.check_whole(manual, pages)
            await pair.engines.check_no_orphans()
            [hit, *_] = await left.hits(f"the anvil of page {pages} drawer 1{pages}", mode="keyword", document_id=manual)
            assert hit["page"] == pages
