"""Ranks with ties, how sure they are, and whether one reviewer less would change who is in."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

DRAWS = 1000
LEVEL = 0.95
# Scores that differ by less are equal: what is left of sums in another order.
_EQUAL = 9


def ranks(values: Array) -> Array:
    """1 is the highest; equal ones share the best of their places (1, 2, 2, 4)."""
    rounded = np.round(values, _EQUAL)
    ordered = np.sort(-rounded)
    places: Array = np.searchsorted(ordered, -rounded, side="left") + 1
    return places


def ranked(draws: Array) -> Array:
    """The ranks within each draw, of draws × things."""
    order = np.argsort(-draws, axis=1, kind="stable")
    placed = np.empty_like(order)
    np.put_along_axis(placed, order, np.arange(1, draws.shape[1] + 1)[None, :], axis=1)
    return placed


def intervals(placed: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """Of the ranks of draws × things: each thing's lowest and highest when (1 − level) / 2 of the draws are left out on either side."""
    low = np.quantile(placed, (1 - level) / 2, axis=0, method="inverted_cdf")
    high = np.quantile(placed, (1 + level) / 2, axis=0, method="inverted_cdf")
    return low.astype(int), high.astype(int)


def chances(placed: Array, accept: int) -> Array:
    """Of the ranks of draws × things: the share of draws in which each thing is among the first `accept`."""
    share: Array = (placed <= accept).mean(axis=0)
    return share


def shifts(before: Array, after: Array) -> tuple[float, int]:
    """By how many places ranks differ: the mean, and the most."""
    moved = np.abs(ranks(before) - ranks(after))
    return float(moved.mean()), int(moved.max())


def changes(before: Array, after: Array, accept: int) -> tuple[list[int], list[int]]:
    """The places that come in and that fall out when the other values decide the first `accept`; who ties with the last is in."""
    was, is_now = ranks(before) <= accept, ranks(after) <= accept
    return np.flatnonzero(is_now & ~was).tolist(), np.flatnonzero(was & ~is_now).tolist()
