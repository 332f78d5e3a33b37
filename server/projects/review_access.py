"""Who may see and change which round and which review."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.errors import Conflict, NotFound
from server.messages import text
from server.projects.round_schemas import OWED, RoundState
from server.projects.tables import reviews, round_reviewers, rounds

MANAGE_ROUNDS = "rounds:manage"
GIVE_SCORES = "reviews:write"


class RoundNotFound(NotFound):
    type = "round_not_found"


class ReviewNotFound(NotFound):
    type = "review_not_found"


class WrongRoundState(Conflict):
    """The round's state does not allow it; `state` says which it is."""

    type = "round_state"

    def __init__(self, state: str) -> None:
        super().__init__(state=text(f"score.round_state.{state}"))


class OwnFirst(Conflict):
    """Nobody sees what others gave before giving one's own."""

    type = "own_review_first"


def within_rounds(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `rounds` that the actor manages the round."""
    places = actor.organizations(MANAGE_ROUNDS)
    return sa.true() if places is None else rounds.c.organization_id.in_(sorted(places))


def in_pool(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `rounds` that the actor is among the reviewers and may give scores."""
    if actor.user_id is None or not actor.may(GIVE_SCORES):
        return sa.false()
    return rounds.c.id.in_(sa.select(round_reviewers.c.round_id).where(round_reviewers.c.user_id == actor.user_id))


def access_round(connection: sa.Connection, actor: Actor, round_id: int, *, lock: bool = False) -> Any:
    """The row of a round that the actor manages. `lock`: nobody else changes it until the transaction ends. Raises RoundNotFound."""
    return _round(connection, rounds.c.id == round_id, within_rounds(actor), lock=lock)


def access_pool(connection: sa.Connection, actor: Actor, round_id: int, *, lock: bool = False) -> Any:
    """The row of a round in which the actor reviews. Raises RoundNotFound."""
    return _round(connection, rounds.c.id == round_id, in_pool(actor), lock=lock)


def access_either(connection: sa.Connection, actor: Actor, round_id: int) -> Any:
    """The row of a round that the actor manages or reviews in. Raises RoundNotFound."""
    return _round(connection, rounds.c.id == round_id, sa.or_(within_rounds(actor), in_pool(actor)))


def check_open(row: Any, *states: RoundState) -> None:
    """Raise WrongRoundState unless the round is in one of the states."""
    if row.state not in states:
        raise WrongRoundState(row.state)


def access_review(connection: sa.Connection, actor: Actor, review_id: int) -> Any:
    """The row of a review: the actor's own once the round was opened, or one of a round that the actor manages.

    Raises ReviewNotFound, OwnFirst for another's of a project for which the actor still owes one.
    """
    row = connection.execute(sa.select(reviews).where(reviews.c.id == review_id)).one_or_none()
    if row is None:
        raise ReviewNotFound()
    known = sa.select(rounds.c.id, rounds.c.state).where(rounds.c.id == row.round_id)
    if row.reviewer_id == actor.user_id and connection.execute(known.where(rounds.c.state != RoundState.DRAFT.value)).first():
        return row
    if connection.execute(known.where(within_rounds(actor))).first() is None:
        raise ReviewNotFound()
    if row.project_id in owed(connection, actor, row.round_id):
        raise OwnFirst()
    return row


def access_own_review(connection: sa.Connection, actor: Actor, review_id: int) -> tuple[Any, Any]:
    """The locked rows of the actor's own review and of its round. Raises ReviewNotFound, WrongRoundState unless the round is open."""
    place = connection.execute(
        sa.select(reviews.c.round_id).where(reviews.c.id == review_id, reviews.c.reviewer_id == actor.user_id)
    ).scalar()
    if place is None:
        raise ReviewNotFound()
    # Always the round first: whoever closes it or assigns holds its row.
    round_row = connection.execute(sa.select(rounds).where(rounds.c.id == place).with_for_update()).one_or_none()
    row = connection.execute(sa.select(reviews).where(reviews.c.id == review_id).with_for_update()).one_or_none()
    if round_row is None or row is None or round_row.state == RoundState.DRAFT:
        raise ReviewNotFound()
    check_open(round_row, RoundState.OPEN)
    return row, round_row


def owed(connection: sa.Connection, actor: Actor, round_id: int) -> set[int]:
    """The projects of a round for which the actor still owes a review."""
    if actor.user_id is None:
        return set()
    wanted = (
        sa.select(reviews.c.project_id)
        .join(rounds, rounds.c.id == reviews.c.round_id)
        .where(
            reviews.c.round_id == round_id,
            reviews.c.reviewer_id == actor.user_id,
            reviews.c.state.in_(OWED),
            rounds.c.state != RoundState.CLOSED.value,
        )
    )
    return set(connection.execute(wanted).scalars())


def check_nothing_owed(connection: sa.Connection, actor: Actor, round_id: int) -> None:
    """Raise OwnFirst while the actor owes a review in the round."""
    if owed(connection, actor, round_id):
        raise OwnFirst()


def _round(connection: sa.Connection, *conditions: sa.ColumnElement[bool], lock: bool = False) -> Any:
    wanted = sa.select(rounds).where(*conditions)
    row = connection.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise RoundNotFound()
    return row
