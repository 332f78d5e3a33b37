"""A module of the client package as a process: notes each call of its handler in a file, and works until the test says go.

python working_module.py NAME FOLDER        (ZHIHUI_URL names the server)
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from zhihui_module import AsyncTask, Module

folder = Path(sys.argv[2])
module = Module(sys.argv[1], grace_s=20)


@module.handler
async def work(task: AsyncTask) -> None:
    with (folder / "calls").open("a") as calls:
        calls.write(f"{os.getpid()} {task.meta.run_id} {task.meta.attempt} {task.meta.fence}\n")
    while not (folder / "go").exists():
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    module.run()
