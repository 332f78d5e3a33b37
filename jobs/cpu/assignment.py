"""Who reviews what: a minimum-cost flow from projects to reviewers, exact, by successive shortest paths."""

from __future__ import annotations

from typing import NamedTuple

# What one step of a wish is worth: a difference of five reviews between two reviewers.
WISH = 10
# A review that nobody gives costs more than all wishes and loads together, and the second of one project more than the first of another.
MISSING, MISSING_AGAIN = 10**13, 10**8


class Problem(NamedTuple):
    """Projects and reviewers are numbered from 0.

    `wanted`: how many reviews each project still needs; `loads`: how many each reviewer has already; `most`: how many each may have.
    `barred`: pairs (project, reviewer) that may not be, conflicts and reviews that are there; `wishes`: (project, reviewer, -2 … 2).
    """

    wanted: list[int]
    loads: list[int]
    most: list[int]
    barred: list[tuple[int, int]]
    wishes: list[tuple[int, int, int]]


def assign(problem: Problem) -> list[tuple[int, int]]:
    """The pairs (project, reviewer), in order; the same for the same problem.

    As many reviews as can be given at all; among those the shortages are spread evenly over projects, and then the sum of squared loads
    less the wishes (each worth WISH) is least. Successive shortest paths (Ahuja, Magnanti and Orlin: Network Flows, 1993, 9.7) keep that
    exact: each review that is placed may move others along. Paths run over reviewers only, as a table holds the cheapest project that
    could be handed from each reviewer to each other; the paths of one step are found for all reviewers at once (Bellman and Ford).
    """
    from jobs.cpu.assignment_flow import Flow  # only worker processes load numpy

    return Flow(problem).solve()
