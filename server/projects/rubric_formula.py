"""The total of a review: the weighted sum of its scores, or a small formula of them, read by a whitelist of Python's grammar."""

from __future__ import annotations

import ast
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_LETTERS = 500
DEEPEST = 40
LARGEST = 1e12

Span = tuple[float, float]
Criteria = Sequence[Mapping[str, Any]]


class FormulaError(ValueError):
    """The formula cannot be used: `key` is that of a sentence in the catalogue, `params` fill it."""

    def __init__(self, key: str, **params: Any) -> None:
        self.key, self.params = key, params
        super().__init__(f"{key} {params}")


def check(criteria: Criteria, formula: str | None) -> Span:
    """Make sure that every set of scores has a total; the least and the largest. Raises FormulaError.

    Done by interval arithmetic: an expression is refused when one of its divisors could be 0, also where the scores could never meet so.
    """
    if formula is None:
        least, most = 0.0, sum(one["weight"] * one["max"] for one in criteria)
    else:
        spans = {one["name"]: (0.0, float(one["max"])) for one in criteria}
        least, most = _span(_read(formula), lambda name: _known(spans, name))
    if not (math.isfinite(least) and math.isfinite(most)) or max(abs(least), abs(most)) > LARGEST:
        raise FormulaError("score.formula_too_large")
    return least, most


def total(criteria: Criteria, formula: str | None, scores: Mapping[str, float]) -> float:
    """The total of a complete set of scores by criterion's name. Without a formula the sum of weight times score.

    Raises FormulaError for a formula that `check` would refuse, KeyError for a criterion without a score.
    """
    if formula is None:
        return math.fsum(one["weight"] * scores[one["name"]] for one in criteria)
    return _span(_read(formula), lambda name: (_known(scores, name), _known(scores, name)))[0]


def normal(name: str) -> str:
    """A name as a formula reads it: Python brings identifiers into Unicode's form NFKC."""
    return unicodedata.normalize("NFKC", name).strip()


def _known(values: Mapping[str, Any], name: str) -> Any:
    for one, value in values.items():
        if normal(one) == normal(name):
            return value
    raise FormulaError("score.formula_name", name=name)


def _read(formula: str) -> ast.expr:
    if len(formula) > MOST_LETTERS:
        raise FormulaError("score.formula_long", most=MOST_LETTERS)
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError("score.formula_syntax") from None


def _span(node: ast.expr, look_up: Callable[[str], Span], depth: int = 0) -> Span:
    """Between what an expression lies; of plain values both ends are the same."""
    if depth > DEEPEST:
        raise FormulaError("score.formula_deep")
    match node:
        case ast.Name(id=name) | ast.Constant(value=str(name)):  # a name that is no identifier is written in quotes
            return look_up(name)
        case ast.Constant(value=bool()):
            raise FormulaError("score.formula_part", part=ast.unparse(node))
        case ast.Constant(value=int() | float() as number):
            if abs(number) > LARGEST:
                raise FormulaError("score.formula_too_large")
            return float(number), float(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            low, high = _span(operand, look_up, depth + 1)
            return -high, -low
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_span(left, look_up, depth + 1), _span(right, look_up, depth + 1))
        case ast.Call(func=ast.Name(id="min" | "max" as name), args=[_, *_] as given, keywords=[]) if not _starred(given):
            spans = [_span(one, look_up, depth + 1) for one in given]
            chosen = min if name == "min" else max
            return chosen(low for low, _ in spans), chosen(high for _, high in spans)
        case _:
            raise FormulaError("score.formula_part", part=ast.unparse(node)[:60])


def _starred(given: Sequence[ast.expr]) -> bool:
    return any(isinstance(one, ast.Starred) for one in given)


def _add(left: Span, right: Span) -> Span:
    return left[0] + right[0], left[1] + right[1]


def _subtract(left: Span, right: Span) -> Span:
    return left[0] - right[1], left[1] - right[0]


def _multiply(left: Span, right: Span) -> Span:
    products = [one * other for one in left for other in right]
    if not all(map(math.isfinite, products)):
        raise FormulaError("score.formula_too_large")
    return min(products), max(products)


def _divide(left: Span, right: Span) -> Span:
    if right[0] <= 0 <= right[1]:
        raise FormulaError("score.formula_zero")
    quotients = [one / other for one in left for other in right]
    return min(quotients), max(quotients)


_OPERATORS: dict[type[ast.operator], Callable[[Span, Span], Span]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
}
