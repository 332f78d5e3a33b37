"""An HR system with a REST interface, on the test's own loop or as a process of its own: persons, departments, and mischief on demand."""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

Row = dict[str, Any]
Answer = dict[str, Any]
# What happens to one request in place of a good answer; the handler is finished by it, or else the answer is sent.
Mischief = Callable[[RequestHandler, Answer], Awaitable[None]]


def person(number: int, **more: Any) -> Row:
    """A person as HR says them, in the field names of the contract."""
    return {
        "employee_no": f"E{number:06}",
        "name": f"教师{number}",
        "email": f"e{number:06}@example.edu.cn",
        "phone": f"138{number:08}",
        "department_code": f"D{number % 50:03}",
        "title": ("讲师", "副教授", "教授")[number % 3],
        "status": "active",
        "start_date": f"{2000 + number % 25}-09-01",
        "end_date": None,
        "positions": [],
        **more,
    }


def department(number: int, **more: Any) -> Row:
    """Number 0 is above all others."""
    return {"code": f"D{number:03}", "name": f"部门{number}", "parent_code": None if number == 0 else "D000", **more}


class HrPeer:
    """`mischief` is taken from the left, one a request; with none left every answer is good. `token` empty lets anybody in."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}/persons"
        self.departments_url = f"{self.origin}/departments"
        self.persons: list[Row] = []
        self.departments: list[Row] = []
        self.token = ""
        self.login = ("", "")
        self.says_total = True
        self.most_rows = 1000  # a page, whatever is asked for
        self.packs = False
        self.mischief: deque[Mischief] = deque()
        self.requests: list[HTTPServerRequest] = []

    def lets_in(self, request: HTTPServerRequest) -> bool:
        given = request.headers.get("Authorization", "")
        if self.token:
            return given == f"Bearer {self.token}"
        if self.login[0]:
            return given == "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        return True


class _Handler(RequestHandler):
    def initialize(self, peer: HrPeer) -> None:
        self.peer = peer

    async def get(self, kind: str) -> None:
        peer = self.peer
        peer.requests.append(self.request)
        if not peer.lets_in(self.request):
            self.set_status(401)
            await self.finish('{"error": "who are you?"}')
            return
        answer = self._answer(peer.persons if kind == "persons" else peer.departments)
        if peer.mischief:
            await peer.mischief.popleft()(self, answer)
        if self._finished or self.request.connection.stream.closed():  # type: ignore[attr-defined]
            return
        body = msgspec.json.encode(answer)
        self.set_header("Content-Type", "application/json")
        if peer.packs:
            self.set_header("Content-Encoding", "gzip")
            body = gzip.compress(body, 1)
        await self.finish(body)

    def _answer(self, rows: list[Row]) -> Answer:
        """By page, by cursor (which is the number of rows that were given), or at once."""
        size = min(int(self.get_query_argument("page_size", "0")) or len(rows), self.peer.most_rows or len(rows))
        cursor = self.get_query_argument("cursor", "")
        start = int(cursor) if cursor else (int(self.get_query_argument("page", "1")) - 1) * size
        following = start + size
        answer: Answer = {"items": rows[start:following], "next": str(following) if following < len(rows) else None}
        if self.peer.says_total:
            answer["total"] = len(rows)
        return answer


def refused(status: int, body: str = "no", **headers: str) -> Mischief:
    """An error; `Retry_After="3"` becomes the header Retry-After."""

    async def apply(handler: RequestHandler, _answer: Answer) -> None:
        handler.set_status(status)
        for name, value in headers.items():
            handler.set_header(name.replace("_", "-"), value)
        await handler.finish(body)

    return apply


def said(body: str | bytes, content_type: str = "application/json") -> Mischief:
    """This body, with status 200."""

    async def apply(handler: RequestHandler, _answer: Answer) -> None:
        handler.set_header("Content-Type", content_type)
        await handler.finish(body)

    return apply


def html(handler: RequestHandler, answer: Answer) -> Awaitable[None]:
    """A sign-in page, with status 200."""
    return said("<!DOCTYPE html><html><body>请登录</body></html>", "text/html")(handler, answer)


def changed(**fields: Any) -> Mischief:
    """A good answer with other fields."""

    async def apply(_handler: RequestHandler, answer: Answer) -> None:
        answer.update(fields)

    return apply


def held(until: asyncio.Event) -> Mischief:
    """A good answer, once the event is set."""

    async def apply(_handler: RequestHandler, _answer: Answer) -> None:
        await until.wait()

    return apply


async def fine(_handler: RequestHandler, _answer: Answer) -> None:
    """No mischief this time."""


async def half(_handler: RequestHandler, answer: Answer) -> None:
    """Half of the rows of the page, under the same total."""
    del answer["items"][len(answer["items"]) // 2 :]


async def cut(handler: RequestHandler, _answer: Answer) -> None:
    """A connection that breaks in the middle of the answer."""
    handler.set_header("Content-Length", "10000")
    handler.write('{"items": [')
    await handler.flush()
    handler.request.connection.stream.close()  # type: ignore[union-attr]


@asynccontextmanager
async def running_hr(persons: int = 0, departments: int = 0) -> AsyncIterator[HrPeer]:
    socket, port = bind_unused_port()
    peer = HrPeer(port)
    peer.persons = [person(number) for number in range(persons)]
    peer.departments = [department(number) for number in range(departments)]
    server = HTTPServer(Application([(r"/(persons|departments)", _Handler, {"peer": peer})], log_function=lambda _handler: None))
    server.add_socket(socket)
    try:
        yield peer
    finally:
        server.stop()
        await server.close_all_connections()


async def serve(persons: int, departments: int) -> None:
    """Serve until the process is ended; the address of persons is the first line that is written."""
    async with running_hr(persons, departments) as peer:
        print(peer.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=1000)
    parser.add_argument("--departments", type=int, default=50)
    given = parser.parse_args()
    asyncio.run(serve(given.persons, given.departments))
