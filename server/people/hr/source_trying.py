"""Tries a source: reads its first page, says what a sync would see, and keeps nothing."""

from __future__ import annotations

import asyncio
from datetime import date, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.messages import text
from server.people.hr.normalizing import BadField, DepartmentReader, PersonReader
from server.people.hr.person_row import problems_of
from server.people.hr.reading.opening import What, names_departments, open_pages
from server.people.hr.reading.pages import Page
from server.people.hr.refusals import WHAT, SnapshotRefused, SourceAway, SourceEmpty, bad_row
from server.people.hr.source_schemas import FirstPage, Secrets, SourceTest
from server.people.hr.sources import Source, files_folder, get_source, secrets_of
from server.platform import audit

SHOWN = 5
MOST_COLUMNS = 100
MOST_PROBLEMS = 20
# Somebody is waiting for the answer.
PATIENCE_S = 30.0


async def try_source(ctx: Context, actor: Actor, source_id: int) -> SourceTest:
    """Raises HrSourceNotFound, SealBroken. What is wrong with the source is in the answer."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Source:
        audit.note(connection, now, actor, "hr_source.test", f"hr_source:{source_id}")
        return get_source(connection, source_id)

    source = await ctx.sql.write(transaction)
    zone = ZoneInfo(ctx.settings.timezone)
    trial = _Trial(files_folder(ctx.settings), source, secrets_of(ctx, source), actor, now.astimezone(zone).date(), zone)
    departments = await trial.look("department") if names_departments(source.kind, source.reading) else None
    persons = await trial.look("person")
    return SourceTest(ok=trial.ok, persons=persons, departments=departments, problems=trial.problems[:MOST_PROBLEMS])


class _Trial:
    """One look at a source; problems are told in the caller's language."""

    def __init__(self, folder: Path, source: Source, secrets: Secrets, actor: Actor, today: date, zone: tzinfo) -> None:
        self._folder = folder
        self._source = source
        self._secrets = secrets
        self._locale = actor.locale
        self._today, self._zone = today, zone
        self.problems: list[str] = []
        self.ok = True

    async def look(self, what: What) -> FirstPage | None:
        """The first page of persons or departments; None when it cannot be had."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                page = await self._first(what)
        except TimeoutError:
            self._refuse(SourceAway(detail=f"{PATIENCE_S:.0f} s"))
        except SnapshotRefused as refused:
            self._refuse(refused)
        else:
            return await asyncio.to_thread(self._mapped, what, page)
        return None

    async def _first(self, what: What) -> Page:
        async with open_pages(self._folder, self._source.kind, self._source.reading, self._secrets, what) as pages:
            async for page in pages:
                return page
        raise SourceEmpty(what=text(WHAT[what]))

    def _mapped(self, what: What, page: Page) -> FirstPage:
        field_map = self._source.field_map
        persons = PersonReader(field_map, None, self._today, self._zone)
        departments = DepartmentReader(field_map.departments)
        first: list[dict[str, object]] = []
        for number, raw in enumerate(page.rows, start=1):
            try:
                row = persons.read(raw) if what == "person" else departments.read(raw)
            except BadField as bad:
                self._refuse(bad_row(what, number, bad.field, bad.why))
                continue
            if what == "person" and (problems := problems_of(row)):  # type: ignore[arg-type]
                self.problems.append(text("hr.source.left_out", row=number, fields=", ".join(problems)).say(self._locale))
            if len(first) < SHOWN:
                first.append(msgspec.to_builtins(row))
        columns = dict.fromkeys(name for raw in page.rows for name in raw)
        return FirstPage(rows=len(page.rows), total=page.total, columns=list(columns)[:MOST_COLUMNS], first=first)

    def _refuse(self, refused: SnapshotRefused) -> None:
        self.ok = False
        self.problems.append(refused.text.say(self._locale))
