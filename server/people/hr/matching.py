"""Matching: whether somebody whom HR names for the first time already has an account here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from server.people.hr.states import RunKind, What
from server.people.hr.tables import hr_accounts, hr_changes, hr_persons, hr_rows, hr_runs
from server.people.tables import users

NEW, ADOPTED, DECIDED = "new", "adopted_by_mail", "decided"
# Why a person has to say which account is meant.
SEVERAL, LINKED, PROTECTED, DISABLED, SERVICE = (
    "mail_of_several",
    "account_of_another",
    "account_protected",
    "account_disabled",
    "account_of_service",
)


class Account(msgspec.Struct, frozen=True):
    """An account that a mail address leads to, and what stands against giving it to a person of HR's."""

    user_id: int
    against: str | None


class Match(msgspec.Struct, frozen=True):
    """What a mail address says: a new person, one whose account is adopted (`user_id`), or a question with its `candidates`."""

    rule: str
    user_id: int | None = None
    candidates: tuple[int, ...] = ()

    @property
    def asks(self) -> bool:
        return bool(self.candidates)


def match(mail_key: str | None, rows_with_mail: int, account: Account | None) -> Match:
    """Decide by mail: exactly one row and exactly one free account belong together; anything else is not guessed."""
    if mail_key is None or account is None:
        return Match(NEW)
    if rows_with_mail > 1:
        return Match(SEVERAL, candidates=(account.user_id,))
    if account.against is not None:
        return Match(account.against, candidates=(account.user_id,))
    return Match(ADOPTED, user_id=account.user_id)


def by_decision(decision: Mapping[str, Any]) -> Match | None:
    """What a person has decided: None to leave the person out."""
    if decision.get("skip"):
        return None
    return Match(DECIDED, user_id=decision.get("user_id"))


def read_accounts(connection: sa.Connection, mail_keys: Sequence[str], break_glass: frozenset[str]) -> dict[str, Account]:
    """The accounts with the given mail addresses, some hundreds at most. One that was merged into another is none."""
    found = _accounts(connection, users.c.email_key.in_(list(mail_keys)), break_glass) if mail_keys else []
    return {row.email_key: account for row, account in found}


def read_by_number(connection: sa.Connection, user_ids: Sequence[int], break_glass: frozenset[str]) -> dict[int, Account]:
    """The same by the accounts' numbers."""
    found = _accounts(connection, users.c.id.in_(list(user_ids)), break_glass) if user_ids else []
    return {account.user_id: account for _, account in found}


def _accounts(connection: sa.Connection, which: sa.ColumnElement[bool], break_glass: frozenset[str]) -> list[tuple[Any, Account]]:
    wanted = sa.select(users.c.id, users.c.email_key, users.c.username_key, users.c.kind, users.c.state)
    rows = connection.execute(wanted.where(which, users.c.merged_into.is_(None))).all()
    taken = _taken(connection, [row.id for row in rows])
    return [(row, Account(row.id, _against(row, taken, break_glass))) for row in rows]


def _taken(connection: sa.Connection, user_ids: Sequence[int]) -> set[int]:
    """Those of the users who are a person of HR's already."""
    if not user_ids:
        return set()
    linked = connection.execute(sa.select(hr_accounts.c.user_id).where(hr_accounts.c.user_id.in_(list(user_ids)))).scalars()
    adopted = connection.execute(sa.select(hr_persons.c.adopted_user_id).where(hr_persons.c.adopted_user_id.in_(list(user_ids)))).scalars()
    return {*linked, *adopted}


def _against(row: Any, taken: set[int], break_glass: frozenset[str]) -> str | None:
    if row.username_key in break_glass:
        return PROTECTED
    if row.id in taken:
        return LINKED
    if row.kind != "person":
        return SERVICE
    return DISABLED if row.state != "active" else None


def may_be_given(account: Account | None) -> bool:
    """Whether a person's word is enough to give an account to somebody."""
    return account is not None and account.against not in (LINKED, PROTECTED)


def read_shared_mails(connection: sa.Connection, run_id: str, mail_keys: Sequence[str]) -> dict[str, int]:
    """How many rows of the snapshot have each of the addresses, where more than one has."""
    if not mail_keys:
        return {}
    number = sa.func.count()
    wanted = (
        sa.select(hr_rows.c.email_key, number.label("number"))
        .where(hr_rows.c.run_id == run_id, hr_rows.c.email_key.in_(list(mail_keys)))
        .group_by(hr_rows.c.email_key)
        .having(number > 1)
    )
    return {row.email_key: row.number for row in connection.execute(wanted)}


def read_decisions(connection: sa.Connection, source_id: int) -> dict[str, tuple[int | None, dict[str, Any]]]:
    """What people have decided about newcomers of a source: by employee number, who decided and what; the newest word counts."""
    wanted = (
        sa.select(hr_changes.c.key, hr_changes.c.decided_by, hr_changes.c.decision)
        .join(hr_runs, hr_runs.c.id == hr_changes.c.run_id)
        .where(
            hr_runs.c.source_id == source_id,
            hr_runs.c.kind == RunKind.SYNC.value,
            hr_changes.c.what == What.PERSON.value,
            hr_changes.c.decided_by.is_not(None),
        )
        .order_by(hr_changes.c.id)
    )
    return {row.key: (row.decided_by, row.decision) for row in connection.execute(wanted)}
