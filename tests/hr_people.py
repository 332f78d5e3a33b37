"""People as HR says them, put in by SQL, and the accounts that come of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.people.hr import account_tasks, processing
from server.people.hr.person_row import PersonRow, email_key, row_hash
from server.people.hr.tables import account_attempts, hr_accounts, hr_departments, hr_persons, hr_sources, hr_targets
from server.people.hr.tables import account_tasks as tasks
from server.people.hr.targets.settings import SECRET_FIELDS, TARGET_KINDS
from server.people.organization_tree import attach
from server.people.tables import organizations
from server.platform.sealing import seal


def row(number: int = 1, **more: Any) -> PersonRow:
    """A person; `number` makes the employee number."""
    given: dict[str, Any] = {"name": f"Person {number}", "email": f"p{number}@bupt.example", "department_code": "D1", "title": "lecturer"}
    return PersonRow(employee_no=f"E{number:05}", **{**given, **more})


class HrPeople:
    """One source with its departments D1 and D2, and its targets by name."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.source_id = 0
        self.targets: dict[str, int] = {}
        self.organizations: dict[str, int] = {}

    async def open(self) -> HrPeople:
        now = self.ctx.clock.now()

        def transaction(connection: sa.Connection) -> None:
            source = {
                "name": "HR",
                "kind": "rest",
                "organization_id": 1,
                "enabled": True,
                "settings": {},
                "field_map": {},
                "thresholds": {},
            }
            self.source_id = _inserted(connection, hr_sources, **source, version=1, created_at=now, updated_at=now)
            for code in ("D1", "D2"):
                values = {"parent_id": 1, "name": f"Department {code}", "code": f"hr-{code}", "kind": "department", "created_at": now}
                self.organizations[code] = _inserted(connection, organizations, **values)
                attach(connection, self.organizations[code], 1)
                named = {"source_id": self.source_id, "code": code, "name": f"Department {code}", "hash": code}
                _inserted(connection, hr_departments, **named, organization_id=self.organizations[code])

        await self.ctx.sql.write(transaction)
        return self

    async def target(self, kind: str = "local", **settings: Any) -> int:
        """Another target, in the form that a source keeps it."""
        now = self.ctx.clock.now()
        whole = msgspec.to_builtins(msgspec.convert(settings, TARGET_KINDS[kind]))
        secret = {name: whole.pop(name) for name in SECRET_FIELDS[kind] if name in whole}
        values = {"source_id": self.source_id, "name": kind, "kind": kind, "enabled": True, "settings": whole}
        sealed = seal(self.ctx, {name: value for name, value in secret.items() if value})
        made = await self.ctx.sql.write(
            lambda connection: _inserted(connection, hr_targets, **values, sealed=sealed, created_at=now, updated_at=now)
        )
        self.targets[kind] = made
        return made

    async def say(self, *rows: PersonRow, state: str = "active", adopts: int | None = None) -> None:
        """What HR says now, as an applied run leaves it."""
        now = self.ctx.clock.now()

        def transaction(connection: sa.Connection) -> None:
            known = sa.select(hr_persons.c.employee_no).where(hr_persons.c.source_id == self.source_id)
            present = set(connection.execute(known).scalars())
            fresh = []
            for one in rows:
                values = {
                    "name": one.name,
                    "email_key": email_key(one.email),
                    "department_code": one.department_code,
                    "state": state,
                    "row": msgspec.to_builtins(one),
                    "hash": row_hash(one),
                    "changed_at": now,
                }
                if one.employee_no in present:
                    mine = (hr_persons.c.source_id == self.source_id, hr_persons.c.employee_no == one.employee_no)
                    connection.execute(hr_persons.update().where(*mine).values(**values, revision=hr_persons.c.revision + 1))
                else:
                    new = {"source_id": self.source_id, "employee_no": one.employee_no, "adopted_user_id": adopts, "first_seen_at": now}
                    fresh.append({**values, **new, "revision": 1, "tasked": 0})
            for first in range(0, len(fresh), 100):
                connection.execute(hr_persons.insert(), fresh[first : first + 100])

        await self.ctx.sql.write(transaction)

    async def derive(self) -> int:
        return (await account_tasks.derive(self.ctx, self.source_id))["tasks"]

    async def process(self, kind: str = "local") -> dict[str, int]:
        return await processing.process(self.ctx, self.targets[kind])

    async def work(self, *rows: PersonRow, state: str = "active") -> None:
        """Say it, derive the tasks, and do what is due at each target."""
        await self.say(*rows, state=state)
        await self.derive()
        for kind in self.targets:
            await self.process(kind)

    async def tasks(self) -> list[Any]:
        return await self.ctx.sql.read(lambda connection: list(connection.execute(sa.select(tasks).order_by(tasks.c.id))))

    async def last_task(self) -> Any:
        return (await self.tasks())[-1]

    async def attempts(self) -> list[Any]:
        wanted = sa.select(account_attempts).order_by(account_attempts.c.id)
        return await self.ctx.sql.read(lambda connection: list(connection.execute(wanted)))

    async def accounts(self) -> list[Any]:
        wanted = sa.select(hr_accounts).order_by(hr_accounts.c.id)
        return await self.ctx.sql.read(lambda connection: list(connection.execute(wanted)))

    async def make_tried(self) -> None:
        """As if each pending task had been tried once, nobody knows with what success."""
        tried = tasks.update().where(tasks.c.state == "pending").values(attempts=1)
        await self.ctx.sql.write(lambda connection: connection.execute(tried).rowcount)

    async def make_due(self) -> None:
        """What waits for its next try, or for the lease of a worker that is gone, waits no longer."""
        now = self.ctx.clock.now()
        pending = tasks.update().where(tasks.c.state == "pending").values(run_at=now)
        running = tasks.update().where(tasks.c.state == "running").values(lease_until=now - timedelta(seconds=1))
        await self.ctx.sql.write(lambda connection: [connection.execute(change).rowcount for change in (pending, running)])


def _inserted(connection: sa.Connection, table: sa.Table, **values: Any) -> int:
    made = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert made
    return int(made[0])
