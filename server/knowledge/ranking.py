"""How good a ranking is: MRR, recall, success and nDCG against the expected set, and results grouped by document."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TypeVar

import msgspec

Id = TypeVar("Id", bound=Hashable)
Hit = TypeVar("Hit")
Key = TypeVar("Key", bound=Hashable)

DEPTH = 10


class Figures(msgspec.Struct, frozen=True):
    """Means over questions, each 0 to 1. `success`: the share of questions with an expected item among the first ten."""

    questions: int
    mrr: float
    recall: float
    success: float
    ndcg: float


def reciprocal_rank(ranked: Sequence[Id], expected: Collection[Id], depth: int = DEPTH) -> float:
    """1 / rank of the first expected item, 0 when none is among the first `depth` (Voorhees, TREC-8, 1999)."""
    return next((1 / rank for rank, item in enumerate(ranked[:depth], 1) if item in expected), 0.0)


def recall(ranked: Sequence[Id], expected: Collection[Id], depth: int = DEPTH) -> float:
    """The share of the expected items among the first `depth`; of `depth` of them when more are expected. 0 when none is."""
    most = min(len(set(expected)), depth)
    return len(set(ranked[:depth]) & set(expected)) / most if most else 0.0


def success(ranked: Sequence[Id], expected: Collection[Id], depth: int = DEPTH) -> float:
    """1 when an expected item is among the first `depth`, else 0."""
    return float(any(item in expected for item in ranked[:depth]))


def ndcg(ranked: Sequence[Id], expected: Collection[Id], depth: int = DEPTH) -> float:
    """Normalised discounted cumulative gain with gains of 0 and 1 (Järvelin and Kekäläinen, 2002); an item counts once."""
    first = list(dict.fromkeys(ranked))[:depth]
    gain = sum(1 / math.log2(rank + 1) for rank, item in enumerate(first, 1) if item in expected)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(set(expected)), depth) + 1))
    return gain / ideal if ideal else 0.0


def figures(answers: Iterable[tuple[Sequence[Id], Collection[Id]]], depth: int = DEPTH) -> Figures:
    """The means over (ranked, expected) of each question; all 0 when there is no question."""
    rows = [tuple(measure(ranked, expected, depth) for measure in (reciprocal_rank, recall, success, ndcg)) for ranked, expected in answers]
    count = max(len(rows), 1)
    mrr, found, any_found, gain = (sum(row[at] for row in rows) / count for at in range(4))
    return Figures(len(rows), mrr, found, any_found, gain)


def by_document(hits: Iterable[Hit], document: Callable[[Hit], Key]) -> list[tuple[Key, list[Hit]]]:
    """The hits of each document, documents in the order of their best hit, hits in the order they had."""
    groups: dict[Key, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(document(hit), []).append(hit)
    return list(groups.items())
