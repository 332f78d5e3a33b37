"""The pool of a round: which projects are reviewed, by whom at most, and what reviewers wish for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Invalid
from server.paging import Page, PageQuery, page_of
from server.people.affiliations import homes_of
from server.people.joining import people
from server.people.names import organization_names
from server.people.standing import active_people, granted_anywhere, roles_with
from server.platform import audit
from server.projects.access import visible
from server.projects.project_schemas import Listed
from server.projects.review_access import GIVE_SCORES, MANAGE_ROUNDS, access_pool, access_round, check_open
from server.projects.round_schemas import PoolReviewer, ReviewState, RoundState, WishedProject, WishesBody
from server.projects.tables import projects, review_conflicts, review_preferences, reviews, round_projects, round_reviewers, rounds

AT_ONCE = 500


class PoolInUse(Conflict):
    """Reviews have been begun of what is to be taken out; `ids` names it."""

    type = "round_pool_in_use"


def pieces(ids: Collection[int]) -> Iterator[list[int]]:
    """Ids in lists that a statement can hold."""
    wanted = sorted(set(ids))
    for first in range(0, len(wanted), AT_ONCE):
        yield wanted[first : first + AT_ONCE]


def project_ids(connection: sa.Connection, round_id: int) -> list[int]:
    """The projects of a round, in order."""
    wanted = sa.select(round_projects.c.project_id).where(round_projects.c.round_id == round_id)
    return list(connection.execute(wanted.order_by(round_projects.c.project_id)).scalars())


def reviewer_loads(connection: sa.Connection, round_id: int) -> dict[int, int | None]:
    """The reviewers of a round, in order, with the load that is theirs alone."""
    wanted = sa.select(round_reviewers.c.user_id, round_reviewers.c.load).where(round_reviewers.c.round_id == round_id)
    return {row.user_id: row.load for row in connection.execute(wanted.order_by(round_reviewers.c.user_id))}


def touch(connection: sa.Connection, round_id: int, *, scores: bool = False) -> None:
    """Note that who may review what has changed, or, with `scores`, also what results are computed from."""
    values: dict[str, Any] = {"pool_version": rounds.c.pool_version + 1}
    if scores:
        values["revision"] = rounds.c.revision + 1
    connection.execute(rounds.update().where(rounds.c.id == round_id).values(**values))


def check_projects(connection: sa.Connection, actor: Actor, ids: Collection[int]) -> None:
    """Raise Invalid unless the actor sees each project and manages rounds where it belongs."""
    known: set[int] = set()
    for some in pieces(ids):
        wanted = sa.select(projects.c.id, projects.c.organization_id).where(projects.c.id.in_(some), visible(actor))
        known |= {row.id for row in connection.execute(wanted) if actor.may(MANAGE_ROUNDS, row.organization_id)}
    if unknown := sorted(set(ids) - known):
        raise Invalid.field("project_ids", "score.no_projects", ids=_named(unknown))


def check_reviewers(connection: sa.Connection, ids: Collection[int]) -> None:
    """Raise Invalid unless each is an active person who may give scores somewhere."""
    active = active_people(connection, ids)
    able = granted_anywhere(connection, roles_with(connection, GIVE_SCORES), ids)
    if unknown := sorted(set(ids) - active):
        raise Invalid.field("reviewer_ids", "score.no_persons", ids=_named(unknown))
    if unable := sorted(set(ids) - able):
        raise Invalid.field("reviewer_ids", "score.may_not_review", ids=_named(unable))


def put_projects(connection: sa.Connection, actor: Actor, round_id: int, ids: Collection[int]) -> None:
    """Make these the projects of a round. Raises Invalid for those that cannot be, PoolInUse for those that must stay."""
    before, after = set(project_ids(connection, round_id)), set(ids)
    check_projects(connection, actor, after - before)
    _release(connection, round_id, reviews.c.project_id, before - after)
    _write(
        connection, round_projects, round_projects.c.project_id, round_id, before - after, [{"project_id": one} for one in after - before]
    )
    if before != after:
        touch(connection, round_id, scores=True)


def put_reviewers(connection: sa.Connection, round_id: int, ids: Collection[int] | None, loads: Mapping[int, int] | None) -> None:
    """Make these the reviewers of a round, with loads of their own for some; None leaves either as it is.

    Raises Invalid for those that cannot be, PoolInUse for those that must stay.
    """
    before = reviewer_loads(connection, round_id)
    after = set(before) if ids is None else set(ids)
    check_reviewers(connection, after - set(before))
    wanted = dict(before) if loads is None else dict(loads)
    if strangers := sorted(set(wanted) - after) if loads is not None else []:
        raise Invalid.field("loads", "score.not_in_pool", ids=_named(strangers))
    rows = {one: wanted.get(one) for one in after}
    gone = set(before) - after
    _release(connection, round_id, reviews.c.reviewer_id, gone)
    changed = {one for one in after & set(before) if rows[one] != before[one]}
    new = [{"user_id": one, "load": rows[one]} for one in sorted((after - set(before)) | changed)]
    _write(connection, round_reviewers, round_reviewers.c.user_id, round_id, gone | changed, new)
    if gone or new:
        touch(connection, round_id)


def _release(connection: sa.Connection, round_id: int, column: sa.Column[int], ids: Collection[int]) -> None:
    """Take away what was assigned and nobody has begun. Raises PoolInUse when there is more."""
    begun = (ReviewState.DRAFT.value, ReviewState.SUBMITTED.value)
    for some in pieces(ids):
        theirs = (reviews.c.round_id == round_id, column.in_(some))
        if kept := sorted(set(connection.execute(sa.select(column).where(*theirs, reviews.c.state.in_(begun))).scalars())):
            raise PoolInUse(ids=_named(kept))
        connection.execute(reviews.delete().where(*theirs))


def _write(
    connection: sa.Connection, table: sa.Table, column: sa.Column[int], round_id: int, gone: Collection[int], new: list[dict[str, Any]]
) -> None:
    for some in pieces(gone):
        connection.execute(table.delete().where(table.c.round_id == round_id, column.in_(some)))
    for first in range(0, len(new), AT_ONCE):
        connection.execute(table.insert(), [{"round_id": round_id, **one} for one in new[first : first + AT_ONCE]])


async def list_reviewers(ctx: Context, actor: Actor, round_id: int, query: PageQuery) -> Page[PoolReviewer]:
    """The reviewers of a round with what they have to do. Raises RoundNotFound."""
    who = people()

    def counted(*states: ReviewState) -> sa.ScalarSelect[int]:
        mine = (reviews.c.round_id == round_id, reviews.c.reviewer_id == who.c.id, reviews.c.state.in_([one.value for one in states]))
        return sa.select(sa.func.count()).select_from(reviews).where(*mine).correlate(who).scalar_subquery()

    wished = (review_preferences.c.round_id == round_id, review_preferences.c.user_id == who.c.id)
    wanted = (
        sa.select(
            who,
            round_reviewers.c.load,
            counted(ReviewState.ASSIGNED, ReviewState.DRAFT, ReviewState.SUBMITTED).label("assigned"),
            counted(ReviewState.SUBMITTED).label("submitted"),
            counted(ReviewState.DECLINED).label("declined"),
            sa.select(sa.func.count()).select_from(review_preferences).where(*wished).correlate(who).scalar_subquery().label("wishes"),
        )
        .join(round_reviewers, round_reviewers.c.user_id == who.c.id)
        .where(round_reviewers.c.round_id == round_id)
    )
    sortable = {"id": who.c.id, "name": who.c.name}

    def look(connection: sa.Connection) -> Page[PoolReviewer]:
        load = access_round(connection, actor, round_id).load
        searched = (who.c.name, who.c.username)
        page = page_of(connection, wanted, query, lambda row: row, sortable=sortable, searched=searched, order="id")
        homes = homes_of(connection, [row.id for row in page.items])
        places = organization_names(connection, homes.values())
        items = [_reviewer(row, load, places.get(homes.get(row.id, 0), "")) for row in page.items]
        return Page(items, page.total, page.page, page.page_size)

    return await ctx.sql.read(look)


def _reviewer(row: Any, load: int | None, organization: str) -> PoolReviewer:
    counts = {name: getattr(row, name) for name in ("assigned", "submitted", "declined", "wishes")}
    own = load if row.load is None else row.load
    return PoolReviewer(user_id=row.id, username=row.username, name=row.name, organization=organization, load=own, **counts)


async def get_wishes(ctx: Context, actor: Actor, round_id: int) -> Listed:
    """The projects of a round with the caller's own wishes, without a word of whose they are. Raises RoundNotFound."""

    def look(connection: sa.Connection) -> Listed:
        access_pool(connection, actor, round_id)
        return _wished(connection, actor.user_id or 0, round_id)

    return await ctx.sql.read(look)


async def put_wishes(ctx: Context, actor: Actor, round_id: int, body: WishesBody) -> Listed:
    """Replace the caller's own wishes. Raises RoundNotFound, WrongRoundState when it is closed, Invalid for a project that is not in it."""
    now, given = ctx.clock.now(), {one.project_id: one.wish for one in body.wishes}

    def transaction(connection: sa.Connection) -> Listed:
        check_open(access_pool(connection, actor, round_id, lock=True), RoundState.DRAFT, RoundState.OPEN)
        if strangers := sorted(set(given) - set(project_ids(connection, round_id))):
            raise Invalid.field("wishes", "score.no_projects", ids=_named(strangers))
        own = (review_preferences.c.round_id == round_id, review_preferences.c.user_id == actor.user_id)
        connection.execute(review_preferences.delete().where(*own))
        rows = [{"round_id": round_id, "user_id": actor.user_id, "project_id": one, "wish": wish} for one, wish in given.items() if wish]
        for first in range(0, len(rows), AT_ONCE):
            connection.execute(review_preferences.insert(), rows[first : first + AT_ONCE])
        audit.note(connection, now, actor, "round.wish", f"round:{round_id}", wishes=len(rows))
        return _wished(connection, actor.user_id or 0, round_id)

    return await ctx.sql.write(transaction)


def _wished(connection: sa.Connection, user_id: int, round_id: int) -> Listed:
    wish, declared = review_preferences.alias("wish"), review_conflicts.alias("declared")

    def own(table: Any) -> sa.ColumnElement[bool]:
        return sa.and_(table.c.round_id == round_id, table.c.user_id == user_id, table.c.project_id == projects.c.id)

    wanted = (
        sa.select(projects.c.id, projects.c.title, projects.c.summary, wish.c.wish, declared.c.kind)
        .join(round_projects, round_projects.c.project_id == projects.c.id)
        .outerjoin(wish, own(wish))
        .outerjoin(declared, own(declared))
        .where(round_projects.c.round_id == round_id)
        .order_by(projects.c.id)
    )
    items = [
        WishedProject(project_id=row.id, title=row.title, summary=row.summary[:1_000], wish=row.wish or 0, declared=row.kind is not None)
        for row in connection.execute(wanted)
    ]
    return Listed(items, len(items))


def _named(ids: Collection[int]) -> str:
    """Ids for a sentence: the first few."""
    shown = sorted(ids)[:20]
    return ", ".join(map(str, shown)) + ("…" if len(ids) > len(shown) else "")
