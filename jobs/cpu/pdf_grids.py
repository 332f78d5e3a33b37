"""Tables by their rules: grids of drawn lines, and tables that have only rules above, below and between (三线表)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from jobs.cpu.pdf_order import rows_apart
from jobs.cpu.pdf_text import UNIT, Piece, Stroke

# In hundredths of a point, as all places here: thicker is a bar, shorter a dash; rules nearer than NEAR are one.
THICK = 3 * UNIT
SHORT = 8 * UNIT
NEAR = 3 * UNIT
# More is a drawing, a map, or squared paper.
MOST_RULES = 400
MOST_ROWS = 200
MOST_COLUMNS = 40
# Columns of a table without upright rules are this far apart.
_APART = 6 * UNIT
# The head of such a table has a few lines at most.
_TALLEST_HEAD = 70 * UNIT


class Rule(msgspec.Struct, gc=False):
    """A straight line: `at` across its direction, from `start` to `end` along it."""

    at: int
    start: int
    end: int


class Grid(msgspec.Struct):
    """Where a table's columns and rows part, outer edges included; the upright rules that part cells, none where only gaps do."""

    xs: list[int]
    ys: list[int]
    uprights: list[Rule]


def grids(strokes: Sequence[Stroke], pieces: Sequence[Piece]) -> list[Grid]:
    """The tables that a page's strokes suggest, from the top; most pages have none and cost next to nothing."""
    level, upright = _rules(strokes)
    if len(level) < 3 or max(len(level), len(upright)) > MOST_RULES:
        return []
    found = [grid for part in _parts(level, upright) if (grid := _find_grid(*part)) is not None]
    found += _ruled([rule for rule in level if not any(_is_inside(rule, grid) for grid in found)], upright, pieces)
    return sorted(found, key=lambda grid: grid.ys[0])


def _rules(strokes: Sequence[Stroke]) -> tuple[list[Rule], list[Rule]]:
    """Level and upright rules; the sides of drawn rectangles are rules too."""
    level: list[Rule] = []
    upright: list[Rule] = []
    for stroke in strokes:
        x0, y0, x1, y1 = stroke.x0, stroke.y0, stroke.x1, stroke.y1
        if y1 - y0 <= THICK:
            if x1 - x0 >= SHORT:
                level.append(Rule((y0 + y1) // 2, x0, x1))
        elif x1 - x0 <= THICK:
            if y1 - y0 >= SHORT:
                upright.append(Rule((x0 + x1) // 2, y0, y1))
        elif stroke.outline and x1 - x0 >= SHORT and y1 - y0 >= SHORT:
            level += [Rule(y0, x0, x1), Rule(y1, x0, x1)]
            upright += [Rule(x0, y0, y1), Rule(x1, y0, y1)]
    return _united(level), _united(upright)


def _united(rules: list[Rule]) -> list[Rule]:
    """Rules drawn in parts, a cell at a time, as whole ones."""
    found: list[Rule] = []
    for line in _lines(rules):
        line.sort(key=lambda rule: rule.start)
        whole: Rule | None = None
        for rule in line:
            if whole is not None and rule.start <= whole.end + NEAR:
                whole.end = max(whole.end, rule.end)
            else:
                whole = Rule(line[0].at, rule.start, rule.end)
                found.append(whole)
    return found


def _lines(rules: list[Rule]) -> list[list[Rule]]:
    lines: list[list[Rule]] = []
    for rule in sorted(rules, key=lambda rule: rule.at):
        if lines and rule.at - lines[-1][0].at <= NEAR:
            lines[-1].append(rule)
        else:
            lines.append([rule])
    return lines


def _parts(level: list[Rule], upright: list[Rule]) -> list[tuple[list[Rule], list[Rule]]]:
    """Rules that cross or touch each other, part by part."""
    part_of = list(range(len(level) + len(upright)))

    def root(index: int) -> int:
        while part_of[index] != index:
            part_of[index] = part_of[part_of[index]]
            index = part_of[index]
        return index

    for up, rule in enumerate(upright, start=len(level)):
        for across, other in enumerate(level):
            if other.start - NEAR <= rule.at <= other.end + NEAR and rule.start - NEAR <= other.at <= rule.end + NEAR:
                part_of[root(across)] = root(up)
    parts: dict[int, tuple[list[Rule], list[Rule]]] = {}
    for index in range(len(part_of)):
        levels, uprights = parts.setdefault(root(index), ([], []))
        if index < len(level):
            levels.append(level[index])
        else:
            uprights.append(upright[index - len(level)])
    return [part for part in parts.values() if part[0] and part[1]]


def _find_grid(level: list[Rule], upright: list[Rule]) -> Grid | None:
    # A table may be open at its sides: then its rules end where no other stands.
    xs = _places([rule.at for rule in upright] + [min(rule.start for rule in level), max(rule.end for rule in level)])
    ys = _places([rule.at for rule in level] + [min(rule.start for rule in upright), max(rule.end for rule in upright)])
    if not (3 <= len(xs) <= MOST_COLUMNS + 1 and 3 <= len(ys) <= MOST_ROWS + 1):
        return None
    return Grid(xs, ys, upright)


def _places(values: Iterable[int]) -> list[int]:
    found: list[int] = []
    for value in sorted(values):
        if not found or value - found[-1] > NEAR:
            found.append(value)
    return found


def _is_inside(rule: Rule, grid: Grid) -> bool:
    return grid.ys[0] - NEAR <= rule.at <= grid.ys[-1] + NEAR and rule.start < grid.xs[-1] and rule.end > grid.xs[0]


def _ruled(level: list[Rule], upright: list[Rule], pieces: Sequence[Piece]) -> list[Grid]:
    """Tables with level rules alone: a head between two rules, a body down to a third, the same columns in both."""
    found: list[Grid] = []
    waiting = sorted(level, key=lambda rule: rule.at)
    while len(waiting) >= 3:
        top = waiting.pop(0)
        same = [rule for rule in waiting if abs(rule.start - top.start) <= 2 * NEAR and abs(rule.end - top.end) <= 2 * NEAR]
        if (
            len(same) < 2
            or same[0].at - top.at > _TALLEST_HEAD
            or any(top.start < rule.at < top.end for rule in upright if _meets(rule, top, same[1]))
        ):
            continue
        body = [piece for piece in pieces if top.start - NEAR <= piece.x0 and piece.x1 <= top.end + NEAR and piece.upright]
        head_columns = _columns([piece for piece in body if top.at < piece.y0 + piece.y1 >> 1 < same[0].at])
        if len(head_columns) < 2:
            continue
        last = 0
        for index in range(1, len(same)):
            inner = [piece for piece in body if same[last].at < piece.y0 + piece.y1 >> 1 < same[index].at]
            if not inner or not _fits(inner, head_columns):
                break
            last = index
        if not last:
            continue
        whole = [piece for piece in body if top.at < piece.y0 + piece.y1 >> 1 < same[last].at]
        columns = _columns(whole)
        rows = rows_apart(whole)
        if not (2 <= len(columns) <= MOST_COLUMNS and 2 <= len(rows) <= MOST_ROWS):
            continue
        xs = [top.start, *(round((left[1] + right[0]) / 2) for left, right in pairwise(columns)), top.end]
        edges = [round((max(p.y1 for p in above) + min(p.y0 for p in below)) / 2) for above, below in pairwise(rows)]
        found.append(Grid(xs, [top.at, *edges, same[last].at], []))
        waiting = [rule for rule in waiting if rule.at > same[last].at]
    return found


def _meets(upright: Rule, top: Rule, bottom: Rule) -> bool:
    return upright.start < bottom.at and upright.end > top.at


def _columns(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """Where text stands from left to right, as intervals with gaps between them."""
    found: list[tuple[int, int]] = []
    for piece in sorted(pieces, key=lambda piece: piece.x0):
        if found and piece.x0 < found[-1][1] + _APART:
            found[-1] = (found[-1][0], max(found[-1][1], piece.x1))
        else:
            found.append((piece.x0, piece.x1))
    return found


def _fits(pieces: Sequence[Piece], head: list[tuple[int, int]]) -> bool:
    """Whether a part under a head has at least its two columns."""
    columns = _columns(pieces)
    return 2 <= len(columns) <= len(head) + 1


def column_of(xs: Sequence[int], x: int) -> int:
    """The number of the column or row that a place lies in, the outer ones reach on."""
    return min(max(bisect_right(xs, x) - 1, 0), len(xs) - 2)
