"""Looks into the database of a server from outside, as another reader: how much has been committed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import server.tables  # noqa: F401 - the tables of all wings
from server.config import Settings
from server.dispatch.tables import runs, steps, workflows
from server.engines.sql import sync_url
from server.platform.tables import fires, schedules

Count = Callable[[sa.Connection], int]


class Store:
    def __init__(self, data: Path, **settings: Any) -> None:
        known = {name: value for name, value in settings.items() if name in Settings.__struct_fields__}
        self._engine = sa.create_engine(sync_url(Settings(data_dir=str(data), **known)), isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        self._engine.dispose()

    def count(self, wanted: sa.Select[Any]) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(wanted).scalar_one())

    def wait_for(self, counts: dict[str, tuple[sa.Select[Any], int]], *, within_s: float, every_s: float = 0.02) -> dict[str, float]:
        """When (time.time) each count was first seen to have reached its number; what has been reached is not asked again."""
        reached: dict[str, float] = {}
        until = time.time() + within_s
        with self._engine.connect() as connection:
            while len(reached) < len(counts):
                for name, (wanted, number) in counts.items():
                    if name not in reached and connection.execute(wanted).scalar_one() >= number:
                        reached[name] = time.time()
                if time.time() > until:
                    missing = {name: connection.execute(wanted).scalar_one() for name, (wanted, _) in counts.items() if name not in reached}
                    raise TimeoutError(f"not reached within {within_s:g} s: {missing}")
                time.sleep(every_s)
        return reached

    def plant(self, number: int, cron: str, hashes: list[str], effective_from: datetime) -> None:
        """Copy the newest workflow and its schedule `number` times, with this cron, over these modules in turn. The server is stopped."""
        with self._engine.connect() as connection, connection.begin():
            model = dict(connection.execute(sa.select(workflows).order_by(workflows.c.id.desc()).limit(1)).mappings().one())
            first = int(model["id"]) + 1
            schedule = dict(connection.execute(sa.select(schedules).where(schedules.c.target_id == model["id"])).mappings().one())
            del schedule["id"]
            workflow_rows, schedule_rows = [], []
            for index in range(number):
                name = f"planted-{uuid.uuid4().hex}"
                step = {**model["body"]["execute_modules"][0], "module_hash": hashes[index % len(hashes)]}
                body = {**model["body"], "name": name, "execute_cron_list": [cron], "execute_modules": [step]}
                workflow_rows.append({**model, "id": first + index, "uid": uuid.uuid4().hex, "name": name, "body": body})
                fresh = {"target_id": first + index, "name": name, "crons": [cron], "enabled": True, "effective_from": effective_from}
                schedule_rows.append({**schedule, **fresh})
            for start in range(0, number, 500):
                connection.execute(workflows.insert(), workflow_rows[start : start + 500])
                connection.execute(schedules.insert(), schedule_rows[start : start + 500])


def succeeded(workflow_id: int | None = None) -> sa.Select[Any]:
    wanted = sa.select(sa.func.count()).select_from(runs).where(runs.c.state == "succeeded")
    return wanted if workflow_id is None else wanted.where(runs.c.workflow_id == workflow_id)


def ledgered(planned_at: datetime) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(fires).where(fires.c.planned_at == planned_at)


def dispatched(hashes: list[str]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(steps).where(steps.c.module_hash.in_(hashes), steps.c.state != "queued")
