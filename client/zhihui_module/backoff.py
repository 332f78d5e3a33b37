"""How long to wait before the next try: exponential backoff with full jitter."""

from __future__ import annotations

import random
from collections.abc import Callable

Draw = Callable[[float, float], float]


class Backoff:
    """Delays in seconds, each drawn evenly from 0 to min(cap, first × 2^n).

    Full jitter after Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015. With the default cap of 4 s a
    module is back within 5 s of the moment that the server can take it, and a thousand modules do not come at once.
    """

    def __init__(self, first_s: float = 0.1, cap_s: float = 4.0, draw: Draw = random.uniform) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._draw = draw
        self._ceiling_s = first_s

    def next_delay(self) -> float:
        """The next delay in seconds; the ceiling of the one after it is twice as high, up to the cap."""
        ceiling = min(self._cap_s, self._ceiling_s)
        self._ceiling_s = min(self._cap_s, ceiling * 2)
        return self._draw(0.0, ceiling)

    def reset(self) -> None:
        """Begin again at the first delay."""
        self._ceiling_s = self._first_s
