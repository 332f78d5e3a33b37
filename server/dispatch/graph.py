"""Directed graphs of steps, as a list of predecessors by number: ancestors, levels and cycles."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

Predecessors = Sequence[AbstractSet[int]]


def get_ancestors(before: Predecessors) -> list[int]:
    """For each node the set of nodes that come before it, however far, as bits; in a cycle every node is its own ancestor."""
    after: list[list[int]] = [[] for _ in before]
    for node, sources in enumerate(before):
        for source in sources:
            after[source].append(node)
    found = [sum(1 << source for source in sources) for sources in before]
    waiting = list(range(len(before)))
    queued = set(waiting)
    place = 0
    while place < len(waiting):
        node = waiting[place]
        place += 1
        queued.discard(node)
        for following in after[node]:
            grown = found[following] | found[node]
            if grown != found[following]:
                found[following] = grown
                if following not in queued:
                    queued.add(following)
                    waiting.append(following)
    return found


def get_levels(before: Predecessors) -> list[list[int]]:
    """Nodes by level: each node's predecessors are in levels before its own. Nodes of a cycle, and those after one, are left out."""
    left = [len(sources) for sources in before]
    after: list[list[int]] = [[] for _ in before]
    for node, sources in enumerate(before):
        for source in sources:
            after[source].append(node)
    levels: list[list[int]] = []
    level = [node for node, count in enumerate(left) if count == 0]
    while level:
        levels.append(level)
        freed: list[int] = []
        for node in level:
            for following in after[node]:
                left[following] -= 1
                if left[following] == 0:
                    freed.append(following)
        level = sorted(freed)
    return levels


def find_cycles(before: Predecessors) -> list[list[int]]:
    """Cycles that share no node, each in the order of running and beginning with its lowest number; none when there is none.

    Breaking these may uncover others through the same nodes.
    """
    done = {node for level in get_levels(before) for node in level}
    cycles: list[list[int]] = []
    seen = set(done)
    for start in range(len(before)):
        path: list[int] = []
        place: dict[int, int] = {}
        node: int | None = start
        while node is not None and node not in seen:
            seen.add(node)
            place[node] = len(path)
            path.append(node)
            node = min((source for source in before[node] if source not in done and (source in place or source not in seen)), default=None)
            if node is not None and node in place:
                cycle = path[place[node] :][::-1]
                lowest = cycle.index(min(cycle))
                cycles.append(cycle[lowest:] + cycle[:lowest])
                break
    return cycles
