"""`./manage.sh bench notifications`: from the request that causes a notification until each of 1,000 browsers has been told."""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import os
import statistics
import struct
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks.processes import Broken, Server
from benchmarks.report import Row, note, print_notes, print_table, say
from server.config import Settings
from server.engines.sql import sync_url
from server.people import tokens
from server.people.tables import role_grants, roles, sessions, users

BROWSERS, TARGET_MS = 1000, 500
AT_ONCE = 50
FIRST = 10_000


def fill(data: Path) -> None:
    """BROWSERS administrators of the root, whom it tells of new members, signed in; and somebody for each round to join."""
    engine, now = sa.create_engine(sync_url(Settings(data_dir=str(data)))), datetime.now(UTC)
    with engine.begin() as connection:
        model = dict(connection.execute(sa.select(users)).mappings().first() or {})
        role = connection.execute(sa.select(roles.c.id).where(roles.c.name == "organization_admin")).scalar_one()
        plain = {"email": None, "email_key": None, "password_hash": None}
        ids = range(FIRST, FIRST + BROWSERS + 100)
        connection.execute(users.insert(), [{**model, **plain, "id": one, "username": f"u{one}", "username_key": f"u{one}"} for one in ids])
        readers = range(FIRST, FIRST + BROWSERS)
        grants = [{"user_id": one, "role_id": role, "organization_id": model["organization_id"]} for one in readers]
        connection.execute(role_grants.insert(), grants)
        kept = {"generation": 1, "method": "password", "address": "", "agent": "", "created_at": now, "seen_at": now}
        life = {"expires_at": now + timedelta(days=1)}
        connection.execute(sessions.insert(), [{"id": f"{one:032x}", "user_id": one, **kept, **life} for one in readers])
    engine.dispose()


class Browser(asyncio.Protocol):
    """A socket that asks for its notifications and notes when it is told of one; it does as little as can be done."""

    def __init__(self, port: int, ticket: str) -> None:
        self._request = (
            f"GET /ws/events?ticket={ticket} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        ).encode()
        self.following: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.told: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        if b"NotificationsChanged" in data and not self.told.done():
            self.told.set_result(at)
        elif b"subscribed" in data and not self.following.done():
            self.following.set_result(None)
        elif not self._open and data.startswith(b"HTTP/1.1 101"):
            self._open = True
            asked = b'{"subscribe":["notifications"]}'
            self._transport.write(struct.pack("!BB", 0x81, 0x80 | len(asked)) + bytes(4) + asked)


def ask(connection: http.client.HTTPConnection, token: str, method: str, path: str, body: object = None) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise Broken(f"{method} {path}: {answer.status} {said[:300]!r}")
    result: dict[str, object] = json.loads(said)["result"]
    return result


async def open_browsers(server: Server, secret: str) -> list[Browser]:
    connection, now, loop = http.client.HTTPConnection("127.0.0.1", server.port), datetime.now(UTC), asyncio.get_running_loop()
    opened: list[Browser] = []
    for first in range(FIRST, FIRST + BROWSERS, AT_ONCE):
        some = []
        for one in range(first, first + AT_ONCE):
            token = tokens.issue(secret, "access", tokens.Claims(one, f"{one:032x}", 1), now=now, life=timedelta(hours=1))
            ticket = str(ask(connection, token, "POST", "/api/auth/ticket")["ticket"])
            some.append(Browser(server.port, ticket))
        await asyncio.gather(*(loop.create_connection(lambda one=one: one, "127.0.0.1", server.port) for one in some))  # type: ignore[misc]
        await asyncio.wait_for(asyncio.gather(*(one.following for one in some)), 60)
        opened += some
    return opened


async def measure(server: Server, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """For each round, in ms: until the first, the median and the last browser was told."""
    browsers, token, loop = await open_browsers(server, server.secrets["secret_key"]), server.token(), asyncio.get_running_loop()
    note(f"{len(browsers)} browsers follow their notifications")
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for number in range(rounds):
        for browser in browsers:
            browser.told = loop.create_future()
        connection, began = http.client.HTTPConnection("127.0.0.1", server.port), time.perf_counter()
        body = {"user_id": FIRST + BROWSERS + number, "position": "member"}
        request = loop.run_in_executor(None, ask, connection, token, "POST", "/api/organizations/1/members", body)
        told = await asyncio.wait_for(asyncio.gather(*(browser.told for browser in browsers)), 60)
        await request
        took = sorted((at - began) * 1000 for at in told)
        for kept, value in zip(found, (took[0], statistics.median(took), took[-1]), strict=True):
            kept.append(value)
        await asyncio.sleep(0.5)  # the mails and the log of the round before are not part of the next
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench notifications", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run; its figures are rough")
    options = parser.parse_args(arguments)
    rounds = 3 if options.quick else 10
    with tempfile.TemporaryDirectory(prefix="zhihui-bench-") as folder:
        data = Path(folder) / "data"
        try:
            with Server(data):
                pass
            fill(data)
            with Server(data, access_token_minutes=120) as server:
                first, middle, last = asyncio.run(measure(server, rounds))
        except Broken as problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 1
    what = f"one event told to {BROWSERS} people"
    print_table(
        [
            Row(
                what=f"{what}: the last browser, median of rounds",
                ours=statistics.median(last),
                unit="ms",
                target=TARGET_MS,
                want="at most",
            ),
            Row(what=f"{what}: the last browser, worst round", ours=max(last), unit="ms", target=TARGET_MS, want="at most"),
            Row(what=f"{what}: the median browser", ours=statistics.median(middle), unit="ms"),
            Row(what=f"{what}: the first browser", ours=statistics.median(first), unit="ms"),
        ]
    )
    how = "from sending the request (a new member of an organization with as many administrators) until the frame is read by each socket"
    each = f"rounds: {', '.join(f'{one:.0f}' for one in last)} ms"
    print_notes(
        "How it was measured", [how, f"one server process on SQLite, {BROWSERS} sockets of as many users in one other process", each]
    )
    say()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
