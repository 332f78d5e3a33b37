"""Pages cut into passages that respect headings, pages, tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.cpu.chunk_language import language_of
from jobs.cpu.chunk_pieces import End, Piece, junction, pieces_of, tidy
from jobs.cpu.shapes import Block, Box, Carry, Chunk, Heading, Page

# Characters. Passages of 200 and of 500 were found a little worse on debian-reference.
SIZE = 320
OVERLAP = 60
EARLIEST, LATEST = 0.7, 1.25  # a chunk ends between these shares of its even size, at the best place there
SHORTEST_OVERLAP = 20  # an overlap of a whole sentence is better than a longer one that begins inside a sentence


def chunk_pages(pages: Sequence[Page], carry: Carry) -> tuple[list[Chunk], Carry]:
    """Chunks of the pages in reading order, and what the next pages need.

    A chunk is of one page and one section, about SIZE characters with about OVERLAP of the text before it in the same section,
    which may be of the page before (then it has no box). Pages given one by one or at once make the same chunks.
    A heading with nothing under it becomes a chunk of its own title, so that it is found, if the next heading is on its page.
    """
    chunks: list[Chunk] = []
    for page in pages:
        found, carry = _chunk_page(page, carry)
        chunks.extend(found)
    return chunks, carry


def keyword_text(path: Sequence[str], text: str) -> str:
    """What keyword search indexes: the titles of all open headings above the body (mean MRR@10 + 0.07 over the body alone)."""
    return f"{' > '.join(path)}\n{text}" if path else text


def _chunk_page(page: Page, carry: Carry) -> tuple[list[Chunk], Carry]:
    chunks: list[Chunk] = []
    headings, tail = list(carry.headings), carry.tail
    column = [line for block in page.blocks if block.kind == "text" for line in block.lines]
    body: list[Block] = []
    bare: Block | None = None  # a heading of this page with nothing under it so far
    first = 0
    for number, block in enumerate(page.blocks):
        if block.kind != "heading":
            body.append(block)
            continue
        if not tidy(block.text):
            continue
        made, tail = _chunk_section(page.number, headings, pieces_of(body, column, first), tail)
        chunks.extend(made)
        if bare is not None and not made and block.level <= bare.level:
            chunks.append(_bare_heading(page.number, headings, bare))
        headings = [heading for heading in headings if heading.level < block.level]
        headings.append(Heading(block.level, tidy(block.text)))
        body, bare, tail, first = [], block, "", number + 1
    made, tail = _chunk_section(page.number, headings, pieces_of(body, column, first), tail)
    return chunks + made, Carry(headings, tail)


def _bare_heading(page: int, headings: Sequence[Heading], block: Block) -> Chunk:
    title = tidy(block.text)
    return Chunk(page, [heading.title for heading in headings], title, [line.box for line in block.lines], language_of(title))


def _chunk_section(page: int, headings: Sequence[Heading], pieces: Sequence[Piece], tail: str) -> tuple[list[Chunk], str]:
    """Chunks of one section's text on one page, and the section's tail after it."""
    if not pieces:
        return [], tail
    path = [heading.title for heading in headings]
    chunks: list[Chunk] = []
    start = 0
    for stop in _stops(pieces, len(tail)):
        own = pieces[start:stop]
        before = [] if own[0].row else _overlap(pieces[:start])
        text = _joined([*before, *own])
        if own[0].header:
            text = f"{own[0].header}\n{text}"
        elif start == 0 and tail and not own[0].row:
            text = tail + junction(tail, text) + text
        chunks.append(Chunk(page, path, text, _merged([*before, *own]), language_of(text)))
        start = stop
    return chunks, _joined(_overlap(pieces))


def _stops(pieces: Sequence[Piece], tail: int) -> Iterator[int]:
    """Where chunks end: parts of even size rather than full ones and a rest, each at the best end near its size."""
    lengths = [len(piece) for piece in pieces]
    left, step, start = sum(lengths), SIZE - OVERLAP, 0
    taken = min(tail, OVERLAP) - OVERLAP  # the first chunk has room for an overlap that it may not need
    while start < len(pieces):
        parts = max(1, round((left + taken) / step))
        taken = 0
        if parts == 1:
            yield len(pieces)
            return
        stop = _best_stop(pieces, lengths, start, left / parts)
        yield stop
        left -= sum(lengths[start:stop])
        start = stop


def _best_stop(pieces: Sequence[Piece], lengths: Sequence[int], start: int, size: float) -> int:
    best, best_rank = 0, (End.NEVER, 0.0)
    length = 0
    for at in range(start, len(pieces)):
        length += lengths[at]
        if length > LATEST * size and best:
            break
        if length >= EARLIEST * size and pieces[at].end is not End.NEVER:
            rank = (pieces[at].end, -abs(length - size))
            if rank > best_rank:
                best, best_rank = at + 1, rank
            if length > LATEST * size:
                break
    return best or len(pieces)


def _overlap(before: Sequence[Piece]) -> list[Piece]:
    """The last pieces of text, at most OVERLAP characters, from the start of a sentence if that leaves enough; no rows of tables."""
    taken: list[Piece] = []
    whole: list[Piece] = []
    length = 0
    for at in range(len(before) - 1, -1, -1):
        piece = before[at]
        if piece.row or length + len(piece) > OVERLAP:
            break
        taken.insert(0, piece)
        length += len(piece)
        if length >= SHORTEST_OVERLAP and (at == 0 or before[at - 1].end is End.SENTENCE):
            whole = list(taken)
    return whole or taken


def _joined(pieces: Sequence[Piece]) -> str:
    return "".join(piece.glue + piece.text for piece in pieces).strip()


def _merged(pieces: Sequence[Piece]) -> list[Box]:
    """The boxes of the pieces' lines, one box a block and column."""
    boxes: list[Box] = []
    block = -1
    for piece in pieces:
        box = piece.box
        if boxes and piece.block == block and box[1] >= boxes[-1][1] and box[0] <= boxes[-1][2] and box[2] >= boxes[-1][0]:
            last = boxes[-1]
            boxes[-1] = (min(last[0], box[0]), last[1], max(last[2], box[2]), max(last[3], box[3]))
        else:
            boxes.append(box)
        block = piece.block
    return boxes
