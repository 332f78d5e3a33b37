"""The assignment of reviews: as many as can be, nothing that is barred, and no assignment that costs less."""

from __future__ import annotations

import random
from collections import Counter

import networkx as nx
import pytest

from jobs.cpu.assignment import MISSING, MISSING_AGAIN, WISH, Problem, assign


def plain(projects: int, reviewers: int, each: int, most: int, **more: object) -> Problem:
    values = {"wanted": [each] * projects, "loads": [0] * reviewers, "most": [most] * reviewers, "barred": [], "wishes": []}
    return Problem(**{**values, **more})  # type: ignore[arg-type]


def cost(problem: Problem, pairs: list[tuple[int, int]]) -> int:
    wishes = {(project, reviewer): wish for project, reviewer, wish in problem.wishes}
    given, loads = Counter(project for project, _ in pairs), Counter(reviewer for _, reviewer in pairs)
    spent = -WISH * sum(wishes.get(pair, 0) for pair in pairs)
    spent += sum((loads[one] + before) ** 2 - before**2 for one, before in enumerate(problem.loads))
    for project, wanted in enumerate(problem.wanted):
        spent += sum(MISSING + MISSING_AGAIN * number for number in range(wanted - given[project]))
    return spent


def least_cost(problem: Problem) -> int:
    """The same by another's algorithm: network simplex."""
    graph = nx.MultiDiGraph()
    graph.add_node("from", demand=-sum(problem.wanted))
    graph.add_node("to", demand=sum(problem.wanted))
    barred, wishes = set(problem.barred), {(one, other): wish for one, other, wish in problem.wishes}
    for project, wanted in enumerate(problem.wanted):
        graph.add_edge("from", ("p", project), capacity=wanted, weight=0)
        for number in range(wanted):
            graph.add_edge(("p", project), "to", capacity=1, weight=MISSING + MISSING_AGAIN * number)
        for reviewer in range(len(problem.most)):
            if (project, reviewer) not in barred:
                graph.add_edge(("p", project), ("r", reviewer), capacity=1, weight=-WISH * wishes.get((project, reviewer), 0))
    for reviewer, (before, most) in enumerate(zip(problem.loads, problem.most, strict=True)):
        for number in range(before, most):
            graph.add_edge(("r", reviewer), "to", capacity=1, weight=2 * number + 1)
    least, _ = nx.network_simplex(graph)
    return int(least)


def some_problem(seed: int) -> Problem:
    chance = random.Random(seed)
    projects, reviewers = chance.randint(1, 9), chance.randint(1, 6)
    pairs = [(project, reviewer) for project in range(projects) for reviewer in range(reviewers)]
    strict = chance.choice([0.1, 0.4, 0.7])
    return Problem(
        wanted=[chance.randint(0, 3) for _ in range(projects)],
        loads=[chance.randint(0, 2) for _ in range(reviewers)],
        most=[chance.randint(0, 6) for _ in range(reviewers)],
        barred=[pair for pair in pairs if chance.random() < strict],
        wishes=[(*pair, chance.randint(-2, 2)) for pair in pairs if chance.random() < 0.6],
    )


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_no_assignment_costs_less(first: int) -> None:
    for seed in range(first, first + 25):
        problem = some_problem(seed)
        pairs = assign(problem)
        assert len(set(pairs)) == len(pairs)
        assert not set(pairs) & set(problem.barred)
        loads = Counter(reviewer for _, reviewer in pairs)
        assert all(loads[one] <= max(0, most - problem.loads[one]) for one, most in enumerate(problem.most)), seed
        assert cost(problem, pairs) == least_cost(problem), seed


def test_loads_are_even_when_nobody_wishes() -> None:
    pairs = assign(plain(20, 6, 3, 20))
    assert Counter(reviewer for _, reviewer in pairs) == Counter(dict.fromkeys(range(6), 10))


def test_who_has_reviews_already_gets_fewer() -> None:
    pairs = assign(plain(9, 3, 1, 20, loads=[6, 0, 0]))
    given = Counter(reviewer for _, reviewer in pairs)
    assert (given[0], sorted([given[1], given[2]])) == (0, [4, 5])


def test_wishes_are_followed_as_far_as_loads_allow() -> None:
    wishes = [(0, 0, 2), (1, 1, 2), (2, 0, -2), (3, 1, -2)]
    assert assign(plain(4, 2, 1, 2, wishes=wishes)) == [(0, 0), (1, 1), (2, 1), (3, 0)]


def test_others_are_moved_so_that_all_get_theirs() -> None:
    barred = [(1, 1), (1, 2), (2, 2)]  # 1 can only have 0, so 2 must have 1, so 0 must have 2
    assert assign(plain(3, 3, 1, 1, barred=barred, wishes=[(0, 0, 2), (2, 0, 2)])) == [(0, 2), (1, 0), (2, 1)]


def test_a_shortage_is_spread_over_projects() -> None:
    pairs = assign(plain(6, 3, 3, 4))
    assert sorted(Counter(project for project, _ in pairs).values()) == [2] * 6


def test_nobody_wishes_as_much_as_a_review_is_missed() -> None:
    pairs = assign(plain(3, 1, 1, 3, wishes=[(0, 0, -2), (1, 0, -2), (2, 0, -2)]))
    assert len(pairs) == 3


def test_nothing_to_do_is_done() -> None:
    assert assign(plain(0, 0, 3, 3)) == []
    assert assign(plain(3, 0, 3, 3)) == []
    assert assign(plain(3, 2, 1, 3, barred=[(one, other) for one in range(3) for other in range(2)])) == []


def test_the_same_problem_has_the_same_answer() -> None:
    problem = some_problem(7)
    assert assign(problem) == assign(problem)


def test_a_larger_round_is_assigned_in_full() -> None:
    chance = random.Random(3)
    pairs = [(project, reviewer) for project in range(400) for reviewer in range(60)]
    problem = plain(
        400,
        60,
        3,
        20,
        barred=[pair for pair in pairs if chance.random() < 0.1],
        wishes=[(*pair, chance.randint(-2, 2)) for pair in pairs if chance.random() < 0.1],
    )
    assert len(assign(problem)) == 1200
