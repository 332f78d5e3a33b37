"""What can be searched for, and what is found."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from jobs.cpu.shapes import Box

Mode = Literal["hybrid", "dense", "keyword"]
LONGEST_QUERY = 1000
MOST_HITS = 50
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_QUERY, pattern=r"\S")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST_HITS)]


class SearchScope(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a search is limited to, beside what the caller may see. All that is given must hold; a document has one of the tags."""

    organization_id: int | None = None
    document_ids: Annotated[list[int], msgspec.Meta(max_length=1000)] = []
    project_id: int | None = None
    tags: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    lang: Literal["", "zh", "en"] = ""


class SearchBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A search as a JSON body."""

    q: Words
    mode: Mode = "hybrid"
    limit: Limit = 10
    organization_id: int | None = None
    document_id: int | None = None
    project_id: int | None = None
    tags: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    lang: Literal["", "zh", "en"] = ""
    group: bool = False

    @property
    def scope(self) -> SearchScope:
        return SearchScope(
            organization_id=self.organization_id,
            document_ids=[] if self.document_id is None else [self.document_id],
            project_id=self.project_id,
            tags=self.tags,
            lang=self.lang,
        )


class SearchQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A search as query parameters; `tags` are names with commas."""

    q: Words
    mode: Mode = "hybrid"
    limit: Limit = 10
    organization_id: int | None = None
    document_id: int | None = None
    project_id: int | None = None
    tags: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    lang: Literal["", "zh", "en"] = ""
    group: bool = False

    @property
    def body(self) -> SearchBody:
        values = msgspec.structs.asdict(self)
        values["tags"] = [name.strip() for name in self.tags.split(",") if name.strip()]
        return SearchBody(**values)


class FoundPassage(msgspec.Struct, frozen=True):
    """A passage that matches: `score` from 0 to 1 orders the list, `similarity` is its vector's cosine (0 where that was not asked for)."""

    chunk_id: str
    document_id: int
    title: str
    page: int
    path: list[str]
    text: str
    language: str
    score: float
    similarity: float
    boxes: list[Box]


class SearchHit(msgspec.Struct):
    """A hit as callers see it; `snippet` is HTML in which alone <mark> is markup, boxes are points from the page's top left corner."""

    document_id: int
    title: str
    page: int
    chunk_id: str
    score: float
    snippet: str
    boxes: list[Box]
    path: list[str]
    lang: str


class SearchGroup(msgspec.Struct):
    """The hits of one document, best first."""

    document_id: int
    title: str
    score: float
    hits: list[SearchHit]


class SearchAnswer(msgspec.Struct):
    """What was found; `degraded` says that meaning could not be searched for, and words alone were."""

    hits: list[SearchHit]
    took_ms: float
    mode: Mode
    groups: list[SearchGroup] | None = None
    degraded: bool = False
