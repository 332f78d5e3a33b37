"""/api/student-projects: openings, applications for them, and the mentors' load."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.people.schemas import Done
from server.projects import application_reading, applications, mentor_load, openings
from server.projects.opening_schemas import (
    Application,
    ApplicationBody,
    ApplicationPatch,
    ApplicationQuery,
    Decision,
    MentorLoad,
    MentorQuery,
    Opening,
    OpeningBody,
    OpeningPatch,
    OpeningQuery,
)

ID = r"(?P<opening_id>[0-9]{1,15})"
APPLICATION = r"(?P<application_id>[0-9]{1,15})"


class OpeningsHandler(ApiHandler):
    @operation("projects:read", "Openings for student projects, by page; q searches titles and descriptions.")
    async def get(self, query: OpeningQuery) -> Page[Opening]:
        return await openings.list_openings(self.ctx, self.actor, query)

    @operation("projects:write", "Offer a student project; for teachers and for who manages projects.", idempotent=True)
    async def post(self, body: OpeningBody) -> Opening:
        return await openings.create_opening(self.ctx, self.actor, body)


class OpeningHandler(ApiHandler):
    @operation("projects:read", "One opening.")
    async def get(self, opening_id: str) -> Opening:
        return await openings.get_opening(self.ctx, self.actor, int(opening_id))

    @operation("projects:write", "Change an opening.")
    async def patch(self, opening_id: str, body: OpeningPatch) -> Opening:
        return await openings.change_opening(self.ctx, self.actor, int(opening_id), body)

    @operation("projects:write", "Remove an opening for which nobody has applied.")
    async def delete(self, opening_id: str) -> Done:
        await openings.remove_opening(self.ctx, self.actor, int(opening_id))
        return Done()


class OpenHandler(ApiHandler):
    @operation("projects:write", "Let students apply for an opening.")
    async def post(self, opening_id: str) -> Opening:
        return await openings.open_opening(self.ctx, self.actor, int(opening_id))


class CloseHandler(ApiHandler):
    @operation("projects:write", "Let nobody apply for an opening any more.")
    async def post(self, opening_id: str) -> Opening:
        return await openings.close_opening(self.ctx, self.actor, int(opening_id))


class OpeningApplicationsHandler(ApiHandler):
    @operation("projects:read", "The applications for an opening that the caller may see: one's own, or all for who decides.")
    async def get(self, opening_id: str, query: ApplicationQuery) -> Page[Application]:
        return await application_reading.list_applications(self.ctx, self.actor, query, int(opening_id))

    @operation("projects:write", "Apply for an opening, alone or with a team.", idempotent=True)
    async def post(self, opening_id: str, body: ApplicationBody) -> Application:
        return await applications.apply(self.ctx, self.actor, int(opening_id), body)


class MentorsHandler(ApiHandler):
    @operation("projects:read", "Mentors with their openings and projects under way, who has most first.")
    async def get(self, query: MentorQuery) -> Page[MentorLoad]:
        return await mentor_load.list_mentors(self.ctx, self.actor, query)


class ApplicationsHandler(ApiHandler):
    @operation("projects:read", "The applications that the caller sent, is invited to, or decides on.")
    async def get(self, query: ApplicationQuery) -> Page[Application]:
        return await application_reading.list_applications(self.ctx, self.actor, query)


class ApplicationHandler(ApiHandler):
    @operation("projects:read", "One application.")
    async def get(self, application_id: str) -> Application:
        return await application_reading.get_application(self.ctx, self.actor, int(application_id))

    @operation("projects:write", "Change one's application: the statement, and who is invited.")
    async def patch(self, application_id: str, body: ApplicationPatch) -> Application:
        return await applications.change_application(self.ctx, self.actor, int(application_id), body)


class DecideHandler(ApiHandler):
    @operation("projects:write", "Accept an application, which makes a project of it, or decline it; for the mentor and who manages.")
    async def post(self, application_id: str, body: Decision) -> Application:
        return await applications.decide(self.ctx, self.actor, int(application_id), body)


class WithdrawHandler(ApiHandler):
    @operation("projects:write", "Take one's application back.")
    async def post(self, application_id: str) -> Application:
        return await applications.withdraw(self.ctx, self.actor, int(application_id))


class JoinHandler(ApiHandler):
    @operation("projects:write", "Join the team of an application that one is invited to.")
    async def post(self, application_id: str) -> Application:
        return await applications.answer(self.ctx, self.actor, int(application_id), join=True)


class RefuseHandler(ApiHandler):
    @operation("projects:write", "Refuse to join a team, or leave it while nothing is decided.")
    async def post(self, application_id: str) -> Application:
        return await applications.answer(self.ctx, self.actor, int(application_id), join=False)


routes = [
    (r"/api/student-projects", OpeningsHandler),
    (r"/api/student-projects/mentors", MentorsHandler),
    (r"/api/student-projects/applications", ApplicationsHandler),
    (rf"/api/student-projects/applications/{APPLICATION}", ApplicationHandler),
    (rf"/api/student-projects/applications/{APPLICATION}/decide", DecideHandler),
    (rf"/api/student-projects/applications/{APPLICATION}/withdraw", WithdrawHandler),
    (rf"/api/student-projects/applications/{APPLICATION}/join", JoinHandler),
    (rf"/api/student-projects/applications/{APPLICATION}/refuse", RefuseHandler),
    (rf"/api/student-projects/{ID}", OpeningHandler),
    (rf"/api/student-projects/{ID}/open", OpenHandler),
    (rf"/api/student-projects/{ID}/close", CloseHandler),
    (rf"/api/student-projects/{ID}/applications", OpeningApplicationsHandler),
]
