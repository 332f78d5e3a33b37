"""Formulas of rubrics: a few names, numbers and operators, and nothing else; each total can be worked out before it is saved."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.messages.catalogue import CATALOGUE
from server.projects.rubric_formula import FormulaError, check, total

CRITERIA: list[dict[str, Any]] = [
    {"name": "novelty", "weight": 2.0, "max": 10.0},
    {"name": "可行性", "weight": 1.0, "max": 5.0},
    {"name": "cost and time", "weight": 0.5, "max": 20.0},
]
SCORES = {"novelty": 8.0, "可行性": 4.0, "cost and time": 10.0}


def test_without_a_formula_the_total_is_the_weighted_sum() -> None:
    assert total(CRITERIA, None, SCORES) == 2 * 8 + 4 + 0.5 * 10
    assert check(CRITERIA, None) == (0.0, 20 + 5 + 10)


@pytest.mark.parametrize(
    ("formula", "value", "span"),
    [
        ("novelty", 8, (0, 10)),
        ("novelty + 可行性", 12, (0, 15)),
        ("'cost and time' / 2 - novelty", -3, (-10, 10)),
        ("-novelty * 2", -16, (-20, 0)),
        ("min(novelty, 可行性 * 2, 7)", 7, (0, 7)),
        ("max(novelty, 可行性) / (可行性 + 1)", 1.6, (0, 10)),
        ("novelty - novelty", 0, (-10, 10)),  # an interval does not know that both are the same
        ("ｎovelty", 8, (0, 10)),
        ("3", 3, (3, 3)),
    ],
)
def test_a_formula_of_names_numbers_and_operators(formula: str, value: float, span: tuple[float, float]) -> None:
    assert total(CRITERIA, formula, SCORES) == pytest.approx(value)
    assert check(CRITERIA, formula) == pytest.approx(span)


@pytest.mark.parametrize(
    ("formula", "key"),
    [
        ("", "score.formula_syntax"),
        ("novelty +", "score.formula_syntax"),
        ("novelty\x00", "score.formula_syntax"),
        ("(" * 300, "score.formula_syntax"),
        ("novelty; 3", "score.formula_syntax"),
        ("import os", "score.formula_syntax"),
        ("beauty", "score.formula_name"),
        ("__import__('os')", "score.formula_part"),
        ("novelty.real", "score.formula_part"),
        ("novelty[0]", "score.formula_part"),
        ("novelty ** 9", "score.formula_part"),
        ("novelty // 2", "score.formula_part"),
        ("novelty if 可行性 else 3", "score.formula_part"),
        ("[novelty]", "score.formula_part"),
        ("lambda: 3", "score.formula_part"),
        ("(x := 3)", "score.formula_part"),
        ("True", "score.formula_part"),
        ("None", "score.formula_part"),
        ("3j", "score.formula_part"),
        ("b'3'", "score.formula_part"),
        ("f'{novelty}'", "score.formula_part"),
        ("+novelty", "score.formula_part"),
        ("max()", "score.formula_part"),
        ("max(*novelty)", "score.formula_part"),
        ("max(novelty, key=3)", "score.formula_part"),
        ("sum(novelty)", "score.formula_part"),
        ("novelty < 3", "score.formula_part"),
        ("novelty / 可行性", "score.formula_zero"),
        ("novelty / (可行性 - 2)", "score.formula_zero"),
        ("1 / 0", "score.formula_zero"),
        ("1e13", "score.formula_too_large"),
        ("1e999", "score.formula_too_large"),
        ("9" * 400, "score.formula_too_large"),
        ("1e12 * 1e12", "score.formula_too_large"),
        ("1e12" + " * 1e12" * 35, "score.formula_too_large"),
        ("-" * 60 + "novelty", "score.formula_deep"),
        ("+".join(["novelty"] * 62), "score.formula_deep"),
        ("novelty + " * 60 + "0", "score.formula_long"),
    ],
)
def test_whatever_else_is_refused_with_a_sentence(formula: str, key: str) -> None:
    with pytest.raises(FormulaError) as refused:
        check(CRITERIA, formula)
    assert refused.value.key == key
    assert all(CATALOGUE[key][language].format(**refused.value.params) for language in (0, 1))


parts = st.recursive(
    st.sampled_from(["novelty", "可行性", "'cost and time'", "2", "0.5"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda one: f"({one[0]} {one[1]} {one[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda one: f"{one[0]}({one[1]}, {one[2]})"),
        inner.map(lambda one: f"(-{one})"),
    ),
    max_leaves=8,
)


@given(parts)
def test_every_total_of_a_formula_that_is_taken_lies_in_its_span(formula: str) -> None:
    try:
        least, most = check(CRITERIA, formula)
    except FormulaError:
        return
    slack = 1e-9 * max(1.0, abs(least), abs(most))
    for scores in itertools.product(*((0.0, one["max"] / 3, one["max"]) for one in CRITERIA)):
        given = dict(zip((one["name"] for one in CRITERIA), scores, strict=True))
        found = total(CRITERIA, formula, given)
        assert math.isfinite(found)
        assert least - slack <= found <= most + slack
        names = {"novelty": given["novelty"], "可行性": given["可行性"], "min": min, "max": max, "__builtins__": {}}
        expected = eval(formula.replace("'cost and time'", repr(given["cost and time"])), names)
        assert found == pytest.approx(expected)
