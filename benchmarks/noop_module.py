"""A module that does nothing, with the client SDK; what is measured is everything around it. `python -m benchmarks.noop_module NAME`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "client"))

from zhihui_module import Module

module = Module(sys.argv[1], outputs=[{"name": "answer", "type": "number"}], concurrency=64)


@module.handler
async def run(_task: object) -> dict[str, int]:
    return {"answer": 42}


if __name__ == "__main__":
    module.run()
