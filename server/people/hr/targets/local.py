"""Our own users as a target: written in the database's own transactions, many at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.events import Event
from server.people.hr.desired import Desired
from server.people.hr.targets.deciding import Step, check_result, decide
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.local_finding import Local, find
from server.people.hr.targets.local_writing import Writing
from server.people.hr.targets.settings import LocalSettings
from server.people.hr.targets.target import Found, Operation, Order, Sought
from server.people.tables import api_keys, sessions
from server.scopes import system_actor


class Carried(msgspec.Struct, frozen=True):
    """What was found, decided and read back; or why not."""

    before: Found | None = None
    after: Found | None = None
    step: Step | None = None
    error: TargetError | None = None


class LocalTarget:
    kind = "local"
    concurrency = 1
    can_read = True

    def __init__(self, ctx: Context, settings: LocalSettings, managed: Collection[int], protected: Collection[str]) -> None:
        self._ctx = ctx
        self._settings = settings
        self._managed = frozenset(managed)
        self._protected = frozenset(protected)
        self._actor: Actor = system_actor("hr")

    async def find(self, sought: Sought) -> Found | None:
        found = await self._ctx.sql.read(lambda connection: find(connection, [sought], self._managed))
        return found.get(sought.person_id)

    async def write(self, operation: Operation, order: Order, found: Found | None) -> Found | None:
        """`found` is looked up again: the transaction decides by what is there when it runs."""
        now, person_id = self._ctx.clock.now(), order.sought.person_id

        def transaction(connection: sa.Connection) -> Writing:
            there = find(connection, [order.sought], self._managed) if found else {}
            writing = self._writing(connection, now)
            self._write(writing, {person_id: (operation, order.desired)}, there)
            if writing.refused:
                raise writing.refused[person_id]
            return writing

        try:
            writing = await self._ctx.sql.write(transaction)
        except sa.exc.IntegrityError as error:
            raise TargetError(ErrorClass.CONFLICT, f"{order.desired.username}: made by somebody else at the same moment") from error
        await self.tell(writing.events)
        return None

    async def can_enter(self, sought: Sought) -> bool | None:
        def transaction(connection: sa.Connection) -> bool:
            user = find(connection, [sought], self._managed).get(sought.person_id)
            if user is None:
                return False
            now = self._ctx.clock.now()
            open_session = (sessions.c.user_id == user.row.id, sessions.c.ended_at.is_(None), sessions.c.expires_at > now)
            open_key = (api_keys.c.user_id == user.row.id, api_keys.c.revoked_at.is_(None))
            doors = (sa.select(sessions.c.id).where(*open_session), sa.select(api_keys.c.id).where(*open_key))
            return user.active or any(connection.execute(door.limit(1)).first() is not None for door in doors)

        return await self._ctx.sql.read(transaction)

    async def close(self) -> None:
        """Nothing is open."""

    async def tell(self, events: Sequence[Event]) -> None:
        """Say after the commit what has ended or changed, to open sockets too."""
        for event in events:
            await self._ctx.events.publish(event)

    def carry_out(self, connection: sa.Connection, now: datetime, orders: Mapping[int, Order]) -> tuple[dict[int, Carried], list[Event]]:
        """Find, decide, write and read back the accounts of many people, by person; what is to be told after the commit."""
        sought = [order.sought for order in orders.values()]
        before = find(connection, sought, self._managed)
        steps: dict[int, Step] = {}
        carried: dict[int, Carried] = {}
        for person_id, order in orders.items():
            try:
                steps[person_id] = decide(order.operation, order.desired, before.get(person_id), attempt=order.attempt)
            except TargetError as conflict:
                carried[person_id] = Carried(before=before.get(person_id), error=conflict)
        writing = self._writing(connection, now)
        todo = {person_id: (step.write, orders[person_id].desired) for person_id, step in steps.items() if step.write}
        self._write(writing, todo, before)
        created = {person_id for person_id, (operation, _) in todo.items() if operation is Operation.CREATE}
        again = [msgspec.structs.replace(orders[one].sought, external_id=None) if one in created else orders[one].sought for one in todo]
        after = before | find(connection, again, self._managed)
        for person_id, step in steps.items():
            error = writing.refused.get(person_id)
            if error is None and step.write is not None:
                try:
                    check_result(orders[person_id].desired, after.get(person_id))
                except TargetError as wrong:
                    error = wrong
            carried[person_id] = Carried(before.get(person_id), after.get(person_id), step, error)
        return carried, writing.events

    def _writing(self, connection: sa.Connection, now: datetime) -> Writing:
        return Writing(connection, now, self._actor, self._managed, self._settings.role, self._protected)

    def _write(self, writing: Writing, todo: Mapping[int, tuple[Operation, Desired]], found: Mapping[int, Local]) -> None:
        writing.check({person_id: (desired, found.get(person_id)) for person_id, (_, desired) in todo.items()})
        going = {person_id: one for person_id, one in todo.items() if person_id not in writing.refused}
        writing.create({person_id: desired for person_id, (operation, desired) in going.items() if operation is Operation.CREATE})
        for person_id, (operation, desired) in going.items():
            user = found.get(person_id)
            if user is None or operation is Operation.CREATE:
                continue
            if operation is Operation.DISABLE:
                writing.disable(person_id, user)
            elif operation is Operation.REVIVE:
                writing.revive(person_id, desired, user)
            else:
                writing.update(person_id, desired, user)
