"""Departments of HR as organizations: what a plan says of them, and how it is brought about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.people import organization_tree as tree
from server.people.hr.person_row import DepartmentRow
from server.people.hr.states import ChangeKind, ChangeState, What
from server.people.hr.tables import hr_changes, hr_departments, hr_rows, hr_runs
from server.people.organizations import OrganizationKind
from server.people.tables import organizations
from server.platform import audit

THERE, GONE = "there", "gone"
AT_ONCE = 500
# Of a department's code within the code of its organization.
LONGEST_CODE = 64


class Known(msgspec.Struct):
    """A department as it was last applied, or as the snapshot has it."""

    row: DepartmentRow
    hash: str
    state: str

    def stored(self) -> dict[str, Any]:
        return {"state": self.state, "hash": self.hash, "row": msgspec.to_builtins(self.row)}


class Planned(msgspec.Struct):
    kind: ChangeKind
    rule: str
    code: str
    before: Known | None
    after: Known

    def values(self) -> dict[str, Any]:
        """The change as a row of hr_changes, without its run and state."""
        return {
            "what": What.DEPARTMENT.value,
            "kind": self.kind.value,
            "key": self.code,
            "name": self.after.row.name[:190],
            "rule": self.rule,
            "before": None if self.before is None else self.before.stored(),
            "after": self.after.stored(),
        }


def compare(known: Mapping[str, Known], named: Mapping[str, Known]) -> tuple[list[Planned], list[Planned]]:
    """What is to be done before people are moved (parents first), and what after: departments that HR no longer names."""
    first = [planned for code, after in named.items() if (planned := _compared(known.get(code), after)) is not None]
    depths: dict[str, int] = {}
    first.sort(key=lambda planned: (_depth(planned.code, named, depths), planned.code))
    last = []
    for code, before in sorted(known.items()):
        if code not in named and before.state == THERE:
            after = Known(before.row, before.hash, GONE)
            last.append(Planned(ChangeKind.DISABLE, "department_gone", code, before, after))
    return first, last


def _compared(before: Known | None, after: Known) -> Planned | None:
    code = after.row.code
    if before is None:
        return Planned(ChangeKind.CREATE, "department_new", code, None, after)
    if before.state == GONE:
        return Planned(ChangeKind.REVIVE, "department_back", code, before, after)
    if before.row.parent_code != after.row.parent_code:
        return Planned(ChangeKind.MOVE, "department_moved", code, before, after)
    if before.hash != after.hash:
        return Planned(ChangeKind.UPDATE, "department_renamed", code, before, after)
    return None


def _depth(code: str, named: Mapping[str, Known], depths: dict[str, int]) -> int:
    """How deep a department is in the snapshot; the snapshot has no cycles."""
    path = []
    here: str | None = code
    while here is not None and here not in depths and here in named:
        path.append(here)
        here = named[here].row.parent_code
    depth = depths.get(here, 0) if here is not None else 0
    for above in reversed(path):
        depth += 1
        depths[above] = depth
    return depths.get(code, 0)


def read_known(connection: sa.Connection, source_id: int, after: str) -> dict[str, Known]:
    """The next departments of a source behind a code, in order."""
    table = hr_departments.c
    wanted = sa.select(table.code, table.name, table.parent_code, table.hash, table.gone_at).where(
        table.source_id == source_id, table.code > after
    )
    rows = connection.execute(wanted.order_by(table.code).limit(AT_ONCE))
    return {
        row.code: Known(DepartmentRow(code=row.code, name=row.name, parent_code=row.parent_code), row.hash, GONE if row.gone_at else THERE)
        for row in rows
    }


def read_named(connection: sa.Connection, run_id: str, after: str, known: Mapping[str, Known]) -> dict[str, Known]:
    """The next departments of a snapshot behind a code, in order; one that has not changed is staged without its row."""
    table = hr_rows.c
    wanted = sa.select(table.key, table.hash, table.row).where(
        table.run_id == run_id, table.what == What.DEPARTMENT.value, table.key > after
    )
    rows = connection.execute(wanted.order_by(table.key).limit(AT_ONCE))
    return {row.key: Known(msgspec.convert(row.row, DepartmentRow) if row.row else known[row.key].row, row.hash, THERE) for row in rows}


def read_undone(connection: sa.Connection, source_id: int, undos: frozenset[str]) -> set[str]:
    """The departments that an undo was the last to change."""
    if not undos:
        return set()
    last = (
        sa.select(sa.func.max(hr_changes.c.id).label("id"))
        .join(hr_runs, hr_runs.c.id == hr_changes.c.run_id)
        .where(
            hr_runs.c.source_id == source_id,
            hr_changes.c.what == What.DEPARTMENT.value,
            hr_changes.c.state == ChangeState.APPLIED.value,
        )
        .group_by(hr_changes.c.key)
        .subquery()
    )
    wanted = sa.select(hr_changes.c.key, hr_changes.c.run_id).join(last, last.c.id == hr_changes.c.id)
    return {row.key for row in connection.execute(wanted) if row.run_id in undos}


def find_current(connection: sa.Connection, source_id: int, code: str) -> Any:
    wanted = sa.select(hr_departments).where(hr_departments.c.source_id == source_id, hr_departments.c.code == code)
    return connection.execute(wanted).one_or_none()


def is_current(current: Any, stored: Mapping[str, Any] | None) -> bool:
    """Whether a department is still as a change was planned for."""
    if current is None or stored is None:
        return current is None and stored is None
    return bool(current.hash == stored["hash"] and (GONE if current.gone_at else THERE) == stored["state"])


def apply(connection: sa.Connection, now: datetime, actor: Actor, source: tuple[int, int], change: Any) -> str | None:
    """Bring one change about; None, or why it could not be. `source`: its number and that of its organization.

    A department that is gone keeps its organization, which may still hold projects and documents.
    """
    source_id, top = source
    current = find_current(connection, source_id, change.key)
    if not is_current(current, change.before):
        return "stale"
    row = msgspec.convert(change.after["row"], DepartmentRow)
    gone_at = now if change.after["state"] == GONE else None
    values = {"name": row.name, "parent_code": row.parent_code, "hash": change.after["hash"], "gone_at": gone_at}
    if gone_at is not None and current is not None:
        connection.execute(hr_departments.update().where(hr_departments.c.id == current.id).values(values))
        return None
    parent_id = _parent(connection, source_id, top, row.parent_code)
    there = None if current is None else _organization(connection, current.organization_id)
    if there is None:
        organization_id = _make(connection, now, actor, source_id, row, parent_id)
    elif there.parent_id != parent_id and tree.is_within(connection, parent_id, there.id):
        return "cycle"  # somebody has moved organizations by hand
    else:
        organization_id = there.id
        _change(connection, now, actor, there, row.name, parent_id)
    if current is None:
        connection.execute(hr_departments.insert().values(source_id=source_id, code=row.code, organization_id=organization_id, **values))
    else:
        made = hr_departments.update().where(hr_departments.c.id == current.id)
        connection.execute(made.values(organization_id=organization_id, **values))
    return None


def _organization(connection: sa.Connection, organization_id: int | None) -> Any:
    return connection.execute(sa.select(organizations).where(organizations.c.id == (organization_id or 0))).one_or_none()


def _parent(connection: sa.Connection, source_id: int, top: int, parent_code: str | None) -> int:
    """The organization that a department is right below."""
    if parent_code is None:
        return top
    current = find_current(connection, source_id, parent_code)
    above = None if current is None else _organization(connection, current.organization_id)
    return top if above is None else int(above.id)


def _make(connection: sa.Connection, now: datetime, actor: Actor, source_id: int, row: DepartmentRow, parent_id: int) -> int:
    code = organization_code(source_id, row.code)
    there = connection.execute(sa.select(organizations).where(organizations.c.code == code)).one_or_none()
    if there is not None:  # ours by its code: an earlier life of this department
        if there.parent_id is not None and not tree.is_within(connection, parent_id, there.id):
            _change(connection, now, actor, there, row.name, parent_id)
        return int(there.id)
    values = {"name": row.name, "code": code, "kind": OrganizationKind.DEPARTMENT.value, "parent_id": parent_id}
    made = connection.execute(organizations.insert().values(**values, created_at=now, updated_at=now))
    assert made.inserted_primary_key is not None
    organization_id = int(made.inserted_primary_key[0])
    tree.attach(connection, organization_id, parent_id)
    audit.note(connection, now, actor, "organization.create", f"organization:{organization_id}", **values)
    return organization_id


def _change(connection: sa.Connection, now: datetime, actor: Actor, there: Any, name: str, parent_id: int) -> None:
    changed = {key: value for key, value in (("name", name), ("parent_id", parent_id)) if getattr(there, key) != value}
    if not changed:
        return
    if "parent_id" in changed:
        tree.move(connection, there.id, parent_id)
        detail = {"from_id": there.parent_id, "to_id": parent_id}
        audit.note(connection, now, actor, "organization.move", f"organization:{there.id}", **detail)
    if "name" in changed:
        audit.note(connection, now, actor, "organization.change", f"organization:{there.id}", name=name)
    connection.execute(organizations.update().where(organizations.c.id == there.id).values(updated_at=now, **changed))


def organization_code(source_id: int, code: str) -> str:
    """The code of a department's organization: codes of two sources may be alike, those of organizations may not."""
    made = f"hr{source_id}-{code}"
    if len(made) <= LONGEST_CODE:
        return made
    digest = hashlib.sha256(code.encode()).hexdigest()[:12]
    return f"{made[: LONGEST_CODE - 13]}-{digest}"


def count(connection: sa.Connection, source_id: int) -> int:
    """How many departments of a source are there."""
    wanted = sa.select(sa.func.count()).select_from(hr_departments)
    return connection.execute(wanted.where(hr_departments.c.source_id == source_id, hr_departments.c.gone_at.is_(None))).scalar_one()
