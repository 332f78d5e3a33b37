"""/api/documents: upload, list, one document, its file, its pages, reading it anew."""

from __future__ import annotations

from typing import Annotated

import msgspec

from handlers.base import ApiHandler
from handlers.operation import operation
from handlers.uploads import UploadHandler
from server.knowledge import documents, pages
from server.knowledge.schemas import (
    Document,
    DocumentDetail,
    DocumentPage,
    DocumentPatch,
    DocumentQuery,
    ReindexAnswer,
    UploadAnswer,
    UploadFields,
)
from server.paging import Page

ID = r"(?P<document_id>[0-9]{1,15})"
NUMBER = r"(?P<number>[0-9]{1,7})"


class ImageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """`highlight`: ids of passages to mark, with commas. `width` in pixels."""

    highlight: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    width: Annotated[int, msgspec.Meta(ge=200, le=2400)] = 1000


class DocumentsHandler(UploadHandler):
    @operation("documents:read", "Documents that the caller may see, newest first.")
    async def get(self, query: DocumentQuery) -> Page[Document]:
        return await documents.list_documents(self.ctx, self.actor, query)

    @operation("documents:write", "Upload one or more PDFs as multipart/form-data.", status=202, idempotent=True, upload=UploadFields)
    async def post(self) -> UploadAnswer:
        fields, files = await self.received()
        return await documents.upload(self.ctx, self.actor, fields, files)


class DocumentHandler(ApiHandler):
    @operation("documents:read", "A document with its status and outline.")
    async def get(self, document_id: str) -> DocumentDetail:
        return await documents.get_document(self.ctx, self.actor, int(document_id))

    @operation("documents:write", "Change title, visibility or project.")
    async def patch(self, document_id: str, body: DocumentPatch) -> DocumentDetail:
        return await documents.change_document(self.ctx, self.actor, int(document_id), body)

    @operation("documents:write", "Delete a document and all that was made of it.")
    async def delete(self, document_id: str) -> None:
        await documents.delete_document(self.ctx, self.actor, int(document_id))


class FileHandler(ApiHandler):
    @operation("documents:read", "The uploaded file, as an attachment.", raw=True)
    async def get(self, document_id: str) -> None:
        name, sha256 = await documents.original(self.ctx, self.actor, int(document_id))
        await self.answer_file(sha256, name, "application/pdf")


class PageHandler(ApiHandler):
    @operation("documents:read", "A page's text, blocks with boxes, and passages.")
    async def get(self, document_id: str, number: str) -> DocumentPage:
        return await pages.get_page(self.ctx, self.actor, int(document_id), int(number))


class ImageHandler(ApiHandler):
    @operation("documents:read", "A page as a PNG, with passages marked.", raw=True)
    async def get(self, document_id: str, number: str, query: ImageQuery) -> None:
        highlight = [one for one in query.highlight.split(",") if one]
        image = await pages.image(self.ctx, self.actor, int(document_id), int(number), highlight, query.width)
        self.set_header("Content-Type", "image/png")
        self.finish(image)


class ReindexHandler(ApiHandler):
    @operation("documents:write", "Read a document anew; what it had serves until then.", status=202, idempotent=True)
    async def post(self, document_id: str) -> ReindexAnswer:
        return await documents.reindex(self.ctx, self.actor, int(document_id))


routes = [
    (r"/api/documents", DocumentsHandler),
    (rf"/api/documents/{ID}", DocumentHandler),
    (rf"/api/documents/{ID}/file", FileHandler),
    (rf"/api/documents/{ID}/pages/{NUMBER}", PageHandler),
    (rf"/api/documents/{ID}/pages/{NUMBER}\.png", ImageHandler),
    (rf"/api/documents/{ID}/reindex", ReindexHandler),
]
