"""The wire: broken requests, slow and aborted bodies, and what earlier releases of Tornado got wrong."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from tornado.web import Application

from server.config import Settings
from tests.api.client import Answer, Api
from tests.api.conftest import Register
from tests.api.module import until
from tests.embedded import settings_in

LONG_S = 5.0


async def raw(api: Api, request: bytes, *, rest: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send bytes, read one answer: its status, headers in small letters, and body."""
    host, _, port = api.base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        await writer.drain()
        if rest:
            writer.write(rest)
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body
    finally:
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), 10)


def head(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode("latin-1")


def error_of(body: bytes) -> str:
    return str(msgspec.json.decode(body)["error"]["type"])


@pytest.mark.gen_test
async def test_the_loop_goes_on_after_broken_requests(anonymous: Api) -> None:
    broken = [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n bad: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello",
        b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n",
        b"POST /module/" + b"0" * 32 + b"/files HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    for request in broken:
        host, _, port = anonymous.base_url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert b"Traceback" not in answer, request
        assert not answer.startswith((b"HTTP/1.1 500", b"HTTP/1.1 2")), request
        writer.close()
    assert (await anonymous.get("/health/live")).status == 200


@pytest.mark.parametrize("given", ["x" * 65, "a b", "<script>", "a\tb", "é", "", "a;b", "../x"])
@pytest.mark.gen_test
async def test_an_unusable_request_id_is_replaced(anonymous: Api, given: str) -> None:
    answer = await anonymous.get("/nowhere", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 32


@pytest.mark.gen_test
async def test_a_usable_request_id_is_kept(anonymous: Api) -> None:
    for given in ("abc", "A-1_b.2", "x" * 64):
        assert (await anonymous.get("/health/live", headers={"X-Request-ID": given})).headers["X-Request-ID"] == given


@pytest.mark.gen_test
async def test_a_request_id_makes_no_header_of_its_own(anonymous: Api) -> None:
    for line in (
        "X-Request-ID: a\rSet-Cookie: x=1",
        "X-Request-ID: a\nSet-Cookie: x=1",
        "X-Request-ID: a%0d%0aSet-Cookie: x=1",
        "X-Request-ID: a\x00b",
    ):
        host, _, port = anonymous.base_url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head("/health/live", line, "Connection: close"))
        answer = await asyncio.wait_for(reader.read(), 10)
        assert b"set-cookie" not in answer.split(b"\r\n\r\n")[0].lower().replace(b"x-request-id: a%0d%0aset-cookie", b"")
        writer.close()


@pytest.mark.gen_test
async def test_a_body_in_chunks_is_read(anonymous: Api) -> None:
    body = b'{"name": "a"}'
    chunks = b"".join(b"1\r\n" + body[place : place + 1] + b"\r\n" for place in range(len(body))) + b"0\r\n\r\n"
    status, _, answer = await raw(anonymous, head("/module/register", "Transfer-Encoding: chunked", method="POST") + chunks)
    assert status == 200
    assert msgspec.json.decode(answer)["result"]["hash"]


@pytest.mark.gen_test
async def test_chunks_without_end_are_too_large(anonymous: Api) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    status, _, answer = await raw(
        anonymous, head("/module/register", "Transfer-Encoding: chunked", method="POST"), rest=chunk * 10 + b"0\r\n\r\n"
    )
    assert (status, error_of(answer)) == (413, "too_large")


@pytest.mark.gen_test
async def test_an_announced_flood_is_refused_before_it_comes(anonymous: Api) -> None:
    for path in ("/module/register", "/api/auth/login"):
        status, _, answer = await raw(anonymous, head(path, f"Content-Length: {10 << 30}", method="POST"))
        assert (status, error_of(answer)) == (413, "too_large")


@pytest.mark.gen_test
async def test_who_may_not_is_told_before_the_body_comes(anonymous: Api) -> None:
    status, headers, answer = await raw(anonymous, head("/workflow/create", "Content-Length: 1000000", method="POST"))
    assert (status, error_of(answer), headers["www-authenticate"]) == (401, "not_signed_in", "Bearer")


class TestSmallUploads:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> Settings:
        return settings_in(tmp_path / "data", max_upload_mb=1)

    @pytest.mark.gen_test
    async def test_an_upload_in_chunks_over_the_limit_is_told_so(self, api: Api, register: Register, settings: Settings) -> None:
        made = await register("a")
        chunk = b"40000\r\n" + b"x" * (1 << 18) + b"\r\n"
        path = f"/module/{made.hash}/files"
        status, _, answer = await raw(api, head(path, "Transfer-Encoding: chunked", method="POST"), rest=chunk * 6 + b"0\r\n\r\n")
        assert (status, error_of(answer)) == (413, "too_large")

        async def clean() -> bool:
            return not [found for found in settings.files.rglob("*") if found.is_file()]

        await until(clean)

    @pytest.mark.gen_test
    async def test_an_upload_that_breaks_off_leaves_nothing(
        self, api: Api, app: Application, register: Register, settings: Settings
    ) -> None:
        made = await register("a")
        await breaks_off(api, head(f"/module/{made.hash}/files", "Content-Length: 1000000", method="POST") + b"x" * 500_000)

        async def clean() -> bool:
            return app.settings["requests"].in_flight == 0 and not [found for found in settings.files.rglob("*") if found.is_file()]

        await until(clean)


async def breaks_off(api: Api, request: bytes) -> None:
    """Send the beginning of a request, and go away."""
    host, _, port = api.base_url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.mark.gen_test
async def test_requests_that_break_off_are_not_in_flight_for_ever(anonymous: Api, app: Application) -> None:
    requests = app.settings["requests"]
    for beginning in (
        head("/module/register", "Content-Length: 1000", method="POST") + b'{"name"',
        head("/module/register", "Content-Length: 1000", method="POST"),
        head("/module/register", "Transfer-Encoding: chunked", method="POST") + b"5\r\nab",
        head("/api/auth/login", "Content-Length: 1000", method="POST") + b"{",
        head("/nowhere", "Content-Length: 1000", method="POST") + b"{",
    ):
        for _ in range(5):
            await breaks_off(anonymous, beginning)

    async def none() -> bool:
        return bool(requests.in_flight == 0)

    await until(none)
    assert (await anonymous.get("/health/live")).status == 200
    assert requests.in_flight == 0


@pytest.mark.gen_test
async def test_a_waiting_request_is_in_flight(anonymous: Api, app: Application) -> None:
    host, _, port = anonymous.base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head("/module/register", "Content-Length: 13", method="POST") + b'{"name"')

    async def one() -> bool:
        return bool(app.settings["requests"].in_flight == 1)

    await until(one)
    writer.write(b': "a"}')
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()

    async def none() -> bool:
        return bool(app.settings["requests"].in_flight == 0)

    await until(none)


async def quick(asking: Any) -> Answer:
    """The answer, if it came without holding everybody up: the flaws that are meant took minutes."""
    began = time.process_time()
    answer: Answer = await asking
    assert time.process_time() - began < LONG_S
    return answer


@pytest.mark.gen_test
async def test_a_cookie_of_many_escapes(anonymous: Api) -> None:
    """CVE-2024-52804: quadratic time in reading cookies."""
    assert (await quick(anonymous.get("/health/live", headers={"Cookie": 'a="' + "\\\\;" * 15_000 + '"'}))).status == 200


@pytest.mark.gen_test
async def test_a_flood_of_broken_parts_is_not_logged(anonymous: Api, caplog: pytest.LogCaptureFixture) -> None:
    """CVE-2025-47287, CVE-2025-67726, CVE-2026-31958: multipart bodies are not even taken apart."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = b"--x\r\n" + b"Content-Disposition: nonsense\r\n\r\n--x\r\n" * 20_000 + b"--x--"
    assert (await quick(anonymous.post("/module/register", body=body, headers=headers))).status == 400
    body = b'--x\r\nContent-Disposition: form-data; name="' + b';"' * 100_000 + b"\r\n\r\n\r\n--x--"
    assert (await quick(anonymous.post("/module/register", body=body, headers=headers))).status == 400
    assert len(caplog.records) < 20


@pytest.mark.gen_test
async def test_a_header_that_comes_a_thousand_times(anonymous: Api) -> None:
    """CVE-2025-67725: quadratic time in joining repeated headers."""
    lines = ["X-A: b"] * 6000
    began = time.process_time()
    status, _, _ = await raw(anonymous, head("/health/live", *lines))
    assert time.process_time() - began < LONG_S
    assert status in (200, 400, 431)


@pytest.mark.gen_test
async def test_a_form_of_many_fields(anonymous: Api) -> None:
    """CVE-2026-82397: more than a thousand form arguments."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    refused = await quick(anonymous.post("/module/register", body=b"a=1&" * 1_500_000, headers=headers))
    assert (refused.status, refused.type) == (400, "malformed")
    query = "&".join(f"a{number}=1" for number in range(101))
    assert (await anonymous.get(f"/module/register?{query}")).type == "malformed"


@pytest.mark.gen_test
async def test_a_query_in_plain_utf8_is_understood(api: Api) -> None:
    status, _, answer = await raw(api, "GET /module/register?name=股价 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert status == 200
    made = msgspec.json.decode(answer)["result"]["hash"]
    assert (await api.get(f"/module/{made}")).result["name"] == "股价"


@pytest.mark.gen_test
async def test_several_requests_on_one_connection(anonymous: Api) -> None:
    host, _, port = anonymous.base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    refused = head("/nowhere", "Content-Length: 2", method="POST") + b"{}"
    writer.write(
        head("/health/live") + head("/health/ready") + head("/module/register", "Content-Length: 2", method="POST") + b"{}" + refused
    )
    for status in (b"200", b"200", b"422", b"404"):
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert answer.split()[1] == status
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert msgspec.json.decode(await reader.readexactly(length))
    writer.close()


@pytest.mark.gen_test
async def test_a_refusal_before_the_body_says_that_it_closes_the_connection(anonymous: Api) -> None:
    for request in (head("/workflow/create", "Content-Length: 2", method="POST"), head("/module/list"), head("/nowhere")):
        _, headers, _ = await raw(anonymous, request)
        assert headers["connection"] == "close"
    _, headers, _ = await raw(anonymous, head("/health/live"))
    assert "connection" not in headers


@pytest.mark.gen_test
async def test_one_clients_address_does_not_stick_to_the_connection(anonymous: Api) -> None:
    host, _, port = anonymous.base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for line, status in (("X-Forwarded-For: 203.0.113.7", b"401"), ("X-A: b", b"200"), ("X-Forwarded-For: nonsense", b"200")):
        writer.write(head("/module/online", line))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert answer.split()[1] == status, line
        await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    writer.close()
