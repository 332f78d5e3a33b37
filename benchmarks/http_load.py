"""A load process: keep-alive connections that send one request again and again; prints what it saw as JSON.

`python -m benchmarks.http_load HOST:PORT METHOD PATH --connections 64 (--requests N | --seconds S) [--token T]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter


class Connection(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one is complete."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.send()

    def send(self) -> None:
        if self._load.may_send():
            self._sent_at = time.perf_counter()
            self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        at = head.lower().index(b"content-length:") + 15
        total = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) < total:
            return
        self._load.answered(int(head[9:12]), time.perf_counter() - self._sent_at)
        self._buffer = self._buffer[total:]
        self.send()

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.lost()


class Load:
    """How much is still to be sent, and what has come back."""

    def __init__(self, request: bytes, requests: int | None, seconds: float | None) -> None:
        self.request = request
        self._left, self._seconds = requests, seconds
        self._until = 0.0
        self._open = 0
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.done = asyncio.Event()
        self.failed = False

    def begin(self) -> None:
        self._until = time.perf_counter() + (self._seconds or 1e9)

    def may_send(self) -> bool:
        if self._left is not None:
            if self._left <= 0:
                return False
            self._left -= 1
        elif time.perf_counter() >= self._until:
            return False
        self._open += 1
        return True

    def answered(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.latencies.append(seconds)
        self._open -= 1
        finished = self._left <= 0 if self._left is not None else time.perf_counter() >= self._until
        if finished and self._open == 0:
            self.done.set()

    def lost(self) -> None:
        if not self.done.is_set():
            self.failed = True
            self.done.set()


async def run(options: argparse.Namespace) -> dict[str, object]:
    host, _, port = options.address.partition(":")
    body = options.body.encode()
    head = [f"{options.method} {options.path} HTTP/1.1", f"Host: {options.address}", "Accept: application/json"]
    if options.token:
        head.append(f"Authorization: Bearer {options.token}")
    if body or options.method == "POST":
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    load = Load("\r\n".join([*head, "", ""]).encode() + body, options.requests, options.seconds)
    loop = asyncio.get_running_loop()
    load.begin()
    began_at, began = time.time(), time.perf_counter()
    await asyncio.gather(*(loop.create_connection(lambda: Connection(load), host, int(port)) for _ in range(options.connections)))
    await load.done.wait()
    took = time.perf_counter() - began
    ordered = sorted(load.latencies)
    return {
        "began_at": began_at,
        "seconds": took,
        "answers": len(ordered),
        "rate": len(ordered) / took,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)],
        "statuses": {str(status): count for status, count in load.statuses.items()},
        "failed": load.failed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("method")
    parser.add_argument("path")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--token", default="")
    parser.add_argument("--body", default="")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
