"""Blocks of a page as a run of pieces: the smallest parts of text that a chunk is cut from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum

import msgspec

from jobs.cpu.chunk_language import CJK
from jobs.cpu.shapes import Block, Box, Line

LONGEST_PIECE = 60  # characters; a longer sentence is cut at clauses, then at words. Table rows stay whole.
LONGEST_ROW = 2000  # a row beyond this is no row that a reader would want whole
ALIGNED = 40.0  # points: a line that begins not further right than this stands in the same column, if it reaches into it
WIDE = "\u3000-\u303f\uff00-\uffef" + CJK  # characters that are set without spaces between them
_SPACE_BETWEEN_WIDE = re.compile(f"(?<=[{WIDE}])[ \\t\u3000]+(?=[{WIDE}])")
_SENTENCE = re.compile(r"[。！？；…]+[”’」』）)\"']*|[.!?;][\"')\]”’]*(?=\s)")
_STOPS = frozenset("。！？；…：.!?;:|)）”")
_CLAUSE = re.compile(r"[，、：,:）)](?=\s|[^\x00-\x7f])|[，、：）]")
_WORD_END = re.compile(f"\\s+|[{CJK}](?=.)|[^\\s](?=[{CJK}])")
_WIDE_FIRST = re.compile(f"[{WIDE}]")
_LIST_ITEM = re.compile(r"([-–—•·*▪◦‣○●→$#>]|\(?\d{1,3}[.)）、]|[（(][一二三四五六七八九十\da-z]{1,3}[)）])\s*\S")
_TABLE_RULE = re.compile(r"[|\s:+-]*-[|\s:+-]*")


class End(IntEnum):
    """How good a place to cut the end of a piece is."""

    NEVER = 0  # a table's header: its rows follow
    WORD = 1
    CLAUSE = 2
    SENTENCE = 3  # a sentence, a paragraph, a line of a listing, a table's row


class Piece(msgspec.Struct, frozen=True):
    """Some text of one line. `glue` stands between it and the piece before; `header` are the rows to repeat above a table's `row`."""

    text: str
    glue: str
    end: End
    box: Box
    block: int
    row: bool = False
    header: str = ""

    def __len__(self) -> int:
        return len(self.glue) + len(self.text)


def pieces_of(blocks: Sequence[Block], column: Sequence[Line], first: int = 0) -> list[Piece]:
    """The pieces of text and table blocks, in reading order; blocks are numbered from `first` on.

    `column` are all lines of text of the page: they tell how far a full line reaches.
    """
    pieces: list[Piece] = []
    for number, block in enumerate(blocks, first):
        pieces.extend(_rows(block, number) if block.kind == "table" else _sentences(block, number, column))
    return pieces


def tidy(text: str) -> str:
    """One line without the spaces that a typesetter puts between Chinese characters."""
    return _SPACE_BETWEEN_WIDE.sub("", " ".join(text.split()))


def joint(before: str, after: str) -> str:
    """What stands between two halves of a sentence that a line's end has cut apart."""
    return "" if _WIDE_FIRST.match(before[-1:]) and _WIDE_FIRST.match(after[:1]) else " "


def junction(before: str, after: str) -> str:
    """What stands between a page's last words and the next page's first ones: a line's end, unless a sentence goes on."""
    ended = before[-1:] in _STOPS or _LIST_ITEM.match(after) is not None
    return "\n" if ended else joint(before, after)


def _rows(block: Block, number: int) -> Iterator[Piece]:
    rows = [line for line in block.lines if line.text.strip()]
    ruled = len(rows) > 1 and _TABLE_RULE.fullmatch(rows[1].text.strip()) is not None
    header = "\n".join(row.text.strip() for row in rows[:2]) if ruled else ""
    for at, row in enumerate(rows):
        text = row.text.strip()
        if len(text) > LONGEST_ROW:
            yield from _parts(Line(text, row.box), "\n", number, End.SENTENCE)
        elif ruled and at < 2:
            yield Piece(text, "\n", End.NEVER if len(rows) > 2 else End.SENTENCE, row.box, number, row=True)
        else:
            yield Piece(text, "\n", End.SENTENCE, row.box, number, row=True, header=header)


def _sentences(block: Block, number: int, column: Sequence[Line]) -> Iterator[Piece]:
    lines = [Line(text, line.box) for line in block.lines if (text := tidy(line.text))]
    left = min((line.box[0] for line in lines), default=0.0)
    right = max((other.box[2] for other in column if other.box[0] <= left + ALIGNED and other.box[2] > left), default=0.0)
    glue = "\n"
    for at, line in enumerate(lines):
        after = lines[at + 1] if at + 1 < len(lines) else None
        goes_on = after is not None and _is_wrapped(line, right) and not _LIST_ITEM.match(after.text)
        yield from _parts(line, glue, number, End.WORD if goes_on else End.SENTENCE)
        glue = joint(line.text, after.text) if goes_on and after is not None else "\n"


def _is_wrapped(line: Line, right: float) -> bool:
    """Whether the line is full, so that its sentence goes on in the next one; room for one long Latin word is left at its end."""
    left, top, end, bottom = line.box
    return end >= right - max(4 * (bottom - top), 0.12 * (right - left))


def _parts(line: Line, glue: str, number: int, last: End) -> Iterator[Piece]:
    """The line cut at sentences, then clauses, then words, each part at most LONGEST_PIECE long where words allow it."""
    cuts = {found.end(): End.SENTENCE for found in _SENTENCE.finditer(line.text)}
    cuts[len(line.text)] = last if cuts.get(len(line.text)) is None else End.SENTENCE
    start = 0
    for stop in sorted(cuts):
        for cut, end in _shortened(line.text, start, stop, cuts[stop]):
            text = line.text[start:cut]
            if text.strip():
                yield Piece(text.strip(), glue, end, line.box, number)
                glue = " " if text[-1:].isspace() or line.text[cut : cut + 1].isspace() else ""
            start = cut


def _shortened(text: str, start: int, stop: int, end: End) -> Iterator[tuple[int, End]]:
    while stop - start > LONGEST_PIECE:
        room = start + LONGEST_PIECE
        cut = _last_cut(_CLAUSE, text, start + LONGEST_PIECE // 2, room)
        kind = End.CLAUSE if cut else End.WORD
        cut = cut or _last_cut(_WORD_END, text, start + 1, room) or _first_cut(text, room, stop)
        if cut >= stop:
            break
        yield cut, kind
        start = cut
    yield stop, end


def _last_cut(pattern: re.Pattern[str], text: str, low: int, high: int) -> int:
    """Where the last match between two places ends, 0 if there is none."""
    return max((found.end() for found in pattern.finditer(text, low - 1, high + 1) if low <= found.end() <= high), default=0)


def _first_cut(text: str, low: int, stop: int) -> int:
    found = _WORD_END.search(text, low, stop)
    return found.end() if found else stop
