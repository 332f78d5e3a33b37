"""Rubrics: by which criteria projects are scored, and how a total comes of them."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.messages import text
from server.paging import Page, PageQuery, page_of
from server.people.joining import is_at_or_above
from server.people.organizations import check_organization, home_of
from server.platform import audit
from server.projects.review_access import MANAGE_ROUNDS
from server.projects.round_schemas import Criterion, Rubric, RubricDraft, RubricPatch
from server.projects.rubric_formula import FormulaError, check, normal
from server.projects.tables import rounds
from server.projects.tables import rubrics as table

SORTABLE = {name: table.c[name] for name in ("id", "name", "created_at", "updated_at")}


class RubricNotFound(NotFound):
    type = "rubric_not_found"


class RubricInUse(Conflict):
    """Rounds were made with it; `number` says how many."""

    type = "rubric_in_use"


async def list_rubrics(ctx: Context, actor: Actor, query: PageQuery) -> Page[Rubric]:
    """The rubrics that the caller may use: those of the organizations where rounds are managed, and of the ones above."""
    wanted = sa.select(table).where(_usable(actor))

    def look(connection: sa.Connection) -> Page[Rubric]:
        return page_of(connection, wanted, query, lambda row: _shown(row, actor), sortable=SORTABLE, searched=(table.c.name,), order="-id")

    return await ctx.sql.read(look)


async def get_rubric(ctx: Context, actor: Actor, rubric_id: int) -> Rubric:
    """Raises RubricNotFound."""
    return await ctx.sql.read(lambda connection: _shown(access_rubric(connection, actor, rubric_id), actor))


async def create_rubric(ctx: Context, actor: Actor, draft: RubricDraft) -> Rubric:
    """Raises Forbidden, Invalid for criteria or a formula that cannot be."""
    now = ctx.clock.now()
    criteria = msgspec.to_builtins(draft.criteria)
    _check(criteria, draft.formula)

    def transaction(connection: sa.Connection) -> Rubric:
        place = draft.organization_id or home_of(connection, actor.user_id)
        check_organization(connection, place)
        if not actor.may(MANAGE_ROUNDS, place):
            raise Forbidden(scope=MANAGE_ROUNDS)
        made = connection.execute(
            table.insert().values(
                name=draft.name.strip(),
                organization_id=place,
                criteria=criteria,
                formula=draft.formula,
                created_at=now,
                updated_at=now,
            )
        )
        assert made.inserted_primary_key
        rubric_id = int(made.inserted_primary_key[0])
        audit.note(connection, now, actor, "rubric.create", f"rubric:{rubric_id}", name=draft.name.strip(), organization_id=place)
        return _shown(access_rubric(connection, actor, rubric_id), actor)

    return await ctx.sql.write(transaction)


async def change_rubric(ctx: Context, actor: Actor, rubric_id: int, patch: RubricPatch) -> Rubric:
    """Change what is given; rounds keep what they were made with. Raises RubricNotFound, Forbidden, Invalid."""
    now = ctx.clock.now()
    given = msgspec.to_builtins(patch)

    def transaction(connection: sa.Connection) -> Rubric:
        row = access_rubric(connection, actor, rubric_id, to_change=True)
        changed = {name: value for name, value in given.items() if value != getattr(row, name)}
        if changed:
            _check(changed.get("criteria", row.criteria), changed.get("formula", row.formula))
            connection.execute(table.update().where(table.c.id == rubric_id).values(**changed, updated_at=now))
            audit.note(connection, now, actor, "rubric.change", f"rubric:{rubric_id}", fields=sorted(changed))
        return _shown(access_rubric(connection, actor, rubric_id), actor)

    return await ctx.sql.write(transaction)


async def remove_rubric(ctx: Context, actor: Actor, rubric_id: int) -> None:
    """Raises RubricNotFound, Forbidden, RubricInUse."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = access_rubric(connection, actor, rubric_id, to_change=True)
        number = connection.execute(sa.select(sa.func.count()).select_from(rounds).where(rounds.c.rubric_id == rubric_id)).scalar_one()
        if number:
            raise RubricInUse(number=number)
        connection.execute(table.delete().where(table.c.id == rubric_id))
        audit.note(connection, now, actor, "rubric.delete", f"rubric:{rubric_id}", name=row.name)

    await ctx.sql.write(transaction)


def access_rubric(connection: sa.Connection, actor: Actor, rubric_id: int, *, to_change: bool = False) -> Any:
    """The row of a rubric that the actor may use. Raises RubricNotFound, Forbidden when it is to be changed and is not theirs.

    One that is to be changed stays as it is until the transaction ends.
    """
    wanted = sa.select(table).where(table.c.id == rubric_id, _usable(actor))
    row = connection.execute(wanted.with_for_update(of=table) if to_change else wanted).one_or_none()
    if row is None:
        raise RubricNotFound()
    if to_change and not actor.may(MANAGE_ROUNDS, row.organization_id):
        raise Forbidden(scope=MANAGE_ROUNDS)
    return row


def kept(row: Any) -> dict[str, Any]:
    """A rubric as a round keeps it."""
    return {"name": row.name, "criteria": row.criteria, "formula": row.formula}


def _usable(actor: Actor) -> sa.ColumnElement[bool]:
    places = actor.organizations(MANAGE_ROUNDS)
    if places is None:
        return sa.true()
    return is_at_or_above(table.c.organization_id, places)


def _check(criteria: list[dict[str, Any]], formula: str | None) -> None:
    """Raise Invalid, naming the field, for names that a formula could not tell apart and for a formula without a total."""
    seen: set[str] = set()
    for place, one in enumerate(criteria):
        if normal(one["name"]) in seen:
            raise Invalid.field(f"criteria[{place}].name", "score.criterion_twice", name=one["name"])
        seen.add(normal(one["name"]))
    try:
        check(criteria, formula)
    except FormulaError as error:
        raise Invalid(fields={"formula": [text(error.key, **error.params)]}) from None


def _shown(row: Any, actor: Actor) -> Rubric:
    least, most = check(row.criteria, row.formula)
    return Rubric(
        id=row.id,
        name=row.name,
        organization_id=row.organization_id,
        criteria=msgspec.convert(row.criteria, list[Criterion]),
        formula=row.formula,
        least=least,
        most=most,
        may_change=actor.may(MANAGE_ROUNDS, row.organization_id),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
