"""`./manage.sh demo`: a server, two modules and a workflow that runs every five seconds, in a folder of their own."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts import demo_hr
from scripts.api import Api
from scripts.demo_stage import ROOT, Stage, own_environment, play, say

EXAMPLES = ROOT / "client" / "examples"
WORKFLOW = "demo-indicators"
EVERY_FIVE_SECONDS = "* * * * * */5"
MODULES = {"prices": "prices_module.py", "indicators": "indicators_module.py"}
ENOUGH_RUNS = 3
ONCE_WITHIN_S = 120


class Demo:
    def __init__(self, stage: Stage, *, once: bool) -> None:
        self._stage, self._once = stage, once

    def show(self) -> None:
        """Start everything, then print the runs as they end. Raises Failed."""
        url, api = self._stage.start_server()
        self._start_modules(url, self._stage.secrets["module_key"])
        hashes = self._stage.wait("the modules to come online", lambda: self._find_online(api))
        workflow = self._workflow(api, hashes)
        say(f"workflow {WORKFLOW}: prices → indicators, every five seconds" + ("" if self._once else "; Ctrl-C ends the demo"))
        self._follow(api, workflow)

    def _start_modules(self, url: str, key: str) -> None:
        environment = own_environment(ZHIHUI_URL=url, ZHIHUI_MODULE_KEY=key, PYTHONPATH=str(ROOT / "client"))
        for name, file in MODULES.items():
            self._stage.children.start(name, [sys.executable, str(EXAMPLES / file)], cwd=self._stage.data, environment=environment)

    def _find_online(self, api: Api) -> dict[str, str] | None:
        """The modules' hashes by name once all are online."""
        online = {module["name"]: module["hash"] for module in api.get("/module/online")}
        return online if set(MODULES) <= set(online) else None

    def _workflow(self, api: Api, hashes: dict[str, str]) -> str:
        """The id of the demo's workflow, made anew or brought up to date."""
        body = {
            "name": WORKFLOW,
            "description": "Prices of the last days, and what follows from them",
            "enable": True,
            "execute_cron_list": [EVERY_FIVE_SECONDS],
            "execute_modules": [{"module_hash": hashes[name], "name": name} for name in MODULES],
            "overlap": "skip",
            "misfire": "skip",
        }
        there = [workflow for workflow in api.get("/workflow/list") if workflow["name"] == WORKFLOW]
        if there:
            api.put(f"/workflow/{there[0]['id']}", body)
            return str(there[0]["id"])
        return str(api.post("/workflow/create", body)["id"])

    def _follow(self, api: Api, workflow: str) -> None:
        """Print each run as it ends, oldest first; with `once`, until enough have succeeded."""
        path = f"/workflow/{workflow}/runs?page_size=20"
        seen = {run["id"] for run in self._runs(api, path) if run.get("ended_at")}
        succeeded = 0
        while True:
            ended = [run for run in self._runs(api, path) if run.get("ended_at") and run["id"] not in seen]
            for run in sorted(ended, key=lambda run: str(run["ended_at"])):
                seen.add(run["id"])
                succeeded += run["state"] == "succeeded"
                say(line_of(api.get(f"/run/{run['id']}")))
                if self._once and succeeded == ENOUGH_RUNS:
                    say(f"{ENOUGH_RUNS} runs succeeded")
                    return
            self._stage.pause(f"{ENOUGH_RUNS} succeeded runs", ONCE_WITHIN_S if self._once else None)

    def _runs(self, api: Api, path: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = api.get(path)["items"]
        return runs


def line_of(run: dict[str, Any]) -> str:
    """A run in a line: when, what became of it, how long it took, and a few figures of its output."""
    begun, ended = (datetime.fromisoformat(run[name]) for name in ("created_at", "ended_at"))
    parts = [ended.astimezone().strftime("%H:%M:%S"), f"{run['state']:<9}", f"{1000 * (ended - begun).total_seconds():5.0f} ms"]
    for step in run.get("steps", ()):
        if step.get("error"):
            parts.append(f"{step.get('name')}: {step['error']}")
        rows = (step.get("output") or {}).get("indicators")
        if isinstance(rows, list):
            parts += [f"{row['symbol']} {row['name']} RSI {row['rsi']}" for row in rows[:3]]
    return "  ".join(parts)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["hr"]:
        return demo_hr.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="./manage.sh demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help=f"end after {ENOUGH_RUNS} succeeded runs, within {ONCE_WITHIN_S} s")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "demo", help="the demo's own DATA_DIR (default: data/demo)")
    options = parser.parse_args(arguments)
    stage = Stage(options.data)
    return play(stage, Demo(stage, once=options.once).show)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
