"""The table of a benchmark: what, ours, peer, ratio, target, met or short."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

HEAD = ("what", "ours", "peer", "ratio", "target", "")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement. `want` says which side of `target` is good: the ratio ours / peer, or our figure alone where there is no peer."""

    what: str
    ours: float
    unit: str
    peer: float | None = None
    target: float | None = None
    want: Literal["at least", "at most"] = "at least"

    @property
    def ratio(self) -> float | None:
        return None if self.peer is None else self.ours / self.peer

    @property
    def is_met(self) -> bool | None:
        if self.target is None:
            return None
        measured = self.ours if self.ratio is None else self.ratio
        return measured >= self.target if self.want == "at least" else measured <= self.target

    def cells(self) -> tuple[str, ...]:
        sign = "≥" if self.want == "at least" else "≤"
        wanted = "–" if self.target is None else f"{sign} {self.target:g} {'×' if self.peer is not None else self.unit}"
        return (
            self.what,
            f"{figure(self.ours)} {self.unit}",
            "–" if self.peer is None else f"{figure(self.peer)} {self.unit}",
            "–" if self.ratio is None else f"{self.ratio:.2f} ×",
            wanted,
            {True: "met", False: "SHORT", None: ""}[self.is_met],
        )


def figure(value: float) -> str:
    """Three figures that count: 1234, 123, 12.3, 1.23."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def say(line: str = "") -> None:
    print(line, flush=True)


def note(line: str) -> None:
    """What goes on meanwhile; not part of the result."""
    sys.stderr.write(f"bench: {line}\n")
    sys.stderr.flush()


def print_table(rows: list[Row]) -> None:
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        say(
            "  ".join(
                f"{cell:<{width}}" if number == 0 else f"{cell:>{width}}"
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
        )
        if line is HEAD:
            say("  ".join("-" * width for width in widths))


def print_notes(title: str, notes: list[str]) -> None:
    say()
    say(title)
    for one in notes:
        say(f"  - {one}")
