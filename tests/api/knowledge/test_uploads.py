"""Uploads: streamed, several at once, refused with the field named, leaving nothing behind when they break off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient

from server.config import Settings
from server.resources import Resources
from tests.api.knowledge.conftest import Library
from tests.documents.form import BOUNDARY, HEADERS, form
from tests.documents.pdf import pdf

PAGE = pdf(["A page."])


@pytest.fixture
def loops() -> bool:
    """What is done with the files afterwards is not the matter here."""
    return False


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {"max_upload_mb": 1}


def kept(settings: Settings) -> list[Path]:
    """Every file in the store, what is being written included."""
    return [path for path in settings.files.rglob("*") if path.is_file()]


@pytest.mark.gen_test
async def test_several_files_at_once(library: Library, settings: Settings) -> None:
    answer = await library.post([("one.pdf", PAGE), ("two.pdf", pdf(["Another."])), ("again.pdf", PAGE)], {"visibility": "private"})
    assert answer.status == 202
    made = answer.result["documents"]
    assert [one["filename"] for one in made] == ["one.pdf", "two.pdf", "again.pdf"]
    assert [one["duplicate_of"] for one in made] == [None, None, made[0]["document_id"]]
    assert answer.result["document_id"] == made[0]["document_id"]
    assert len(kept(settings)) == 2
    assert {item["visibility"] for item in (await library.api.get("/api/documents")).result["items"]} == {"private"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "headers", "status", "what"),
    [
        (form([("a.pdf", b"")]), HEADERS, 422, ["file"]),
        (form([("a.pdf", b"PK\x03\x04" + 2000 * b"x")]), HEADERS, 422, ["file"]),
        (form([("good.pdf", PAGE), ("a.pdf", b"\x89PNG")]), HEADERS, 422, ["file"]),
        (form([], {"title": "x"}), HEADERS, 422, ["file"]),
        (form([("a.pdf", PAGE)], name="document"), HEADERS, 422, ["document"]),
        (form([("a.pdf", PAGE)], {"visibility": "everyone"}), HEADERS, 422, ["visibility"]),
        (form([("a.pdf", PAGE)], {"organization_id": "x"}), HEADERS, 422, ["organization_id"]),
        (form([("a.pdf", PAGE)], {"organization_id": "77"}), HEADERS, 422, ["organization_id"]),
        (form([("a.pdf", PAGE)], {"tags": "nobody, knows"}), HEADERS, 422, ["tags"]),
        (form([("a.pdf", PAGE)], {"colour": "red"}), HEADERS, 422, ["colour"]),
        (form([("a.pdf", PAGE)], {"title": 301 * "x"}), HEADERS, 422, ["title"]),
        (form([("a.pdf", PAGE)], {"title": 70_000 * "x"}), HEADERS, 422, ["title"]),
        (form([("a.pdf", PAGE)])[:-20], HEADERS, 400, "malformed"),
        (b"not a form", HEADERS, 400, "malformed"),
        (b"", HEADERS, 400, "malformed"),
        (PAGE, {"Content-Type": "application/pdf"}, 400, "malformed"),
        (form([("a.pdf", PAGE)]), {"Content-Type": "multipart/form-data"}, 400, "malformed"),
        (form([(f"{n}.pdf", PAGE) for n in range(60)]), HEADERS, 400, "malformed"),
        (form([("a.pdf", PAGE + (1 << 20) * b"x")]), HEADERS, 413, "too_large"),
        (form([("a.pdf", PAGE + (3 << 20) * b"x")]), HEADERS, 413, "too_large"),
    ],
)
async def test_what_cannot_be_taken_is_refused_and_leaves_nothing(
    library: Library, settings: Settings, body: bytes, headers: dict[str, str], status: int, what: Any
) -> None:
    answer = await library.api.post("/api/documents", body=body, headers=headers)
    assert answer.status == status
    assert (answer.fields if status == 422 else answer.type) == what
    assert (await library.api.get("/api/documents")).result["total"] == 0
    assert [path for path in kept(settings) if path.parent.name == "tmp"] == []


@pytest.mark.gen_test
async def test_names_are_cleaned_of_folders_and_of_what_cannot_be_shown(library: Library) -> None:
    for sent, expected in (
        ("C:\\temp\\a.pdf", "a.pdf"),
        ("../../etc/passwd", "passwd"),
        ("报告 1.pdf", "报告 1.pdf"),
        ("/", "document.pdf"),
    ):
        document_id = (await library.post([(sent, PAGE)])).result["document_id"]
        assert (await library.api.get(f"/api/documents/{document_id}")).result["filename"] == expected


@pytest.mark.gen_test
async def test_the_same_key_uploads_once(library: Library) -> None:
    first = await library.post([("a.pdf", PAGE)], headers={"Idempotency-Key": "k1"})
    again = await library.post([("a.pdf", PAGE)], headers={"Idempotency-Key": "k1"})
    other = await library.post([("a.pdf", pdf(["Other."]))], headers={"Idempotency-Key": "k1"})
    assert again.result == first.result
    assert (other.status, other.type) == (409, "idempotency_mismatch")
    assert (await library.api.get("/api/documents")).result["total"] == 1


async def begin(library: Library, http_port: int, length: int) -> IOStream:
    """An upload whose head is sent and whose body is yet to come."""
    stream = await TCPClient().connect("127.0.0.1", http_port)
    head = (
        f"POST /api/documents HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {library.api.token}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {length}\r\n\r\n"
    )
    await stream.write(head.encode())
    return stream


@pytest.mark.gen_test
async def test_an_upload_that_breaks_off_leaves_no_file(library: Library, settings: Settings, http_port: int, resources: Resources) -> None:
    body = form([("a.pdf", PAGE + 900_000 * b"x")])
    stream = await begin(library, http_port, len(body))
    await stream.write(body[:800_000])
    async with asyncio.timeout(20):
        while resources.app.settings["requests"].in_flight == 0:
            await asyncio.sleep(0.01)
        stream.close()
        while resources.app.settings["requests"].in_flight or kept(settings):
            await asyncio.sleep(0.01)
    assert (await library.api.get("/api/documents")).result["total"] == 0


@pytest.mark.gen_test
async def test_a_form_in_single_bytes(library: Library, http_port: int) -> None:
    body = form([("a.pdf", PAGE)], {"title": "Slow"})
    stream = await begin(library, http_port, len(body))
    for number in range(len(body)):
        await stream.write(body[number : number + 1])
    answer = await stream.read_until(b'"document_id"')
    assert b" 202 " in answer.splitlines()[0]
    stream.close()
    assert (await library.api.get("/api/documents")).result["items"][0]["title"] == "Slow"


@pytest.mark.gen_test
async def test_a_mark_that_comes_a_little_later_is_a_pdf_all_the_same(library: Library) -> None:
    assert (await library.post([("a.pdf", b"\n\n" + PAGE)])).status == 202
