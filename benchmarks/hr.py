"""`./manage.sh bench hr`: a hundred thousand people from a REST source, planned, applied, read again, and their local accounts made."""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from benchmarks.processes import ROOT, Broken
from benchmarks.report import Row, note, print_notes, print_table
from server import migrating
from server.config import Settings
from server.people.hr import account_tasks, processing, runs, syncing
from server.people.hr.source_schemas import SourceBody
from server.people.hr.sources import create_source
from server.people.hr.tables import account_tasks as tasks
from server.people.hr.tables import hr_targets
from server.resources import Resources
from server.scopes import system_actor

PEOPLE = 100_000
ACCOUNTS = 10_000
ACTOR = system_actor("bench")


async def quiet(_percent: int, _message: str) -> None:
    """Nobody looks at the progress."""


class Measured:
    """One embedded server without its loops, on an HR system that is a process of its own."""

    def __init__(self, folder: Path, people: int) -> None:
        self._settings = Settings(data_dir=str(folder), admin_password="only for the benchmark", secret_key=40 * "x")
        self._people = people

    async def __aenter__(self) -> Measured:
        await asyncio.to_thread(migrating.migrate, self._settings)
        command = [sys.executable, "-m", "tests.peers.hr_server", "--persons", str(self._people), "--departments", "50"]
        self._peer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._peer.stdout is not None
        address = (await asyncio.to_thread(self._peer.stdout.readline)).decode().strip()
        self._resources = await Resources.open(self._settings, loops=False)
        self.ctx = self._resources.ctx
        body = {"name": "HR", "kind": "rest", "url": address, "departments_url": address.replace("persons", "departments")}
        self.source_id = (await create_source(self.ctx, ACTOR, msgspec.convert(body, SourceBody))).id
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._resources.close()
        self._peer.kill()
        self._peer.wait()

    async def sync(self, *, dry_run: bool = False) -> tuple[float, dict[str, Any]]:
        """Seconds of a sync from its request to its end, and its outcome."""
        began = time.perf_counter()
        run = await runs.start(self.ctx, ACTOR, runs.SyncRequest(source=self.source_id, dry_run=dry_run))
        done = await syncing.carry_out(self.ctx, run.id, quiet, last_try=False)
        if done["state"] not in ("planned", "succeeded"):
            raise Broken(f"the run ended as {done['state']}")
        return time.perf_counter() - began, done

    async def accounts(self) -> tuple[float, int]:
        """Seconds from the first task to the last account read back, and how many succeeded."""
        await account_tasks.derive(self.ctx, self.source_id)
        target = sa.select(hr_targets.c.id).where(hr_targets.c.source_id == self.source_id)
        target_id = await self.ctx.sql.read(lambda connection: connection.execute(target).scalar_one())
        began = time.perf_counter()
        await processing.process(self.ctx, int(target_id))
        took = time.perf_counter() - began
        over = sa.select(sa.func.count()).select_from(tasks).where(tasks.c.state == "succeeded")
        return took, int(await self.ctx.sql.read(lambda connection: connection.execute(over).scalar_one()))


async def run(folder: Path, people: int, accounts: int) -> None:
    async with Measured(folder / "many", people) as measured:
        planned_s, _ = await measured.sync(dry_run=True)
        note(f"planned in {planned_s:.1f} s")
        applied_s, _ = await measured.sync()
        unchanged_s, done = await measured.sync()
        if done["counts"]["unchanged"] != people:
            raise Broken(f"an unchanged feed has changed something: {done['counts']}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    async with Measured(folder / "some", accounts) as measured:
        await measured.sync()
        accounts_s, succeeded = await measured.accounts()
        if succeeded != accounts:
            raise Broken(f"{succeeded} of {accounts} accounts were made")
    print_table(
        [
            Row(what=f"{people} people read and planned", ours=planned_s, unit="s", target=60, want="at most"),
            Row(what="the same, planned and applied", ours=applied_s, unit="s"),
            Row(what="the same again, unchanged", ours=unchanged_s, unit="s", target=15, want="at most"),
            Row(what="memory of the process, peak", ours=peak_mib, unit="MiB", target=300, want="at most"),
            Row(what=f"{accounts} local accounts made and read back", ours=accounts_s, unit="s", target=60, want="at most"),
        ]
    )
    print_notes(
        "How it was measured",
        [
            "SQLite, one process with all engines open and without HTTP; the HR system is another process, pages of 500 over loopback",
            "from the request of a run to its end, clearing its snapshot included; the plan is a dry run",
        ],
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench hr", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the people; its figures are rough")
    part = 10 if parser.parse_args(arguments).quick else 1
    with tempfile.TemporaryDirectory(prefix="zhihui-bench-") as folder:
        try:
            asyncio.run(run(Path(folder), PEOPLE // part, ACCOUNTS // part))
        except Broken as problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
