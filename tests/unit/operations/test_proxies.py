"""Only our own proxies are believed about the client's address, and bodies are limited by kind of handler."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, stream_request_body

from server.config import Settings
from server.proxies import MIB, client_address, listed_addresses
from server.serving import make_server

PROXIES = frozenset({"127.0.0.1", "::1", "10.0.0.1"})


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.0.0.1", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9, 10.0.0.1, 127.0.0.1", "203.0.113.9"),
        ("127.0.0.1, 203.0.113.9", "203.0.113.9"),  # what a client wrote stands to the left and is not believed
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("<script>", None),
        ("", None),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(header: str, address: str | None) -> None:
    assert client_address(header, PROXIES) == address


def test_a_proxy_that_is_no_address_is_named() -> None:
    with pytest.raises(ValueError, match="TRUSTED_PROXIES: 'nginx' is not an IP address"):
        listed_addresses(["127.0.0.1", "nginx"])


class Who(RequestHandler):
    def get(self) -> None:
        self.write(f"{self.request.remote_ip} {self.request.protocol}")

    def post(self) -> None:
        self.write(str(len(self.request.body)))


@stream_request_body
class Upload(RequestHandler):
    size = 0

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def post(self) -> None:
        self.write(str(self.size))


@pytest.fixture
def serve(io_loop: Any) -> Any:
    servers = []

    async def start(**changes: Any) -> str:
        server = make_server(Application([("/who", Who), ("/upload", Upload)]), Settings(max_body_mb=1, **changes))
        (listener,) = bind_sockets(0, "127.0.0.1")
        server.add_socket(listener)
        servers.append(server)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start

    async def stop() -> None:
        for server in servers:
            server.stop()
            await server.close_all_connections()

    io_loop.run_sync(stop)


FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Real-IP": "198.51.100.7"}


@pytest.mark.gen_test
async def test_a_trusted_proxy_is_believed(serve: Any) -> None:
    url = await serve(trusted_proxies="127.0.0.1")
    answer = await AsyncHTTPClient().fetch(f"{url}/who", headers=FORWARDED)
    assert answer.body == b"203.0.113.9 https"


@pytest.mark.gen_test
async def test_anybody_else_is_not(serve: Any) -> None:
    url = await serve(trusted_proxies="10.0.0.1")
    answer = await AsyncHTTPClient().fetch(f"{url}/who", headers=FORWARDED)
    assert answer.body == b"127.0.0.1 http"


@pytest.mark.gen_test
async def test_x_real_ip_is_not_read(serve: Any) -> None:
    url = await serve(trusted_proxies="127.0.0.1")
    answer = await AsyncHTTPClient().fetch(f"{url}/who", headers={"X-Real-IP": "198.51.100.7"})
    assert answer.body == b"127.0.0.1 http"


@pytest.mark.gen_test
async def test_the_next_request_on_a_connection_starts_anew(serve: Any) -> None:
    from tornado.tcpclient import TCPClient

    url = await serve(trusted_proxies="127.0.0.1")
    stream = await TCPClient().connect("127.0.0.1", int(url.rsplit(":", 1)[1]))
    bodies = []
    for headers in ("X-Forwarded-For: 203.0.113.9\r\n", ""):
        await stream.write(f"GET /who HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
        head = await stream.read_until(b"\r\n\r\n")
        length = int(next(line for line in head.decode().split("\r\n") if line.startswith("Content-Length")).split(":")[1])
        bodies.append(await stream.read_bytes(length))
    stream.close()
    assert bodies == [b"203.0.113.9 http", b"127.0.0.1 http"]


@pytest.mark.holds_loop
@pytest.mark.gen_test
async def test_uploads_may_be_long_and_other_bodies_may_not(serve: Any) -> None:
    url = await serve(max_upload_mb=40)
    client = AsyncHTTPClient()
    body = b"x" * (33 * MIB)
    answer = await client.fetch(f"{url}/upload", method="POST", body=body, request_timeout=60)
    assert answer.body == str(len(body)).encode()
    with pytest.raises((HTTPClientError, OSError)):
        await client.fetch(f"{url}/who", method="POST", body=body, request_timeout=60)
    answer = await client.fetch(f"{url}/who", method="POST", body=body[: 2 * MIB])
    assert answer.body == str(2 * MIB).encode()
