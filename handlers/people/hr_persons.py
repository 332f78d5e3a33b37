"""People as HR says them, and why their accounts are as they are."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.people.hr import persons
from server.people.hr.run_schemas import PersonDetail, PersonQuery, PersonSummary

ID = r"(?P<person_id>[0-9]{1,15})"


class PersonsHandler(ApiHandler):
    @operation("hr:read", "People as HR last said them, by page.", everywhere=True)
    async def get(self, query: PersonQuery) -> Page[PersonSummary]:
        return await persons.list_persons(self.ctx, self.actor, query)


class PersonHandler(ApiHandler):
    @operation("hr:read", "A person with the accounts and the newest changes.", everywhere=True)
    async def get(self, person_id: str) -> PersonDetail:
        return await persons.get_person(self.ctx, self.actor, int(person_id))


routes = [
    (r"/api/hr/persons", PersonsHandler),
    (rf"/api/hr/persons/{ID}", PersonHandler),
]
