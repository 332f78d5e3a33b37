"""Finds names that resemble a misspelled one, quickly among thousands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher

_CUTOFF = 0.5
_SHORTLIST = 12


class Names:
    """An index of names by their pairs of letters; only the dozen that share most are compared in full."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_pair: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            for pair in _pairs(name):
                self._by_pair.setdefault(pair, []).append(name)

    def like(self, name: str, limit: int = 3) -> list[str]:
        """At most `limit` names, the most similar first (difflib's ratio, case ignored)."""
        shared: Counter[str] = Counter()
        for pair in _pairs(name):
            shared.update(self._by_pair.get(pair, ()))
        scored = []
        for other, _ in shared.most_common(_SHORTLIST):
            ratio = SequenceMatcher(None, name.casefold(), other.casefold()).ratio()
            if ratio >= _CUTOFF:
                scored.append((-ratio, other))
        return [other for _, other in sorted(scored)[:limit]]


def _pairs(name: str) -> set[str]:
    framed = f"^{name.casefold()}$"
    return {framed[place : place + 2] for place in range(len(framed) - 1)}
