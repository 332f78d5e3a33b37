"""Idle sockets, start-up and memory of the server process."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Broken, Child, Server
from benchmarks.report import note

SETTLE_S = 5.0


@dataclass(frozen=True)
class Idle:
    """`socket_kib`: growth of the server's memory per connected module."""

    first_start_s: float
    start_s: float
    idle_mib: float
    socket_kib: float
    full_mib: float


def raise_limit(wanted: int) -> None:
    """Let this process and its children open `wanted` files. Raises Broken when the system refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise Broken(f"the limit of open files is {hard}, {wanted} are needed: ulimit -n {wanted}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def measure_idle(data: Path, *, modules: int) -> Idle:
    raise_limit(modules + 500)
    with Server(data) as first:
        first_start = first.ready_s
    with Server(data) as server:
        time.sleep(SETTLE_S)
        idle = server.rss_mib
        note(f"ready in {server.ready_s:.2f} s, idle {idle:.0f} MiB")
        command = [sys.executable, "-m", "benchmarks.idle_sockets", server.url, server.secrets["module_key"], str(modules)]
        with Child("idle-sockets", command, data / "idle") as sockets:
            sockets.wait(lambda: "registered" in sockets.words(), "the modules are registered", 300)
            time.sleep(SETTLE_S)
            before = server.rss_mib
            sockets.log.with_suffix(".go").touch()
            sockets.wait(lambda: "connected" in sockets.words(), "the modules are connected", 300)
            time.sleep(SETTLE_S)
            after = server.rss_mib
            sockets.check()
        note(f"{modules} sockets: {before:.0f} → {after:.0f} MiB")
    return Idle(first_start, server.ready_s, idle, 1024 * (after - before) / modules, after)
