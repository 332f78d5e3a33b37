"""Large outputs travel as files, and file references in the arguments arrive as what they stand for."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fake_module_server import FakeServer
from module_serving import Serving

from zhihui_module import AsyncTask, Task
from zhihui_module.address import Address
from zhihui_module.errors import FileTransferFailed
from zhihui_module.files import Files
from zhihui_module.http_door import HttpDoor

ROWS = [{"symbol": "合成", "close": number / 7} for number in range(20_000)]


class Registered:
    module_hash = "hash1"


@pytest.mark.gen_test(timeout=30)
async def test_a_large_value_is_uploaded_and_a_small_one_is_not(server: FakeServer, serve: Serving) -> None:
    outputs = [{"name": "rows", "type": "table"}, {"name": "note"}, {"name": "text"}, {"name": "edge"}]
    output = {"rows": ROWS, "note": [1, {"二": None}], "text": "长" * 100_000, "edge": "x" * (256 * 1024 - 2)}
    serve(lambda task: output, key="zk_secret", outputs=outputs)
    (await server.socket()).execute()
    result = (await server.frame("result"))["output"]
    assert result["note"] == [1, {"二": None}]
    assert result["edge"] == output["edge"]  # exactly 256 KiB with its quotes
    for name in ("rows", "text"):
        reference = result[name]["$file"]
        body = server.files[reference["sha256"]]
        assert json.loads(body) == output[name]
        assert reference["content_type"] == "application/json"
        assert reference["size"] == len(body)
        assert hashlib.sha256(body).hexdigest() == reference["sha256"]
    module_hash, headers = server.uploads[0]
    assert module_hash == "hash1"
    assert headers["Authorization"] == "Bearer zk_secret"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.gen_test(timeout=30)
async def test_values_that_are_too_large_together_are_sent_ahead(server: FakeServer, serve: Serving) -> None:
    output = {f"part{number}": "x" * 200_000 for number in range(8)}
    serve(lambda task: output, outputs=[{"name": name} for name in output])
    (await server.socket()).execute()
    result = (await server.frame("result"))["output"]
    assert all(len(text.encode()) <= 1024 * 1024 for text in server.texts)
    assert sum(isinstance(value, dict) for value in result.values()) == len(server.uploads) > 0
    assert sum(isinstance(value, str) for value in result.values()) > 0


@pytest.mark.gen_test(timeout=30)
async def test_a_medium_value_of_many_parts_stays_inline(server: FakeServer, serve: Serving) -> None:
    rows = [[number, number, "值"] for number in range(2000)]
    serve(lambda task: {"rows": rows, "wide": {f"k{number}": [number] for number in range(1500)}})
    (await server.socket()).execute()
    result = (await server.frame("result"))["output"]
    assert result["rows"] == rows
    assert result["wide"]["k1499"] == [1499]
    assert not server.uploads


@pytest.mark.gen_test(timeout=30)
async def test_references_in_args_arrive_as_what_they_stand_for(server: FakeServer, serve: Serving) -> None:
    table = server.put_file(json.dumps(ROWS[:100]).encode(), "application/json")
    picture = server.put_file(b"\x89PNG" + bytes(500_000), "image/png")
    seen: dict[str, Any] = {}
    serve(lambda task: seen.update(task.args), key="zk_secret")
    (await server.socket()).execute(args={"table": table, "nested": {"list": [picture, 1]}, "plain": "text"})
    assert (await server.frame("result"))["status"] == "success"
    assert seen == {"table": ROWS[:100], "nested": {"list": [b"\x89PNG" + bytes(500_000), 1]}, "plain": "text"}
    assert server.headers[-1]["Authorization"] == "Bearer zk_secret"


@pytest.mark.parametrize("fault", ["sha256", "missing", "json"])
@pytest.mark.gen_test(timeout=30)
async def test_a_file_that_is_not_what_it_should_be_fails_the_step(server: FakeServer, serve: Serving, fault: str) -> None:
    reference = server.put_file(b"{not json", "application/json")
    if fault == "sha256":
        reference["$file"]["sha256"] = "0" * 64
    elif fault == "missing":
        server.files.clear()
    called: list[Task] = []
    serve(called.append)
    (await server.socket()).execute(args={"table": reference})
    result = await server.frame("result")
    expected = {"sha256": "SHA-256 is not", "missing": "404", "json": "is not the JSON"}[fault]
    assert result["status"] == "failure"
    assert expected in result["error"]
    assert called == []


@pytest.mark.gen_test(timeout=30)
async def test_the_key_is_shown_to_the_server_alone(server: FakeServer) -> None:
    elsewhere = FakeServer()
    await elsewhere.start()
    http = HttpDoor()
    try:
        reference = elsewhere.put_file(b"bytes", "text/plain")
        reference["$file"]["url"] = elsewhere.url + reference["$file"]["url"]
        files = Files(http, Address(server.url, "zk_secret"), Registered())
        assert await files.resolve(reference) == b"bytes"
        assert "Authorization" not in elsewhere.headers[-1]
    finally:
        http.close()
        await elsewhere.stop()


@pytest.mark.gen_test(timeout=30)
async def test_put_file_from_sync_and_async_handlers(server: FakeServer, serve: Serving, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF" + bytes(range(256)) * 4096)

    def sync_handler(task: Task) -> dict[str, Any]:
        return {"report": task.put_file(path, "application/pdf"), "raw": task.put_file(b"abc", "text/plain")}

    async def async_handler(task: AsyncTask) -> dict[str, Any]:
        with pytest.raises(ValueError, match="content_type"):
            await task.put_file(b"abc", "text/plain\nX-Other: 1")
        with pytest.raises(FileNotFoundError):
            await task.put_file(tmp_path / "nowhere")
        return {"report": await task.put_file(str(path), "application/pdf")}

    for number, handler in enumerate((sync_handler, async_handler), start=1):
        serve(handler)
        (await server.socket(number)).execute(number)
        result = await server.frame("result", step_id=f"step-{number}")
        reference = result["output"]["report"]["$file"]
        assert server.files[reference["sha256"]] == path.read_bytes()
        assert reference["content_type"] == "application/pdf"
        assert reference["size"] == path.stat().st_size


@pytest.mark.gen_test(timeout=30)
async def test_an_upload_is_repeated_while_the_server_is_away_then_given_up(server: FakeServer) -> None:
    http = HttpDoor()
    try:
        files = Files(http, Address(server.url), Registered())
        server.upload_failures = 2
        reference = await files.put(b"abc" * 1000, "text/plain")
        assert server.files[reference["$file"]["sha256"]] == b"abc" * 1000
        server.upload_failures = 100
        with pytest.raises(FileTransferFailed, match="503"):
            async with asyncio.timeout(25):
                await files.put(b"abc", "text/plain")
    finally:
        http.close()
