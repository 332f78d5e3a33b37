"""Connect the example module by the inherited protocol, print every frame, and answer executions with a result.

    python client_connect.py [HOST:PORT]

Reads module_hash.txt, which register.py wrote. The results name no run and no fence, as those of module clients written before
these existed; the server settles its oldest step in flight with them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import quote

from tornado.httpclient import HTTPClientError
from tornado.websocket import websocket_connect

from register import HASH_FILE, MODULE_NAME, read_server_address


def result_of(frame: dict[str, Any]) -> dict[str, Any]:
    """The result of one execution, with the members of the inherited protocol and no others."""
    meta = frame.get("meta", {})
    return {
        "type": "result",
        "status": "success",
        "workflow_id": meta.get("workflow_id"),
        "workflow_name": meta.get("workflow_name"),
        "module_name": MODULE_NAME,
        "error": "",
        "message": f"executed for {meta.get('execution_time')}",
    }


async def serve(address: str, module_hash: str) -> None:
    """Answer until the server closes the socket. Ping and pong are the library's."""
    connection = await websocket_connect(f"ws://{address}/websocket?hash={quote(module_hash)}", connect_timeout=10)
    print(f"connected to {address}", flush=True)
    while (message := await connection.read_message()) is not None:
        print(f"received: {message!s}", flush=True)
        try:
            frame = json.loads(message)
        except ValueError:
            continue  # `receive result` is plain text
        if isinstance(frame, dict) and frame.get("type") == "execute":
            result = json.dumps(result_of(frame), ensure_ascii=False)
            await connection.write_message(result)
            print(f"sent: {result}", flush=True)
    print(f"closed by the server: {connection.close_code} {connection.close_reason or ''}", flush=True)
    connection.close()


def main(argv: list[str]) -> int:
    """Serve until the socket closes or Ctrl-C; 1 when there is no hash or no server."""
    try:
        module_hash = HASH_FILE.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        print(f"{HASH_FILE} is missing: run register.py first", file=sys.stderr)
        return 1
    address = read_server_address(argv)
    try:
        asyncio.run(serve(address, module_hash))
    except KeyboardInterrupt:
        return 0
    except HTTPClientError as error:
        print(f"the socket was refused: {error.code} {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{address} cannot be reached: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
