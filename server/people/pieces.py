"""Many keys, in pieces that one statement takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

K = TypeVar("K", int, str)
AT_ONCE = 500


def in_pieces(keys: Iterable[K]) -> Iterator[list[K]]:
    """Each key once, in order, at most AT_ONCE at a time."""
    ordered = sorted(set(keys))
    for first in range(0, len(ordered), AT_ONCE):
        yield ordered[first : first + AT_ONCE]
