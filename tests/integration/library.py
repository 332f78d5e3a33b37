"""Documents on a running server as a test speaks of them: uploads, what became of them, and a look from beside into its engines."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.websocket import websocket_connect

from server.config import Settings
from server.engines.sql import SqlDoor, open_sql
from server.engines.vectors import VectorsDoor, open_vectors
from server.knowledge.tables import chunks, document_pages, documents, vector_removals
from server.people.passwords import Passwords
from server.people.tables import organizations, role_grants, roles, users
from server.platform.tables import file_references, tasks
from tests.contract.waiting import until
from tests.documents.form import HEADERS, form
from tests.documents.pdf import pdf
from tests.integration.api_client import Api
from tests.integration.house import PASSWORD

ENDED = ("ready", "failed", "no_text")
LONG_S = 120.0
NOTHING = {"documents": 0, "pages": 0, "chunks": 0, "vectors": 0, "files": 0}
SUBJECTS = "anvil bellows candle dynamo engine furnace gasket hammer ingot jigsaw kettle lantern mortar needle oven piston".split()


def written_pages(count: int) -> bytes:
    """A PDF of so many pages, each with about four passages that stand on no other page."""
    return pdf(
        *(
            [f"{subject.capitalize()} {page}: the {subject} of page {page} is kept in drawer {number}{page}." for number, subject in lines]
            for page in range(1, count + 1)
            for lines in [list(enumerate(SUBJECTS, 1))]
        )
    )


class Library(Api):
    """The interface of one server as one person uses it; `admin` unless another is named."""

    def __init__(self, url: str, username: str = "admin", password: str = PASSWORD) -> None:
        super().__init__(url, password)
        self._username = username

    async def sign_in(self) -> str:
        """The access token."""
        if not self._token:
            body = json.dumps({"username": self._username, "password": self._password})
            request = HTTPRequest(f"{self.url}/api/auth/login", method="POST", body=body, headers={"Content-Type": "application/json"})
            answer = await self._client.fetch(request)
            self._token = json.loads(answer.body)["result"]["access_token"]
        return self._token

    async def fetch(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        await self.sign_in()
        return await super().fetch(method, path, body, **headers)

    async def post_form(
        self, files: Sequence[tuple[str, bytes]], fields: Mapping[str, str] | None = None, *, language: str = "en"
    ) -> HTTPResponse:
        """Any answer to an upload, whatever its status."""
        body = await asyncio.to_thread(form, files, fields)
        headers = {**HEADERS, "Authorization": f"Bearer {await self.sign_in()}", "Accept-Language": language}
        request = HTTPRequest(f"{self.url}/api/documents", method="POST", body=body, headers=headers, request_timeout=60)
        return await self._client.fetch(request, raise_error=False)

    async def upload(self, content: bytes, name: str = "a.pdf", **fields: str) -> int:
        """The new document's id."""
        answer = await self.post_form([(name, content)], fields)
        assert answer.code == 202, answer.body
        return int(json.loads(answer.body)["result"]["document_id"])

    async def document(self, document_id: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/api/documents/{document_id}")
        return found

    async def until(self, document_id: int, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float = LONG_S) -> dict[str, Any]:
        """The document, once that is so of it."""
        found: dict[str, Any] = {}

        async def looked() -> bool:
            found.update(await self.document(document_id))
            return holds(found)

        try:
            await until(looked, timeout_s=timeout_s)
        except AssertionError:
            raise AssertionError(f"it never came true; the document is {found}") from None
        return found

    async def ended(self, document_id: int, *, timeout_s: float = LONG_S) -> dict[str, Any]:
        return await self.until(document_id, lambda document: document["status"] in ENDED, timeout_s=timeout_s)

    async def ready(self, document_id: int, *, timeout_s: float = LONG_S) -> dict[str, Any]:
        document = await self.ended(document_id, timeout_s=timeout_s)
        assert (document["status"], document["error"], document["progress"]) == ("ready", None, 100), document
        return document

    async def hits(self, question: str, **more: Any) -> list[dict[str, Any]]:
        found = await self.get(f"/api/search?{urlencode({'q': question, **more}, quote_via=quote)}")
        hits: list[dict[str, Any]] = found["hits"]
        return hits

    async def quiet(self) -> None:
        """Once no task of documents waits or runs."""

        async def none_left() -> bool:
            totals = [(await self.get(f"/api/tasks?queue=documents&state={state}"))["total"] for state in ("queued", "running")]
            return not any(totals)

        await until(none_left, timeout_s=LONG_S)

    async def answered(self, question: str, **more: Any) -> list[tuple[str, dict[str, Any]]]:
        """The assistant's answer as its events, each with its name."""
        answer = await self.fetch("POST", "/api/assistant/ask", {"question": question, **more}, Accept="text/event-stream")
        assert answer.code == 200, answer.body
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = []
        for block in answer.body.decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":") and ": " in line)
            if "event" in lines:
                events.append((lines["event"], json.loads(lines["data"])))
        return events


class LiveEvents:
    """What /ws/events tells of one topic."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.data: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (message := await self._socket.read_message()) is not None:
            event = json.loads(message)
            if isinstance(event.get("data"), dict):
                self.data.append(event["data"])

    async def end(self) -> None:
        self._socket.close()
        await self._reading


@asynccontextmanager
async def listening(library: Library, topic: str) -> AsyncIterator[LiveEvents]:
    """Subscribed to a topic at the library's server."""
    ticket = (await library.post("/api/auth/ticket"))["ticket"]
    socket = await websocket_connect(f"{library.url.replace('http', 'ws', 1)}/ws/events?ticket={ticket}")
    await socket.write_message(json.dumps({"subscribe": [topic]}))
    first = await socket.read_message()
    assert isinstance(first, str)
    assert json.loads(first)["event"] == "subscribed", first
    events = LiveEvents(socket)
    try:
        yield events
    finally:
        await events.end()


class Beside:
    """The database and the vector engine of a server, as seen from beside it."""

    def __init__(self, settings: Settings, sql: SqlDoor, vectors: VectorsDoor) -> None:
        self.settings = settings
        self.sql = sql
        self.vectors = vectors

    async def rows(self, statement: sa.Select[Any]) -> list[Any]:
        return await self.sql.read(lambda connection: list(connection.execute(statement).all()))

    async def end_leases(self) -> int:
        """As if the minute were over for which a task belongs to a server that died; how many tasks."""
        over = tasks.update().where(tasks.c.state == "running").values(lease_until=datetime.now(UTC) - timedelta(seconds=1))
        return await self.sql.write(lambda connection: connection.execute(over).rowcount)

    async def removals_done(self) -> None:
        async def none_left() -> bool:
            return not await self.rows(sa.select(vector_removals.c.id))

        await until(none_left, timeout_s=LONG_S)

    async def check_whole(self, document_id: int, pages: int) -> None:
        """Every page once, with passages, all of them shown, and exactly theirs the vectors."""
        numbers = await self.rows(sa.select(document_pages.c.number).where(document_pages.c.document_id == document_id))
        assert sorted(number for (number,) in numbers) == list(range(1, pages + 1))
        cut = await self.rows(sa.select(chunks).where(chunks.c.document_id == document_id))
        assert {chunk.state for chunk in cut} == {"live"}
        assert {chunk.page for chunk in cut} == set(range(1, pages + 1))
        assert len({chunk.number for chunk in cut}) == len(cut)
        assert len({(chunk.page, chunk.text) for chunk in cut}) == len(cut)
        assert [chunk.page for chunk in sorted(cut, key=lambda chunk: chunk.number)] == sorted(chunk.page for chunk in cut)
        for collection in await self.vectors.collections():
            assert await self.vectors.ids(collection, document_id) == {chunk.id for chunk in cut}

    async def check_no_orphans(self) -> None:
        """Vectors are of documents that there are, and as many as passages."""
        await self.removals_done()
        there = {row.id for row in await self.rows(sa.select(documents.c.id))}
        live = len(await self.rows(sa.select(chunks.c.id)))
        for collection in await self.vectors.collections():
            assert await self.vectors.document_ids(collection) <= there
            assert await self.vectors.count(collection) == live

    async def left(self, document_id: int) -> dict[str, int]:
        """What there still is of a document, once what is to be removed has been."""
        await self.removals_done()
        found = {
            name: len(await self.rows(sa.select(table).where(column == value)))
            for name, table, column, value in (
                ("documents", documents, documents.c.id, document_id),
                ("pages", document_pages, document_pages.c.document_id, document_id),
                ("chunks", chunks, chunks.c.document_id, document_id),
                ("files", file_references, file_references.c.owner, f"document:{document_id}"),
            )
        }
        collections = await self.vectors.collections()
        return {**found, "vectors": sum([len(await self.vectors.ids(collection, document_id)) for collection in collections])}

    async def organization(self, code: str) -> int:
        values = {"parent_id": 1, "name": code, "code": code, "kind": "school", "created_at": datetime.now(UTC)}
        return await self._insert(organizations, values)

    async def person(self, name: str, role: str, organization_id: int) -> None:
        """A user with one role in one organization, whose password is PASSWORD."""
        hashed, now = await Passwords().hash(PASSWORD), datetime.now(UTC)
        row = {"username": name, "username_key": name, "name": name, "kind": "person", "state": "active", "password_hash": hashed}
        user_id = await self._insert(users, {**row, "organization_id": organization_id, "created_at": now, "updated_at": now})
        [(role_id,)] = await self.rows(sa.select(roles.c.id).where(roles.c.name == role))
        await self._insert(role_grants, {"user_id": user_id, "role_id": role_id, "organization_id": organization_id})

    async def _insert(self, table: sa.Table, values: Mapping[str, Any]) -> int:
        def transaction(connection: sa.Connection) -> int:
            made = connection.execute(table.insert().values(**values)).inserted_primary_key
            assert made is not None
            return int(made[0])

        return await self.sql.write(transaction)


@asynccontextmanager
async def beside(data: Path, **settings: Any) -> AsyncIterator[Beside]:
    """The engines of the server on that DATA_DIR and these settings."""
    known = {name: value for name, value in settings.items() if name in Settings.__struct_fields__}
    opened = Settings(data_dir=str(data), **known)
    sql, vectors = await open_sql(opened), open_vectors(opened)
    try:
        yield Beside(opened, sql, vectors)
    finally:
        await vectors.close()
        await sql.close()


def children_of(pid: int) -> dict[int, str]:
    """The processes below one, at any depth, with their command lines."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            name, _, rest = stat.read_text().rpartition(")")
            if rest.split()[0] != "Z":
                parents.setdefault(int(rest.split()[1]), []).append(int(name.split()[0]))
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            with suppress(OSError):
                found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                waiting.append(child)
    return found


def workers_of(pid: int) -> list[int]:
    """The worker processes of a server, the oldest first."""
    return sorted(child for child, command in children_of(pid).items() if "spawn_main" in command)


def vector_engine_of(data: Path) -> int:
    return int((data / "run" / "milvus.users").read_text())


def lives(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def faults_in_log(data: Path) -> list[str]:
    """What a server logged as an error, and tasks that did not end at the first try."""
    lines = (data / "logs" / "server.log").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if " ERROR " in line or " jobs.worker " in line]


def memory_of(pid: int) -> int:
    """Resident memory in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0
