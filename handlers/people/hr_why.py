"""Why the accounts of a person are as they are, and the proofs that former ones open nothing."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.people.hr import proof_list, why
from server.people.hr.proof_list import Deprovisioning, DeprovisioningQuery
from server.people.hr.why import Why, WhyQuery


class PersonWhyHandler(ApiHandler):
    @operation("hr:read", "HR's row, rule, plan, tasks, attempts and read-back behind a person's accounts, at any date.", everywhere=True)
    async def get(self, person_id: str, query: WhyQuery) -> Why:
        return await why.explain_person(self.ctx, self.actor, int(person_id), query)


class UserWhyHandler(ApiHandler):
    @operation("hr:read", "The same chain, for one of our accounts.", everywhere=True)
    async def get(self, user_id: str, query: WhyQuery) -> Why:
        return await why.explain_user(self.ctx, self.actor, int(user_id), query)


class DeprovisioningsHandler(ApiHandler):
    @operation("hr:read", "Accounts that were to end: every door that was tried, and the time to zero access.", everywhere=True)
    async def get(self, query: DeprovisioningQuery) -> Page[Deprovisioning]:
        return await proof_list.list_deprovisionings(self.ctx, self.actor, query)


routes = [
    (r"/api/hr/persons/(?P<person_id>[0-9]{1,18})/why", PersonWhyHandler),
    (r"/api/users/(?P<user_id>[0-9]{1,18})/why", UserWhyHandler),
    (r"/api/hr/deprovisionings", DeprovisioningsHandler),
]
