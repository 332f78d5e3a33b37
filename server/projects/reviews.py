"""Reviews: what a reviewer owes, gives and declines, and what others gave, once one's own is given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.messages import text
from server.paging import Page, page_of
from server.people.joining import people
from server.people.names import organization_names, user_names
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.projects.access import blind_ids
from server.projects.conflicts import put_declared
from server.projects.effects import Effects, commit
from server.projects.pools import project_ids, reviewer_loads, touch
from server.projects.project_schemas import Listed
from server.projects.review_access import (
    MANAGE_ROUNDS,
    OwnFirst,
    ReviewNotFound,
    RoundNotFound,
    access_own_review,
    access_pool,
    access_review,
    access_round,
    check_open,
    owed,
)
from server.projects.round_schemas import (
    OWED,
    ConflictBody,
    ConflictGone,
    Criterion,
    DeclineBody,
    OtherReview,
    Review,
    ReviewDetail,
    ReviewedProject,
    ReviewPut,
    ReviewQuery,
    ReviewState,
    RoundReviewQuery,
    RoundState,
)
from server.projects.rubric_formula import total
from server.projects.tables import projects, review_conflicts, reviews, rounds

SORTABLE = {
    **{name: reviews.c[name] for name in ("id", "state", "assigned_at", "submitted_at", "project_id", "reviewer_id")},
    "due_at": rounds.c.due_at,
}
_reviewer = people()
_LISTED = (
    sa.select(
        *(reviews.c[name] for name in ("id", "round_id", "project_id", "reviewer_id", "state", "total", "assigned_at", "submitted_at")),
        rounds.c.name.label("round"),
        rounds.c.state.label("round_state"),
        rounds.c.due_at,
        projects.c.title,
        _reviewer.c.name.label("reviewer"),
    )
    .join(rounds, rounds.c.id == reviews.c.round_id)
    .join(projects, projects.c.id == reviews.c.project_id)
    .outerjoin(_reviewer, _reviewer.c.id == reviews.c.reviewer_id)
)


class WrongReviewState(Conflict):
    """The review's state does not allow it; `state` says which it is."""

    type = "review_state"


class ReviewFinal(Conflict):
    """Who has looked at what others gave does not change their own any more."""

    type = "review_final"


class ConflictNotFound(NotFound):
    type = "conflict_not_found"


async def list_own(ctx: Context, actor: Actor, query: ReviewQuery) -> Page[Review]:
    """The caller's own reviews of rounds that were opened, newest first."""
    own = _LISTED.where(reviews.c.reviewer_id == (actor.user_id or 0), rounds.c.state != RoundState.DRAFT.value)
    return await _list(ctx, own if query.round_id is None else own.where(reviews.c.round_id == query.round_id), query)


async def list_of_round(ctx: Context, actor: Actor, round_id: int, query: RoundReviewQuery) -> Page[Review]:
    """All reviews of a round for who manages it, without totals of projects that the caller still owes a review. Raises RoundNotFound."""
    hidden = await ctx.sql.read(lambda connection: (access_round(connection, actor, round_id), owed(connection, actor, round_id))[1])
    page = await _list(ctx, _LISTED.where(reviews.c.round_id == round_id), query)
    for one in page.items:
        if one.project_id in hidden and one.reviewer_id != actor.user_id:
            one.total = None
    return page


async def get_review(ctx: Context, actor: Actor, review_id: int) -> ReviewDetail:
    """Raises ReviewNotFound, OwnFirst."""
    now = ctx.clock.now()

    def look(connection: sa.Connection) -> ReviewDetail:
        return detail(connection, actor, access_review(connection, actor, review_id), now)

    return await ctx.sql.read(look)


async def put_review(ctx: Context, actor: Actor, review_id: int, body: ReviewPut) -> ReviewDetail:
    """Give scores, or keep them as a draft; what is submitted may be given again until the round is closed or others' are looked at.

    Raises ReviewNotFound, WrongRoundState, WrongReviewState, ReviewFinal, Invalid naming the criterion.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> ReviewDetail:
        row, round_row = access_own_review(connection, actor, review_id)
        was_submitted = row.state == ReviewState.SUBMITTED
        if row.state == ReviewState.DECLINED or (was_submitted and not body.submit):
            raise _wrong(row)
        if row.others_seen_at is not None:
            raise ReviewFinal()
        rubric = round_row.rubric
        complete = _check(rubric["criteria"], body)
        values: dict[str, Any] = {
            "scores": body.scores,
            "comment": body.comment.strip() or None,
            "total": total(rubric["criteria"], rubric["formula"], body.scores) if complete else None,
        }
        if body.submit:
            values["submitted_at"] = effects.now
            touch(connection, round_row.id, scores=True)
            audit.note(connection, effects.now, actor, "review.submit", f"review:{review_id}", round_id=round_row.id, again=was_submitted)
        move(connection, row, ReviewState.SUBMITTED if body.submit else ReviewState.DRAFT, **values)
        return detail(connection, actor, access_review(connection, actor, review_id), effects.now)

    return await commit(ctx, transaction)


async def decline(ctx: Context, actor: Actor, review_id: int, body: DeclineBody) -> ReviewDetail:
    """Decline to review; one that was submitted only for a conflict that was found late, and then it does not count any more.

    Raises ReviewNotFound, WrongRoundState, WrongReviewState.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> ReviewDetail:
        row, round_row = access_own_review(connection, actor, review_id)
        if row.state == ReviewState.DECLINED or (row.state == ReviewState.SUBMITTED and not body.conflict):
            raise _wrong(row)
        _decline(connection, effects, actor, row, round_row, body.reason, conflict=body.conflict)
        return detail(connection, actor, access_review(connection, actor, review_id), effects.now)

    return await commit(ctx, transaction)


async def list_others(ctx: Context, actor: Actor, review_id: int) -> Listed:
    """What others gave the same project in the same round, once one's own is submitted; who they are is not told.

    Looking makes one's own final. Raises ReviewNotFound, OwnFirst.
    """
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Listed:
        row = access_review(connection, actor, review_id)
        if row.reviewer_id != actor.user_id:
            raise ReviewNotFound()
        if row.state != ReviewState.SUBMITTED:
            raise OwnFirst()
        if actor.viewer is None:
            first = reviews.update().where(reviews.c.id == review_id, reviews.c.others_seen_at.is_(None))
            if connection.execute(first.values(others_seen_at=now)).rowcount:
                audit.note(connection, now, actor, "review.see_others", f"review:{review_id}", round_id=row.round_id)
        wanted = sa.select(reviews).where(
            reviews.c.round_id == row.round_id,
            reviews.c.project_id == row.project_id,
            reviews.c.id != review_id,
            reviews.c.state == ReviewState.SUBMITTED.value,
        )
        items = [
            OtherReview(scores=one.scores, total=one.total, comment=one.comment, submitted_at=one.submitted_at)
            for one in connection.execute(wanted.order_by(reviews.c.submitted_at, reviews.c.id))
        ]
        return Listed(items, len(items))

    return await (ctx.sql.write if actor.viewer is None else ctx.sql.read)(transaction)


async def declare_conflict(ctx: Context, actor: Actor, round_id: int, body: ConflictBody) -> None:
    """Declare a conflict of one's own, or of a reviewer in a round that one manages; a review of that project is declined with it.

    Raises RoundNotFound, WrongRoundState, Invalid for who or what is not in the round.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        row, user_id = _whose(connection, actor, round_id, body.user_id)
        check_open(row, RoundState.DRAFT, RoundState.OPEN)
        if user_id not in reviewer_loads(connection, round_id):
            raise Invalid.field("user_id", "score.not_in_pool", ids=user_id)
        if body.project_id not in project_ids(connection, round_id):
            raise Invalid.field("project_id", "score.no_projects", ids=body.project_id)
        theirs = (reviews.c.round_id == round_id, reviews.c.project_id == body.project_id, reviews.c.reviewer_id == user_id)
        living = sa.select(reviews).where(*theirs, reviews.c.state != ReviewState.DECLINED.value)
        held = connection.execute(living.with_for_update()).one_or_none()
        if held is not None:
            _decline(connection, effects, actor, held, row, body.note, conflict=True)
        else:
            put_declared(connection, effects.now, round_id, user_id, body.project_id, body.note)
            touch(connection, round_id)
        detail = {"project_id": body.project_id, "reviewer_id": user_id}
        audit.note(connection, effects.now, actor, "round.declare_conflict", f"round:{round_id}", **detail)

    await commit(ctx, transaction)


async def withdraw_conflict(ctx: Context, actor: Actor, round_id: int, query: ConflictGone) -> None:
    """Take a declared conflict back; a review that was declined stays so. Raises RoundNotFound, WrongRoundState, ConflictNotFound."""
    now, table = ctx.clock.now(), review_conflicts

    def transaction(connection: sa.Connection) -> None:
        row, user_id = _whose(connection, actor, round_id, query.user_id)
        check_open(row, RoundState.DRAFT, RoundState.OPEN)
        one = table.delete().where(table.c.round_id == round_id, table.c.user_id == user_id, table.c.project_id == query.project_id)
        if not connection.execute(one).rowcount:
            raise ConflictNotFound()
        touch(connection, round_id)
        detail = {"project_id": query.project_id, "reviewer_id": user_id}
        audit.note(connection, now, actor, "round.withdraw_conflict", f"round:{round_id}", **detail)

    await ctx.sql.write(transaction)


def insert(connection: sa.Connection, now: datetime, round_id: int, pairs: list[tuple[int, int]], at_once: int = 500) -> None:
    """Put reviews in, by (project, reviewer): assigned."""
    for first in range(0, len(pairs), at_once):
        rows = [
            {
                "round_id": round_id,
                "project_id": project_id,
                "reviewer_id": reviewer_id,
                "state": ReviewState.ASSIGNED.value,
                "scores": {},
                "assigned_at": now,
            }
            for project_id, reviewer_id in pairs[first : first + at_once]
        ]
        connection.execute(reviews.insert(), rows)


def move(connection: sa.Connection, row: Any, to: ReviewState, **values: Any) -> None:
    """Write a review's state, with what goes with it. Raises WrongReviewState when it has changed meanwhile."""
    one = reviews.update().where(reviews.c.id == row.id, reviews.c.state == row.state)
    if not connection.execute(one.values(state=to.value, **values)).rowcount:
        raise _wrong(row)


def check_may_go(row: Any) -> None:
    """Raise WrongReviewState for a review that was begun: it is not taken away."""
    if row.state in (ReviewState.DRAFT, ReviewState.SUBMITTED):
        raise _wrong(row)


def detail(connection: sa.Connection, actor: Actor, row: Any, now: datetime) -> ReviewDetail:
    """A review with the rubric, and the project as its reviewer may know it."""
    listed = connection.execute(_LISTED.add_columns(rounds.c.rubric).where(reviews.c.id == row.id)).one()
    made: ReviewDetail = _shown(
        listed,
        now,
        ReviewDetail,
        criteria=msgspec.convert(listed.rubric["criteria"], list[Criterion]),
        formula=listed.rubric["formula"],
        scores=row.scores,
        comment=row.comment,
        project=_project(connection, actor, row.project_id),
        own=row.reviewer_id == actor.user_id,
        final=row.others_seen_at is not None or listed.round_state == RoundState.CLOSED,
    )
    return made


async def _list(ctx: Context, wanted: sa.Select[Any], query: RoundReviewQuery) -> Page[Review]:
    if states := [word.strip() for word in query.state.split(",") if word.strip()]:
        if set(states) - set(ReviewState):
            raise Invalid.field("state", "field.choice", choices=", ".join(ReviewState))
        wanted = wanted.where(reviews.c.state.in_(states))
    now = ctx.clock.now()

    def look(connection: sa.Connection) -> Page[Review]:
        shown, searched = (lambda row: _shown(row, now, Review)), (projects.c.title,)
        return page_of(connection, wanted, query, shown, sortable=SORTABLE, searched=searched, order="-id")

    return await ctx.sql.read(look)


def _shown(row: Any, now: datetime, kind: type[Any], **more: Any) -> Any:
    plain = {name: getattr(row, name) for name in kind.__struct_fields__ if name not in more and name != "overdue"}
    plain["reviewer"] = row.reviewer or ""
    open_still = row.state in OWED and row.round_state == RoundState.OPEN
    return kind(**plain, overdue=open_still and row.due_at is not None and row.due_at < now, **more)


def _project(connection: sa.Connection, actor: Actor, project_id: int) -> ReviewedProject:
    row = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
    hidden = bool(blind_ids(connection, actor, [project_id]))
    return ReviewedProject(
        id=row.id,
        kind=row.kind,
        title=row.title,
        summary=row.summary,
        starts_on=row.starts_on,
        ends_on=row.ends_on,
        budget_total=sum(line["amount"] for line in row.budget),
        blind=hidden,
        organization="" if hidden else organization_names(connection, [row.organization_id]).get(row.organization_id, ""),
        owner="" if hidden else user_names(connection, [row.owner_id]).get(row.owner_id, ""),
    )


def _check(criteria: list[dict[str, Any]], body: ReviewPut) -> bool:
    """Whether every criterion has its score. Raises Invalid, naming the criterion, for wrong scores and, to submit, for missing ones."""
    fields = {}
    known = {one["name"]: one["max"] for one in criteria}
    for name, score in body.scores.items():
        if name not in known:
            fields[f"scores.{name}"] = [text("score.no_criterion", names=", ".join(known))]
        elif not 0 <= score <= known[name]:
            fields[f"scores.{name}"] = [text("field.range", low=0, high=f"{known[name]:g}")]
    missing = known.keys() - body.scores.keys()
    if body.submit:
        fields.update({f"scores.{name}": [text("field.required")] for name in missing})
    if fields:
        raise Invalid(fields=fields)
    return not missing


def _decline(connection: sa.Connection, effects: Effects, actor: Actor, row: Any, round_row: Any, reason: str, *, conflict: bool) -> None:
    move(connection, row, ReviewState.DECLINED, comment=reason.strip() or None, total=None, submitted_at=None)
    touch(connection, round_row.id, scores=row.state == ReviewState.SUBMITTED)
    if conflict:
        put_declared(connection, effects.now, round_row.id, row.reviewer_id, row.project_id, reason.strip())
    audit.note(connection, effects.now, actor, "review.decline", f"review:{row.id}", round_id=round_row.id, conflict=conflict)
    if round_row.created_by is not None and round_row.created_by != actor.user_id:
        params, link = {"round": round_row.name}, f"/rounds/{round_row.id}"
        told = notify(connection, effects.now, [round_row.created_by], Kind.REVIEW_DECLINED, str(row.id), params, link)
        effects.told.append(told)


def _whose(connection: sa.Connection, actor: Actor, round_id: int, user_id: int | None) -> tuple[Any, int]:
    """The locked round and the reviewer that is meant: the caller, or somebody else for who manages the round."""
    if user_id is None or user_id == actor.user_id:
        return access_pool(connection, actor, round_id, lock=True), actor.user_id or 0
    try:
        return access_round(connection, actor, round_id, lock=True), user_id
    except RoundNotFound:
        access_pool(connection, actor, round_id)
        raise Forbidden(scope=MANAGE_ROUNDS) from None


def _wrong(row: Any) -> WrongReviewState:
    return WrongReviewState(state=text(f"score.review_state.{row.state}"))
