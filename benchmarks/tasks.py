"""`./manage.sh bench tasks`: durable tasks that do nothing, from enqueue to committed success, against Celery + Redis."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.dispatch import migrate
from benchmarks.processes import PEER_BIN, PEER_CODE, Broken, Child, ask_json, mariadb, redis
from benchmarks.report import Row, note, print_notes, print_table

DEFAULT = ("prefork", 2, 4)
# Pool, size, and messages fetched ahead for each of its processes or threads.
OTHERS = [("prefork", 1, 64), ("prefork", 2, 64), ("prefork", 4, 64), ("threads", 4, 64), ("threads", 16, 64), ("solo", 1, 64)]
PARTS = ("sqlite", "mariadb")
CALLERS = 64
TARGET = 3.0


@dataclass(frozen=True)
class Pair:
    """Tasks a second, measured one right after the other."""

    ours: float
    default: float
    best: float


def measure_ours(data: Path, tasks: int, **engines: Any) -> float:
    """One server process, fresh for each measurement; its data folder stays."""
    settings = {"DATA_DIR": data, **{name.upper(): value for name, value in engines.items()}}
    command = [sys.executable, "-m", "benchmarks.tasks_server", "--tasks", str(tasks), "--callers", str(CALLERS)]
    data.mkdir(parents=True, exist_ok=True)
    rates: list[float] = ask_json(command, data, **settings)
    return rates[0]


def measure_celery(folder: Path, url: str, pool: tuple[str, int, int], tasks: int) -> float:
    kind, size, prefetch = pool
    settings = {"BENCH_REDIS": url, "BENCH_PREFETCH": prefetch, "PYTHONPATH": PEER_CODE}
    command = [PEER_BIN / "celery", "-A", "celery_tasks", "worker", "--loglevel", "WARNING", "--pool", kind, "--concurrency", str(size)]
    lean = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with Child(f"celery-{kind}-{size}-{prefetch}", [*command, *lean], folder, **settings):
        # the first call waits until the worker is there, and is not counted
        answer = ask_json([PEER_BIN / "python", PEER_CODE / "celery_load.py", "throughput", str(tasks)], folder, **settings)
    return float(answer["rate"])


def run(options: argparse.Namespace, folder: Path) -> list[Row]:
    tasks, rounds = (1500, 3) if options.quick else (6000, 5)
    rows: list[Row] = []
    with redis(folder / "celery-redis") as url:
        rates = {pool: measure_celery(folder / "celery", url, pool, tasks // 3) for pool in [DEFAULT, *OTHERS]}
        for pool, rate in rates.items():
            note(f"celery {_name(pool)}: {rate:.0f}/s")
        best = max(rates, key=lambda pool: rates[pool])

        def measured(where: str, data: Path, **engines: Any) -> None:
            measure_ours(data, 500, **engines)  # makes the tables, and is not counted
            pairs = []
            for _ in range(rounds):
                ours = measure_ours(data, tasks, **engines)
                pairs.append(
                    Pair(
                        ours,
                        measure_celery(folder / "celery", url, DEFAULT, tasks // 2),
                        measure_celery(folder / "celery", url, best, tasks // 2),
                    )
                )
                note(f"{where}: {ours:.0f}/s; Celery {pairs[-1].default:.0f}/s, at its best {pairs[-1].best:.0f}/s")
            rows.extend(_rows(where, pairs, best))

        if "sqlite" in options.parts:
            measured("SQLite", folder / "sqlite")
        if "mariadb" in options.parts:
            with mariadb(folder / "maria", ["tasks"]) as [database], redis(folder / "bus") as bus:
                engines = {**database, "redis_url": bus}
                migrate(folder / "maria-data", engines)
                measured("MariaDB + Redis", folder / "maria-data", **engines)
    print_table(rows)
    print_notes("How it was measured", _notes(tasks, rounds, rates, best))
    return rows


def _rows(where: str, pairs: list[Pair], best: tuple[str, int, int]) -> list[Row]:
    """The median of our side, and the peer's figure that gives the median of the pairs' ratios."""
    ours = statistics.median(pair.ours for pair in pairs)
    to_default = statistics.median(pair.ours / pair.default for pair in pairs)
    to_best = statistics.median(pair.ours / pair.best for pair in pairs)
    return [
        Row(what=f"durable tasks, {where}, against Celery prefork", ours=ours, unit="/s", peer=ours / to_default, target=TARGET),
        Row(what=f"durable tasks, {where}, against Celery {_name(best)}", ours=ours, unit="/s", peer=ours / to_best, target=TARGET),
    ]


def _notes(tasks: int, rounds: int, rates: dict[tuple[str, int, int], float], best: tuple[str, int, int]) -> list[str]:
    return [
        "two shared cores: all processes of a measurement share them; only ratios carry over to another machine",
        f"ours: one server process with its loops, {CALLERS} callers in it that each enqueue in a transaction of their own, {tasks} tasks"
        " in a queue of concurrency 8; from the first enqueue until the last success is committed and told; 300 go ahead uncounted",
        "Celery: Redis as broker and result backend (no persistence), JSON, acks_late, reject on worker lost, no gossip, mingle, heartbeat"
        " or events; from the first delay() in a producer process until all results are in Redis; the first call is not counted",
        f"{rounds} rounds, each ours, Celery as it comes ({_name(DEFAULT)}) and at its best ({_name(best)}), one after the other; ratios"
        " are the medians of the pairs, and the peer's figure is ours divided by that",
        *(f"Celery {_name(pool)}: {rate:.0f}/s in the search for its best" for pool, rate in rates.items()),
    ]


def _name(pool: tuple[str, int, int]) -> str:
    kind, size, prefetch = pool
    return f"{kind} -c {size}, prefetch {prefetch}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench tasks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run; its figures are rough")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zhihui-bench-") as folder:
        try:
            run(options, Path(folder))
        except (Broken, TimeoutError) as problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
