"""Whether a passage supports a sentence, and the words of the passage that do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec

from jobs.cpu.chunk_language import language_of
from server.knowledge.assistant_evidence import Evidence, evidence
from server.knowledge.assistant_sentences import sentences

# The least share of a sentence's units that must occur in a few sentences in a row of a passage of its own language, or in its headings.
# The figures of this and the next two are in tests/unit/knowledge/test_citations_pairs.py, where the pairs are that they were chosen on.
LEAST_SHARE = 0.5
# The least similarity (cosine of centred vectors) of a sentence to one of a passage in another language.
LEAST_SIMILARITY = 0.4
# From this share on a sentence is nearly copied, so that a `not` on one side alone is no way of putting it but the opposite.
COPIED_SHARE = 0.65
# The least share of the Latin words in a Chinese sentence that must stand in an English passage.
LEAST_SHARED_WORDS = 0.6
# What occurs in half of the passages that were found is what they are all about, and says little about any of them. Sentences of the
# Debian reference manuals were supported by seven neighbours each that share most words with them, in 9.7 % (zh) and 29.6 % (en) of the
# cases without these two and without the window, in 1.8 % and 7.6 % with them.
COMMON_WEIGHT = 0.25
LEAST_TO_COMPARE = 4
# A quote is this many sentences in a row at most.
LONGEST_QUOTE = 3
_COMMAS = re.compile(r"[，,；;、：:](?!\d)")


class Passage(Protocol):
    """What is cited: a piece of a document's page, as search finds it."""

    @property
    def chunk_id(self) -> str: ...
    @property
    def document_id(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def page(self) -> int: ...
    @property
    def path(self) -> list[str]: ...
    @property
    def text(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def similarity(self) -> float: ...


class Support(msgspec.Struct, frozen=True):
    """A verdict: the supporting words, verbatim (empty when it does not hold), how much of the sentence they carry, and else why not."""

    quote: str = ""
    strength: float = 0.0
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.quote)


def across_languages(sentence: str, passage: Passage) -> bool:
    """Whether the words of one say nothing about the other, so that their vectors have to be compared."""
    return {language_of(sentence), language_of(passage.text)} == {"zh", "en"}


def parts_of(passage: Passage) -> list[str]:
    """The sentences of a passage, whose similarities `support` wants."""
    return [part for part in sentences(passage.text) if part.strip()]


def support(sentence: str, passage: Passage, similarities: Sequence[float] | None = None, common: frozenset[str] = frozenset()) -> Support:
    """Whether the passage supports the sentence (its references taken out).

    Numbers and identifiers of the sentence must occur in the passage, its headings or its title. In one language the share of the
    sentence's units that occur decides. Across languages `similarities` decides, one for each of `parts_of(passage)`; without them
    only a sentence whose Latin words and numbers all occur is taken. `common` are the units that count for less, by `common_units`.
    """
    claim = evidence(sentence)
    frame = " \n".join([passage.title, *passage.path])
    around, body = evidence(frame), evidence(passage.text)
    missing = [number for number in claim.numbers if number not in body.numbers | around.numbers]
    below = f"{passage.text}\n{frame}".lower()
    missing += [name for name in claim.names if name not in below]
    if missing:
        return Support(why=f"not in the passage: {', '.join(sorted(missing)[:3])}")
    if not claim.units:
        return Support(why="nothing is claimed")
    parts = parts_of(passage)
    if not parts:
        return Support(why="the passage is empty")
    if across_languages(sentence, passage):
        return _across(claim, sentence, passage, parts, similarities)
    quote, share = _best_window(claim, parts, around, common)
    if share < LEAST_SHARE:
        return Support(strength=share, why="too little of it is in the passage")
    if _is_turned_round(sentence, passage.text):
        return Support(strength=share, why="the passage says the opposite")
    return Support(quote, share)


def common_units(passages: Sequence[Passage]) -> frozenset[str]:
    """The units that occur in at least half of the passages; none when they are too few to tell."""
    if len(passages) < LEAST_TO_COMPARE:
        return frozenset()
    counted = Counter(unit for passage in passages for unit in evidence(passage.text).units)
    return frozenset(unit for unit, count in counted.items() if count * 2 >= len(passages))


def _weight(units: frozenset[str], common: frozenset[str]) -> float:
    return len(units - common) + COMMON_WEIGHT * len(units & common)


def support_together(sentence: str, passages: Sequence[Passage], common: frozenset[str] = frozenset()) -> list[Support]:
    """One verdict for each of several passages of the sentence's language that only together support it.

    All of them hold or none: each must carry a part of the sentence that no other one does.
    """
    claim = evidence(sentence)
    bodies = [evidence("\n".join([passage.text, passage.title, *passage.path])) for passage in passages]
    texts = "\n".join("\n".join([passage.text, passage.title, *passage.path]) for passage in passages).lower()
    carried = frozenset[str]().union(*(body.units for body in bodies)) & claim.units
    told = all(any(number in body.numbers for body in bodies) for number in claim.numbers) and all(name in texts for name in claim.names)
    alone = [carried & body.units - frozenset[str]().union(*(other.units for other in bodies if other is not body)) for body in bodies]
    turned = any(_is_turned_round(sentence, passage.text) for passage in passages)
    whole = _weight(claim.units, common)
    if not claim.units or not told or turned or _weight(carried, common) < LEAST_SHARE * whole or not all(alone):
        return [Support(why="not even together") for _ in passages]
    quotes = [_best_window(claim, parts_of(passage), evidence(passage.title), common)[0] for passage in passages]
    return [Support(quote, _weight(carried, common) / whole) for quote in quotes]


def _is_turned_round(sentence: str, text: str) -> bool:
    """Whether a clause of the sentence is nearly one of the text but for a `not`."""
    theirs = [evidence(clause) for clause in _clauses(text)]
    for clause in _clauses(sentence):
        mine = evidence(clause)
        copied = [one for one in theirs if len(mine.units & one.units) >= max(2, COPIED_SHARE * len(mine.units))]
        if copied and all(one.negated != mine.negated for one in copied):
            return True
    return False


def _clauses(text: str) -> list[str]:
    return [clause for part in sentences(text) for clause in _COMMAS.split(part) if clause.strip()]


def _best_window(claim: Evidence, parts: list[str], around: Evidence, common: frozenset[str]) -> tuple[str, float]:
    """The fewest sentences in a row that carry the most of the claim, and the share of it that they carry with the headings."""
    framed = claim.units & around.units
    whole = _weight(claim.units, common)
    units = [evidence(part).units & claim.units for part in parts]
    best, most = "", -1.0
    for length in range(1, min(LONGEST_QUOTE, len(parts)) + 1):
        for start in range(len(parts) - length + 1):
            carried = _weight(framed.union(*units[start : start + length]), common)
            if carried > most + (length - 1) * 0.08 * whole:
                best, most = "".join(parts[start : start + length]), carried
    return best.strip(), max(0.0, most) / whole


def _across(claim: Evidence, sentence: str, passage: Passage, parts: list[str], similarities: Sequence[float] | None) -> Support:
    in_passage = evidence(passage.text).latin | evidence(" ".join([passage.title, *passage.path])).latin
    chinese = language_of(sentence) == "zh"
    shared = len(claim.latin & in_passage) / len(claim.latin) if chinese and claim.latin else 1.0
    if similarities is None:
        told = (claim.numbers | claim.names | claim.latin) if chinese else (claim.numbers | claim.names)
        if len(told) < 2 or shared < 1.0:
            return Support(why="cannot be told across languages")
        at = max(range(len(parts)), key=lambda place: len(claim.units & evidence(parts[place]).units))
        return Support(parts[at].strip(), shared)
    at = max(range(len(parts)), key=lambda place: similarities[place])
    if similarities[at] < LEAST_SIMILARITY or shared < LEAST_SHARED_WORDS:
        return Support(strength=similarities[at], why="too far from the passage")
    return Support(parts[at].strip(), similarities[at])
