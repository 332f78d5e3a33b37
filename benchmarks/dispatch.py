"""`./manage.sh bench dispatch`: durable runs, planned instants, idle modules and start-up, runs against Celery + Redis."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.dispatch_celery import Celery, measure
from benchmarks.dispatch_idle import Idle, measure_idle
from benchmarks.dispatch_runs import CONNECTIONS, Planned, Runs, measure_planned, measure_runs
from benchmarks.processes import ROOT, Broken, environment, mariadb, redis
from benchmarks.report import Row, note, print_notes, print_table

PARTS = ("celery", "sqlite", "mariadb", "planned", "idle")


def rows_of_runs(where: str, runs: Runs, celery: Celery | None, target: float) -> list[Row]:
    rate, p50 = statistics.median(runs.rates), runs.p50_ms
    return [
        Row(what=f"runs over HTTP, {where}", ours=rate, unit="/s", peer=celery.rate if celery else None, target=target if celery else None),
        Row(
            what=f"one run at a time, p50, {where}",
            ours=p50,
            unit="ms",
            peer=celery.p50_ms if celery else None,
            target=1.0 if celery else None,
            want="at most",
        ),
    ]


def rows_of_planned(where: str, number: int, planned: Planned, celery: Celery | None, target: float) -> list[Row]:
    within = {"unit": "s", "target": 2.0, "want": "at most"}
    return [
        Row(what=f"{number} due at once: all in the ledger, {where}", ours=planned.ledgered_s, **within),  # type: ignore[arg-type]
        Row(what=f"{number} due at once: all dispatched, {where}", ours=planned.dispatched_s, **within),  # type: ignore[arg-type]
        Row(
            what=f"runs by schedule, {where}",
            ours=planned.rate,
            unit="/s",
            peer=celery.rate if celery else None,
            target=target if celery else None,
        ),
    ]


def rows_of_idle(number: int, idle: Idle) -> list[Row]:
    return [
        Row(what="first start until ready (tables are made)", ours=idle.first_start_s, unit="s", target=3, want="at most"),
        Row(what="start until ready", ours=idle.start_s, unit="s", target=3, want="at most"),
        Row(what="memory of the idle server", ours=idle.idle_mib, unit="MiB", target=150, want="at most"),
        Row(what=f"memory for each of {number} connected modules", ours=idle.socket_kib, unit="KiB", target=40, want="at most"),
    ]


def notes(celery: Celery | None, runs: int, planned: int) -> list[str]:
    lines = [
        "two shared cores: all processes of a measurement share them; only ratios carry over to another machine",
        f"runs over HTTP: {runs} times POST /workflow/ID/execute on {CONNECTIONS} keep-alive connections from a"
        f" load process; one step, overlap"
        " `parallel`, one module process (client SDK, async handler, concurrency 64); timed until the last run is seen as succeeded in the"
        " database by another process; median of the rounds",
        "one run at a time: from sending the request until /ws/events tells that the run is committed as"
        " succeeded; 20 runs go ahead uncounted",
        f"due at once: {planned} workflows with one cron each, their rows written into the tables while the server is stopped; four module"
        " processes; seconds from the planned instant until a reader sees all rows committed",
    ]
    if celery:
        lines += [
            "Celery: Redis as broker and result backend (no persistence), JSON, no-op task, no gossip, mingle,"
            " heartbeat or events; rate: from"
            " the first delay() in a producer process until all results are in Redis, better of two rounds; p50 of delay().get(), 20 ahead",
            f"Celery's figures in the table are its best ones: {celery.rate_pool} for the rate, {celery.p50_pool} for the p50",
            *celery.lines,
        ]
    return lines


def run(options: argparse.Namespace, folder: Path) -> list[Row]:
    quick, parts = options.quick, options.parts
    runs, rounds, alone, planned, idle = (1500, 1, 100, 1000, 500) if quick else (6000, 3, 500, 5000, 2000)
    rows: list[Row] = []
    celery = None
    if "celery" in parts:
        celery = measure(folder, tasks=runs // 3, alone=alone, quick=quick)

    def measured(where: str, name: str, target: float, engines: dict[str, Any], engines_planned: dict[str, Any]) -> None:
        note(f"our side, {where}")
        found = measure_runs(folder / name, runs=runs, rounds=rounds, alone=alone, **engines)
        rows.extend(rows_of_runs(where, found, celery, target))
        if "planned" in parts:
            seen = measure_planned(folder / f"{name}-planned", schedules=planned, **engines_planned)
            rows.extend(rows_of_planned(where, planned, seen, celery, target))

    if "sqlite" in parts:
        measured("SQLite", "sqlite", 5, {}, {})
    if "mariadb" in parts:
        with (
            mariadb(folder / "maria", ["runs", "planned"]) as databases,
            redis(folder / "bus") as first,
            redis(folder / "bus-planned") as second,
        ):
            engines = [{**database, "redis_url": url} for database, url in zip(databases, (first, second), strict=True)]
            for name, one in zip(("maria-data", "maria-data-planned"), engines, strict=True):
                migrate(folder / name, one)
            measured("MariaDB + Redis", "maria-data", 2, *engines)
    if "idle" in parts:
        rows.extend(rows_of_idle(idle, measure_idle(folder / "idle", modules=idle)))
    print_table(rows)
    print_notes("How it was measured", notes(celery, runs, planned))
    return rows


def migrate(data: Path, engines: dict[str, Any]) -> None:
    """Make the tables, as `manage.sh migrate` does. Raises Broken."""
    settings = {name.upper(): value for name, value in engines.items()}
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "server.commands", "migrate"]
    done = subprocess.run(
        command, cwd=data, env=environment(DATA_DIR=data, PYTHONPATH=ROOT, **settings), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Broken(f"the migration failed:\n{done.stdout}{done.stderr}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench dispatch", description=__doc__)
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
