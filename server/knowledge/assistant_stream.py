"""Passes a model's answer on as it comes; references are held back until their sentence is complete and checked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from server.knowledge.assistant_schemas import Citation, Delta
from server.knowledge.assistant_sentences import CODE, FENCE, MARKER, safe_prefix, sentence_end
from server.knowledge.citations import Passage, Support, across_languages, common_units, support_together

Judge = Callable[[str, Passage], Awaitable[Support]]
_NUMBERS = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)\s*[–-]\s*\^?(\d+)")
# A passage that carries this share of a claim needs no other one beside it.
NEARLY_ALL = 0.8
# A claim between two references that is shorter is judged with the whole sentence.
SHORTEST_CLAIM = 6


class CheckedText:
    """The answer so far: `text` is what was given out, `citations` what it rests on, numbered in the order of their first use."""

    def __init__(self, passages: Sequence[Passage], judge: Judge) -> None:
        self.text = ""
        self.citations: list[Citation] = []
        self._passages = passages
        self._judge = judge
        self._common = common_units(passages)
        self._numbers: dict[int, int] = {}  # place among the passages -> number in the answer
        self._buffer = ""
        self._shown = 0  # how much of the buffer was given out already
        self._fenced = False

    async def feed(self, piece: str, *, final: bool = False) -> AsyncIterator[Delta | Citation]:
        """What these words make ready. A citation comes before the piece of text that refers to it, and again when its quote grows."""
        self._buffer += piece.replace("\x00", "")
        while (end := sentence_end(self._buffer, final=final)) is not None:
            sentence, self._buffer = self._buffer[:end], self._buffer[end:]
            shown, self._shown = self._shown, 0
            for ready in await self._checked(sentence, shown):
                yield ready
            await asyncio.sleep(0)  # judging takes about a millisecond a passage, and many sentences may come at once
        at = 0 if self._fence_begun() else safe_prefix(self._buffer)
        if at > self._shown:
            yield self._given(self._buffer[self._shown : at])
            self._shown = at

    async def end(self) -> AsyncIterator[Delta | Citation]:
        """What was still held back, when nothing more will come."""
        async for ready in self.feed("", final=True):
            yield ready

    def _fence_begun(self) -> bool:
        return self._fenced or self._buffer.lstrip().startswith(("`", "~"))

    def _given(self, text: str) -> Delta:
        self.text += text
        return Delta(text)

    async def _checked(self, sentence: str, shown: int) -> list[Delta | Citation]:
        """A sentence with those of its references that hold, the citations it adds or changes in front of it."""
        if FENCE.match(sentence):
            self._fenced = not self._fenced
            return [self._given(sentence[shown:])]
        code = [span.span() for span in CODE.finditer(sentence)]
        found = [one for one in MARKER.finditer(sentence) if not any(begin <= one.start() < end for begin, end in code)]
        if self._fenced or not found:
            return [self._given(sentence[shown:])] if sentence[shown:] else []
        ready: list[Delta | Citation] = []
        out, at = "", 0
        for group in _groups(sentence, found):
            words = sentence[at : group[0].start()].strip(" \t，,、；;。.:：")
            # Of two claims in a sentence each is judged for itself; too few words are judged with all of it.
            claim = words if len(words) >= SHORTEST_CLAIM else _without(sentence, found)
            places = _named(" ".join(marker[0] for marker in group), len(self._passages))
            kept = await self._supported(places, claim, ready)
            before = sentence[at : group[0].start()]
            out += before if kept else before.rstrip(" \t")
            out += "".join(f"[{number}]" for number in kept)
            at = group[-1].end()
        out += sentence[at:]
        if out[shown:]:
            ready.append(self._given(out[shown:]))
        return ready

    async def _supported(self, places: list[int], claim: str, ready: list[Delta | Citation]) -> list[int]:
        """The numbers, as the answer has them, of the passages that support the claim."""
        verdicts = [await self._judge(claim, self._passages[place]) for place in places]
        cited = [self._passages[place] for place in places]
        carried = max((verdict.strength for verdict in verdicts if verdict), default=0.0)
        if not all(verdicts) and carried < NEARLY_ALL and not any(across_languages(claim, passage) for passage in cited):
            together = support_together(claim, cited, self._common)
            verdicts = together if all(together) else verdicts
        kept = []
        for place, verdict in zip(places, verdicts, strict=True):
            if verdict:
                citation = self._cite(place, verdict.quote)
                if citation is not None:
                    ready.append(msgspec.structs.replace(citation))
                kept.append(self._numbers[place])
        return kept

    def _cite(self, place: int, quote: str) -> Citation | None:
        """The citation of a passage, new or with a longer quote; None when it is known as it is."""
        if place not in self._numbers:
            self._numbers[place] = len(self._numbers) + 1
            self.citations.append(citation_of(self._passages[place], self._numbers[place], quote))
            return self.citations[-1]
        citation = self.citations[self._numbers[place] - 1]
        if quote in citation.quote:
            return None
        lines = [line for line in citation.quote.split("\n") if line not in quote]
        citation.quote = "\n".join([*lines, quote])
        return citation


def citation_of(passage: Passage, number: int, quote: str) -> Citation:
    return Citation(
        n=number,
        document_id=passage.document_id,
        title=passage.title,
        page=passage.page,
        chunk_id=passage.chunk_id,
        quote=quote.replace("\n", " "),
    )


def _named(marker: str, count: int) -> list[int]:
    """The places that a reference names, from 0; numbers that name no passage are left out."""
    expanded = _RANGE.sub(lambda pair: " ".join(map(str, range(int(pair[1]), min(int(pair[2]), count) + 1))), marker)
    return list(dict.fromkeys(int(number) - 1 for number in _NUMBERS.findall(expanded) if 1 <= int(number) <= count))


def _groups(sentence: str, found: list[re.Match[str]]) -> list[list[re.Match[str]]]:
    """References that stand side by side belong to one claim."""
    groups: list[list[re.Match[str]]] = []
    for marker in found:
        if groups and not sentence[groups[-1][-1].end() : marker.start()].strip(" \t,，、"):
            groups[-1].append(marker)
        else:
            groups.append([marker])
    return groups


def _without(sentence: str, found: list[re.Match[str]]) -> str:
    out, at = "", 0
    for marker in found:
        out += sentence[at : marker.start()].rstrip(" \t")
        at = marker.end()
    return (out + sentence[at:]).strip()
