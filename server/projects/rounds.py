"""Rounds of reviews: put together, opened, closed; reminders of what reviewers owe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid
from server.paging import Page, page_of
from server.people.organizations import check_organization, home_of
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce, notify
from server.projects import reminders
from server.projects.effects import Effects, commit
from server.projects.pools import pieces, project_ids, put_projects, put_reviewers, reviewer_loads
from server.projects.review_access import MANAGE_ROUNDS, access_either, access_round, check_open, in_pool, within_rounds
from server.projects.round_schemas import OWED, ReviewState, Round, RoundDetail, RoundDraft, RoundPatch, RoundQuery, RoundState
from server.projects.rubrics import RubricNotFound, access_rubric, kept
from server.projects.tables import (
    project_members,
    projects,
    review_conflicts,
    review_preferences,
    reviews,
    round_projects,
    round_results,
    round_reviewers,
    rounds,
)

SORTABLE = {name: rounds.c[name] for name in ("id", "name", "state", "due_at", "created_at")}
_PARTS = (round_projects, round_reviewers, review_preferences, review_conflicts, reviews, round_results)


class ScoresGiven(Conflict):
    """Reviews have been begun: the rubric stays, and so does the round."""

    type = "round_scores_given"


async def list_rounds(ctx: Context, actor: Actor, query: RoundQuery) -> Page[Round]:
    """The rounds that the caller manages or reviews in, newest first."""
    manages, mine = within_rounds(actor), in_pool(actor)
    wanted = sa.select(rounds, manages.label("manages"), mine.label("mine")).where(sa.or_(manages, mine))
    if query.state:
        wanted = wanted.where(rounds.c.state == _state(query.state))

    def look(connection: sa.Connection) -> Page[Round]:
        return page_of(connection, wanted, query, _listed, sortable=SORTABLE, searched=(rounds.c.name,), order="-id")

    return await ctx.sql.read(look)


async def get_round(ctx: Context, actor: Actor, round_id: int) -> RoundDetail:
    """Raises RoundNotFound."""
    return await ctx.sql.read(lambda connection: detail(connection, actor, access_either(connection, actor, round_id)))


async def create_round(ctx: Context, actor: Actor, draft: RoundDraft) -> RoundDetail:
    """Put a round together, as a draft. Raises Forbidden, Invalid naming the field."""

    def transaction(connection: sa.Connection, effects: Effects) -> RoundDetail:
        place = draft.organization_id or home_of(connection, actor.user_id)
        check_organization(connection, place)
        if not actor.may(MANAGE_ROUNDS, place):
            raise Forbidden(scope=MANAGE_ROUNDS)
        values = {
            name: getattr(draft, name) for name in ("rubric_id", "blind", "reviews_per_project", "load", "conflict_years", "conflict_depth")
        }
        made = connection.execute(
            rounds.insert().values(
                **values,
                name=draft.name.strip(),
                organization_id=place,
                rubric=_rubric(connection, actor, draft.rubric_id),
                due_at=_moment(effects, draft.due_at),
                state=RoundState.DRAFT.value,
                revision=1,
                pool_version=1,
                created_by=actor.user_id,
                created_at=effects.now,
            )
        )
        assert made.inserted_primary_key
        round_id = int(made.inserted_primary_key[0])
        put_projects(connection, actor, round_id, draft.project_ids)
        put_reviewers(connection, round_id, draft.reviewer_ids, draft.loads)
        audit.note(
            connection,
            effects.now,
            actor,
            "round.create",
            f"round:{round_id}",
            name=draft.name.strip(),
            organization_id=place,
            projects=len(set(draft.project_ids)),
            reviewers=len(set(draft.reviewer_ids)),
        )
        return detail(connection, actor, access_round(connection, actor, round_id))

    return await commit(ctx, transaction)


async def change_round(ctx: Context, actor: Actor, round_id: int, patch: RoundPatch) -> RoundDetail:
    """Change what is given, until the round is closed.

    Raises RoundNotFound, WrongRoundState, ScoresGiven for another rubric when there are scores, PoolInUse, Invalid.
    """
    given = {name: value for name in patch.__struct_fields__ if (value := getattr(patch, name)) is not msgspec.UNSET}

    def transaction(connection: sa.Connection, effects: Effects) -> RoundDetail:
        row = access_round(connection, actor, round_id, lock=True)
        check_open(row, RoundState.DRAFT, RoundState.OPEN)
        plain = {name: value for name, value in given.items() if name not in ("project_ids", "reviewer_ids", "loads")}
        if "name" in plain:
            plain["name"] = plain["name"].strip()
        if "due_at" in plain:
            plain["due_at"] = _moment(effects, plain["due_at"])
        if plain.get("rubric_id", row.rubric_id) != row.rubric_id:
            _check_no_scores(connection, round_id)
            plain["rubric"] = _rubric(connection, actor, plain["rubric_id"])
        changed = {name: value for name, value in plain.items() if value != getattr(row, name)}
        if changed:
            raised = {"revision": row.revision + 1, "pool_version": row.pool_version + 1}
            connection.execute(rounds.update().where(rounds.c.id == round_id).values(**changed, **raised))
        if "project_ids" in given:
            put_projects(connection, actor, round_id, given["project_ids"])
        if "reviewer_ids" in given or "loads" in given:
            put_reviewers(connection, round_id, given.get("reviewer_ids"), given.get("loads"))
        audit.note(connection, effects.now, actor, "round.change", f"round:{round_id}", fields=sorted(given))
        return detail(connection, actor, access_round(connection, actor, round_id))

    return await commit(ctx, transaction)


async def remove_round(ctx: Context, actor: Actor, round_id: int) -> None:
    """Remove a round in which nobody has begun a review. Raises RoundNotFound, ScoresGiven."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = access_round(connection, actor, round_id, lock=True)
        _check_no_scores(connection, round_id)
        for table in _PARTS:
            connection.execute(table.delete().where(table.c.round_id == round_id))
        connection.execute(rounds.delete().where(rounds.c.id == round_id))
        audit.note(connection, now, actor, "round.delete", f"round:{round_id}", name=row.name)

    await ctx.sql.write(transaction)


async def open_round(ctx: Context, actor: Actor, round_id: int) -> RoundDetail:
    """Show reviewers their reviews and take scores; a closed round is opened again. Raises RoundNotFound, WrongRoundState."""

    def transaction(connection: sa.Connection, effects: Effects) -> RoundDetail:
        row = access_round(connection, actor, round_id, lock=True)
        check_open(row, RoundState.DRAFT, RoundState.CLOSED)
        tell_assigned(connection, effects, move(connection, effects, actor, row, RoundState.OPEN), owed_by(connection, round_id))
        return detail(connection, actor, access_round(connection, actor, round_id))

    return await commit(ctx, transaction)


async def close_round(ctx: Context, actor: Actor, round_id: int) -> RoundDetail:
    """Take no more scores, and tell the people of its projects that the results are out. Raises RoundNotFound, WrongRoundState."""

    def transaction(connection: sa.Connection, effects: Effects) -> RoundDetail:
        row = access_round(connection, actor, round_id, lock=True)
        check_open(row, RoundState.OPEN)
        move(connection, effects, actor, row, RoundState.CLOSED)
        told = _proposers(connection, round_id) - {actor.user_id or 0}
        key = f"{round_id}:{effects.now.isoformat()}"
        effects.told.append(notify(connection, effects.now, told, Kind.ROUND_RESULTS, key, {"round": row.name}, "/projects"))
        return detail(connection, actor, access_round(connection, actor, round_id))

    return await commit(ctx, transaction)


def move(connection: sa.Connection, effects: Effects, actor: Actor, row: Any, to: RoundState) -> Any:
    """Write a round's state, the only place that does; the row afterwards. Raises WrongRoundState when it has changed meanwhile."""
    one = rounds.update().where(rounds.c.id == row.id, rounds.c.state == row.state)
    values = {"state": to.value, "closed_at": effects.now if to is RoundState.CLOSED else None}
    if not connection.execute(one.values(**values)).rowcount:
        check_open(connection.execute(sa.select(rounds).where(rounds.c.id == row.id)).one())
    audit.note(connection, effects.now, actor, f"round.{to.value}", f"round:{row.id}", before=row.state)
    return connection.execute(sa.select(rounds).where(rounds.c.id == row.id)).one()


def owed_by(connection: sa.Connection, round_id: int) -> dict[int, int]:
    """How many reviews each reviewer of a round still owes."""
    counted = sa.select(reviews.c.reviewer_id, sa.func.count().label("number"))
    counted = counted.where(reviews.c.round_id == round_id, reviews.c.state.in_(OWED)).group_by(reviews.c.reviewer_id)
    return {row.reviewer_id: row.number for row in connection.execute(counted)}


def tell_assigned(connection: sa.Connection, effects: Effects, row: Any, numbers: Mapping[int, int]) -> None:
    """Tell reviewers how many reviews they have got."""
    for number in sorted(set(numbers.values())):
        who = [reviewer for reviewer, owes in numbers.items() if owes == number]
        key, params = f"{row.id}:{row.pool_version}:{effects.now.isoformat()}", {"round": row.name, "number": number}
        effects.told.append(notify(connection, effects.now, who, Kind.REVIEW_ASSIGNED, key, params, "/reviews"))


async def remind_reviewers(ctx: Context) -> int:
    """Remind everybody who owes reviews of an open round that is due, once a round and day; how many reminders were sent."""
    now = ctx.clock.now()
    first, last = reminders.window(now)
    due = sa.select(rounds.c.id).where(rounds.c.state == RoundState.OPEN.value, rounds.c.due_at > first, rounds.c.due_at <= last)
    sent = 0
    for round_id in await ctx.sql.read(lambda connection: list(connection.execute(due).scalars())):
        told = await ctx.sql.write(lambda connection, round_id=round_id: _remind(connection, now, round_id))  # type: ignore[misc]
        await announce(ctx, *told)
        sent += len(told)
    return sent


def _remind(connection: sa.Connection, now: datetime, round_id: int) -> list[Told]:
    row = connection.execute(sa.select(rounds).where(rounds.c.id == round_id, rounds.c.state == RoundState.OPEN.value)).one_or_none()
    if row is None or row.due_at is None:
        return []
    owing = sa.select(reviews.c.reviewer_id, sa.func.min(reviews.c.assigned_at).label("since"))
    owing = owing.where(reviews.c.round_id == round_id, reviews.c.state.in_(OWED)).group_by(reviews.c.reviewer_id)
    told = []
    for one in connection.execute(owing).all():
        days = reminders.due_now(row.due_at, now, one.since)
        if days is None or not reminders.remind(connection, now, f"round:{round_id}:{one.reviewer_id}", row.due_at, days):
            continue
        params = {"round": row.name, "when": reminders.as_param(reminders.when_text(days))}
        key = f"{round_id}:{row.due_at.isoformat()}:{days}"
        told.append(notify(connection, now, [one.reviewer_id], Kind.REVIEW_DUE, key, params, "/reviews"))
    return told


def detail(connection: sa.Connection, actor: Actor, row: Any) -> RoundDetail:
    """A round as its managers see it, or as its reviewers do."""
    manages = actor.may(MANAGE_ROUNDS, row.organization_id)
    loads = reviewer_loads(connection, row.id)
    made = RoundDetail(**_plain(row), manages=manages, reviews=actor.user_id in loads, rubric=row.rubric)
    if manages:
        made.load, made.conflict_years, made.conflict_depth = row.load, row.conflict_years, row.conflict_depth
        made.loads = {one: load for one, load in loads.items() if load is not None}
        made.project_ids, made.reviewer_ids = project_ids(connection, row.id), list(loads)
        counted = sa.select(reviews.c.state, sa.func.count().label("number")).where(reviews.c.round_id == row.id)
        counts = {one.state: one.number for one in connection.execute(counted.group_by(reviews.c.state))}
        made.progress = {state.value: counts.get(state.value, 0) for state in ReviewState}
    return made


_PLAIN = (
    *("id", "name", "organization_id", "rubric_id", "state", "blind", "reviews_per_project"),
    *("due_at", "revision", "created_at", "closed_at"),
)


def _plain(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _PLAIN}


def _listed(row: Any) -> Round:
    return Round(**_plain(row), manages=bool(row.manages), reviews=bool(row.mine))


def _rubric(connection: sa.Connection, actor: Actor, rubric_id: int) -> dict[str, Any]:
    try:
        return kept(access_rubric(connection, actor, rubric_id))
    except RubricNotFound:
        raise Invalid.field("rubric_id", "score.no_rubric", id=rubric_id) from None


def _check_no_scores(connection: sa.Connection, round_id: int) -> None:
    begun = (ReviewState.DRAFT.value, ReviewState.SUBMITTED.value)
    if connection.execute(sa.select(reviews.c.id).where(reviews.c.round_id == round_id, reviews.c.state.in_(begun))).first() is not None:
        raise ScoresGiven()


def _proposers(connection: sa.Connection, round_id: int) -> set[int]:
    """Owners and members of a round's projects."""
    found: set[int] = set()
    for some in pieces(project_ids(connection, round_id)):
        found |= set(_some(connection, sa.select(projects.c.owner_id).where(projects.c.id.in_(some), projects.c.owner_id.isnot(None))))
        found |= set(_some(connection, sa.select(project_members.c.user_id).where(project_members.c.project_id.in_(some))))
    return found


def _some(connection: sa.Connection, wanted: sa.Select[tuple[Any]]) -> Iterable[int]:
    return connection.execute(wanted).scalars()


def _moment(effects: Effects, at: datetime | None) -> datetime | None:
    """A time without a zone is one of the server's."""
    return at.replace(tzinfo=effects.zone) if at is not None and at.tzinfo is None else at


def _state(given: str) -> str:
    if given not in list(RoundState):
        raise Invalid.field("state", "field.choice", choices=", ".join(RoundState))
    return given
