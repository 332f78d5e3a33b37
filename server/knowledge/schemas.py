"""Documents as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from jobs.cpu.shapes import Block, OutlineEntry
from server.engines.files import Stored
from server.knowledge.access import Visibility
from server.paging import PageQuery

Title = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
TagName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class TagRef(msgspec.Struct):
    """A tag on a document: who put it there (person or job), and for a job's how sure it was and why."""

    id: int
    name: str
    source: str
    score: float | None = None
    reason: str | None = None


class Document(msgspec.Struct, kw_only=True):
    """A document. `progress` in percent; `pages` is 0 until it was opened; `error` says why it failed or has no text."""

    id: int
    title: str
    filename: str
    organization_id: int | None
    project_id: int | None
    owner_id: int | None
    visibility: Visibility
    size: int
    sha256: str
    status: str
    progress: int
    pages: int
    pages_read: int
    unreadable: int  # pages that could not be read
    language: str
    ocr: bool
    searchable: bool  # at least a part of it is
    error: str | None
    task_id: str | None
    tags: list[TagRef] = []
    may_change: bool = False
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None


class DocumentDetail(Document, kw_only=True):
    """One document, with its outline and how many passages it was cut into."""

    outline: list[OutlineEntry] = []
    chunks: int = 0
    duplicates: list[int] = []  # documents with the same content that the caller may see


class DocumentQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    organization_id: int | None = None
    project_id: int | None = None
    status: str = ""
    visibility: str = ""
    tag: str = ""
    mine: bool = False


class DocumentPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may be changed afterwards; what is left out stays."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    visibility: Visibility | msgspec.UnsetType = msgspec.UNSET
    project_id: int | msgspec.UnsetType | None = msgspec.UNSET


class UploadFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of an upload beside its files. `tags` are names with commas, of the organization's vocabulary."""

    organization_id: int | None = None
    project_id: int | None = None
    visibility: Visibility = Visibility.ORGANIZATION
    title: Annotated[str, msgspec.Meta(max_length=300)] = ""
    tags: str = ""


class UploadedFile(msgspec.Struct, frozen=True):
    """A file that has come in and is stored."""

    filename: str
    stored: Stored


class Uploaded(msgspec.Struct):
    """A document that was made of an upload, the task that reads it, and a document with the same content if the caller may see one."""

    document_id: int
    task_id: str
    duplicate_of: int | None = None
    filename: str = ""


class UploadAnswer(msgspec.Struct):
    """The first document of an upload, and all of them."""

    document_id: int
    task_id: str
    duplicate_of: int | None
    documents: list[Uploaded]


class PageChunk(msgspec.Struct):
    """A passage that stands on the page."""

    chunk_id: str
    path: list[str]
    text: str
    boxes: list[tuple[float, float, float, float]]


class DocumentPage(msgspec.Struct):
    """One page: its size in points, its text, and the blocks with boxes [left, top, right, bottom] from the top left corner."""

    document_id: int
    number: int
    pages: int
    width: float
    height: float
    language: str
    text: str
    blocks: list[Block]
    chunks: list[PageChunk]


class ReindexAnswer(msgspec.Struct):
    document_id: int
    task_id: str
