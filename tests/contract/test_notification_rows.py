"""Notifications on each SQL database: told once when many tell at once, chosen twice at once, and read while they come."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
import sqlalchemy as sa

from server.actor import Actor, ActorKind
from server.clock import HeldClock
from server.context import Context
from server.engines.schema import metadata
from server.engines.sql import SqlDoor
from server.events import Event
from server.people import organization_notifications as of_organizations
from server.people.tables import organization_closure, organization_members, organizations, role_grants, roles, users
from server.people.tables import organization_notifications as choices
from server.people.told import holders, recipients
from server.platform.notifications import preferences, reading
from server.platform.notifications.kinds import Kind
from server.platform.notifications.preferences import Choice, Choices
from server.platform.notifications.reading import NotificationQuery, ReadRequest
from server.platform.notifications.telling import Told, notify
from server.platform.tables import (
    audit_log,
    notification_preferences,
    notification_settings,
    notification_webhooks,
    notifications,
    tasks,
    webhook_messages,
)

PEOPLE = [3, 5, 7]
ACTOR = Actor(kind=ActorKind.PERSON, name="王芳", user_id=3, session_id="s")
TABLES = [
    notifications,
    notification_preferences,
    notification_settings,
    notification_webhooks,
    webhook_messages,
    tasks,
    audit_log,
    choices,
]
PLACES = [organizations, organization_closure, organization_members, users, roles, role_grants]


async def context(sql: SqlDoor, clock: HeldClock) -> Context:
    async def publish(_event: Event) -> None:
        pass

    await sql.write(lambda connection: metadata.create_all(connection, tables=[*TABLES, *PLACES]))
    return cast("Context", SimpleNamespace(sql=sql, clock=clock, events=SimpleNamespace(publish=publish)))


@pytest.mark.gen_test(timeout=60)
async def test_of_many_who_tell_at_once_one_does(sql: SqlDoor, clock: HeldClock) -> None:
    ctx = await context(sql, clock)
    await preferences.put_preferences(ctx, ACTOR, Choices([Choice(kind=Kind.DOCUMENT_FAILED, mail=True)]))
    params = {"title": "手册😀", "error": "e"}

    async def one(some: list[int]) -> Told:
        return await sql.write(lambda connection: notify(connection, clock.now(), some, Kind.DOCUMENT_FAILED, "d", params))

    told = await asyncio.gather(*(one(PEOPLE[: 1 + number % 3]) for number in range(12)))
    assert Counter(user_id for each in told for user_id in each.shown) == dict.fromkeys(PEOPLE, 1)
    assert sum(each.mailed for each in told) == 1
    rows = await sql.read(lambda connection: connection.execute(sa.select(notifications.c.user_id)).scalars().all())
    mails = await sql.read(lambda connection: connection.execute(sa.select(tasks.c.kind)).scalars().all())
    assert (sorted(rows), mails) == (PEOPLE, ["mail.notification"])
    listed = await reading.list_own(ctx, ACTOR, NotificationQuery(unread=1))
    assert [item.params for item in listed.items] == [params]
    found = await sql.read(lambda connection: reading.pushed(connection, [3, 4], told[0].event_key))
    assert {user_id: (row is not None, unread) for user_id, (row, unread) in found.items()} == {3: (True, 1), 4: (False, 0)}
    done = await asyncio.gather(*(reading.mark_read(ctx, ACTOR, ReadRequest(all=True)) for _ in range(4)))
    assert sorted(each.read for each in done) == [0, 0, 0, 1]
    assert (await reading.count_unread(ctx, ACTOR)).unread == 0


@pytest.mark.gen_test(timeout=60)
async def test_choices_of_two_windows_at_once(sql: SqlDoor, clock: HeldClock) -> None:
    ctx = await context(sql, clock)
    wanted = [Choices([Choice(kind=Kind.MEMBER_JOINED, app=bool(number % 2), mail=True)]) for number in range(8)]
    await asyncio.gather(*(preferences.put_preferences(ctx, ACTOR, each) for each in wanted))
    rows = await sql.read(lambda connection: connection.execute(sa.select(notification_preferences.c.channel)).scalars().all())
    assert sorted(rows) == ["app", "mail"]


@pytest.mark.gen_test(timeout=60)
async def test_who_is_told_in_a_tree(sql: SqlDoor, clock: HeldClock) -> None:
    ctx, now = await context(sql, clock), datetime(2026, 3, 2, tzinfo=UTC)

    def put(connection: sa.Connection) -> None:
        for number, parent in ((1, None), (2, 1), (3, 2)):
            values = {"id": number, "parent_id": parent, "name": f"o{number}", "code": f"o{number}", "kind": "other"}
            connection.execute(organizations.insert().values(**values, created_at=now))
            for above in range(1, number + 1):
                row = {"ancestor_id": above, "descendant_id": number, "depth": number - above}
                connection.execute(organization_closure.insert().values(**row))
        for number, (name, scopes) in enumerate((("administrator", ["hr:approve"]), ("organization_admin", ["users:read"])), start=1):
            connection.execute(roles.insert().values(id=number, name=name, system=True, scopes=scopes))
        for number in (1, 2, 3):
            values = {"id": number, "username": f"u{number}", "username_key": f"u{number}", "name": "n", "kind": "person"}
            values |= {"state": "active", "organization_id": 1, "created_at": now, "updated_at": now}
            connection.execute(users.insert().values(**values))
        for user_id, role_id, place in ((1, 1, 1), (2, 2, 2), (3, 1, 2)):
            connection.execute(role_grants.insert().values(user_id=user_id, role_id=role_id, organization_id=place))
        row = {"organization_id": 3, "user_id": 1, "position": "班长", "created_at": now}
        connection.execute(organization_members.insert().values(**row))

    await sql.write(put)
    assert await sql.read(lambda connection: holders(connection, "hr:approve")) == {1}

    async def told_in(place: int) -> set[int]:
        return await sql.read(lambda connection: recipients(connection, place, Kind.MEMBER_JOINED))

    assert [await told_in(place) for place in (1, 2, 3)] == [{1}, {2, 3}, {2, 3}]
    row = {"organization_id": 2, "kind": "member.joined", "enabled": True, "roles": ["administrator"], "positions": ["班长"]}
    await sql.write(lambda connection: connection.execute(choices.insert().values(**row, updated_at=now)))
    assert [await told_in(place) for place in (1, 2, 3)] == [{1}, {3}, {1, 3}]
    filled = await of_organizations.fill_in(ctx, ACTOR)
    assert (filled.organizations, filled.added) == (3, 8)
    assert (await of_organizations.fill_in(ctx, ACTOR)).added == 0
    assert [await told_in(place) for place in (1, 2, 3)] == [{1}, {3}, {1, 3}]
