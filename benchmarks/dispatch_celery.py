"""Celery + Redis: the best that its worker does on this machine, over pools and sizes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import PEER_BIN, PEER_CODE, Child, ask_json, redis
from benchmarks.report import note

POOLS = [("prefork", 1), ("prefork", 2), ("prefork", 4), ("threads", 4), ("threads", 16), ("solo", 1)]
# Fewer messages a fetch than a no-op likes is Celery's default; a longer fetch helps it, so it is tried too.
PREFETCH = 64


@dataclass(frozen=True)
class Celery:
    """The best throughput in tasks a second and the best p50 in ms, with the pool that gave each, and all figures as lines."""

    rate: float
    rate_pool: str
    p50_ms: float
    p50_pool: str
    lines: list[str]


def measure(folder: Path, *, tasks: int, alone: int, quick: bool) -> Celery:
    found: list[tuple[str, float, float]] = []
    pools = [("prefork", 1), ("prefork", 2), ("threads", 4)] if quick else POOLS
    with redis(folder / "celery-redis") as url:
        for pool, size in pools:
            for prefetch in (4, PREFETCH):
                name = f"{pool} -c {size}, prefetch {prefetch}"
                rate, p50 = _one(folder / "celery", url, pool, size, prefetch, tasks, alone)
                note(f"celery {name}: {rate:.0f} tasks/s, p50 {p50:.2f} ms")
                found.append((name, rate, p50))
    best, quickest = max(found, key=lambda one: one[1]), min(found, key=lambda one: one[2])
    lines = [f"Celery {name}: {rate:.0f} tasks/s, p50 {p50:.2f} ms" for name, rate, p50 in found]
    return Celery(best[1], best[0], quickest[2], quickest[0], lines)


def _one(folder: Path, url: str, pool: str, size: int, prefetch: int, tasks: int, alone: int) -> tuple[float, float]:
    settings = {"BENCH_REDIS": url, "BENCH_PREFETCH": prefetch, "PYTHONPATH": PEER_CODE}
    command = [PEER_BIN / "celery", "-A", "celery_app", "worker", "--loglevel", "WARNING", "--pool", pool, "--concurrency", str(size)]
    lean = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with Child(f"celery-{pool}-{size}-{prefetch}", [*command, *lean], folder, **settings):
        load = [PEER_BIN / "python", PEER_CODE / "celery_load.py"]
        # the first call waits until the worker is there, and is not counted
        p50 = statistics.median(ask_json([*load, "latency", str(alone)], folder, **settings))
        rates = [ask_json([*load, "throughput", str(tasks)], folder, **settings)["rate"] for _ in range(2)]
    return max(rates), p50
