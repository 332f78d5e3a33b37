"""What belongs to a project: transitions, history, members, attachments, tags, links."""

from __future__ import annotations

from typing import Annotated

import msgspec

from handlers.base import ApiHandler
from handlers.operation import operation
from handlers.projects.projects import ID
from server.paging import Page, PageQuery
from server.people.schemas import Done
from server.projects import attachments, history_reading, links, members, project_tags, transitions
from server.projects.links import LinkQuery
from server.projects.project_schemas import (
    Actions,
    AttachmentBody,
    AttachmentQuery,
    HistoryEntry,
    LinkBody,
    Listed,
    MemberBody,
    MemberQuery,
    ProjectDetail,
    ProjectMember,
    TagBody,
    TransitionRequest,
)


class TagQuery(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class TransitionsHandler(ApiHandler):
    @operation("projects:write", "Move a project to another state: submit, withdraw, reopen, start, complete, archive.", idempotent=True)
    async def post(self, project_id: str, body: TransitionRequest) -> ProjectDetail:
        return await transitions.act(self.ctx, self.actor, int(project_id), body)


class ActionsHandler(ApiHandler):
    @operation("projects:read", "What the caller may do with the project's state now and, for the rest, why not.")
    async def get(self, project_id: str) -> Actions:
        return await transitions.list_actions(self.ctx, self.actor, int(project_id))


class HistoryHandler(ApiHandler):
    @operation("projects:read", "Everything that happened to a project, newest first.")
    async def get(self, project_id: str, query: PageQuery) -> Page[HistoryEntry]:
        return await history_reading.list_history(self.ctx, self.actor, int(project_id), query)


class MembersHandler(ApiHandler):
    @operation("projects:read", "The members of a project.")
    async def get(self, project_id: str) -> Listed:
        return await members.list_members(self.ctx, self.actor, int(project_id))

    @operation("projects:write", "Make somebody a member, or give a member another role.")
    async def post(self, project_id: str, body: MemberBody) -> ProjectMember:
        return await members.put_member(self.ctx, self.actor, int(project_id), body)

    @operation("projects:write", "Take a member out; one may leave by oneself.")
    async def delete(self, project_id: str, query: MemberQuery) -> Done:
        await members.remove_member(self.ctx, self.actor, int(project_id), query.user_id)
        return Done()


class AttachmentsHandler(ApiHandler):
    @operation("projects:read", "The documents of a project.")
    async def get(self, project_id: str) -> Listed:
        return await attachments.list_attachments(self.ctx, self.actor, int(project_id))

    @operation("projects:write", "Attach a document that the caller may read.")
    async def post(self, project_id: str, body: AttachmentBody) -> Listed:
        return await attachments.add_attachment(self.ctx, self.actor, int(project_id), body)

    @operation("projects:write", "Take a document off a project.")
    async def delete(self, project_id: str, query: AttachmentQuery) -> Listed:
        return await attachments.remove_attachment(self.ctx, self.actor, int(project_id), query.document_id)


class TagsHandler(ApiHandler):
    @operation("projects:read", "The tags of a project.")
    async def get(self, project_id: str) -> Listed:
        return await project_tags.list_tags(self.ctx, self.actor, int(project_id))

    @operation("projects:write", "Put a tag on a project.")
    async def post(self, project_id: str, body: TagBody) -> Listed:
        return await project_tags.add_tag(self.ctx, self.actor, int(project_id), body.name)

    @operation("projects:write", "Take a tag off a project.")
    async def delete(self, project_id: str, query: TagQuery) -> Listed:
        return await project_tags.remove_tag(self.ctx, self.actor, int(project_id), query.name)


class LinksHandler(ApiHandler):
    @operation("projects:read", "The links of a project to others, and of others to it.")
    async def get(self, project_id: str) -> Listed:
        return await links.list_links(self.ctx, self.actor, int(project_id))

    @operation("projects:write", "Link a project to another.")
    async def post(self, project_id: str, body: LinkBody) -> Listed:
        return await links.add_link(self.ctx, self.actor, int(project_id), body)

    @operation("projects:write", "Remove a link of a project.")
    async def delete(self, project_id: str, query: LinkQuery) -> Listed:
        return await links.remove_link(self.ctx, self.actor, int(project_id), query)


routes = [
    (rf"/api/projects/{ID}/transitions", TransitionsHandler),
    (rf"/api/projects/{ID}/actions", ActionsHandler),
    (rf"/api/projects/{ID}/history", HistoryHandler),
    (rf"/api/projects/{ID}/members", MembersHandler),
    (rf"/api/projects/{ID}/attachments", AttachmentsHandler),
    (rf"/api/projects/{ID}/tags", TagsHandler),
    (rf"/api/projects/{ID}/links", LinksHandler),
]
