"""`./manage.sh demo hr`: a first sync, an update, a mass disable that is held until a second person approves it, a dead letter retried."""

from __future__ import annotations

import argparse
import secrets
import time
from pathlib import Path
from typing import Any

from scripts.api import Api, Refused
from scripts.demo_hr_systems import TOKEN, Systems
from scripts.demo_stage import ROOT, Failed, Stage, play, say

SOURCE = "demo HR"
ENDED = ("succeeded", "failed", "aborted", "awaiting_approval", "planned")


class HrDemo:
    def __init__(self, stage: Stage, *, once: bool) -> None:
        self._stage, self._once = stage, once
        self._systems = Systems()

    def show(self) -> None:
        """Start everything and tell the story. Raises Failed, Refused."""
        url, self._api = self._stage.start_server()
        try:
            self._source = self._make_source()
            self._second = self._make_second_person(url)
            self._first_sync()
            self._an_update()
            self._a_mass_disable()
            self._a_dead_letter()
            self._why()
            say("\nthe story is told" + ("" if self._once else "; Ctrl-C ends the demo"))
            while not self._once:
                self._stage.pause("Ctrl-C", None)
        finally:
            self._systems.close()

    def _make_source(self) -> int:
        body = {
            "kind": "rest",
            "url": f"{self._systems.url}/persons",
            "departments_url": f"{self._systems.url}/departments",
            "token": TOKEN,
            "targets": [
                "local",
                {"kind": "webhook", "name": "mail system", "url": f"{self._systems.url}/accounts", "secret": secrets.token_hex(16)},
            ],
            "thresholds": {"disable": {"count": 10, "percent": 10}},
        }
        made = self._api.post("/api/hr/sources", {"name": f"{SOURCE} {secrets.token_hex(2)}", **body})
        return int(made["id"])

    def _make_second_person(self, url: str) -> Api:
        """Another administrator: nobody approves a plan of their own."""
        name, password = f"secretary-{secrets.token_hex(2)}", secrets.token_urlsafe(16)
        self._api.post("/api/users", {"username": name, "name": "Secretary", "password": password, "roles": ["administrator"]})
        return Api(url, name, password)

    def _first_sync(self) -> None:
        say("\n1. the first sync: forty people, four departments")
        run = self._sync()
        say(f"   {run['state']}: {counts_of(run)}")
        self._show_tasks()

    def _an_update(self) -> None:
        say("\n2. an update: one moves, one has another title, one leaves, one is new; first what would happen, then it happens")
        people = self._systems.people
        people["E1001"]["department_code"] = "D3"
        people["E1002"]["title"] = "院长"
        people["E1003"]["status"] = "left"
        people["E2000"] = {**people["E1000"], "employee_no": "E2000", "name": "欧阳新", "email": "e2000@university.example"}
        plan = self._sync(dry_run=True)
        say(f"   {plan['state']} (nothing written): {counts_of(plan)}")
        self._show_changes(plan)
        run = self._sync()
        say(f"   {run['state']}: {counts_of(run)}")
        self._show_tasks()

    def _a_mass_disable(self) -> None:
        say("\n3. the HR system loses most of its people; the plan is held before the first write")
        kept = dict(list(self._systems.people.items())[:10])
        whole, self._systems.people = self._systems.people, kept
        run = self._sync()
        say(f"   {run['state']}: {counts_of(run)}")
        for over in run["exceeded"]:
            say(f"   over the threshold: {over}")
        try:
            self._api.post(f"/api/hr/runs/{run['id']}/approve", {"comment": "my own plan"})
            raise Failed("the author could approve the plan")
        except Refused as refused:
            say(f"   its author approves it: {refused}")
        self._second.post(f"/api/hr/runs/{run['id']}/approve", {"comment": "the school has closed"})
        run = self._ended(run["id"])
        say(f"   a second person approves it: {run['state']}: {counts_of(run)}")
        self._show_tasks()
        proofs = self._stage.wait("the proof that nobody of them gets in any more", self._find_proofs)
        slowest = max(proof["seconds_to_zero"] for proof in proofs)
        say(f"   {len(proofs)} former accounts were tried at every door; from the order to zero access at most {slowest:.1f} s")
        self._systems.people = whole

    def _find_proofs(self) -> list[dict[str, Any]] | None:
        proofs = self._api.get(f"/api/hr/deprovisionings?page_size=200&source_id={self._source}")["items"]
        return proofs if proofs and all(proof["state"] == "proven" for proof in proofs) else None

    def _a_dead_letter(self) -> None:
        say("\n4. a dead letter: the mail system refused one account; it is mended there, and the task is tried again")
        [dead] = self._api.get(f"/api/account-tasks?state=dead&source_id={self._source}")["items"]
        say(f"   {dead['state']}: {dead['operation']} in {dead['target']['name']} for {dead['person']['name']}: {dead['error']}")
        self._systems.refused.clear()
        self._api.post(f"/api/account-tasks/{dead['id']}/retry", {})
        task = self._stage.wait("the task to be done", lambda: self._find_done(dead["id"]))
        say(f"   {task['state']} at attempt {task['attempts']}")

    def _find_done(self, task_id: int) -> dict[str, Any] | None:
        task: dict[str, Any] = self._api.get(f"/api/account-tasks/{task_id}")
        return task if task["state"] == "succeeded" else None

    def _why(self) -> None:
        say("\n5. why is the account of E1003 as it is?")
        [person] = self._api.get(f"/api/hr/persons?q=E1003&source_id={self._source}")["items"]
        for sentence in self._api.get(f"/api/hr/persons/{person['id']}/why")["sentences"]:
            say(f"   {sentence}")

    def _sync(self, *, dry_run: bool = False) -> dict[str, Any]:
        return self._ended(self._api.post("/api/hr/sync", {"source": self._source, "dry_run": dry_run})["id"])

    def _ended(self, run_id: str) -> dict[str, Any]:
        """The run once it waits for somebody, or is over."""

        def find() -> dict[str, Any] | None:
            run: dict[str, Any] = self._api.get(f"/api/hr/runs/{run_id}")
            return run if run["state"] in ENDED else None

        began = time.monotonic()
        run = self._stage.wait("the run to end", find, within_s=time.monotonic() - began + 120)
        if run["state"] in ("failed", "aborted"):
            raise Failed(f"the run ended as {run['state']}: {run['error']}")
        return run

    def _show_changes(self, run: dict[str, Any]) -> None:
        for change in self._api.get(f"/api/hr/runs/{run['id']}/changes?page_size=200")["items"]:
            say(f"   {change['kind']:<8} {change['key']} {change['name']}: {change['rule']}")

    def _show_tasks(self) -> None:
        """The account tasks once none waits any more."""

        def find() -> dict[str, int] | None:
            states: dict[str, int] = {}
            for state in ("pending", "running", "succeeded", "dead"):
                states[state] = self._api.get(f"/api/account-tasks?state={state}&source_id={self._source}&page_size=1")["total"]
            return states if not states["pending"] + states["running"] and self._derived() else None

        states = self._stage.wait("the account tasks to be done", find)
        say(f"   account tasks so far: {states['succeeded']} succeeded, {states['dead']} dead")

    def _derived(self) -> bool:
        """Whether no job still makes account tasks of what HR said."""
        return all(not self._api.get(f"/api/tasks?kind=accounts.derive&state={state}")["total"] for state in ("queued", "running"))


def counts_of(run: dict[str, Any]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in run["counts"].items() if number) or "nothing to do"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh demo hr", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when the story is told")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "demo-hr", help="the demo's own DATA_DIR (default: data/demo-hr)")
    options = parser.parse_args(arguments)
    stage = Stage(options.data)
    return play(stage, HrDemo(stage, once=options.once).show)
