"""The outline of a document as its chunks show it, and which sections of two parallel documents belong together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.cpu.shapes import Chunk
from server.knowledge.words import spans

MISSING = -1.0  # what leaving a section without a partner costs; a pair of equal depth gains 1 or more
SHARED_TITLE, OTHER_TITLE = 3.0, -1.5  # Latin words of titles: names and commands are the same in both languages
SHARED_TEXT = 6.0  # times the share of Latin words that the two texts have in common
_NEVER = float("-inf")


class Section(msgspec.Struct, frozen=True):
    """A heading's place: `own` are the chunks between it and the next heading of any level, `subtree` those and all below it."""

    path: tuple[str, ...]
    own: tuple[int, ...]
    subtree: tuple[int, ...]

    @property
    def title(self) -> str:
        return self.path[-1]


def sections_of(chunks: Sequence[Chunk]) -> list[Section]:
    """All sections in reading order; text before the first heading has none."""
    own: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    paths: list[tuple[str, ...]] = []
    open_sections: list[int] = []
    for number, chunk in enumerate(chunks):
        shared = 0
        while shared < min(len(open_sections), len(chunk.path)) and paths[open_sections[shared]][-1] == chunk.path[shared]:
            shared += 1
        del open_sections[shared:]
        for depth in range(shared, len(chunk.path)):
            open_sections.append(len(paths))
            paths.append(tuple(chunk.path[: depth + 1]))
        for section in open_sections:
            below.setdefault(section, []).append(number)
        if open_sections:
            own.setdefault(open_sections[-1], []).append(number)
    return [Section(path, tuple(own.get(at, ())), tuple(below.get(at, ()))) for at, path in enumerate(paths)]


def aligned(first: Sequence[Chunk], second: Sequence[Chunk]) -> list[tuple[Section, Section]]:
    """Pairs of sections of two parallel documents, in order.

    The best global alignment of the two outlines (Needleman and Wunsch, 1970): only sections of one depth pair, Latin words
    that their titles and texts share speak for a pair. A section that only one document has stays alone.
    """
    left, right = sections_of(first), sections_of(second)
    left_words, right_words = [_words(first, one) for one in left], [_words(second, one) for one in right]
    rows = [[MISSING * column for column in range(len(right) + 1)]]
    for row, one in enumerate(left, 1):
        scores = [MISSING * row]
        for column, two in enumerate(right, 1):
            pair = _likeness(one, two, left_words[row - 1], right_words[column - 1])
            scores.append(max(rows[-1][column - 1] + pair, rows[-1][column] + MISSING, scores[-1] + MISSING))
        rows.append(scores)
    pairs: list[tuple[Section, Section]] = []
    row, column = len(left), len(right)
    while row and column:
        pair = _likeness(left[row - 1], right[column - 1], left_words[row - 1], right_words[column - 1])
        if rows[row][column] == rows[row - 1][column - 1] + pair:
            row, column = row - 1, column - 1
            pairs.append((left[row], right[column]))
        elif rows[row][column] == rows[row - 1][column] + MISSING:
            row -= 1
        else:
            column -= 1
    return pairs[::-1]


def _words(chunks: Sequence[Chunk], section: Section) -> tuple[frozenset[str], frozenset[str]]:
    return latin_words(section.title), latin_words(" ".join(chunks[number].text for number in section.own))


def latin_words(text: str) -> frozenset[str]:
    """The Latin words and identifiers of a text, in lower case."""
    folded = text.casefold()
    return frozenset(folded[start:stop] for start, stop, cjk in spans(folded) if not cjk)


def _likeness(
    one: Section, two: Section, one_words: tuple[frozenset[str], frozenset[str]], two_words: tuple[frozenset[str], frozenset[str]]
) -> float:
    if len(one.path) != len(two.path):
        return _NEVER
    score = 1.0 if bool(one.own) == bool(two.own) else 0.0
    if one_words[0] and two_words[0]:
        score += SHARED_TITLE * _shared(one_words[0], two_words[0]) or OTHER_TITLE
    if one_words[1] and two_words[1]:
        score += SHARED_TEXT * _shared(one_words[1], two_words[1])
    return score


def _shared(one: frozenset[str], two: frozenset[str]) -> float:
    return len(one & two) / min(len(one), len(two))
