"""People as HR says them: listed and looked at."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.messages import Locale
from server.paging import Page, page_of
from server.people.hr import changes
from server.people.hr.run_schemas import PersonAccount, PersonDetail, PersonQuery, PersonSummary
from server.people.hr.states import ChangeState, PersonState
from server.people.hr.tables import hr_accounts, hr_changes, hr_departments, hr_persons, hr_targets
from server.people.hr.why import HrPersonNotFound

# The newest of a person's changes that are shown with it.
MOST_CHANGES = 20
_DEPARTMENT = sa.and_(hr_departments.c.source_id == hr_persons.c.source_id, hr_departments.c.code == hr_persons.c.department_code)
_SHOWN = sa.select(hr_persons, hr_departments.c.name.label("department"), hr_departments.c.organization_id).join(
    hr_departments, _DEPARTMENT, isouter=True
)


async def list_persons(ctx: Context, actor: Actor, query: PersonQuery) -> Page[PersonSummary]:
    """People, by employee number; `q` searches names, employee numbers and mail addresses."""
    wanted = _SHOWN
    for column, value in (
        (hr_persons.c.state, query.state),
        (hr_persons.c.department_code, query.department or None),
        (hr_persons.c.source_id, query.source_id),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    sortable = {name: hr_persons.c[name] for name in ("employee_no", "name", "state", "department_code", "changed_at", "id")}
    searched = (hr_persons.c.name, hr_persons.c.employee_no, hr_persons.c.email_key)
    return await ctx.sql.read(
        lambda connection: page_of(
            connection, wanted, query, lambda row: PersonSummary(**_summary(row)), sortable=sortable, searched=searched, order="employee_no"
        )
    )


async def get_person(ctx: Context, actor: Actor, person_id: int) -> PersonDetail:
    """A person with the row, the accounts and the newest changes. Raises HrPersonNotFound."""
    return await ctx.sql.read(lambda connection: _detail(connection, person_id, actor.locale))


def _detail(connection: sa.Connection, person_id: int, locale: Locale) -> PersonDetail:
    row = connection.execute(_SHOWN.where(hr_persons.c.id == person_id)).one_or_none()
    if row is None:
        raise HrPersonNotFound()
    held = (
        sa.select(hr_accounts, hr_targets.c.name.label("target"))
        .join(hr_targets, hr_targets.c.id == hr_accounts.c.target_id)
        .where(hr_accounts.c.person_id == person_id)
        .order_by(hr_accounts.c.id)
    )
    accounts = [
        PersonAccount(**{name: getattr(account, name) for name in PersonAccount.__struct_fields__}) for account in connection.execute(held)
    ]
    applied = sa.select(hr_changes).where(hr_changes.c.person_id == person_id, hr_changes.c.state == ChangeState.APPLIED.value)
    newest = connection.execute(applied.order_by(hr_changes.c.applied_at.desc(), hr_changes.c.id.desc()).limit(MOST_CHANGES))
    return PersonDetail(
        **_summary(row),
        row=row.row,
        adopted_user_id=row.adopted_user_id,
        first_seen_at=row.first_seen_at,
        run_id=row.run_id,
        accounts=accounts,
        changes=[changes.shown(change, locale) for change in newest],
    )


def _summary(row: Any) -> dict[str, Any]:
    said = {name: row.row.get(name) for name in ("email", "title", "start_date", "end_date")}
    columns = ("id", "source_id", "employee_no", "name", "department_code", "department", "organization_id", "changed_at", "gone_at")
    return {**{name: getattr(row, name) for name in columns}, **said, "state": PersonState(row.state)}
