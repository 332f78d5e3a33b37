"""Questions with known answers, made from the chunks of a document or of one document in two languages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from jobs.cpu.chunking import keyword_text
from jobs.cpu.shapes import Chunk, Language
from server.knowledge.outline import Section, aligned, latin_words, sections_of
from server.knowledge.words import language

RAREST = 3  # an identifier stands in at most so many passages
SAMPLE = 200  # sentences or identifiers of one set
_SENTENCE = re.compile(r"[^。！？\n]+[。！？]|[A-Z][^.!?\n]+[.!?](?=\s|$)")
Pairs = list[tuple[Section, Section]]
_NAME = re.compile(r"[._/\d+-]|[a-z][A-Z]")
_NUMBERING = re.compile(r"(?:第\s*\S{1,4}\s*[章节篇部]|(?:Chapter|Appendix|Part|附录)\s+[\dA-Z]+|[\dA-Z]{1,2}(?:\.\d+)+|\d+)[.:、]?\s+")
_SHORTEST = {"zh": 15, "en": 40}
_LONGEST = {"zh": 80, "en": 200}


class Kind(StrEnum):
    """What is asked, and where the answer may stand."""

    HEADINGS = "headings"  # a heading, which is cut from its own section
    SENTENCES = "sentences"  # a whole sentence of the text
    IDENTIFIERS = "identifiers"  # a rare name of a file, command, option
    CROSS_LANGUAGE = "cross_language"  # a heading in one language, the text in the other one
    BOTH_EITHER = "both_either"  # both languages hold the whole text, either answer is right
    BOTH_OTHER = "both_other"  # the same, only the answer in the other language counts
    SPLIT = "split"  # every other chapter in one language, the rest in the other one: the answer is in either
    SPLIT_OTHER = "split_other"  # of these the questions whose answer is in the other language only


class Passage(msgspec.Struct, frozen=True):
    """What is indexed for a set of questions: as a chunk, but perhaps without its own heading.

    `path` is for keyword search, `heading` for the embedder: the last title of the path, or nothing where the own heading is cut.
    """

    path: tuple[str, ...]
    text: str
    heading: str
    language: Language

    @property
    def keyword_text(self) -> str:
        return keyword_text(self.path, self.text)


class Question(msgspec.Struct, frozen=True):
    """`expected` and `subtree` are numbers of passages of the set; they differ where a heading has headings below it."""

    text: str
    expected: frozenset[int]
    subtree: frozenset[int]


class QuestionSet(msgspec.Struct, frozen=True):
    """Questions of one kind and the passages in which they are looked for."""

    kind: Kind
    questions: list[Question]
    passages: list[Passage]


def as_passages(chunks: Iterable[Chunk]) -> list[Passage]:
    """The chunks as they are indexed in service."""
    return [Passage(tuple(chunk.path), chunk.text, chunk.path[-1] if chunk.path else "", chunk.language) for chunk in chunks]


def without_own_heading(chunks: Iterable[Chunk]) -> list[Passage]:
    """The chunks without their own heading, in the path and for the embedder: what a section says without the words of its title.

    The titles further up stay in the path, so a heading still stands above the passages of the sections below it.
    """
    return [Passage(tuple(chunk.path[:-1]), chunk.text, "", chunk.language) for chunk in chunks]


def headings(chunks: Sequence[Chunk]) -> QuestionSet:
    """Each heading that has text of its own asks, without its number, for the chunks between it and the next heading of any level.

    Those are `expected`; `subtree` adds the chunks of the headings below it. A title that stands several times asks for all its sections.
    """
    asked = [section for section in sections_of(chunks) if _has_text(chunks, section)]
    return QuestionSet(Kind.HEADINGS, _by_title((asked_title(one), one.own, one.subtree) for one in asked), without_own_heading(chunks))


def sentences(chunks: Sequence[Chunk], most: int = SAMPLE) -> QuestionSet:
    """Whole sentences of the text, `most` by the hash of the sentence; every chunk that holds the sentence is expected."""
    found: set[str] = set()
    for chunk in chunks:
        for match in _SENTENCE.finditer(chunk.text):
            text = match.group().strip()
            spoken = language(text)
            if spoken and _SHORTEST[spoken] <= len(text) <= _LONGEST[spoken]:
                found.add(text)
    questions = [_question(text, [n for n, chunk in enumerate(chunks) if text in chunk.text]) for text in _sampled(found, most)]
    return QuestionSet(Kind.SENTENCES, questions, as_passages(chunks))


def identifiers(chunks: Sequence[Chunk], most: int = SAMPLE) -> QuestionSet:
    """Names of files, commands and options in at most RAREST chunks, `most` by hash; every chunk with the name is expected.

    An English word is a name if a digit, dot, slash, hyphen, underscore or capital stands inside it; among Chinese every Latin word is.
    """
    places: dict[str, list[int]] = {}
    written: dict[str, str] = {}
    for number, chunk in enumerate(chunks):
        text = keyword_text(chunk.path, chunk.text)
        original = {word.casefold(): word for word in re.findall(r"[^\s\u2e80-\uffef]+", text)}
        for word in latin_words(text):
            places.setdefault(word, []).append(number)
            written.setdefault(word, next((w for folded, w in original.items() if word in folded), word))
    rare = {
        word
        for word, where in places.items()
        if len(where) <= RAREST and 4 <= len(word) <= 40 and re.search("[a-z]", word)
        if any(chunks[number].language == "zh" for number in where) or _NAME.search(written[word])
    }
    questions = [_question(word, places[word]) for word in _sampled(rare, most)]
    return QuestionSet(Kind.IDENTIFIERS, questions, as_passages(chunks))


def cross_language(asking: Sequence[Chunk], answering: Sequence[Chunk], pairs: Pairs | None = None) -> QuestionSet:
    """The headings of one document, to be found in the parallel one: the section at the same place of its outline is expected.

    That section is without its heading, which would be the question's translation. Headings that are written alike in both are left out.
    """
    pairs = translated(asking, answering) if pairs is None else pairs
    questions = _by_title((asked_title(one), two.own, two.subtree) for one, two in pairs)
    return QuestionSet(Kind.CROSS_LANGUAGE, questions, without_own_heading(answering))


def both_languages(
    asking: Sequence[Chunk], answering: Sequence[Chunk], kind: Kind = Kind.BOTH_EITHER, pairs: Pairs | None = None
) -> QuestionSet:
    """The headings of one document where both are indexed, the asking one first, each passage without its own heading.

    Expected are its own section and the other document's (BOTH_EITHER), or only the other one's (BOTH_OTHER).
    """
    shift = len(asking)
    rows = []
    for one, two in translated(asking, answering) if pairs is None else pairs:
        own, subtree = _shifted(two.own, shift), _shifted(two.subtree, shift)
        rows.append(
            (asked_title(one), own, subtree) if kind is Kind.BOTH_OTHER else (asked_title(one), (*one.own, *own), (*one.subtree, *subtree))
        )
    return QuestionSet(kind, _by_title(rows), without_own_heading([*asking, *answering]))


def split(asking: Sequence[Chunk], answering: Sequence[Chunk], kind: Kind = Kind.SPLIT, pairs: Pairs | None = None) -> QuestionSet:
    """The headings of one document where every other chapter (outermost heading) is indexed from the other one.

    So each answer is there once, in one of the languages; with SPLIT_OTHER only headings whose answer is in the other one are asked.
    Passages are without their own headings.
    """
    pairs = translated(asking, answering) if pairs is None else pairs
    outermost = list(dict.fromkeys(section.path[0] for section in sections_of(asking)))
    own_chapters = set(outermost[::2])
    partner_chapters = {two.path[0] for one, two in pairs if one.path[0] not in own_chapters}
    kept = [n for n, chunk in enumerate(asking) if chunk.path and chunk.path[0] in own_chapters]
    taken = [n for n, chunk in enumerate(answering) if chunk.path and chunk.path[0] in partner_chapters]
    place = {n: at for at, n in enumerate(kept)}
    other_place = {n: at for at, n in enumerate(taken, len(kept))}
    rows = []
    for one, two in pairs:
        if one.path[0] in own_chapters:
            if kind is Kind.SPLIT:
                rows.append((asked_title(one), [place[n] for n in one.own], [place[n] for n in one.subtree]))
        else:
            rows.append((asked_title(one), [other_place[n] for n in two.own], [other_place[n] for n in two.subtree]))
    passages = without_own_heading([*(asking[n] for n in kept), *(answering[n] for n in taken)])
    return QuestionSet(kind, _by_title(rows), passages)


def of_document(chunks: Sequence[Chunk]) -> list[QuestionSet]:
    """Every kind that one document allows."""
    return [headings(chunks), sentences(chunks), identifiers(chunks)]


def of_parallel(asking: Sequence[Chunk], answering: Sequence[Chunk]) -> list[QuestionSet]:
    """Every kind that two languages of one document allow; the questions are in the first one's language."""
    pairs = translated(asking, answering)
    return [
        cross_language(asking, answering, pairs),
        *(both_languages(asking, answering, kind, pairs) for kind in (Kind.BOTH_EITHER, Kind.BOTH_OTHER)),
        *(split(asking, answering, kind, pairs) for kind in (Kind.SPLIT, Kind.SPLIT_OTHER)),
    ]


def translated(asking: Sequence[Chunk], answering: Sequence[Chunk]) -> Pairs:
    """The aligned sections that both have text of their own and differ in their titles. Takes seconds for a book."""
    pairs = aligned(asking, answering)
    told = [(one, two) for one, two in pairs if _has_text(asking, one) and _has_text(answering, two)]
    return [(one, two) for one, two in told if asked_title(one).casefold() != asked_title(two).casefold()]


def asked_title(section: Section) -> str:
    """A section's title as a person would ask for it: without chapter and section numbers."""
    return _NUMBERING.sub("", section.title, count=1) if _NUMBERING.match(section.title) else section.title


def _has_text(chunks: Sequence[Chunk], section: Section) -> bool:
    """Whether something but the title itself stands under a heading: chunking gives a bare heading a chunk of its title."""
    return any(chunks[number].text != section.title for number in section.own)


def _by_title(rows: Iterable[tuple[str, Iterable[int], Iterable[int]]]) -> list[Question]:
    own: dict[str, set[int]] = {}
    below: dict[str, set[int]] = {}
    for title, expected, subtree in rows:
        own.setdefault(title, set()).update(expected)
        below.setdefault(title, set()).update(subtree)
    return [Question(title, frozenset(expected), frozenset(below[title])) for title, expected in own.items() if expected]


def _question(text: str, expected: Iterable[int]) -> Question:
    numbers = frozenset(expected)
    return Question(text, numbers, numbers)


def _shifted(numbers: Iterable[int], by: int) -> tuple[int, ...]:
    return tuple(number + by for number in numbers)


def _sampled(texts: Iterable[str], most: int) -> list[str]:
    """At most so many, the same ones whatever the order: those whose hash is smallest."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).hexdigest())[:most]
