"""The order in which the pieces of a page are read: columns side by side, what spans them in between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from jobs.cpu.pdf_text import Piece, is_cjk

_BINS = 128
# The gutter between columns lies in the middle half of what is parted, and at most a quarter of the pieces run across it.
_MIDDLE = (_BINS // 4, _BINS * 3 // 4)
_MOST_ACROSS = 0.25
_FEWEST_ROWS = 3
# A line of a column has so many letters' widths at least.
_LONG = 6
# How much of a column its lines fill; lines that come left, right, left, right in the file may be rows of a table or code with remarks.
_LEAST_FILLED = 0.5
_LEAST_FILLED_IN_TURN = 0.75
_DEEPEST = 3
# Between CJK characters a gap of less than two characters is no space.
_CJK_GAP = 2.0
_GAP = 0.15


def rows_in_order(pieces: list[Piece]) -> list[Piece]:
    """The lines of a page as they are read, each in one piece. What is not upright comes last; the given pieces are used up."""
    level = [piece for piece in pieces if piece.upright]
    found: list[Piece] = []
    for region in _regions(level, 0):
        found += rows_of(region)
    if len(level) < len(pieces):
        found += [piece for piece in pieces if not piece.upright]
    return found


def _regions(pieces: list[Piece], depth: int) -> list[list[Piece]]:
    gutter = _find_gutter(pieces) if depth < _DEEPEST else None
    if gutter is None:
        return [pieces]
    left = sorted((piece for piece in pieces if piece.x1 <= gutter), key=_middle)
    right = sorted((piece for piece in pieces if piece.x0 >= gutter and piece.x1 > gutter), key=_middle)
    across = sorted((piece for piece in pieces if piece.x0 < gutter < piece.x1), key=_middle)
    found: list[list[Piece]] = []
    across_here: list[Piece] = []
    for cut in [*across, None]:
        sides: list[list[Piece]] = []
        for side in (left, right):
            count = len(side) if cut is None else sum(1 for piece in side if _middle(piece) < _middle(cut))
            sides.append(side[:count])
            del side[:count]
        if any(sides):
            if across_here:
                found.append(across_here)
                across_here = []
            for side in sides:
                if side:
                    found += _regions(side, depth + 1)
        if cut is not None:
            across_here.append(cut)
    if across_here:
        found.append(across_here)
    return found


def _middle(piece: Piece) -> int:
    return piece.y0 + piece.y1


def _find_gutter(pieces: list[Piece]) -> float | None:
    """Where two columns part, None when the pieces are one column."""
    if len(pieces) < 2 * _FEWEST_ROWS:
        return None
    start = min([piece.x0 for piece in pieces])
    width = max([piece.x1 for piece in pieces]) - start
    first_quarter, last_quarter, most = start + width // 4, start + width * 3 // 4, len(pieces) * _MOST_ACROSS
    # What runs across the whole middle runs across every gutter; beside one, some lines are long.
    if width <= 0 or len([0 for piece in pieces if piece.x0 < first_quarter and piece.x1 > last_quarter]) > most:
        return None
    if len([0 for piece in pieces if piece.x0 > first_quarter and piece.x1 - piece.x0 > _LONG * piece.size]) < _FEWEST_ROWS:
        return None
    changes = [0] * (_BINS + 2)
    for piece in pieces:
        changes[(piece.x0 - start) * _BINS // width] += 1
        changes[(piece.x1 - start) * _BINS // width + 1] -= 1
    covered = list(accumulate(changes))[: _BINS + 1]
    middle = covered[_MIDDLE[0] : _MIDDLE[1]]
    least = min(middle)
    if least > most:
        return None
    first = middle.index(least)
    last = first
    while last + 1 < len(middle) and middle[last + 1] == least:
        last += 1
    gutter = start + (_MIDDLE[0] + (first + last + 1) / 2) * width / _BINS
    return gutter if _are_columns(pieces, gutter) else None


def _are_columns(pieces: list[Piece], gutter: float) -> bool:
    sides = [1 if piece.x0 >= gutter else -1 for piece in pieces if piece.x1 <= gutter or piece.x0 >= gutter]
    left = [piece for piece in pieces if piece.x1 <= gutter]
    right = [piece for piece in pieces if piece.x0 >= gutter]
    if len(left) < _FEWEST_ROWS or len(right) < _FEWEST_ROWS:
        return False
    turns = sum(a != b for a, b in pairwise(sides))
    least = _LEAST_FILLED_IN_TURN if turns > 0.5 * min(len(left), len(right)) else _LEAST_FILLED
    if min(_filled(left), _filled(right)) < least:
        return False
    top = max(min(piece.y0 for piece in side) for side in (left, right))
    bottom = min(max(piece.y1 for piece in side) for side in (left, right))
    shorter = min(max(piece.y1 for piece in side) - min(piece.y0 for piece in side) for side in (left, right))
    return bottom - top > 0.3 * shorter


def _filled(pieces: list[Piece]) -> float:
    """Which part of its rows a column's text fills, from 0 to 1; 0 when it has too few rows."""
    width = max(piece.x1 for piece in pieces) - min(piece.x0 for piece in pieces)
    rows = rows_apart(pieces)
    if len(rows) < _FEWEST_ROWS or width <= 0:
        return 0.0
    return sum(min(width, sum(piece.x1 - piece.x0 for piece in row)) for row in rows) / (len(rows) * width)


def rows_apart(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces by row, from the top; in a row from the left."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=_middle):
        first = rows[-1][0] if rows else None
        if first is not None and first.table < 0 and piece.table < 0 and 2 * first.y0 < _middle(piece) < 2 * first.y1:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    for row in rows:
        if len(row) > 1:
            row.sort(key=lambda piece: piece.x0)
    return rows


def rows_of(pieces: list[Piece]) -> list[Piece]:
    """Pieces of one column as rows, in the order of the file where that runs down the page; the pieces are used up."""
    rows: list[Piece] = []
    parts: list[tuple[Piece, Piece]] = []
    y0 = y1 = x0 = -(10**9)
    row: Piece | None = None
    for piece in pieces:
        if row is not None and piece.y0 < y1:
            shared = (piece.y1 if piece.y1 < y1 else y1) - (piece.y0 if piece.y0 > y0 else y0)
            is_same = (2 * shared > y1 - y0 or 2 * shared > piece.y1 - piece.y0) and piece.table < 0 and row.table < 0
            if piece.x0 < x0 if is_same else piece.y0 < y0:
                return _sorted_rows(pieces)
            if is_same:
                parts.append((row, piece))
                x0 = piece.x0
                continue
        rows.append(piece)
        row = piece
        x0, y0, y1 = piece.x0, piece.y0, piece.y1
    for whole, part in parts:
        _join(whole, part)
    return rows


def _sorted_rows(pieces: list[Piece]) -> list[Piece]:
    found = []
    for row in rows_apart(pieces):
        for piece in row[1:]:
            _join(row[0], piece)
        found.append(row[0])
    return found


def _join(left: Piece, right: Piece) -> None:
    """Put the right one of two pieces of a row to the left one."""
    gap = right.x0 - left.x1
    if right.size > left.size:
        left.size = right.size
    if gap < _GAP * left.size or (gap < _CJK_GAP * left.size and is_cjk(left.text[-1:]) and is_cjk(right.text[:1])):
        left.text += right.text
    else:
        left.text += " " + right.text
    if right.y0 < left.y0:
        left.y0 = right.y0
    if right.y1 > left.y1:
        left.y1 = right.y1
    if right.x1 > left.x1:
        left.x1 = right.x1
    left.bold = left.bold and right.bold
