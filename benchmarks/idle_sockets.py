"""Registers modules over HTTP, then holds a bare socket for each. `python -m benchmarks.idle_sockets URL KEY NUMBER`, in the log's folder.

Says "registered", waits for the file idle-sockets.go, connects, says "connected", and stays until it is ended.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
from pathlib import Path

from tornado.websocket import WebSocketClientConnection, websocket_connect

AT_ONCE = 50


def register(address: str, key: str, number: int) -> list[str]:
    connection = http.client.HTTPConnection(address)
    hashes = []
    for index in range(number):
        body = json.dumps({"name": f"idle-{index}", "modelHash": "1", "key": key})
        connection.request("POST", "/module/register", body, {"Content-Type": "application/json"})
        hashes.append(json.load(connection.getresponse())["result"]["hash"])
    return hashes


async def hold(address: str, hashes: list[str]) -> None:
    sockets: list[WebSocketClientConnection] = []
    for start in range(0, len(hashes), AT_ONCE):
        some = hashes[start : start + AT_ONCE]
        sockets += await asyncio.gather(*(websocket_connect(f"ws://{address}/websocket?hash={one}") for one in some))
    print("connected", flush=True)
    first = await sockets[0].read_message()
    raise SystemExit(f"a socket ended or was sent something: {first!r}")


def main() -> None:
    address = sys.argv[1].removeprefix("http://")
    hashes = register(address, sys.argv[2], int(sys.argv[3]))
    print("registered", flush=True)

    async def wait_and_hold() -> None:
        while not Path("idle-sockets.go").exists():
            await asyncio.sleep(0.05)
        await hold(address, hashes)

    asyncio.run(wait_and_hold())


if __name__ == "__main__":
    main()
