"""Chains of audits: a draft is written, replayed on past cases and published as a version; running passages keep theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Invalid, NotFound
from server.messages import text
from server.paging import Page, page_of
from server.people import standing
from server.people.names import organization_names
from server.people.organization_tree import read_parents
from server.people.organizations import check_organization, root_id
from server.platform import audit
from server.projects.access import MANAGE, READ
from server.projects.audit_asked import Staff
from server.projects.audit_schemas import Chain, ChainBody, ChainQuery, ChainStep, PublishBody, steps_of
from server.projects.effects import Effects, commit
from server.projects.tables import audit_chains as table
from server.projects.tables import audits

DRAFT, PUBLISHED, RETIRED = "draft", "published", "retired"
_SORTABLE = {"id": table.c.id, "kind": table.c.kind, "version": table.c.version, "created_at": table.c.created_at}


class ChainNotFound(NotFound):
    type = "audit_chain_not_found"


class ChainState(Conflict):
    """The chain's state does not allow it; `state` says which it is."""

    type = "audit_chain_state"


class ChainNotReplayed(Conflict):
    """A chain is published after it was replayed on past cases, or by force with a reason."""

    type = "audit_chain_not_replayed"


async def list_chains(ctx: Context, actor: Actor, query: ChainQuery) -> Page[Chain]:
    """The chains that hold where the caller reads projects, every version of them; drafts only for who manages there."""

    def transaction(connection: sa.Connection) -> Page[Chain]:
        wanted = sa.select(table).where(_known(connection, actor))
        for column, given in ((table.c.kind, query.kind), (table.c.state, query.state), (table.c.organization_id, query.organization_id)):
            if given:
                wanted = wanted.where(column == given)
        page = page_of(connection, wanted, query, lambda row: row, sortable=_SORTABLE, order="-id")
        return Page(_shown(connection, page.items), page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


async def get_chain(ctx: Context, actor: Actor, chain_id: int) -> Chain:
    """Raises ChainNotFound."""
    return await ctx.sql.read(lambda connection: _shown(connection, [access_chain(connection, actor, chain_id)])[0])


async def put_chain(ctx: Context, actor: Actor, body: ChainBody) -> Chain:
    """Write the draft of the next version; one that is there already is written over. Raises Forbidden, Invalid naming the field."""

    def transaction(connection: sa.Connection, effects: Effects) -> Chain:
        organization_id = body.organization_id or root_id(connection)
        check_organization(connection, organization_id, "organization_id")
        actor.require(MANAGE, organization_id)
        _check_steps(connection, body.steps)
        values = {"steps": msgspec.to_builtins(body.steps), "changed_at": effects.now, "replayed_at": None, "created_by": actor.user_id}
        same = (table.c.kind == body.kind, table.c.organization_id == organization_id)
        draft = connection.execute(sa.select(table.c.id).where(*same, table.c.state == DRAFT).with_for_update()).scalar()
        if draft is None:
            version = connection.execute(sa.select(sa.func.max(table.c.version)).where(*same)).scalar() or 0
            row = {"kind": body.kind, "organization_id": organization_id, "version": version + 1, "state": DRAFT}
            made = connection.execute(table.insert().values(**row, **values, created_at=effects.now)).inserted_primary_key
            assert made is not None
            draft = int(made[0])
        else:
            connection.execute(table.update().where(table.c.id == draft, table.c.state == DRAFT).values(**values))
        detail = {"kind": body.kind, "organization_id": organization_id, "steps": values["steps"]}
        audit.note(connection, effects.now, actor, "audit_chain.write", f"audit_chain:{draft}", **detail)
        return _get(connection, draft)

    return await commit(ctx, transaction)


async def publish_chain(ctx: Context, actor: Actor, chain_id: int, body: PublishBody) -> Chain:
    """Let a draft hold for what is submitted from now on; the version before it is retired.

    Raises ChainNotFound, Forbidden, ChainState, ChainNotReplayed, Invalid for force without a comment.
    """
    comment = body.comment.strip()

    def transaction(connection: sa.Connection, effects: Effects) -> Chain:
        row = access_chain(connection, actor, chain_id, MANAGE, lock=True)
        if row.state != DRAFT:
            raise wrong_state(row)
        if row.replayed_at is None and not body.force:
            raise ChainNotReplayed()
        if row.replayed_at is None and not comment:
            raise Invalid.field("comment", "audit.comment_to_force")
        _check_steps(connection, steps_of(row.steps))
        before = table.update().where(table.c.kind == row.kind, table.c.organization_id == row.organization_id, table.c.state == PUBLISHED)
        connection.execute(before.values(state=RETIRED))
        one = table.update().where(table.c.id == chain_id, table.c.state == DRAFT, table.c.changed_at == row.changed_at)
        if not connection.execute(one.values(state=PUBLISHED, published_at=effects.now)).rowcount:
            raise ChainNotReplayed()
        detail = {"version": row.version, "forced": row.replayed_at is None, "comment": comment}
        audit.note(connection, effects.now, actor, "audit_chain.publish", f"audit_chain:{chain_id}", **detail)
        return _get(connection, chain_id)

    return await commit(ctx, transaction)


async def remove_chain(ctx: Context, actor: Actor, chain_id: int) -> None:
    """Remove a chain that no project went through, or retire what is published: then that of the nearest organization above holds, or none.

    Raises ChainNotFound, Forbidden, ChainState.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        row = access_chain(connection, actor, chain_id, MANAGE, lock=True)
        used = connection.execute(sa.select(audits.c.id).where(audits.c.chain_id == chain_id).limit(1)).first() is not None
        if used and row.state != PUBLISHED:
            raise wrong_state(row)
        one = (table.c.id == chain_id, table.c.state == row.state)
        connection.execute(table.update().where(*one).values(state=RETIRED) if used else table.delete().where(*one))
        action = "audit_chain.retire" if used else "audit_chain.remove"
        audit.note(connection, effects.now, actor, action, f"audit_chain:{chain_id}", version=row.version)

    await commit(ctx, transaction)


def access_chain(connection: sa.Connection, actor: Actor, chain_id: int, scope: str = READ, *, lock: bool = False) -> Any:
    """The chain's row. Raises ChainNotFound when the caller may not know of it, Forbidden without `scope` in its organization."""
    wanted = sa.select(table).where(table.c.id == chain_id, _known(connection, actor))
    row = connection.execute(wanted.with_for_update(of=table) if lock else wanted).one_or_none()
    if row is None:
        raise ChainNotFound()
    if scope != READ:
        actor.require(scope, row.organization_id)
    return row


def wrong_state(row: Any) -> ChainState:
    return ChainState(version=row.version, state=text(f"audit.chain.{row.state}"))


def _known(connection: sa.Connection, actor: Actor) -> sa.ColumnElement[bool]:
    """That a chain holds somewhere where the caller reads projects; a draft, that the caller manages projects there."""
    return sa.and_(
        _placed(_with_above(connection, actor.organizations(READ))),
        sa.or_(table.c.state != DRAFT, _placed(actor.organizations(MANAGE))),
    )


def _with_above(connection: sa.Connection, places: frozenset[int] | None) -> frozenset[int] | None:
    """The organizations and all above them, whose chains hold in them."""
    if places is None:
        return None
    parents, found = read_parents(connection), set(places)
    waiting = list(places)
    while waiting:
        above = parents.get(waiting.pop())
        if above is not None and above not in found:
            found.add(above)
            waiting.append(above)
    return frozenset(found)


def _placed(places: frozenset[int] | None) -> sa.ColumnElement[bool]:
    return sa.true() if places is None else table.c.organization_id.in_(sorted(places))


def _check_steps(connection: sa.Connection, steps: list[ChainStep]) -> None:
    """Raise Invalid naming the step and the field: of what is no role, organization, or user who may audit."""
    if steps[0].parallel_with_previous:
        raise Invalid.field("steps.0.parallel_with_previous", "audit.first_is_parallel")
    known, staff = standing.role_names(connection), Staff(connection)
    names: set[str] = set()
    for place, step in enumerate(steps):
        at = f"steps.{place}"
        if step.name.strip() in names:
            raise Invalid.field(f"{at}.name", "audit.step_twice", name=step.name.strip())
        names.add(step.name.strip())
        for role in step.reviewers.roles:
            if role not in known:
                raise Invalid.field(f"{at}.reviewers.roles", "role.unknown", name=role)
        if isinstance(step.reviewers.where, int):
            check_organization(connection, step.reviewers.where, f"{at}.reviewers.where")
        if missing := set(step.reviewers.user_ids) - staff.holds_audit(step.reviewers.user_ids):
            ids = ", ".join(map(str, sorted(missing)))
            raise Invalid.field(f"{at}.reviewers.user_ids", "audit.users_may_not_audit", ids=ids)


def _get(connection: sa.Connection, chain_id: int) -> Chain:
    return _shown(connection, [connection.execute(sa.select(table).where(table.c.id == chain_id)).one()])[0]


def _shown(connection: sa.Connection, rows: Sequence[Any]) -> list[Chain]:
    names = organization_names(connection, [row.organization_id for row in rows])
    return [
        Chain(
            **{name: getattr(row, name) for name in ("id", "kind", "organization_id", "version", "state", "created_at", "changed_at")},
            organization=names.get(row.organization_id, ""),
            steps=steps_of(row.steps),
            replayed_at=row.replayed_at,
            published_at=row.published_at,
        )
        for row in rows
    ]
