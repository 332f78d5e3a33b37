"""Our side of `bench dispatch`: runs over HTTP, one at a time, and by the schedule."""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.processes import Broken, Child, Server, ask_json
from benchmarks.report import note
from benchmarks.store import Store, dispatched, ledgered, succeeded

CONNECTIONS = 32


@dataclass(frozen=True)
class Runs:
    """Runs a second over HTTP (each round) and the median of single runs in ms."""

    rates: list[float]
    p50_ms: float


@dataclass(frozen=True)
class Planned:
    """Seconds from the planned instant until all rows were seen committed; `rate` is runs ended a second, from the same instant."""

    ledgered_s: float
    dispatched_s: float
    ended_s: float
    rate: float


def workflow(name: str, module_hash: str) -> dict[str, Any]:
    return {"name": name, "enable": False, "execute_modules": [{"module_hash": module_hash}], "overlap": "parallel", "timezone": "UTC"}


def start_modules(stack: ExitStack, server: Server, number: int) -> list[str]:
    """Start module processes; their hashes once all are online."""
    wanted = {f"noop-{index}" for index in range(number)}
    for name in sorted(wanted):
        settings = {"ZHIHUI_URL": server.url, "ZHIHUI_MODULE_KEY": server.secrets["module_key"]}
        command = [sys.executable, "-m", "benchmarks.noop_module", name]
        stack.enter_context(Child(name, command, server.data / "modules", **settings))
    api = server.api()
    server.wait(lambda: wanted <= {module["name"] for module in api.get("/module/online")}, "the modules are online")
    return [module["hash"] for module in api.get("/module/online") if module["name"] in wanted]


def measure_runs(data: Path, *, runs: int, rounds: int, alone: int, **engines: Any) -> Runs:
    """A fresh server with one module process."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(data, **engines))
        store = Store(data, **engines)
        stack.callback(store.close)
        hashes = start_modules(stack, server, 1)
        api = server.api()
        made = api.post("/workflow/create", workflow("bench", hashes[0]))
        number, token = str(made["workflow_id"]), server.token()
        address = server.url.removeprefix("http://")
        ticket = api.post("/api/auth/ticket", {})["ticket"]
        latency = [sys.executable, "-m", "benchmarks.run_latency", address, number, token, ticket, str(alone)]
        p50 = statistics.median(ask_json(latency, data))
        note(f"one at a time: p50 {p50:.2f} ms")
        rates = []
        for _ in range(rounds):
            before = store.count(succeeded())
            load = ["-m", "benchmarks.http_load", address, "POST", f"/workflow/{number}/execute", "--body", "{}", "--token", token]
            sizes = ["--requests", str(runs), "--connections", str(CONNECTIONS)]
            seen = _drive([sys.executable, *load, *sizes], server, store, before + runs)
            rates.append(runs / seen)
            note(f"over HTTP: {rates[-1]:.0f} runs/s")
        return Runs(rates, p50)


def _drive(command: list[str], server: Server, store: Store, wanted: int) -> float:
    """Seconds from the first request until `wanted` runs are stored as succeeded."""
    answer = ask_json(command, server.data)
    if set(answer["statuses"]) != {"200"} or answer["failed"]:
        raise Broken(f"not every run began: {answer}")
    reached = store.wait_for({"ended": (succeeded(), wanted)}, within_s=120)
    return float(reached["ended"] - answer["began_at"])


def measure_planned(data: Path, *, schedules: int, modules: int = 4, lead_s: float = 20, **engines: Any) -> Planned:
    """`schedules` workflows due in one second, on `modules` module processes; the rows are planted while the server is stopped."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(data, **engines))
        hashes = start_modules(stack, server, modules)
        server.api().post("/workflow/create", workflow("model", hashes[0]))
    store = Store(data, **engines)
    now = datetime.now(UTC)
    planned_at = (now + timedelta(seconds=lead_s)).replace(microsecond=0)
    cron = f"{planned_at.minute} {planned_at.hour} {planned_at.day} {planned_at.month} * {planned_at.second}"
    store.plant(schedules, cron, hashes, now)
    with ExitStack() as stack:
        stack.callback(store.close)
        server = stack.enter_context(Server(data, **engines))
        hashes = start_modules(stack, server, modules)
        left_s = planned_at.timestamp() - time.time()
        if left_s < 3:
            raise Broken(f"the server was ready only {left_s:.1f} s before the planned instant")
        time.sleep(left_s)
        counts = {"ledgered": ledgered(planned_at), "dispatched": dispatched(hashes), "ended": succeeded()}
        reached = store.wait_for({name: (wanted, schedules) for name, wanted in counts.items()}, within_s=120)
        server.check()
    took = {name: at - planned_at.timestamp() for name, at in reached.items()}
    note("by schedule: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()))
    return Planned(took["ledgered"], took["dispatched"], took["ended"], schedules / took["ended"])
