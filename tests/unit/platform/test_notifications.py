"""Notifications as functions of a connection: once a person and event, in the channels they want, and removed when old."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.engines.schema import metadata
from server.messages import CATALOGUE
from server.platform.notifications import retention, telling
from server.platform.notifications.kinds import KINDS, Channel, Kind, name_of, sentence_of
from server.platform.notifications.telling import NOTIFICATION_MAIL, Told, key_of, notify
from server.platform.tables import (
    notification_preferences,
    notification_settings,
    notification_webhooks,
    notifications,
    tasks,
    webhook_messages,
)

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        needed = [tasks, notifications, notification_preferences, notification_settings, notification_webhooks, webhook_messages]
        metadata.create_all(opened, tables=needed)
        yield opened
    engine.dispose()


def tell(connection: sa.Connection, *user_ids: int, kind: Kind = Kind.MEMBER_JOINED, event: str = "e") -> Told:
    return notify(connection, NOW, user_ids, kind, event, {"name": "n", "organization": "o"}, "/#/x")


def choose(connection: sa.Connection, user_id: int, kind: Kind, channel: Channel, enabled: bool) -> None:
    row = {"user_id": user_id, "kind": kind.value, "channel": channel.value, "enabled": enabled}
    connection.execute(notification_preferences.insert().values(**row))


def rows(connection: sa.Connection) -> list[Any]:
    return list(connection.execute(sa.select(notifications).order_by(notifications.c.id)))


def mails(connection: sa.Connection) -> list[int]:
    found = connection.execute(sa.select(tasks.c.payload).where(tasks.c.kind == NOTIFICATION_MAIL)).scalars()
    return sorted(payload["notification_id"] for payload in found)


def test_each_is_told_once_of_an_event(connection: sa.Connection) -> None:
    assert tell(connection, 1, 2, 2).shown == (1, 2)
    assert tell(connection, 2, 3).shown == (3,)
    assert tell(connection, 1, 2, 3).shown == ()
    assert tell(connection, 1, event="another").shown == (1,)
    assert tell(connection, 1, kind=Kind.DOCUMENT_FAILED).shown == (1,)
    assert [row.user_id for row in rows(connection)] == [1, 2, 3, 1, 1]


def test_nobody_is_told_of_nothing(connection: sa.Connection) -> None:
    assert tell(connection).shown == ()
    assert rows(connection) == []


def test_more_people_than_a_list_may_hold(connection: sa.Connection) -> None:
    assert len(tell(connection, *range(1, 1302)).shown) == 1301
    assert len(rows(connection)) == 1301
    assert tell(connection, *range(1, 1302)).shown == ()


def test_what_another_transaction_has_just_told_is_no_error(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(connection, 2)
    real = connection.execute

    def blind(statement: Any, *more: Any) -> Any:
        """The rows of another transaction are not seen, and are in the way all the same."""
        looking = isinstance(statement, sa.Select) and statement.get_final_froms() == [notifications]
        return real(statement.where(sa.false()) if looking else statement, *more)

    monkeypatch.setattr(connection, "execute", blind)
    assert tell(connection, 1, 2, 3).shown == (1, 3)
    monkeypatch.undo()
    assert sorted(row.user_id for row in rows(connection)) == [1, 2, 3]


def test_one_mail_an_event_and_person_who_wants_it(connection: sa.Connection) -> None:
    choose(connection, 2, Kind.MEMBER_JOINED, Channel.MAIL, True)
    assert tell(connection, 1, 2, 3).mailed == 1
    assert tell(connection, 1, 2, 3).mailed == 0
    assert mails(connection) == [row.id for row in rows(connection) if row.user_id == 2]


def test_a_kind_that_comes_by_mail_can_be_declined(connection: sa.Connection) -> None:
    choose(connection, 2, Kind.PLAN_WAITING, Channel.MAIL, False)
    assert tell(connection, 1, 2, kind=Kind.PLAN_WAITING).mailed == 1
    assert mails(connection) == [row.id for row in rows(connection) if row.user_id == 1]


def test_who_wants_mail_alone_is_not_shown_it_and_who_wants_nothing_leaves_no_row(connection: sa.Connection) -> None:
    for user_id in (1, 2):
        choose(connection, user_id, Kind.MEMBER_JOINED, Channel.APP, False)
    choose(connection, 1, Kind.MEMBER_JOINED, Channel.MAIL, True)
    assert tell(connection, 1, 2) == Told((), 1, key_of("member.joined", "e"))
    assert [(row.user_id, row.shown) for row in rows(connection)] == [(1, False)]
    assert tell(connection, 1, 2).mailed == 0


def test_what_is_about_ones_own_account_is_always_shown(connection: sa.Connection) -> None:
    choose(connection, 1, Kind.PASSWORD_CHANGED, Channel.APP, False)
    assert tell(connection, 1, kind=Kind.PASSWORD_CHANGED).shown == (1,)


def test_old_ones_go_a_bounded_number_at_a_time(connection: sa.Connection) -> None:
    tell(connection, 1, 2, 3)
    assert retention.sweep(connection, NOW, 2) == 0
    assert retention.sweep(connection, NOW + timedelta(seconds=1), 2) == 2
    assert retention.sweep(connection, NOW + timedelta(seconds=1), 2) == 1
    assert rows(connection) == []


@pytest.mark.parametrize("kind", list(Kind))
def test_a_sentence_says_all_that_its_kind_is_given(kind: Kind) -> None:
    described = KINDS[kind]
    assert {name for _, name, _, _ in string.Formatter().parse(CATALOGUE[described.sentence][1]) if name} == set(described.params)
    params = {name: f"<{name}>" for name in described.params}
    for locale in ("zh", "en"):
        said = sentence_of(kind.value, params, locale)  # type: ignore[arg-type]
        assert all(value in said for value in params.values())
        assert name_of(kind, locale)  # type: ignore[arg-type]


def test_a_row_of_another_version_can_be_read() -> None:
    assert sentence_of("moon.landed", {}, "en") == "moon.landed"
    assert sentence_of("workflow.failed", {"more": 1}, "en").startswith("A run of the workflow “”")


def test_states_and_kept_sentences_are_in_the_readers_language() -> None:
    params = {"workflow": "daily", "state": "timed_out"}
    assert "timed out" in sentence_of("workflow.failed", params, "en")
    assert "超时" in sentence_of("workflow.failed", params, "zh")
    kept = {"roles": {"key": "notification.no_roles", "params": {}}}
    assert sentence_of("role.changed", kept, "en").endswith("none.")


def test_braces_in_what_people_wrote_stay() -> None:
    assert "{x} {" in sentence_of("member.joined", {"name": "{x} {", "organization": "o"}, "en")


def test_a_key_is_of_one_length_and_tells_kinds_apart() -> None:
    assert len(key_of("a", 1000 * "x")) == 64
    assert key_of("a", "x") != key_of("b", "x")
    assert telling.AT_ONCE <= 500
