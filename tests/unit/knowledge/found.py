"""A passage as search finds it, for tests."""

from __future__ import annotations

import msgspec


class Found(msgspec.Struct):
    text: str
    chunk_id: str = "c" * 32
    document_id: int = 1
    title: str = "手册"
    page: int = 7
    path: list[str] = []
    language: str = ""
    score: float = 0.8
    similarity: float = 0.6
    boxes: list[tuple[float, float, float, float]] = []
