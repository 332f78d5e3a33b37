"""One ranking from two: hits by meaning and hits by keywords, across languages."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from jobs.cpu.shapes import Language
from server.knowledge.words import folded, language, units

Id = TypeVar("Id", bound=Hashable)

# Tuned on debmake-doc and a third of debian-handbook, each in Chinese and English (32 sets, 4,971 questions of eight kinds), looked at
# on debian-reference and maint-guide (32 sets, 6,999). Half or twice any one of them moves the mean MRR@10 by at most 0.012.
KEYWORD_WEIGHT = 0.2  # of a passage in the question's language
COVERAGE_WEIGHT = 0.2  # how much of the question such a passage covers, rare words counting more
OTHER_KEYWORD_WEIGHT = 0.1  # of a passage in another language: names and commands are the same in both
# What keywords give a passage in the question's language that is neither good nor bad: a passage in another language gets it
# for nothing, because it says nothing that the question's words are missing there.
NEUTRAL = 0.2
QUOTED_IN = 5  # a question that stands word for word in at most so many passages is a name or a quotation: they come first
QUOTED_FROM = 0.9  # the scores of these begin here
QUERY_READ = 300  # characters of a question that are compared unit by unit, so that a pasted page does not hold the loop
_SPACE = re.compile(r"\s+")
_INSIDE = "[0-9a-z_à-öø-ÿ]"  # a Latin word does not begin or end beside one of these
_WORD = re.compile(f"{_INSIDE}+")


def fuse(
    query: str,
    dense: Sequence[tuple[Id, float]],
    keyword: Sequence[tuple[Id, float]],
    passages: Mapping[Id, tuple[str, Language]],
) -> list[tuple[Id, float]]:
    """All hits of both lists, best first, with scores from 0 to 1 that compare within one answer only.

    Lists are best first, of any scale and sign (BM25 is negative on Milvus Lite), 50 each as they were tuned. `passages` holds the
    text under its heading path and the language of each hit; hits that it does not hold are left out. Takes 1 to 4 ms for two lists of 50.
    """
    by_dense, by_keyword = _spread(dense, passages), _spread(keyword, passages)
    texts = {hit: folded(passages[hit][0]) for hit in {**by_dense, **by_keyword}}
    covered, whole = _coverage(query[:QUERY_READ], texts)
    quoted = _quoting(query, {hit: texts[hit] for hit in whole})
    if len(quoted) > QUOTED_IN:
        quoted = set()
    spoken = language(query)

    def score(hit: Id) -> float:
        meaning, words = by_dense.get(hit, 0.0), by_keyword.get(hit, 0.0)
        if spoken in ("", passages[hit][1]) or not passages[hit][1]:
            value = (1 - KEYWORD_WEIGHT) * meaning + KEYWORD_WEIGHT * words + COVERAGE_WEIGHT * covered[hit] - NEUTRAL
        else:
            value = (1 - OTHER_KEYWORD_WEIGHT) * meaning + OTHER_KEYWORD_WEIGHT * words
        share = (value + NEUTRAL) / (1 + max(COVERAGE_WEIGHT, NEUTRAL))
        return QUOTED_FROM + (1 - QUOTED_FROM) * share if hit in quoted else QUOTED_FROM * share

    ranked = [(hit, score(hit)) for hit in texts]
    ranked.sort(key=lambda one: one[1], reverse=True)  # stable: equal hits stay in the order of meaning
    return ranked


def _spread(hits: Sequence[tuple[Id, float]], known: Mapping[Id, object]) -> dict[Id, float]:
    """Scores spread over 0 (worst) to 1 (best), whatever their sign; all 1 when they are alike."""
    kept = [(hit, score) for hit, score in hits if hit in known]
    if not kept:
        return {}
    best, worst = kept[0][1], kept[-1][1]
    span = best - worst
    return {hit: (score - worst) / span if abs(span) > 1e-9 else 1.0 for hit, score in kept}


def _coverage(query: str, texts: Mapping[Id, str]) -> tuple[dict[Id, float], set[Id]]:
    """The share of the query's units that each text holds, weighted by rarity among the texts, and the texts that hold all of them."""
    asked = units(query)
    words = {hit: frozenset(_WORD.findall(text)) for hit, text in texts.items()} if any(_WORD.fullmatch(unit) for unit in asked) else {}
    holders = {unit: _holding(unit, texts, words) for unit in asked}
    rarity = {unit: math.log(1 + len(texts) / (len(holding) + 0.5)) for unit, holding in holders.items()}
    total = sum(rarity.values())
    covered = dict.fromkeys(texts, 0.0)
    missing = dict.fromkeys(texts, len(holders))
    for unit, holding in holders.items():
        for hit in holding:
            covered[hit] += rarity[unit] / total
            missing[hit] -= 1
    return covered, {hit for hit, count in missing.items() if not count} if holders else set()


def _holding(unit: str, texts: Mapping[Id, str], words: Mapping[Id, frozenset[str]]) -> list[Id]:
    if _WORD.fullmatch(unit):
        return [hit for hit in texts if unit in words[hit]]
    holding = [hit for hit, text in texts.items() if unit in text]
    if not unit.isascii() or not holding:
        return holding
    whole = _whole(unit)  # an identifier such as apt-get
    return [hit for hit in holding if whole.search(texts[hit])]


def _quoting(query: str, texts: Mapping[Id, str]) -> set[Id]:
    """The texts in which the query stands word for word, line ends and spaces aside."""
    if not texts:
        return set()
    parts = folded(query).split()
    wanted = re.compile(r"\s*".join(re.escape(part) for part in parts)) if len(parts) > 1 else _whole(parts[0])
    squeezed = "".join(parts)
    return {hit for hit, text in texts.items() if wanted.search(text) or (len(parts) > 1 and squeezed in _SPACE.sub("", text))}


def _whole(text: str) -> re.Pattern[str]:
    before = f"(?<!{_INSIDE})" if re.match(_INSIDE, text) else ""
    after = f"(?!{_INSIDE})" if re.search(f"{_INSIDE}$", text) else ""
    return re.compile(before + re.escape(text) + after)
