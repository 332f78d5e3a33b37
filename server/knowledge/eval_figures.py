"""From what each mode of search found to the figures of an evaluation: pages in order, ranks, means by kind."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from server.knowledge.ranking import DEPTH, figures
from server.knowledge.search_schemas import Mode

MODES: tuple[Mode, ...] = ("keyword", "dense", "hybrid")
# Fusing is to cost nothing: hybrid may be so much below the better half.
TOLERANCE = 0.02
LONGEST_SHOWN = 200

Id = TypeVar("Id", bound=Hashable)


class Measured(msgspec.Struct, frozen=True):
    """Means over questions at depth 10, each 0 to 1. `recall` is the share of all that is expected, `found` that of the questions with
    anything expected among the ten.
    """

    mrr: float
    recall: float
    ndcg: float
    found: float


class ModeFigures(msgspec.Struct, frozen=True):
    """The figures of each mode over the same questions."""

    questions: int
    keyword: Measured
    dense: Measured
    hybrid: Measured

    @property
    def better_half(self) -> float:
        """MRR@10 of the better one of keyword and dense."""
        return max(self.keyword.mrr, self.dense.mrr)

    @property
    def holds(self) -> bool:
        """Whether hybrid is no more than TOLERANCE under the better half in MRR@10."""
        return self.hybrid.mrr >= self.better_half - TOLERANCE


class Answered(msgspec.Struct, frozen=True):
    """A question with what is expected and what each mode found, best first and each once. The items are whatever counts as a hit."""

    question: str
    kind: str
    expected: frozenset[Hashable]
    found: dict[Mode, list[Hashable]]


class QuestionRanks(msgspec.Struct):
    """Where each mode found the first expected item, from 1; null when it is not among the first ten."""

    question: str
    kind: str
    keyword: int | None
    dense: int | None
    hybrid: int | None


def distinct(items: Iterable[Id], depth: int = DEPTH) -> list[Id]:
    """The first so many different items, in order: several passages of a page are one result."""
    return list(dict.fromkeys(items))[:depth]


def rank(found: Sequence[Hashable], expected: frozenset[Hashable]) -> int | None:
    """The place of the first expected item, from 1."""
    return next((number for number, item in enumerate(found[:DEPTH], 1) if item in expected), None)


def measured(answered: Sequence[Answered]) -> ModeFigures:
    """The figures over all of the questions."""
    by_mode = {mode: figures((one.found[mode], one.expected) for one in answered) for mode in MODES}
    rows = {
        mode: Measured(round(one.mrr, 4), round(one.recall, 4), round(one.ndcg, 4), round(one.success, 4)) for mode, one in by_mode.items()
    }
    return ModeFigures(len(answered), rows["keyword"], rows["dense"], rows["hybrid"])


def by_kind(answered: Sequence[Answered]) -> dict[str, ModeFigures]:
    """The figures of each kind, in the order in which the kinds come."""
    kinds: dict[str, list[Answered]] = {}
    for one in answered:
        kinds.setdefault(one.kind, []).append(one)
    return {kind: measured(those) for kind, those in kinds.items()}


def ranks(answered: Iterable[Answered]) -> list[QuestionRanks]:
    """Where each question's answer was found."""
    return [
        QuestionRanks(one.question[:LONGEST_SHOWN], one.kind, *(rank(one.found[mode], one.expected) for mode in MODES)) for one in answered
    ]


def table(rows: Mapping[str, ModeFigures], first: str) -> list[str]:
    """The figures as lines of text, one a row and mode, and whether hybrid holds against the better half."""
    width = max([len(first), *(len(name) for name in rows)])
    lines = [f"{first:<{width}}  {'questions':>9}  {'mode':<8}  {'MRR@10':>7}  {'recall@10':>9}  {'nDCG@10':>8}  {'found@10':>8}"]
    for name, row in rows.items():
        for mode in MODES:
            one: Measured = getattr(row, mode)
            label, number = (name, str(row.questions)) if mode == "keyword" else ("", "")
            lines.append(
                f"{label:<{width}}  {number:>9}  {mode:<8}  {one.mrr:>7.3f}  {one.recall:>9.3f}  {one.ndcg:>8.3f}  {one.found:>8.3f}"
            )
        verdict = "holds" if row.holds else f"MORE THAN {TOLERANCE} UNDER"
        lines.append(f"{'':<{width}}  {'':>9}  hybrid − better half: {row.hybrid.mrr - row.better_half:+.3f} ({verdict})")
    return lines
