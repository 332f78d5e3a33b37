"""`./manage.sh bench dashboard`: the dashboard and a year's series over 50,000 projects, kept and read anew, as three kinds of callers."""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.processes import Broken, Server
from benchmarks.report import Row, note, print_notes, print_table, say
from server.config import Settings
from server.engines.sql import sync_url
from server.people import tokens
from server.people.tables import organization_closure, organizations, role_grants, roles, sessions, users
from server.projects.states import ProjectState
from server.projects.tables import project_days, project_history, projects

PROJECTS, SCHOOLS, YEAR = 50_000, 20, 365
TARGET_MS = 100
S = ProjectState
# The way of a project to each state, and how many of a hundred are there.
WAYS: dict[ProjectState, tuple[int, tuple[ProjectState, ...]]] = {
    S.DRAFT: (8, ()),
    S.IN_REVIEW: (10, (S.SUBMITTED, S.IN_REVIEW)),
    S.RETURNED: (4, (S.SUBMITTED, S.IN_REVIEW, S.RETURNED)),
    S.REJECTED: (18, (S.SUBMITTED, S.IN_REVIEW, S.REJECTED)),
    S.RUNNING: (30, (S.SUBMITTED, S.IN_REVIEW, S.APPROVED, S.RUNNING)),
    S.COMPLETED: (30, (S.SUBMITTED, S.IN_REVIEW, S.APPROVED, S.RUNNING, S.COMPLETED)),
}
READERS = {"head": "organization_admin", "teacher": "teacher"}


def fill(data: Path) -> None:
    """The projects in twenty schools with their histories over a year, and a head and a teacher of one school, signed in."""
    engine, now, dice = sa.create_engine(sync_url(Settings(data_dir=str(data)))), datetime.now(UTC), random.Random(6)
    rows: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    days: dict[tuple[str, int, str, str], list[int]] = {}

    def step(number: int, row: dict[str, Any], at: datetime, before: str | None, after: str) -> None:
        what = "created" if before is None else "transition"
        whose = {"project_id": number, "user_id": 1, "actor": "bench", "detail": {}, "comment": "so be it " * 5}
        entries.append({**whose, "at": at, "what": what, "action": None, "from_state": before, "to_state": after})
        day = (at + timedelta(hours=8)).date().isoformat()
        days.setdefault((day, row["organization_id"], row["kind"], after), [0, 0])[0] += 1
        if before is not None:
            days.setdefault((day, row["organization_id"], row["kind"], before), [0, 0])[1] += 1

    for number in range(1, PROJECTS + 1):
        state = dice.choices(list(WAYS), [weight for weight, _ in WAYS.values()])[0]
        at = now - timedelta(days=dice.uniform(40, YEAR))
        row = {
            "id": number,
            "kind": dice.choice(["research", "teaching", "student"]),
            "title": f"Project {number}",
            "summary": "What it is about. " * 40,
            "organization_id": 100 + number % SCHOOLS,
            "owner_id": 10_000 + number % 3000,
            "state": state.value,
            "fields": {},
            "budget": [],
            "due_at": now + timedelta(days=dice.uniform(-5, 30)),
            "version": 1,
            "created_at": at,
            "updated_at": at,
        }
        before = S.DRAFT.value
        step(number, row, at, None, before)
        for after in WAYS[state][1]:
            at += timedelta(days=dice.uniform(0.1, 7))
            step(number, row, at, before, after.value)
            before = after.value
        rows.append({**row, "state_since": at})
    with engine.begin() as connection:
        people(connection, now)
        for table, made in ((projects, rows), (project_history, entries)):
            for first in range(0, len(made), 5000):
                connection.execute(table.insert(), made[first : first + 5000])
        names = ("day", "organization_id", "kind", "state")
        counted = [{**dict(zip(names, key, strict=True)), "entered": came, "left": went} for key, (came, went) in days.items()]
        connection.execute(project_days.insert(), counted)
    with engine.connect() as connection:
        connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
    note(f"{len(rows)} projects, {len(entries)} entries of history, {len(days)} counts of days")


def people(connection: sa.Connection, now: datetime) -> None:
    root = connection.execute(sa.select(organizations.c.id).where(organizations.c.parent_id.is_(None))).scalar_one()
    for number in range(SCHOOLS):
        school = 100 + number
        named = {"name": f"School {number}", "code": f"s{number}", "kind": "school", "created_at": now}
        connection.execute(organizations.insert().values(id=school, parent_id=root, **named))
        for above, depth in ((root, 1), (school, 0)):
            connection.execute(organization_closure.insert().values(ancestor_id=above, descendant_id=school, depth=depth))
    model = dict(connection.execute(sa.select(users)).mappings().first() or {})
    for number, (name, role_name) in enumerate(READERS.items()):
        who = {"id": 1000 + number, "username": name, "username_key": name, "email": None, "email_key": None, "password_hash": None}
        connection.execute(users.insert().values(**{**model, **who, "organization_id": 100}))
        role = connection.execute(sa.select(roles.c.id).where(roles.c.name == role_name)).scalar_one()
        connection.execute(role_grants.insert().values(user_id=1000 + number, role_id=role, organization_id=100))
        session = {"id": session_of(number), "user_id": 1000 + number, "generation": 1, "method": "password", "address": "", "agent": ""}
        connection.execute(sessions.insert().values(**session, created_at=now, seen_at=now, expires_at=now + timedelta(days=1)))


def session_of(number: int) -> str:
    return 31 * "d" + str(number)


class Caller:
    """One keep-alive connection."""

    def __init__(self, server: Server, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[float, Any]:
        """Milliseconds and the result. Raises Broken."""
        began = time.perf_counter()
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise Broken(f"{method} {path}: {answer.status} {said[:300]!r}")
        return took, json.loads(said)["result"]


def measure(caller: Caller, path: str, times: int, before: Callable[[], object]) -> tuple[float, float]:
    """Median and 95th percentile in ms of asking `times` times, each after `before`."""
    took = []
    for _ in range(times):
        before()
        took.append(caller.ask("GET", path)[0])
    return statistics.median(took), statistics.quantiles(took, n=20)[-1]


def run(folder: Path, times: int) -> None:
    data = folder / "data"
    with Server(data):
        pass
    fill(data)
    with Server(data, access_token_minutes=120) as server:
        now, secret = datetime.now(UTC), server.secrets["secret_key"]
        admin = Caller(server, server.token())
        callers = {"administrator": admin}
        for number, name in enumerate(READERS):
            claims = tokens.Claims(1000 + number, session_of(number), 1)
            callers[name] = Caller(server, tokens.issue(secret, "access", claims, now=now, life=timedelta(hours=1)))
        _, made = admin.ask("POST", "/api/projects", {"title": "changing"})
        first = (now - timedelta(days=YEAR)).date().isoformat()
        paths = {
            "dashboard": "/api/dashboard",
            "a year of approvals by week": f"/api/dashboard/series?metric=approved&from={first}&by=week",
            "a year of what ran by day": f"/api/dashboard/series?metric=standing.running&from={first}&by=day",
        }
        rows, notes = [], []
        for name, caller in callers.items():
            for what, path in paths.items():
                caller.ask("GET", path)
                kept = measure(caller, path, times * 3, lambda: None)
                # A change drops what is kept: every answer is read from the tables.
                change = f"/api/projects/{made['id']}"
                anew = measure(caller, path, times, lambda change=change: admin.ask("PATCH", change, {"title": f"changing {time.time()}"}))  # type: ignore[misc]
                rows.append(Row(what=f"{what}, {name}, kept: p95", ours=kept[1], unit="ms", target=TARGET_MS, want="at most"))
                rows.append(Row(what=f"{what}, {name}, after a change: p95", ours=anew[1], unit="ms", target=TARGET_MS, want="at most"))
                notes.append(f"{what}, {name}: medians {kept[0]:.1f} ms kept, {anew[0]:.1f} ms after a change")
        total = {name: caller.ask("GET", "/api/dashboard")[1]["projects"]["total"] for name, caller in callers.items()}
    print_table(rows)
    seen = ", ".join(f"{name} {number}" for name, number in total.items())
    how = f"one caller at a time, one keep-alive connection, {times * 3} and {times} requests each; SQLite; projects seen: {seen}"
    print_notes("How it was measured", [how, *notes])
    say()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench dashboard", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run; its figures are rough")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zhihui-bench-") as folder:
        try:
            run(Path(folder), 20 if options.quick else 60)
        except Broken as broken:
            sys.stderr.write(f"bench: {broken}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
