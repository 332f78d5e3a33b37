"""The changes of a plan as people see them, and their word on whom a newcomer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Invalid, NotFound
from server.messages import CATALOGUE, Locale, say
from server.paging import Page, page_of
from server.people.hr import account_tasks, applying, matching, runs, states
from server.people.hr.protected import break_glass
from server.people.hr.run_schemas import ChangeQuery, Decision, FieldChange, HrChange
from server.people.hr.states import ChangeKind, ChangeState, RunState, What
from server.people.hr.tables import hr_changes
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued


class HrChangeNotFound(NotFound):
    type = "hr_change_not_found"


class HrChangeDecided(Conflict):
    """Nobody has to decide about this change (any more); `state` says how it is."""

    type = "hr_change_decided"


_STRANGE_FIRST = sa.case((sa.type_coerce(hr_changes.c.strange, sa.Text) == "[]", 1), else_=0)


async def list_changes(ctx: Context, actor: Actor, run_id: str, query: ChangeQuery) -> Page[HrChange]:
    """The changes of a run; what is strange comes first unless `sort` says otherwise. Raises HrRunNotFound."""
    wanted = sa.select(hr_changes).where(hr_changes.c.run_id == run_id)
    for column, value in (
        (hr_changes.c.kind, query.kind),
        (hr_changes.c.state, query.state),
        (hr_changes.c.what, query.what),
        (hr_changes.c.rule, query.rule or None),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if query.strange:
        wanted = wanted.where(_STRANGE_FIRST == 0)
    sortable: dict[str, Any] = {name: hr_changes.c[name] for name in ("id", "key", "name", "kind", "state")}
    sortable["strange"] = _STRANGE_FIRST
    asked = msgspec.structs.replace(query, sort=query.sort or "strange")
    searched = (hr_changes.c.name, hr_changes.c.key)

    def look(connection: sa.Connection) -> Page[HrChange]:
        runs.row_of(connection, run_id)
        return page_of(connection, wanted, asked, lambda row: shown(row, actor.locale), sortable=sortable, searched=searched, order="id")

    return await ctx.sql.read(look)


async def decide(ctx: Context, actor: Actor, change_id: int, decision: Decision) -> HrChange:
    """Say whom a newcomer is. Later runs hold to it. Where the plan has been applied, this change now is; where it waits, it waits too.

    Raises HrChangeNotFound, HrChangeDecided, Invalid naming the field.
    """
    if [decision.user_id is not None, decision.create, decision.skip].count(True) != 1:
        raise Invalid.field("decision", "hr.change.one_decision")
    now, protected = ctx.clock.now(), break_glass(ctx.settings)
    said: dict[str, Any] = {name: value for name, value in msgspec.structs.asdict(decision).items() if value}

    def transaction(connection: sa.Connection) -> tuple[HrChange, bool]:
        change = _row(connection, change_id)
        runs.lock_source(connection, runs.row_of(connection, change.run_id).source_id)
        run = runs.row_of(connection, change.run_id, lock=True)
        if change.state != ChangeState.NEEDS_PERSON.value:
            raise HrChangeDecided(state=change.state)
        after = change.after
        if decision.user_id is not None:
            account = matching.read_by_number(connection, [decision.user_id], protected).get(decision.user_id)
            if not matching.may_be_given(account):
                raise Invalid.field("user_id", "hr.change.account_not_free", id=decision.user_id)
            after = {**after, "adopted_user_id": decision.user_id}
        to, about = ChangeState.SKIPPED if decision.skip else ChangeState.PENDING, change.key
        if not states.decide(connection, change_id, to, decided_by=actor.user_id or 0, decision=said, after=after):
            raise HrChangeDecided(state=_row(connection, change_id).state)
        audit.note(connection, now, actor, "hr.decide", f"hr_change:{change_id}", run_id=run.id, about=about, **said)
        applied = 0
        if run.state == RunState.SUCCEEDED.value and not decision.skip:
            applied = applying.apply_persons(connection, now, run.source_id, run.id, [_row(connection, change_id)], protected)
            if applied:
                account_tasks.enqueue_derive(connection, now, run.source_id)
        return shown(_row(connection, change_id), actor.locale), bool(applied)

    change, applied = await ctx.sql.write(transaction)
    if applied:
        await ctx.events.publish(TaskQueued(Queue.ACCOUNT_TASKS.value))
    return change


def _row(connection: sa.Connection, change_id: int) -> Any:
    row = connection.execute(sa.select(hr_changes).where(hr_changes.c.id == change_id)).one_or_none()
    if row is None:
        raise HrChangeNotFound()
    return row


def shown(row: Any, locale: Locale) -> HrChange:
    """A change as people see it: what differs, field by field, and the rule in words."""
    given = {name: getattr(row, name) for name in HrChange.__struct_fields__ if hasattr(row, name)}
    rule = f"hr.rule.{row.rule}"
    return HrChange(
        **{
            **given,
            "what": What(row.what),
            "kind": ChangeKind(row.kind),
            "state": ChangeState(row.state),
            "why": say(rule, locale) if rule in CATALOGUE else row.rule,
            "fields": differing(row.before, row.after),
        }
    )


def differing(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[FieldChange]:
    """The fields that differ, `state` first; of somebody new all that HR says."""
    old, new = _flat(before), _flat(after)
    return [
        FieldChange(name, old.get(name), new.get(name)) for name in {**new, **old} if (old.get(name) or None) != (new.get(name) or None)
    ]


def _flat(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is stored of one side as plain fields: the state, the account that is adopted, and the row's."""
    if stored is None:
        return {}
    return {"state": stored["state"], "adopted_user_id": stored.get("adopted_user_id"), **stored["row"]}
