"""Bad files through a whole server: each ends with a clear status, leaves nothing behind, and disturbs no other document."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pymupdf
import pytest

from jobs.maintenance import clean_up
from jobs.registry import Work
from server.clock import HeldClock
from server.config import Settings
from server.resources import open_context
from tests.integration.library import NOTHING, Library, beside, faults_in_log, memory_of, written_pages
from tests.integration.running_server import RunningServer
from tests.integration.test_documents import engine, running
from tests.peers.embedding_server import running_embeddings
from tests.peers.process import require
from tests.unit.cpu import pdf_samples as samples

# The embeddings endpoint computes on the test's loop; the servers are processes of their own.
pytestmark = [pytest.mark.integration, pytest.mark.holds_loop]

GOOD_PAGES = 60
MOST_PAGES = 5000
# Address space of a worker; importing PyMuPDF alone takes 516.
WORKER_MB = 1024
# The server without documents has about 100 MiB; its vector client and its search 150 more.
SERVER_MB = 450


class Bad(NamedTuple):
    """A file, the statuses that it may end in, and what the English sentence then says."""

    content: bytes
    statuses: tuple[str, ...]
    says: str = ""


def ten_pages(path: Path, **save: Any) -> bytes:
    def draw(page: Any) -> None:
        samples.write(page, 72, 200, samples.ENGLISH)

    return Path(samples.text_pdf(path, [draw] * 10, **save)).read_bytes()


def scan(path: Path) -> bytes:
    """A page that is a picture of words."""

    def words(page: Any) -> None:
        samples.write(page, 72, 200, "The lighthouse keeper counts the ships", 22)

    samples.text_pdf(path, [words])
    with pymupdf.open(path) as document:
        picture = document[0].get_pixmap(dpi=150).tobytes("png")

    def draw(page: Any) -> None:
        page.insert_image(page.rect, stream=picture)

    return Path(samples.text_pdf(path.with_suffix(".scan.pdf"), [draw])).read_bytes()


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return scan(tmp_path_factory.mktemp("scan") / "a.pdf")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory, scanned: bytes) -> dict[str, Bad]:
    path = tmp_path_factory.mktemp("bad") / "a.pdf"
    keys = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "owner_pw": "owner"}
    whole = ten_pages(path)

    def made(name: str) -> bytes:
        return Path(name).read_bytes()

    readable = ("ready",)
    return {
        "truncated": Bad(whole[: len(whole) // 10], ("failed",), "damaged"),
        "truncated in the middle": Bad(whole[: len(whole) // 2], ("failed", "ready", "no_text")),
        "an archive that names PDF": Bad(b"PK\3\4 %PDF-1.7" + bytes(5000), ("failed",), ""),
        "noise": Bad(b"%PDF-1.7\n" + bytes(range(256)) * 40, ("failed",), "damaged"),
        "no pages": Bad(made(samples.one_page(path, b"", {2: b"<< /Type /Pages /Kids [] /Count 0 >>"})), ("failed", "no_text"), "no pages"),
        "encrypted": Bad(ten_pages(path, user_pw="user", **keys), ("failed",), "password"),
        "encrypted for changes alone": Bad(ten_pages(path, **keys), readable),
        "10,000 pages": Bad(made(samples.many_pages(path, 10_000)), ("failed",), "10000 pages; the limit is 5000"),
        "deep tree of pages": Bad(made(samples.deep_pages(path, 2_000)), readable),
        "looping tree of pages": Bad(made(samples.looping_pages(path)), readable),
        "looping outline": Bad(made(samples.looping_outline(path)), readable),
        "very deep outline": Bad(made(samples.deep_outline(path, 100_000)), readable),
        "very deep arrays": Bad(made(samples.nested_objects(path, 100_000)), readable),
        "looping form": Bad(made(samples.looping_form(path)), readable),
        "huge picture": Bad(made(samples.huge_image(path, 30_000)), readable),
        "font bomb": Bad(made(samples.font_bomb(path)), readable),
        "a million glyphs": Bad(made(samples.many_glyphs(path, 1_000_000)), ("ready", "no_text")),
        "100 MiB of nothing after the end": Bad(whole + bytes(100 << 20), ("ready", "failed")),
        "a scan": Bad(scanned, ("no_text",), "Tesseract"),
    }


@asynccontextmanager
async def watched(server: RunningServer) -> AsyncIterator[list[int]]:
    """The server's resident memory in MiB, again and again while the block lasts."""
    seen = [memory_of(server.process.pid)]

    async def look() -> None:
        while True:
            await asyncio.sleep(0.1)
            seen.append(memory_of(server.process.pid))

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def refused(library: Library, name: str, content: bytes) -> tuple[int, set[str]]:
    """The status of an upload that is refused, and its sentence in both languages."""
    said = set()
    for language in ("zh", "en"):
        answer = await library.post_form([(name, content)], language=language)
        said.add(json.dumps(json.loads(answer.body)["error"]["fields"], ensure_ascii=False))
    return answer.code, said


async def sentence(library: Library, document_id: int, language: str) -> str:
    answer = await library.fetch("GET", f"/api/documents/{document_id}", **{"Accept-Language": language})
    return str(json.loads(answer.body)["result"]["error"] or "")


@pytest.mark.gen_test(timeout=400)
async def test_bad_files_end_clearly_while_a_good_one_is_read(bad: dict[str, Bad], tmp_path: Path) -> None:
    good = await asyncio.to_thread(written_pages, GOOD_PAGES)
    nowhere = tmp_path / "nowhere"  # for PATH: there is no Tesseract
    async with AsyncExitStack() as stack:
        embeddings = await stack.enter_async_context(running_embeddings())
        settings = engine(embeddings, ws=2, compute_memory_mb=WORKER_MB, max_pages=MOST_PAGES, path=nowhere)
        server = await stack.enter_async_context(running(tmp_path / "data", **settings))
        library = Library(server.url)
        stack.callback(library.close)
        memory = await stack.enter_async_context(watched(server))

        for name, content in (
            ("empty.pdf", b""),
            ("picture.pdf", b"\x89PNG\r\n\x1a\n" + bytes(5000)),
            ("archive.pdf", Path(samples.zip_archive(tmp_path / "a.zip")).read_bytes()),
        ):
            code, said = await refused(library, name, content)
            assert code == 422
            assert len(said) == 2
            assert all(name in one for one in said)

        async def put_in(names: list[str]) -> dict[str, int]:
            ids = await asyncio.gather(*(library.upload(bad[name].content, f"{name}.pdf") for name in names))
            return dict(zip(names, ids, strict=True))

        loop = asyncio.get_running_loop()
        begun = loop.time()
        names = list(bad)
        ids = await put_in(names[: len(names) // 2])
        kept = await library.upload(good, "good.pdf")
        ids |= await put_in(names[len(names) // 2 :])

        document = await library.ready(kept)
        print(f"the good one was ready after {loop.time() - begun:.1f} s")
        assert (document["pages_read"], document["unreadable"]) == (GOOD_PAGES, 0)
        failed = []
        for name, document_id in ids.items():
            document = await library.ended(document_id)
            took = datetime.fromisoformat(document["updated_at"]) - datetime.fromisoformat(document["created_at"])
            print(f"{name}: {document['status']} after {took.total_seconds():.1f} s, {document['unreadable']} unreadable")
            assert document["status"] in bad[name].statuses, (name, document)
            chinese, english = [await sentence(library, document_id, language) for language in ("zh", "en")]
            if document["status"] == "ready":
                assert (chinese, english) == ("", "")
                continue
            failed.append(document_id)
            assert bad[name].says in english, (name, english)
            assert chinese
            assert english.isascii()
            assert chinese != english
        print(f"all had ended after {loop.time() - begun:.1f} s; the server had {memory[0]} MiB before, at most {max(memory)}")
        assert max(memory) < SERVER_MB
        await library.quiet()
        assert faults_in_log(server.data) == []

        async with beside(server.data) as engines:
            for document_id in failed:
                assert await engines.left(document_id) == {**NOTHING, "documents": 1, "files": 1}
            await engines.check_whole(kept, GOOD_PAGES)
            await engines.check_no_orphans()
            for document_id in ids.values():
                await library.ask("DELETE", f"/api/documents/{document_id}")
            for document_id in ids.values():
                assert await engines.left(document_id) == NOTHING
            await engines.check_no_orphans()
        assert {hit["document_id"] for hit in await library.hits("anvil lighthouse hello", limit=50)} == {kept}
        await asyncio.to_thread(server.end)
        assert [path.stat().st_size for path in await cleaned_up(server.data)] == [len(good)]


async def cleaned_up(data: Path) -> list[Path]:
    """The files that are left when the job that cleans up has run two days from now."""

    async def quiet(_percent: int, _message: str) -> None:
        pass

    async with AsyncExitStack() as stack:
        ctx = await open_context(Settings(data_dir=str(data)), stack, clock=HeldClock(datetime.now(UTC) + timedelta(days=2)))
        await clean_up(ctx, Work(ctx, quiet, 1, 3))
        return [path for path in ctx.settings.files.rglob("*") if path.is_file()]


@pytest.mark.gen_test(timeout=200)
async def test_a_scan_is_read_where_tesseract_is(scanned: bytes, tmp_path: Path) -> None:
    require("tesseract-ocr", shutil.which("tesseract"))
    async with running_embeddings() as embeddings, running(tmp_path / "data", **engine(embeddings)) as server:
        library = Library(server.url)
        document = await library.ready(await library.upload(scanned, "scan.pdf"))
        assert (document["ocr"], document["pages_read"], document["unreadable"]) == (True, 1, 0)
        [hit, *_] = await library.hits("lighthouse keeper", mode="keyword")
        assert hit["page"] == 1
        assert "<mark>lighthouse</mark>" in hit["snippet"]
        library.close()
