"""Register the example module by the inherited protocol; its hash goes to module_hash.txt in the current folder.

    python register.py [HOST:PORT]

The address may also come from ZHIHUI_ADDRESS (default 127.0.0.1:10080). Where registration is not open, ZHIHUI_MODULE_KEY is sent
as a bearer token.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DEFAULT_ADDRESS = "127.0.0.1:10080"
HASH_FILE = Path("module_hash.txt")
MODULE_NAME = "example_module"


def read_server_address(argv: list[str]) -> str:
    """HOST:PORT from the command line, the environment or the default; a scheme in front is taken off."""
    chosen = argv[1] if len(argv) > 1 else os.environ.get("ZHIHUI_ADDRESS", DEFAULT_ADDRESS)
    return chosen.removeprefix("http://").rstrip("/")


def main(argv: list[str]) -> int:
    """Register; 0 when the server answered with a hash."""
    address = read_server_address(argv)
    query = urllib.parse.urlencode(
        {
            "name": MODULE_NAME,
            "description": "Answers every execution with success",
            "input_data": json.dumps([]),
            "output_data": json.dumps([]),
            "modelHash": "example-v1",
        }
    )
    request = urllib.request.Request(f"http://{address}/module/register?{query}")
    if key := os.environ.get("ZHIHUI_MODULE_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        print(f"refused: {error.code} {error.read().decode('utf-8', 'replace')}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{address} cannot be reached: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, ensure_ascii=False))
    HASH_FILE.write_text(answer["result"]["hash"], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
