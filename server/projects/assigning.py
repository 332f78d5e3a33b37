"""Who reviews what: assigned for a whole round by a minimum-cost flow, or one by one by hand; never against a conflict."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.assignment import Problem, assign
from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Invalid
from server.messages import Locale, Text, text
from server.people.identify import act_for
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued, enqueue
from server.projects.conflicts import ConflictKind, Facts, Found, Pair, find, in_words, read_facts
from server.projects.effects import Effects, commit
from server.projects.pools import pieces, project_ids, reviewer_loads
from server.projects.review_access import ReviewNotFound, access_round, check_open
from server.projects.reviews import check_may_go, insert
from server.projects.round_schemas import Assigned, Assignment, AssignRequest, PairBody, Refusal, ReviewState, RoundState
from server.projects.rounds import move, owed_by, tell_assigned
from server.projects.tables import review_preferences, reviews, rounds

ASSIGN_REVIEWS = "assign_reviews"
# 2,000 projects and 300 reviewers take some seconds (docs/scores.md).
ASSIGN_S = 300.0
# Pairs of project and reviewer from which a task does it.
LARGE = 1_000_000
TRIES = 3
MOST_REFUSED = 1_000


class RoundChanged(Conflict):
    """The pool, the conflicts or the reviews changed again and again while it was computed."""

    type = "round_changed"


class AlreadyAssigning(Conflict):
    """A task does so."""

    type = "round_assigning"


class EmptyPool(Conflict):
    """There are no projects, or no reviewers."""

    type = "round_pool_empty"


class ReviewConflict(Conflict):
    """The reviewer may not review the project; `reasons` say why."""

    type = "review_conflict"


class ReviewThere(Conflict):
    """The reviewer has that project already."""

    type = "review_there"


class Standing(msgspec.Struct):
    """A round as it was read: its row, its pool with everybody's load, reviews that are not declined, wishes, and what conflicts are in."""

    row: Any
    projects: list[int]
    reviewers: dict[int, int]
    living: dict[Pair, tuple[int, str]]
    wishes: list[tuple[int, int, int]]
    facts: Facts


async def assign_round(ctx: Context, actor: Actor, round_id: int, request: AssignRequest) -> Assigned:
    """Assign what is missing, at once or, for a very large round, by a task.

    Raises RoundNotFound, WrongRoundState when it is closed, EmptyPool, AlreadyAssigning, RoundChanged.
    """
    standing = await _read(ctx, actor, round_id)
    check_open(standing.row, RoundState.DRAFT, RoundState.OPEN)
    if not standing.projects or not standing.reviewers:
        raise EmptyPool()
    if request.background or len(standing.projects) * len(standing.reviewers) > LARGE:
        return await _queue(ctx, actor, standing, request)
    return await _carry_out(ctx, actor, standing, request)


async def carry_out(ctx: Context, round_id: int, user_id: int, key_id: int | None, request: AssignRequest) -> dict[str, int]:
    """The task of a large round, by what whoever asked may do now; how many reviews there are and how many projects lack some.

    Raises NotSignedIn, RoundNotFound, WrongRoundState, RoundChanged.
    """
    actor = await act_for(ctx, user_id, key_id)
    standing = await _read(ctx, actor, round_id)
    check_open(standing.row, RoundState.DRAFT, RoundState.OPEN)
    answer = await _carry_out(ctx, actor, standing, request)
    return {"reviews": len(answer.assignments), "short": sum(one.missing > 0 for one in answer.refused)}


async def get_assignments(ctx: Context, actor: Actor, round_id: int) -> Assigned:
    """What is assigned, and what is not and why. Raises RoundNotFound."""
    standing = await _read(ctx, actor, round_id)
    return await asyncio.to_thread(_answer, standing, actor.locale)


async def assign_one(ctx: Context, actor: Actor, round_id: int, body: PairBody) -> Assignment:
    """Give one project to one reviewer, also beyond the reviewer's load: a person decides.

    Raises RoundNotFound, WrongRoundState, ReviewConflict, ReviewThere, Invalid for who or what is not in the pool.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> Assignment:
        row = access_round(connection, actor, round_id, lock=True)
        check_open(row, RoundState.DRAFT, RoundState.OPEN)
        if body.project_id not in project_ids(connection, round_id):
            raise Invalid.field("project_id", "score.no_projects", ids=body.project_id)
        if body.reviewer_id not in reviewer_loads(connection, round_id):
            raise Invalid.field("reviewer_id", "score.not_in_pool", ids=body.reviewer_id)
        pair = (body.project_id, body.reviewer_id)
        if pair in _living(connection, round_id):
            raise ReviewThere()
        kinds = find(read_facts(connection, effects.now, row, [body.project_id], [body.reviewer_id])).get(pair)
        if kinds:
            raise ReviewConflict(reasons=_reasons(kinds))
        _write_pairs(connection, effects, actor, row, [pair])
        audit.note(connection, effects.now, actor, "round.assign_one", f"round:{round_id}", project_id=pair[0], reviewer_id=pair[1])
        return Assignment(*pair, _living(connection, round_id)[pair][0])

    return await commit(ctx, transaction)


async def unassign_one(ctx: Context, actor: Actor, round_id: int, review_id: int) -> None:
    """Take a review away that nobody has begun, or that was declined.

    Raises RoundNotFound, WrongRoundState, ReviewNotFound, WrongReviewState.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        row = access_round(connection, actor, round_id, lock=True)
        check_open(row, RoundState.DRAFT, RoundState.OPEN)
        wanted = sa.select(reviews).where(reviews.c.id == review_id, reviews.c.round_id == round_id)
        held = connection.execute(wanted.with_for_update()).one_or_none()
        if held is None:
            raise ReviewNotFound()
        check_may_go(held)
        connection.execute(reviews.delete().where(reviews.c.id == review_id))
        _raise_version(connection, row)
        detail = {"project_id": held.project_id, "reviewer_id": held.reviewer_id}
        audit.note(connection, effects.now, actor, "round.unassign", f"round:{round_id}", **detail)

    await commit(ctx, transaction)


async def _queue(ctx: Context, actor: Actor, standing: Standing, request: AssignRequest) -> Assigned:
    payload = {
        "round_id": standing.row.id,
        "user_id": actor.user_id,
        "key_id": actor.key_id,
        "open_it": request.open,
        "afresh": request.afresh,
    }
    key = f"{ASSIGN_REVIEWS}:{standing.row.id}"

    def transaction(connection: sa.Connection, effects: Effects) -> str:
        task_id = enqueue(connection, Queue.MAINTENANCE, ASSIGN_REVIEWS, payload, now=effects.now, max_attempts=3, unique_key=key)
        if task_id is None:
            raise AlreadyAssigning()
        effects.events.append(TaskQueued(Queue.MAINTENANCE.value))
        return task_id

    task_id = await commit(ctx, transaction)
    return Assigned(assignments=[], refused=[], refused_total=0, state=standing.row.state, task_id=task_id)


async def _carry_out(ctx: Context, actor: Actor, standing: Standing, request: AssignRequest) -> Assigned:
    """Compute and write; once more with what is new when the round has changed meanwhile."""
    for _ in range(TRIES):
        problem, numbers = await asyncio.to_thread(_problem, standing, request.afresh)
        chosen = await ctx.compute.run(assign, problem, time_limit_s=ASSIGN_S, urgent=True)
        pairs = [(numbers[0][project], numbers[1][reviewer]) for project, reviewer in chosen]
        if await _write(ctx, actor, standing, pairs, request):
            return await get_assignments(ctx, actor, standing.row.id)
        standing = await _read(ctx, actor, standing.row.id)
        check_open(standing.row, RoundState.DRAFT, RoundState.OPEN)
    raise RoundChanged()


def _problem(standing: Standing, afresh: bool) -> tuple[Problem, tuple[list[int], list[int]]]:
    """The round in numbers from 0, and which project and which reviewer has which number."""
    reviewers = list(standing.reviewers)
    project_at = {one: number for number, one in enumerate(standing.projects)}
    reviewer_at = {one: number for number, one in enumerate(reviewers)}
    kept = _kept(standing, afresh)
    per_project, per_reviewer = Counter(project for project, _ in kept), Counter(reviewer for _, reviewer in kept)
    barred = {*find(standing.facts), *kept}
    problem = Problem(
        wanted=[max(0, standing.row.reviews_per_project - per_project[one]) for one in standing.projects],
        loads=[per_reviewer[one] for one in reviewers],
        most=list(standing.reviewers.values()),
        barred=sorted((project_at[one], reviewer_at[other]) for one, other in barred if one in project_at and other in reviewer_at),
        wishes=[
            (project_at[one], reviewer_at[other], wish)
            for one, other, wish in standing.wishes
            if one in project_at and other in reviewer_at
        ],
    )
    return problem, (standing.projects, reviewers)


def _kept(standing: Standing, afresh: bool) -> set[Pair]:
    """The reviews that stay: all, or when it is done afresh those that were begun."""
    return {pair for pair, (_, state) in standing.living.items() if not (afresh and state == ReviewState.ASSIGNED)}


async def _write(ctx: Context, actor: Actor, standing: Standing, pairs: list[Pair], request: AssignRequest) -> bool:
    """Put the new reviews in and, if asked, open the round; False when the round is no longer as it was read."""
    before = {pair for pair, (_, state) in standing.living.items() if request.afresh and state == ReviewState.ASSIGNED}
    gone, new = sorted(before - set(pairs)), [pair for pair in pairs if pair not in before]

    def transaction(connection: sa.Connection, effects: Effects) -> bool:
        row = access_round(connection, actor, standing.row.id, lock=True)
        if row.pool_version != standing.row.pool_version or row.state == RoundState.CLOSED:
            return False
        for some in pieces([standing.living[pair][0] for pair in gone]):
            untouched = reviews.delete().where(reviews.c.id.in_(some), reviews.c.state == ReviewState.ASSIGNED.value)
            connection.execute(untouched)
        opening = request.open and row.state == RoundState.DRAFT
        if opening:
            row = move(connection, effects, actor, row, RoundState.OPEN)
        _write_pairs(connection, effects, actor, row, new, told=not opening)
        if opening:
            tell_assigned(connection, effects, row, owed_by(connection, row.id))
        audit.note(connection, effects.now, actor, "round.assign", f"round:{row.id}", assigned=len(new), removed=len(gone))
        return True

    return await commit(ctx, transaction)


def _write_pairs(connection: sa.Connection, effects: Effects, actor: Actor, row: Any, pairs: list[Pair], *, told: bool = True) -> None:
    """Put reviews in, and tell the reviewers when the round is open."""
    insert(connection, effects.now, row.id, pairs)
    _raise_version(connection, row)
    if told and row.state == RoundState.OPEN:
        tell_assigned(connection, effects, row, Counter(reviewer for _, reviewer in pairs))


def _raise_version(connection: sa.Connection, row: Any) -> None:
    connection.execute(rounds.update().where(rounds.c.id == row.id).values(pool_version=rounds.c.pool_version + 1))


async def _read(ctx: Context, actor: Actor, round_id: int) -> Standing:
    now = ctx.clock.now()

    def look(connection: sa.Connection) -> Standing:
        row = access_round(connection, actor, round_id)
        chosen, loads = project_ids(connection, round_id), reviewer_loads(connection, round_id)
        wished = sa.select(review_preferences).where(review_preferences.c.round_id == round_id)
        most = len(chosen) if row.load is None else row.load
        return Standing(
            row=row,
            projects=chosen,
            reviewers={one: most if load is None else load for one, load in loads.items()},
            living=_living(connection, round_id),
            wishes=[(one.project_id, one.user_id, one.wish) for one in connection.execute(wished)],
            facts=read_facts(connection, now, row, chosen, list(loads)),
        )

    return await ctx.sql.read(look)


def _living(connection: sa.Connection, round_id: int) -> dict[Pair, tuple[int, str]]:
    wanted = sa.select(reviews.c.id, reviews.c.project_id, reviews.c.reviewer_id, reviews.c.state)
    wanted = wanted.where(reviews.c.round_id == round_id, reviews.c.state != ReviewState.DECLINED.value).order_by(reviews.c.id)
    return {(row.project_id, row.reviewer_id): (row.id, row.state) for row in connection.execute(wanted)}


def _answer(standing: Standing, locale: Locale) -> Assigned:
    """The assignments in the order of projects; shortages first among what was refused."""
    found = find(standing.facts)
    found = {pair: kinds for pair, kinds in found.items() if pair[1] in standing.reviewers and pair not in standing.living}
    short = _shortages(standing, found, locale)
    conflicts = [
        Refusal(project_id=project, reviewer_id=reviewer, kinds=[kind.value for kind in kinds], reason=in_words(kinds, locale))
        for (project, reviewer), kinds in list(found.items())[: max(0, MOST_REFUSED - len(short))]
    ]
    return Assigned(
        assignments=[Assignment(*pair, review_id) for pair, (review_id, _) in sorted(standing.living.items())],
        refused=[*short[:MOST_REFUSED], *conflicts],
        refused_total=len(short) + len(found),
        state=standing.row.state,
    )


def _shortages(standing: Standing, found: Found, locale: Locale) -> list[Refusal]:
    given = Counter(project for project, _ in standing.living)
    held = Counter(reviewer for _, reviewer in standing.living)
    free = [one for one, most in standing.reviewers.items() if held[one] < most]
    barred = Counter(project for project, _ in found)
    short = []
    for project in standing.projects:
        missing = standing.row.reviews_per_project - given[project]
        if missing <= 0:
            continue
        fit = len(standing.reviewers) - barred[project]  # who has it already is among them
        waiting = any((project, one) not in found and (project, one) not in standing.living for one in free)
        why = _why(standing, fit, waiting)
        short.append(Refusal(project_id=project, missing=missing, reason=why.say(locale)))
    return short


def _why(standing: Standing, fit: int, waiting: bool) -> Text:
    if fit < standing.row.reviews_per_project:
        return text("score.short_conflicts", fit=fit, reviewers=len(standing.reviewers))
    return text("score.short_waiting") if waiting else text("score.short_load", fit=fit)


def _reasons(kinds: list[ConflictKind]) -> Text:
    """The reasons of a conflict as one sentence that is said later, in the caller's language."""
    joined = text(f"score.conflict.{kinds[0].value}")
    for kind in kinds[1:]:
        joined = text("score.and", first=joined, then=text(f"score.conflict.{kind.value}"))
    return joined
