"""Evaluation sets: questions of an organization with the pages that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from server.actor import Actor, ActorKind, Grant
from server.context import Context
from server.errors import Forbidden, Invalid, NotFound
from server.knowledge.access import MANAGE, READ, visible, visible_ids, within
from server.knowledge.evaluation_schemas import (
    EvaluationBody,
    EvaluationPatch,
    EvaluationQuery,
    EvaluationQuestion,
    EvaluationSet,
    ShownExpected,
    ShownQuestion,
)
from server.knowledge.tables import documents, evaluation_questions, evaluation_runs, evaluation_sets
from server.paging import Page, page_of
from server.people.organizations import check_organization, home_of
from server.platform import audit

MOST_SETS = 200


class EvaluationNotFound(NotFound):
    """It does not exist, or is of an organization whose documents the caller may not read."""

    type = "evaluation_not_found"


def reader_of(connection: sa.Connection, organization_id: int) -> Actor:
    """Whoever may read documents in the organization and is nobody in particular: the caller that runs measure for.

    So they say what people find, not what an administrator would; what is granted at the root holds everywhere.
    """
    places = None if organization_id == home_of(connection, None) else frozenset({organization_id})
    return Actor(kind=ActorKind.SYSTEM, name="evaluation", grants=(Grant(frozenset({READ}), places),))


def _sets_of(actor: Actor) -> sa.Select[Any]:
    count = sa.select(sa.func.count()).where(evaluation_questions.c.set_id == evaluation_sets.c.id).correlate(evaluation_sets)
    places = (within(evaluation_sets.c.organization_id, actor.organizations(scope)) for scope in (READ, MANAGE))
    return sa.select(evaluation_sets, count.scalar_subquery().label("questions")).where(sa.or_(*places))


def access_set(connection: sa.Connection, actor: Actor, set_id: int, *, to_change: bool = False) -> EvaluationSet:
    """Raises EvaluationNotFound, Forbidden when the caller may only look."""
    row = connection.execute(_sets_of(actor).where(evaluation_sets.c.id == set_id)).one_or_none()
    if row is None:
        raise EvaluationNotFound()
    if to_change and not actor.may(MANAGE, row.organization_id):
        raise Forbidden(scope=MANAGE)
    return _shown(row, actor)


def _shown(row: Any, actor: Actor) -> EvaluationSet:
    plain = {name: getattr(row, name) for name in EvaluationSet.__struct_fields__ if name != "may_change"}
    return EvaluationSet(**plain, may_change=actor.may(MANAGE, row.organization_id))


async def list_sets(ctx: Context, actor: Actor, query: EvaluationQuery) -> Page[EvaluationSet]:
    """The sets of the organizations whose documents the caller may read."""
    wanted, table = _sets_of(actor), evaluation_sets
    if query.organization_id is not None:
        wanted = wanted.where(table.c.organization_id == query.organization_id)
    sortable = {"id": table.c.id, "name": table.c.name, "created_at": table.c.created_at, "updated_at": table.c.updated_at}
    return await ctx.sql.read(
        lambda connection: page_of(
            connection, wanted, query, lambda row: _shown(row, actor), sortable=sortable, searched=(table.c.name,), order="name"
        )
    )


async def get_set(ctx: Context, actor: Actor, set_id: int) -> EvaluationSet:
    """Raises EvaluationNotFound."""
    return await ctx.sql.read(lambda connection: access_set(connection, actor, set_id))


async def create_set(ctx: Context, actor: Actor, body: EvaluationBody) -> EvaluationSet:
    """Raises Forbidden, Invalid naming the field."""
    now, name = ctx.clock.now(), body.name.strip()

    def transaction(connection: sa.Connection) -> EvaluationSet:
        organization_id = body.organization_id if body.organization_id is not None else home_of(connection, actor.user_id)
        if not actor.may(MANAGE, organization_id):
            raise Forbidden(scope=MANAGE)
        check_organization(connection, organization_id)
        _check_free(connection, organization_id, name, None)
        number = sa.select(sa.func.count()).where(evaluation_sets.c.organization_id == organization_id)
        if connection.execute(number).scalar_one() >= MOST_SETS:
            raise Invalid.field("name", "evaluation.most", limit=MOST_SETS)
        values = {"organization_id": organization_id, "name": name, "created_at": now, "updated_at": now}
        made = connection.execute(evaluation_sets.insert().values(values)).inserted_primary_key
        assert made is not None
        audit.note(connection, now, actor, "evaluation.create", f"evaluation:{made[0]}", name=name, organization_id=organization_id)
        return access_set(connection, actor, int(made[0]))

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # made by somebody else at the same moment
        raise Invalid.field("name", "field.taken") from None


async def rename_set(ctx: Context, actor: Actor, set_id: int, patch: EvaluationPatch) -> EvaluationSet:
    """Raises EvaluationNotFound, Forbidden, Invalid."""
    now, name = ctx.clock.now(), patch.name.strip()

    def transaction(connection: sa.Connection) -> EvaluationSet:
        found = access_set(connection, actor, set_id, to_change=True)
        _check_free(connection, found.organization_id, name, set_id)
        connection.execute(evaluation_sets.update().where(evaluation_sets.c.id == set_id).values(name=name, updated_at=now))
        audit.note(connection, now, actor, "evaluation.change", f"evaluation:{set_id}", name=name)
        return access_set(connection, actor, set_id)

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise Invalid.field("name", "field.taken") from None


async def remove_set(ctx: Context, actor: Actor, set_id: int) -> None:
    """Remove a set with its questions and runs; a run that goes on notices. Raises EvaluationNotFound, Forbidden."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        found = access_set(connection, actor, set_id, to_change=True)
        for table in (evaluation_questions, evaluation_runs):
            connection.execute(table.delete().where(table.c.set_id == set_id))
        connection.execute(evaluation_sets.delete().where(evaluation_sets.c.id == set_id))
        audit.note(connection, now, actor, "evaluation.delete", f"evaluation:{set_id}", name=found.name)

    await ctx.sql.write(transaction)


async def list_questions(ctx: Context, actor: Actor, set_id: int) -> list[ShownQuestion]:
    """All questions of a set, in their order. Raises EvaluationNotFound."""

    def look(connection: sa.Connection) -> list[ShownQuestion]:
        access_set(connection, actor, set_id)
        rows = questions_of(connection, set_id)
        ids = {expected["document_id"] for row in rows for expected in row.expected}
        titled = sa.select(documents.c.id, documents.c.title).where(documents.c.id.in_(sorted(ids)), visible(ctx, actor))
        titles = {row.id: row.title for row in connection.execute(titled)} if ids else {}
        return [
            ShownQuestion(
                row.id,
                row.question,
                row.kind,
                [ShownExpected(one["document_id"], one["pages"], titles.get(one["document_id"])) for one in row.expected],
            )
            for row in rows
        ]

    return await ctx.sql.read(look)


def questions_of(connection: sa.Connection, set_id: int) -> Sequence[Any]:
    """The rows of a set's questions, in their order."""
    wanted = sa.select(evaluation_questions).where(evaluation_questions.c.set_id == set_id).order_by(evaluation_questions.c.id)
    return connection.execute(wanted).all()


async def put_questions(ctx: Context, actor: Actor, set_id: int, questions: Sequence[EvaluationQuestion]) -> list[ShownQuestion]:
    """Replace a set's questions. Raises EvaluationNotFound, Forbidden; Invalid for pages that no reader of the organization can find."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        found = access_set(connection, actor, set_id, to_change=True)
        _check_expected(ctx, connection, actor, found.organization_id, questions)
        connection.execute(evaluation_questions.delete().where(evaluation_questions.c.set_id == set_id))
        if questions:
            connection.execute(evaluation_questions.insert(), [_question_row(set_id, one) for one in questions])
        connection.execute(evaluation_sets.update().where(evaluation_sets.c.id == set_id).values(updated_at=now))
        audit.note(connection, now, actor, "evaluation.questions", f"evaluation:{set_id}", number=len(questions))

    await ctx.sql.write(transaction)
    return await list_questions(ctx, actor, set_id)


def _check_expected(
    ctx: Context, connection: sa.Connection, actor: Actor, organization_id: int, questions: Sequence[EvaluationQuestion]
) -> None:
    asked = {one.document_id for question in questions for one in question.expected}
    seen = visible_ids(ctx, connection, actor, asked) & visible_ids(ctx, connection, reader_of(connection, organization_id), asked)
    if missing := sorted(asked - seen):
        raise Invalid.field("questions", "evaluation.no_document", ids=", ".join(map(str, missing[:20])))
    if not asked:
        return
    counted = sa.select(documents.c.id, documents.c.pages).where(documents.c.id.in_(sorted(asked)), documents.c.pages > 0)
    for row in connection.execute(counted):
        if any(max(one.pages) > row.pages for question in questions for one in question.expected if one.document_id == row.id):
            raise Invalid.field("questions", "evaluation.page", id=row.id, pages=row.pages)


def _question_row(set_id: int, one: EvaluationQuestion) -> dict[str, Any]:
    merged: dict[int, set[int]] = {}
    for expected in one.expected:
        merged.setdefault(expected.document_id, set()).update(expected.pages)
    expected_rows = [{"document_id": document_id, "pages": sorted(pages)} for document_id, pages in merged.items()]
    return {"set_id": set_id, "question": one.question.strip(), "kind": one.kind.strip(), "expected": expected_rows}


def _check_free(connection: sa.Connection, organization_id: int, name: str, own: int | None) -> None:
    taken = sa.select(evaluation_sets.c.id).where(evaluation_sets.c.organization_id == organization_id, evaluation_sets.c.name == name)
    found = connection.execute(taken).scalar()
    if found is not None and found != own:
        raise Invalid.field("name", "field.taken")
