"""Looks whether the sealed audit log is whole: recomputes every hash, and holds the chain against what earlier seals left elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.engines.schema import LongText
from server.platform.audit_chain import AT_ONCE, SEAL, Anchor, find_anchor, link, seal_all
from server.platform.tables import audit_log, tasks
from server.platform.tasks import TaskState

# A sweep of old rows may run meanwhile; then it is looked at again.
TRIES = 3


class ChainState(StrEnum):
    WHOLE = "whole"
    BROKEN = "broken"


class Verdict(msgspec.Struct):
    """`checked` sealed rows fit; `first_broken` is the id of the first that does not, or of a row that is gone.

    `sealed_until` is the time of the last sealed row and `head` its hash, to be noted outside. `waiting` rows are not sealed yet.
    """

    state: ChainState
    checked: int
    first_broken: int | None
    sealed_until: datetime | None
    head: str
    waiting: int


class Walk:
    """Goes along the rows in the order of their ids. `witnesses` are hashes that were known before, by id."""

    def __init__(self, anchor: Anchor, witnesses: Mapping[int, str]) -> None:
        self.checked = 0
        self.first_broken: int | None = None
        self.last_id = 0
        self.until: datetime | None = None
        self.head = anchor.hash
        self._anchor = anchor
        self._witnesses = {number: head for number, head in witnesses.items() if number > anchor.through_id}
        self._unsealed: list[int] = []

    @property
    def waiting(self) -> int:
        return len(self._unsealed)

    def step(self, rows: Sequence[Any]) -> None:
        """The next rows; nothing more is looked at after the first that does not fit."""
        for row in rows:
            if self.first_broken is not None:
                return
            self.last_id = row.id
            if row.hash is None:
                self._unsealed.append(row.id)
            else:
                self._step_sealed(row)

    def _step_sealed(self, row: Any) -> None:
        expected = link(self.head, row)
        if self._unsealed:
            self.first_broken = self._unsealed[0]  # put in between, or its seal was taken away
        elif row.id <= self._anchor.through_id or row.hash != expected or self._witnesses.pop(row.id, expected) != expected:
            self.first_broken = row.id
        else:
            self.checked, self.head, self.until = self.checked + 1, expected, row.at

    def end(self) -> None:
        """After the last row: what was sealed once and never came is gone."""
        if self.first_broken is None and self._witnesses:
            self.first_broken = min(self._witnesses)


async def _witnesses(ctx: Context) -> dict[int, str]:
    """The ends of the chain as the tasks that sealed it reported them: whoever cuts off the end of the log would have to know of these."""
    found = {}
    reports = (
        sa.select(tasks.c.created_at, tasks.c.id, tasks.c.result)
        .where(tasks.c.kind == SEAL, tasks.c.state == TaskState.SUCCEEDED.value)
        .where(sa.type_coerce(tasks.c.result, LongText).not_like('%"sealed":0,%'))  # says nothing that the one before did not
        .order_by(tasks.c.created_at, tasks.c.id)
        .limit(AT_ONCE)
    )
    page = reports
    while rows := await ctx.sql.read(lambda connection, page=page: connection.execute(page).all()):  # type: ignore[misc]
        found.update({int(row.result["through"]): str(row.result["head"]) for row in rows})
        last = rows[-1]
        same = sa.and_(tasks.c.created_at == last.created_at, tasks.c.id > last.id)
        page = reports.where(sa.or_(tasks.c.created_at > last.created_at, same))
    return found


async def verify(ctx: Context) -> Verdict:
    """Check every sealed row, then seal what has settled meanwhile."""
    for _ in range(TRIES):
        anchor = await ctx.sql.read(find_anchor)
        walk = await _walk(ctx, anchor)
        if walk.first_broken is None or await ctx.sql.read(find_anchor) == anchor:
            break
    if walk.first_broken is not None:
        return Verdict(ChainState.BROKEN, walk.checked, walk.first_broken, walk.until, walk.head, walk.waiting)
    sealed = await seal_all(ctx)
    waiting = await ctx.sql.read(lambda connection: connection.execute(_after(sealed.through)).scalar_one())
    return Verdict(ChainState.WHOLE, walk.checked, None, sealed.until, sealed.head, waiting)


def _after(through: int) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(audit_log).where(audit_log.c.id > through)


async def _walk(ctx: Context, anchor: Anchor) -> Walk:
    walk = Walk(anchor, await _witnesses(ctx))
    while walk.first_broken is None:
        batch = sa.select(audit_log).where(audit_log.c.id > walk.last_id).order_by(audit_log.c.id).limit(AT_ONCE)
        rows = await ctx.sql.read(lambda connection, batch=batch: connection.execute(batch).all())  # type: ignore[misc]
        if not rows:
            break
        await asyncio.to_thread(walk.step, rows)
    walk.end()
    return walk
