"""`./manage.sh bench login`: twenty people who sign in at once, again and again, and what it does to the event loop."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import DIRECT, Broken, Server, ask_json
from benchmarks.report import Row, note, print_notes, print_table

AT_ONCE = 20
LAG_LIMIT_MS = 20
PATH = "/api/auth/login"


def buckets(server: Server) -> dict[float, float]:
    """The server's samples of loop lag, by the upper bound of their bucket in seconds."""
    with DIRECT.open(f"{server.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'^zhihui_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', text, re.MULTILINE)
    return {float(bound): float(number) for bound, number in found}


def p99_ms(before: dict[float, float], after: dict[float, float]) -> tuple[float, int]:
    """The upper bound of the bucket that has the 99th percentile, in ms, of the samples between two readings; and how many they are."""
    grown = {bound: number - before.get(bound, 0) for bound, number in sorted(after.items())}
    total = grown[max(grown)]
    return 1000 * next(bound for bound, number in grown.items() if number >= 0.99 * total), int(total)


def load(server: Server, password: str, seconds: int, folder: Path) -> dict[str, float]:
    """Sign-ins over AT_ONCE connections. Raises Broken when one is refused."""
    body = json.dumps({"username": "admin", "password": password})
    command = [sys.executable, "-m", "benchmarks.http_load", f"127.0.0.1:{server.port}", "POST", PATH, "--body", body]
    answer: dict[str, float] = ask_json([*command, "--connections", str(AT_ONCE), "--seconds", str(seconds)], folder)
    if set(answer["statuses"]) != {"200"} or answer["failed"]:  # type: ignore[call-overload]
        raise Broken(f"sign-ins: {answer}")
    return answer


def run(folder: Path, *, rounds: int, seconds: int) -> None:
    with Server(folder / "data") as server:
        password = server.secrets["admin_password"]
        load(server, password, 1, folder)
        before_rest = buckets(server)
        time.sleep(seconds)
        rest_ms, rest_samples = p99_ms(before_rest, buckets(server))
        before, rates, slowest = buckets(server), [], []
        for number in range(rounds):
            answer = load(server, password, seconds, folder)
            rates.append(answer["rate"])
            slowest.append(answer["p99_ms"])
            note(f"round {number + 1}: {rates[-1]:.1f}/s")
        lag_ms, samples = p99_ms(before, buckets(server))
        print_table(
            [
                Row(what="loop lag, p99, at most", ours=lag_ms, unit="ms", target=LAG_LIMIT_MS, want="at most"),
                Row(what="the same at rest", ours=rest_ms, unit="ms"),
                Row(what=f"sign-ins, {AT_ONCE} at once", ours=statistics.median(rates), unit="/s"),
                Row(what="one sign-in among them, p99", ours=statistics.median(slowest), unit="ms"),
                Row(what="memory of the server process", ours=server.rss_mib, unit="MiB"),
            ]
        )
        print_notes(
            "How it was measured",
            [
                f"python -m server as it ships, on SQLite; {AT_ONCE} keep-alive connections of another process, {rounds} rounds of"
                f" {seconds} s; every answer is a token pair",
                f"loop lag: zhihui_loop_lag_seconds of /metrics, {samples} samples under load and {rest_samples} at rest; the figure is the"
                " upper bound of the bucket with the 99th percentile",
                "Argon2id with 64 MiB, two at a time, in threads and without the interpreter's lock",
            ],
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench login", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run; its figures are rough")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zhihui-bench-") as folder:
        try:
            run(Path(folder), rounds=1 if options.quick else 3, seconds=5 if options.quick else 10)
        except Broken as problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
