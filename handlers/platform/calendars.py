"""/api/calendars: named calendars."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.people.schemas import Done
from server.platform.schedules import calendars
from server.platform.schedules.calendars import CalendarBody, CalendarView

# A name of 190 characters, each of up to four bytes, as it stands in an address; Tornado hands it over decoded.
NAME = r"(?P<name>[^/]{1,2280})"


class CalendarsHandler(ApiHandler):
    @operation("schedules:read", "All calendars.")
    async def get(self) -> list[CalendarView]:
        return await calendars.list_calendars(self.ctx, self.actor)

    @operation("schedules:write", "Make or replace the calendar of that name.", idempotent=True, everywhere=True)
    async def post(self, body: CalendarBody) -> CalendarView:
        return await calendars.put_calendar(self.ctx, self.actor, body)


class CalendarHandler(ApiHandler):
    @operation("schedules:read", "A calendar.")
    async def get(self, name: str) -> CalendarView:
        return await calendars.get_calendar(self.ctx, self.actor, name)

    @operation("schedules:write", "Remove a calendar that no schedule uses.", everywhere=True)
    async def delete(self, name: str) -> Done:
        await calendars.remove_calendar(self.ctx, self.actor, name)
        return Done()


class ImportHandler(ApiHandler):
    @operation("schedules:write", "Make or replace a calendar from an .xlsx or JSON file, sent as the raw body.", everywhere=True)
    async def post(self, name: str) -> CalendarView:
        return await calendars.import_calendar(self.ctx, self.actor, name, self.raw_body())


routes = [
    (r"/api/calendars", CalendarsHandler),
    (rf"/api/calendars/{NAME}/import", ImportHandler),
    (rf"/api/calendars/{NAME}", CalendarHandler),
]
