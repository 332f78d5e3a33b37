"""The flow behind an assignment of reviews: successive shortest paths over reviewers, in tables of numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jobs.cpu.assignment import MISSING, MISSING_AGAIN, WISH, Problem

FAR = 10**18
UNREACHED = FAR // 2

Matrix = NDArray[np.int64]


class Flow:
    """One problem; `solve` places its reviews one by one."""

    def __init__(self, problem: Problem) -> None:
        projects, reviewers = len(problem.wanted), len(problem.most)
        self.wanted = problem.wanted
        self.cost: Matrix = np.zeros((projects, reviewers), np.int64)
        for project, reviewer, wish in problem.wishes:
            self.cost[project, reviewer] = -WISH * wish
        if problem.barred:
            self.cost[tuple(np.array(problem.barred).T)] = FAR
        self.given = np.zeros((projects, reviewers), bool)
        self.missing = np.zeros(projects, np.int64)  # of those that were asked for so far
        self.loads = np.array(problem.loads, np.int64)
        self.most = np.array(problem.most, np.int64)
        self.everyone = reviewers  # the column after the last reviewer's: the review is not given
        self.columns = np.arange(reviewers + 1)
        # What it costs to hand some project from one reviewer to another, and which project that is.
        self.handing: Matrix = np.full((reviewers, reviewers + 1), FAR, np.int64)
        self.handed: Matrix = np.zeros((reviewers, reviewers + 1), np.int64)

    def solve(self) -> list[tuple[int, int]]:
        for project, number in enumerate(self.wanted):
            for _ in range(number):
                self._place(project)
        return [(int(project), int(reviewer)) for project, reviewer in zip(*np.nonzero(self.given), strict=True)]

    def _place(self, project: int) -> None:
        """Find a reviewer for one more review of a project, moving others where that costs less."""
        costs, before = self._paths(project)
        taking = np.where(self.loads < self.most, costs[:-1] + 2 * self.loads + 1, FAR)
        node = int(taking.argmin()) if len(taking) else self.everyone
        if node == self.everyone or taking[node] >= costs[-1]:
            node = self.everyone
        else:
            self.loads[node] += 1
        changed: set[int] = set()
        while (giver := int(before[node])) >= 0:
            moved = int(self.handed[giver, node])
            self.given[moved, giver] = False
            changed |= {giver, *self._reviewers_of(moved)}
            self._give(moved, node, changed)
            node = giver
        self._give(project, node, changed)
        for reviewer in changed:
            self._weigh(reviewer)

    def _give(self, project: int, node: int, changed: set[int]) -> None:
        if node == self.everyone:
            self.missing[project] += 1
        else:
            self.given[project, node] = True
        changed.update(self._reviewers_of(project))

    def _reviewers_of(self, project: int) -> list[int]:
        return [int(one) for one in np.flatnonzero(self.given[project])]

    def _paths(self, project: int) -> tuple[Matrix, Matrix]:
        """The least cost of a way from a project to each reviewer (and to nobody), and who comes before each on it; -1 for the project."""
        costs = np.append(np.where(self.given[project], FAR, self.cost[project]), self._leaving(project))
        before = np.full(len(costs), -1, np.int64)
        reached = np.flatnonzero(costs[:-1] < UNREACHED)
        while len(reached):
            ways = costs[reached][:, None] + self.handing[reached]
            best = ways.argmin(0)
            found = ways[best, self.columns]
            better = np.flatnonzero((found < costs) & (found < UNREACHED))
            costs[better], before[better] = found[better], reached[best[better]]
            reached = better[better < self.everyone]
        return costs, before

    def _weigh(self, reviewer: int) -> None:
        """Bring a reviewer's row of the table up to date."""
        held = np.flatnonzero(self.given[:, reviewer])
        if not len(held):
            self.handing[reviewer] = FAR
            return
        to_others = np.where(self.given[held] | (self.cost[held] >= UNREACHED), FAR, self.cost[held])
        costs = np.column_stack([to_others, self._leaving(held)])
        costs = np.where(costs >= UNREACHED, FAR, costs - self.cost[held, reviewer][:, None])
        best = costs.argmin(0)
        self.handed[reviewer], self.handing[reviewer] = held[best], costs[best, self.columns]

    def _leaving(self, project: int | NDArray[np.intp]) -> Matrix:
        """What it costs that a project lacks one review more."""
        return np.asarray(MISSING + MISSING_AGAIN * self.missing[project])
