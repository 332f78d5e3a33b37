"""Planning: what a snapshot would change, rule by rule, and how much of the population that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.people.hr import departments, matching, plan_rows, strange, thresholds
from server.people.hr.comparing import MISSING, Seen, compared, why_left
from server.people.hr.person_row import PersonRow
from server.people.hr.protected import Protected, break_glass, read_protected
from server.people.hr.run_schemas import Exceeded
from server.people.hr.sources import Source
from server.people.hr.states import PRESENT, ChangeKind, ChangeState, PersonState, RunKind, What, person_state
from server.people.hr.tables import hr_persons, hr_rows, hr_runs

# Rows a page and a transaction: on MySQL a page is compared, and its changes are put into words, on the loop.
AT_ONCE = 100
Progress = Callable[[int], Awaitable[None]]
_ROW = msgspec.json.Decoder(PersonRow).decode
_NO_END = '%"end_date":null%'
_STATES = [state.value for state in PRESENT]


class Plan(msgspec.Struct):
    """What a plan came to. `counts` are of people, `departments` of departments, `changes` of what is to be applied."""

    counts: dict[str, int]
    departments: dict[str, int]
    exceeded: list[Exceeded]
    changes: int


class Page(msgspec.Struct):
    """The changes of one page, the last key that was looked at (None at the end), and how many rows of the snapshot are in it."""

    changes: list[dict[str, Any]]
    last: str | None
    undone: int = 0


class Surroundings(msgspec.Struct):
    """What does not change while a run is planned."""

    population: int  # people present before
    first: bool  # nothing of this source is known yet
    undos: frozenset[str]
    undone_departments: set[str]
    protected: Protected
    decisions: dict[str, tuple[int | None, dict[str, Any]]]


class Planner:
    """Plans one run. Every page is a read, then a write of its changes: nothing but counts is held."""

    def __init__(self, ctx: Context, run_id: str, source: Source) -> None:
        self._ctx = ctx
        self._run_id = run_id
        self._source = source
        self._now = ctx.clock.now()
        self._today: date = self._now.astimezone(ZoneInfo(ctx.settings.timezone)).date()
        self._break_glass = break_glass(ctx.settings)
        self._counts = {kind.value: 0 for kind in ChangeKind} | {"unchanged": 0, "ambiguous": 0}
        self._of_departments = {kind.value: 0 for kind in ChangeKind}
        self._changes = 0

    async def plan(self, *, persons: int, has_departments: bool, progress: Progress) -> Plan:
        """Compare the staged snapshot of `persons` people and write the changes. Begins anew when it was broken off."""
        await plan_rows.clear_changes(self._ctx, self._run_id)
        around = await self._ctx.sql.read(self._look_around)
        first, last, known = await self._departments() if has_departments else ([], [], 0)
        await self._write([planned.values() for planned in first])
        touched, undone = 0, sum(planned.code in around.undone_departments for planned in (*first, *last))
        for number, look in enumerate((self._newcomers, self._changed, self._missing)):
            seen, of_undo = await self._all(look, around)
            touched += seen if look != self._missing else 0
            undone += of_undo
            await progress(30 * (number + 1))
        await self._write([planned.values() for planned in last])
        self._counts["unchanged"] = max(0, persons - touched)
        risky = sum(self._of_departments[kind] for kind in ("update", "move", "disable"))
        limits = self._source.thresholds
        above = thresholds.exceeded(self._counts, around.population, limits, first=around.first, departments=(risky, known))
        if undone:
            above.append(thresholds.of_undone(undone, around.population))
        return Plan(self._counts, self._of_departments, above, self._changes)

    def _look_around(self, connection: sa.Connection) -> Surroundings:
        mine = hr_persons.c.source_id == self._source.id
        number = sa.select(sa.func.count()).select_from(hr_persons)
        undos = sa.select(hr_runs.c.id).where(hr_runs.c.source_id == self._source.id, hr_runs.c.kind == RunKind.UNDO.value)
        undo_ids = frozenset(connection.execute(undos).scalars())
        return Surroundings(
            population=connection.execute(number.where(mine, hr_persons.c.state.in_(_STATES))).scalar_one(),
            first=connection.execute(sa.select(hr_persons.c.id).where(mine).limit(1)).first() is None,
            undos=undo_ids,
            undone_departments=departments.read_undone(connection, self._source.id, undo_ids),
            protected=read_protected(connection, self._break_glass),
            decisions=matching.read_decisions(connection, self._source.id),
        )

    async def _departments(self) -> tuple[list[departments.Planned], list[departments.Planned], int]:
        """What is to be done before people and after, and how many departments there were."""
        source_id, run_id = self._source.id, self._run_id
        known = await self._gathered(lambda connection, last: departments.read_known(connection, source_id, last))
        named = await self._gathered(lambda connection, last: departments.read_named(connection, run_id, last, known))
        first, last = departments.compare(known, named)
        return first, last, sum(one.state == departments.THERE for one in known.values())

    async def _gathered(self, look: Callable[[sa.Connection, str], dict[str, departments.Known]]) -> dict[str, departments.Known]:
        """All departments, page by page."""
        found: dict[str, departments.Known] = {}
        last = ""
        while page := await self._ctx.sql.read(lambda connection, last=last: look(connection, last)):  # type: ignore[misc]
            found |= page
            last = max(page)
        return found

    async def _all(self, look: Callable[[sa.Connection, str, Surroundings], Page], around: Surroundings) -> tuple[int, int]:
        """Plan page by page; how many people that touched, and how many of them an undo had last changed."""
        touched, undone, last = 0, 0, ""
        while True:
            page = await self._ctx.sql.read(lambda connection, last=last: look(connection, last, around))  # type: ignore[misc]
            await self._write(page.changes)
            touched += len(page.changes)
            undone += page.undone
            if page.last is None:
                return touched, undone
            last = page.last

    async def _write(self, changes: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(changes), AT_ONCE):
            part = changes[start : start + AT_ONCE]
            await self._ctx.sql.write(lambda connection, part=part: plan_rows.write(connection, self._run_id, self._now, part))  # type: ignore[misc]
        for change in changes:
            state = change.get("state", ChangeState.PENDING.value)
            if state == ChangeState.PENDING.value:
                counts = self._counts if change["what"] == What.PERSON.value else self._of_departments
                counts[change["kind"]] += 1
                self._changes += 1
            elif state == ChangeState.NEEDS_PERSON.value:
                self._counts["ambiguous"] += 1

    def _newcomers(self, connection: sa.Connection, after: str, around: Surroundings) -> Page:
        """People whom HR names for the first time."""
        known = sa.and_(hr_persons.c.source_id == self._source.id, hr_persons.c.employee_no == hr_rows.c.key)
        wanted = (
            sa.select(hr_rows.c.key, hr_rows.c.email_key, hr_rows.c.hash, sa.type_coerce(hr_rows.c.row, sa.Text).label("row"))
            .join(hr_persons, known, isouter=True)
            .where(*self._staged(after), hr_persons.c.id.is_(None))
        )
        rows = connection.execute(wanted.order_by(hr_rows.c.key).limit(AT_ONCE)).all()
        mails = [row.email_key for row in rows if row.email_key is not None]
        shared = matching.read_shared_mails(connection, self._run_id, mails)
        accounts = matching.read_accounts(connection, mails, self._break_glass)
        changes = [self._newcomer(connection, row, shared.get(row.email_key, 1), accounts.get(row.email_key), around) for row in rows]
        return Page(changes, _last(rows))

    def _newcomer(
        self, connection: sa.Connection, row: Any, rows_with_mail: int, account: matching.Account | None, around: Surroundings
    ) -> dict[str, Any]:
        person = _ROW(row.row)
        state = person_state(person, self._today, self._source.early_days)
        found = matching.match(row.email_key, rows_with_mail, account)
        change: dict[str, Any] = {
            "what": What.PERSON.value,
            "kind": ChangeKind.CREATE.value,
            "key": row.key,
            "name": person.name[:190],
            "rule": found.rule,
            "strange": strange.of_newcomer(person, mail_twice=rows_with_mail > 1),
            "after": {"state": state.value, "hash": row.hash, "row": msgspec.Raw(row.row.encode())},
            "candidates": list(found.candidates),
        }
        if found.rule == matching.NEW and state is not PersonState.ACTIVE:
            change["rule"] = "starts_later" if state is PersonState.LATER else why_left(person)
        if found.asks:
            change["state"] = ChangeState.NEEDS_PERSON.value
            if row.key in around.decisions:
                found = self._decided(connection, change, found, *around.decisions[row.key])
        if found.user_id is not None:
            change["after"]["adopted_user_id"] = found.user_id
        return change

    def _decided(
        self, connection: sa.Connection, change: dict[str, Any], asked: matching.Match, decided_by: int | None, decision: dict[str, Any]
    ) -> matching.Match:
        """What a person has said before holds, unless the account has become somebody else's meanwhile."""
        found = matching.by_decision(decision)
        user_id = None if found is None else found.user_id
        if user_id is not None:
            account = matching.read_by_number(connection, [user_id], self._break_glass).get(user_id)
            if not matching.may_be_given(account):
                return asked
        change |= {"decided_by": decided_by, "decision": decision, "rule": matching.DECIDED}
        change["state"] = ChangeState.SKIPPED.value if found is None else ChangeState.PENDING.value
        return found or matching.Match(matching.DECIDED)

    def _changed(self, connection: sa.Connection, after: str, around: Surroundings) -> Page:
        """People whom we know, whose row or whose time may have changed."""
        known = sa.and_(hr_persons.c.source_id == self._source.id, hr_persons.c.employee_no == hr_rows.c.key)
        by_date = sa.and_(hr_persons.c.state == PersonState.ACTIVE.value, sa.type_coerce(hr_persons.c.row, sa.Text).not_like(_NO_END))
        may_change = sa.or_(
            hr_persons.c.hash != hr_rows.c.hash,
            hr_persons.c.state.in_([PersonState.GONE.value, PersonState.LATER.value]),
            by_date,
        )
        wanted = (
            sa.select(
                hr_rows.c.key,
                hr_rows.c.hash,
                sa.type_coerce(hr_rows.c.row, sa.Text).label("row"),
                hr_persons.c.id,
                hr_persons.c.state,
                hr_persons.c.hash.label("old_hash"),
                sa.type_coerce(hr_persons.c.row, sa.Text).label("old_row"),
                hr_persons.c.run_id.label("changed_by"),
            )
            .join(hr_persons, known)
            .where(*self._staged(after), may_change)
        )
        rows = connection.execute(wanted.order_by(hr_rows.c.key).limit(AT_ONCE)).all()
        page = Page([], _last(rows))
        for row in rows:
            text = row.row if row.hash != row.old_hash else row.old_row  # an unchanged row is staged empty
            old, new = _ROW(row.old_row), _ROW(text)
            before = Seen(PersonState(row.state), old, row.old_hash)
            seen = Seen(person_state(new, self._today, self._source.early_days), new, row.hash)
            if (found := compared(before, seen)) is None:
                continue
            change = self._change(found.kind, found.rule, row, new.name, strange.of_change(old, new), around)
            change["after"] = {"state": seen.state.value, "hash": row.hash, "row": msgspec.Raw(text.encode())}
            page.changes.append(change)
            page.undone += row.changed_by in around.undos
        return page

    def _missing(self, connection: sa.Connection, after: str, around: Surroundings) -> Page:
        """People whom HR no longer names."""
        named = sa.and_(hr_rows.c.run_id == self._run_id, hr_rows.c.what == What.PERSON.value, hr_rows.c.key == hr_persons.c.employee_no)
        wanted = (
            sa.select(
                hr_persons.c.employee_no.label("key"),
                hr_persons.c.id,
                hr_persons.c.name,
                hr_persons.c.state,
                hr_persons.c.hash.label("old_hash"),
                sa.type_coerce(hr_persons.c.row, sa.Text).label("old_row"),
                hr_persons.c.run_id.label("changed_by"),
            )
            .join(hr_rows, named, isouter=True)
            .where(
                hr_persons.c.source_id == self._source.id,
                hr_persons.c.employee_no > after,
                hr_persons.c.state.in_(_STATES),
                hr_rows.c.key.is_(None),
            )
        )
        rows = connection.execute(wanted.order_by(hr_persons.c.employee_no).limit(AT_ONCE)).all()
        page = Page([], _last(rows))
        for row in rows:
            change = self._change(MISSING.kind, MISSING.rule, row, row.name, [], around)
            change["after"] = {**change["before"], "state": PersonState.GONE.value}
            page.changes.append(change)
            page.undone += row.changed_by in around.undos
        return page

    def _change(self, kind: ChangeKind, rule: str, row: Any, name: str, flags: list[str], around: Surroundings) -> dict[str, Any]:
        """The change of a person whom we know; one with an account for emergencies is only told."""
        change: dict[str, Any] = {
            "what": What.PERSON.value,
            "kind": kind.value,
            "key": row.key,
            "name": name[:190],
            "person_id": row.id,
            "rule": rule,
            "strange": flags,
            "before": {"state": row.state, "hash": row.old_hash, "row": msgspec.Raw(row.old_row.encode())},
        }
        if kind is ChangeKind.DISABLE and row.id in around.protected.administrators:
            flags.append(strange.PRIVILEGED)
        if row.id in around.protected.break_glass:
            flags.append(strange.BREAK_GLASS)
            change["state"] = ChangeState.SKIPPED.value
        return change

    def _staged(self, after: str) -> tuple[sa.ColumnElement[bool], ...]:
        return hr_rows.c.run_id == self._run_id, hr_rows.c.what == What.PERSON.value, hr_rows.c.key > after


def _last(rows: Sequence[Any]) -> str | None:
    """The key to go on behind; None when this was the last page."""
    return str(rows[-1].key) if len(rows) == AT_ONCE else None
