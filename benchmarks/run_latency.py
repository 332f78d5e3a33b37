"""One run at a time: from sending the execute request to hearing, over /ws/events, that the run is stored as succeeded.

`python -m benchmarks.run_latency HOST:PORT WORKFLOW TOKEN TICKET COUNT` prints the times in ms as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from tornado.websocket import websocket_connect

WARMING = 20


async def execute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
    """The id of the run that begins."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    length = int(lower[lower.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
    answer = json.loads(await reader.readexactly(length))
    return str(answer["result"]["run_id"])


async def measure(address: str, workflow: str, token: str, ticket: str, count: int) -> list[float]:
    socket = await websocket_connect(f"ws://{address}/ws/events?ticket={ticket}")
    await socket.write_message('{"subscribe":["runs"]}')
    await socket.read_message()
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def listen() -> None:
        while (message := await socket.read_message()) is not None:
            told = json.loads(message)
            if told["event"] == "RunChanged" and told["data"]["state"] == "succeeded":
                ended.put_nowait(told["data"]["run_id"])

    listening = asyncio.create_task(listen())
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = (
        f"POST /workflow/{workflow}/execute HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    ).encode()
    times = []
    for _ in range(WARMING + count):
        began = time.perf_counter()
        run_id = await execute(reader, writer, request)
        heard = await asyncio.wait_for(ended.get(), 10)
        times.append(1000 * (time.perf_counter() - began))
        assert heard == run_id, "another run ended"
    listening.cancel()
    return times[WARMING:]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(*sys.argv[1:5], int(sys.argv[5])))))  # type: ignore[arg-type]  # four texts and a number
