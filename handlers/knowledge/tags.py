"""/api/tags: the vocabulary, and the tags of a document."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.knowledge import document_tags, tag_suggestions, vocabulary
from server.knowledge.document_tags import TagsPut
from server.knowledge.schemas import TagRef
from server.knowledge.tag_suggestions import TagSuggestion
from server.knowledge.vocabulary import ApplyAnswer, Tag, TagBody, TagPatch, TagQuery
from server.paging import Page
from server.people.schemas import Done

ID = r"(?P<tag_id>[0-9]{1,15})"
DOCUMENT = r"(?P<document_id>[0-9]{1,15})"


class TagsHandler(ApiHandler):
    @operation("documents:read", "The tags of the organizations whose documents the caller may read.")
    async def get(self, query: TagQuery) -> Page[Tag]:
        return await vocabulary.list_tags(self.ctx, self.actor, query)

    @operation("documents:manage", "Add a tag to an organization's vocabulary.", idempotent=True)
    async def post(self, body: TagBody) -> Tag:
        return await vocabulary.create_tag(self.ctx, self.actor, body)


class TagHandler(ApiHandler):
    @operation("documents:read", "A tag.")
    async def get(self, tag_id: str) -> Tag:
        return await vocabulary.get_tag(self.ctx, self.actor, int(tag_id))

    @operation("documents:manage", "Change a tag.")
    async def patch(self, tag_id: str, body: TagPatch) -> Tag:
        return await vocabulary.change_tag(self.ctx, self.actor, int(tag_id), body)

    @operation("documents:manage", "Remove a tag, from all documents too.")
    async def delete(self, tag_id: str) -> Done:
        await vocabulary.remove_tag(self.ctx, self.actor, int(tag_id))
        return Done()


class ApplyHandler(ApiHandler):
    @operation(
        "documents:manage", "Look at the organization's documents again with the vocabulary as it is now.", status=202, idempotent=True
    )
    async def post(self, tag_id: str) -> ApplyAnswer:
        return await vocabulary.apply_tags(self.ctx, self.actor, int(tag_id))


class SuggestHandler(ApiHandler):
    @operation("documents:read", "The tags that fit a document, best first, each with a reason.")
    async def get(self, document_id: str) -> list[TagSuggestion]:
        return await tag_suggestions.suggest(self.ctx, self.actor, int(document_id))


class DocumentTagsHandler(ApiHandler):
    @operation("documents:write", "Set the tags of a document.")
    async def put(self, document_id: str, body: TagsPut) -> list[TagRef]:
        return await document_tags.put_tags(self.ctx, self.actor, int(document_id), body.tags)


routes = [
    (r"/api/tags", TagsHandler),
    (rf"/api/tags/{ID}", TagHandler),
    (rf"/api/tags/{ID}/apply", ApplyHandler),
    (rf"/api/documents/{DOCUMENT}/tags/suggest", SuggestHandler),
    (rf"/api/documents/{DOCUMENT}/tags", DocumentTagsHandler),
]
