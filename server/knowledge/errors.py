"""What can go wrong with documents, search and tags."""

from __future__ import annotations

from server.errors import Conflict, Invalid, NotFound


class DocumentNotFound(NotFound):
    """It does not exist, or the caller may not know that it does."""

    type = "document_not_found"


class PageNotFound(NotFound):
    """The document has no such page, or it has not been read yet."""

    type = "page_not_found"


class ChunkNotFound(NotFound):
    """The document has no such chunk on that page."""

    type = "chunk_not_found"


class TagNotFound(NotFound):
    type = "tag_not_found"


class DocumentBusy(Conflict):
    """It is being read at this moment; `status` says how far it is."""

    type = "document_busy"


class NotPdf(Invalid):
    """What was uploaded is no PDF, or nothing at all."""
