"""The requirement solver: what is linked, in which order, and what is said when it cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.dispatch.requirements import Kind, Requirement
from server.dispatch.solver import Edge, Nearest, Problem, Reason, Solution, StepPlan, fields_of, inputs_for, name_steps, solve


def needs(name: str, kind: str = "any", *, required: bool = True, from_: str | None = None) -> Requirement:
    return Requirement(name, Kind(kind), required, from_)


def make_steps(*steps: dict[str, Any]) -> list[StepPlan]:
    return [StepPlan(index=index, **{"module_name": step.get("name", "module"), **step}) for index, step in enumerate(steps)]


def solved(*steps: dict[str, Any]) -> Solution:
    return solve(make_steps(*steps))


def only_problem(solution: Solution) -> Problem:
    assert len(solution.problems) == 1, solution.problems
    return solution.problems[0]


PRICES = {"name": "prices", "outputs": [needs("stock_price", "table")]}
SIGNALS = {"name": "signals", "inputs": [needs("stock_price", "table")], "outputs": [needs("signal", "object")]}


def test_an_output_meets_the_input_of_its_name() -> None:
    solution = solved(PRICES, SIGNALS)
    assert solution.problems == []
    assert solution.edges == [Edge("prices", "stock_price", "signals", "stock_price")]
    assert solution.order == [["prices"], ["signals"]]
    assert solution.waits_for == {"prices": [], "signals": ["prices"]}


def test_steps_that_need_nothing_of_each_other_run_side_by_side() -> None:
    solution = solved(
        PRICES, {"name": "news", "outputs": [needs("headline", "string")]}, SIGNALS, {"name": "report", "depends_on": ["signals", "news"]}
    )
    assert solution.order == [["prices", "news"], ["signals"], ["report"]]


def test_args_meet_an_input_and_are_not_linked() -> None:
    solution = solved(PRICES, {**SIGNALS, "args": {"stock_price": [{"close": 1}]}})
    assert (solution.problems, solution.edges) == ([], [])
    assert solution.order == [["prices", "signals"]]


def test_an_unmet_input_names_the_nearest_outputs() -> None:
    solution = solved(PRICES, {"name": "signals", "inputs": [needs("stock_prices", "table")]})
    problem = only_problem(solution)
    assert (problem.step, problem.requirement, problem.reason) == ("signals", "stock_prices", Reason.UNMET)
    assert problem.nearest == [Nearest("prices", "stock_price", "table")]
    sentence = problem.text.english()
    assert all(word in sentence for word in ("signals", "stock_prices", "prices.stock_price (table)"))
    assert "步骤 signals 需要 stock_prices" in problem.text.say("zh")
    assert list(fields_of(solution.problems)) == ["execute_modules[1].input_data.stock_prices"]


def test_a_misspelled_arg_is_the_nearest() -> None:
    problem = only_problem(solved({"name": "a", "inputs": [needs("threshold", "number")], "args": {"treshold": 5}}))
    assert problem.nearest == [Nearest("a", "treshold", "number")]


def test_at_most_three_are_nearest() -> None:
    outputs = [needs(f"price_{number}") for number in range(9)]
    problem = only_problem(solved({"name": "a", "outputs": outputs}, {"name": "b", "inputs": [needs("price")]}))
    assert len(problem.nearest) == 3


def test_nothing_alike_says_nothing() -> None:
    problem = only_problem(solved({"name": "a", "outputs": [needs("zzz")]}, {"name": "b", "inputs": [needs("price")]}))
    assert problem.nearest == []
    assert problem.text.english().endswith("gives it.")


def test_two_producers_are_ambiguous_until_from_chooses() -> None:
    other = {"name": "archive", "outputs": [needs("stock_price", "table")]}
    problem = only_problem(solved(PRICES, other, SIGNALS))
    assert problem.reason is Reason.AMBIGUOUS
    assert [nearest.step for nearest in problem.nearest] == ["prices", "archive"]
    chosen = solved(PRICES, other, {"name": "signals", "inputs": [needs("stock_price", "table", from_="archive")]})
    assert (chosen.problems, chosen.edges) == ([], [Edge("archive", "stock_price", "signals", "stock_price")])


def test_a_producer_of_another_type_makes_nothing_ambiguous() -> None:
    solution = solved(PRICES, {"name": "quote", "outputs": [needs("stock_price", "number")]}, SIGNALS)
    assert solution.edges == [Edge("prices", "stock_price", "signals", "stock_price")]


def test_from_may_name_a_module() -> None:
    feed = {"name": "morning", "module_name": "price-feed", "outputs": [needs("stock_price")]}
    archive = {"name": "archive", "outputs": [needs("stock_price")]}
    solution = solved(feed, archive, {"name": "signals", "inputs": [needs("stock_price", from_="price-feed")]})
    assert solution.edges == [Edge("morning", "stock_price", "signals", "stock_price")]


def test_from_that_names_nothing() -> None:
    problem = only_problem(solved(PRICES, {"name": "signals", "inputs": [needs("stock_price", "table", from_="price")]}))
    assert problem.reason is Reason.UNKNOWN_FROM
    assert Nearest("prices", "stock_price", "table") in problem.nearest
    assert "price," in problem.text.english()


def test_from_a_step_that_does_not_give_it() -> None:
    problem = only_problem(solved(PRICES, {"name": "news"}, {"name": "signals", "inputs": [needs("stock_price", "table", from_="news")]}))
    assert problem.reason is Reason.UNMET
    assert "from news" in problem.text.english()
    assert problem.nearest == [Nearest("prices", "stock_price", "table")]


def test_from_itself_is_a_ring() -> None:
    step = {"name": "a", "inputs": [needs("x", from_="a")], "outputs": [needs("x")]}
    problem = only_problem(solved(step))
    assert (problem.reason, "a → a" in problem.text.english()) == (Reason.CYCLIC, True)


def test_a_producer_of_the_wrong_type() -> None:
    problem = only_problem(solved({"name": "a", "outputs": [needs("x", "array")]}, {"name": "b", "inputs": [needs("x", "table")]}))
    assert problem.reason is Reason.MISTYPED
    assert problem.nearest == [Nearest("a", "x", "array")]
    assert "as table" in problem.text.english()
    assert "as array" in problem.text.english()


@pytest.mark.parametrize(("given_", "wanted"), [("table", "array"), ("any", "table"), ("number", "any"), ("file", "file")])
def test_types_that_go_together(given_: str, wanted: str) -> None:
    solution = solved({"name": "a", "outputs": [needs("x", given_)]}, {"name": "b", "inputs": [needs("x", wanted)]})
    assert (solution.problems, len(solution.edges)) == ([], 1)


def test_args_of_the_wrong_type() -> None:
    solution = solved(
        {"name": "a", "inputs": [needs("limit", "number"), needs("on", "boolean", required=False)], "args": {"limit": "5", "on": 1}}
    )
    assert [(problem.requirement, problem.reason) for problem in solution.problems] == [("limit", Reason.BAD_ARGS), ("on", Reason.BAD_ARGS)]
    assert list(fields_of(solution.problems)) == ["execute_modules[0].args.limit", "execute_modules[0].args.on"]
    assert "got string" in solution.problems[0].text.english()


def test_null_leaves_an_optional_input_unset() -> None:
    assert solved({"name": "a", "inputs": [needs("on", "boolean", required=False)], "args": {"on": None}}).problems == []
    assert only_problem(solved({"name": "a", "inputs": [needs("on", "boolean")], "args": {"on": None}})).reason is Reason.BAD_ARGS


def test_args_that_no_input_asks_for_are_free() -> None:
    assert solved({"name": "a", "args": {"anything": 1}}).problems == []


def test_a_later_producer_is_refused_with_a_hint() -> None:
    problem = only_problem(solved(SIGNALS, PRICES))
    assert problem.reason is Reason.LATER_PRODUCER
    assert "name it in depends_on" in problem.text.english()
    assert problem.nearest == [Nearest("prices", "stock_price", "table")]


def test_depends_on_makes_a_later_step_earlier() -> None:
    solution = solved({**SIGNALS, "depends_on": ["prices"]}, PRICES)
    assert solution.problems == []
    assert solution.order == [["prices"], ["signals"]]
    through = solved({**SIGNALS, "depends_on": ["clean"]}, {"name": "clean", "depends_on": ["prices"]}, PRICES)
    assert through.problems == []
    assert Edge("prices", "stock_price", "signals", "stock_price") in through.edges


def test_depends_on_makes_an_earlier_step_later() -> None:
    problem = only_problem(solved({**PRICES, "depends_on": ["signals"]}, SIGNALS))
    assert problem.reason is Reason.LATER_PRODUCER


def test_optional_inputs() -> None:
    optional = {"name": "b", "inputs": [needs("x", "number", required=False)]}
    giver = {"name": "a", "outputs": [needs("x", "number")]}
    assert solved(optional).problems == []
    assert solved(optional, giver).edges == []
    assert solved(giver, optional).edges == [Edge("a", "x", "b", "x")]
    assert solved({"name": "a", "outputs": [needs("x", "string")]}, optional).problems == []
    assert only_problem(solved(giver, {**giver, "name": "c"}, optional)).reason is Reason.AMBIGUOUS


def test_an_optional_input_from_a_step_that_is_not_there() -> None:
    optional = {"name": "b", "inputs": [needs("x", required=False, from_="extra")]}
    assert solved(optional).problems == []
    assert only_problem(solved({"name": "extras", "outputs": [needs("x")]}, optional)).reason is Reason.UNKNOWN_FROM


def test_a_step_does_not_feed_itself() -> None:
    assert only_problem(solved({"name": "a", "inputs": [needs("x")], "outputs": [needs("x")]})).reason is Reason.UNMET


def test_depends_on_a_step_that_is_not_there() -> None:
    solution = solved(PRICES, {"name": "b", "depends_on": ["price"]})
    problem = only_problem(solution)
    assert (problem.reason, problem.nearest) == (Reason.UNKNOWN_STEP, [Nearest("prices")])
    assert list(fields_of(solution.problems)) == ["execute_modules[1].depends_on"]


@pytest.mark.parametrize(
    ("depends_on", "ring"),
    [
        ({"a": ["a"]}, "a → a"),
        ({"a": ["b"], "b": ["a"]}, "a → b → a"),
        ({"a": ["c"], "b": ["a"], "c": ["b"]}, "a → b → c → a"),
    ],
)
def test_a_ring_is_named(depends_on: dict[str, list[str]], ring: str) -> None:
    solution = solved(*({"name": name, "depends_on": depends_on.get(name, [])} for name in "abcd"))
    problem = only_problem(solution)
    assert problem.reason is Reason.CYCLIC
    assert ring in problem.text.english()
    assert solution.order[0][-1] == "d", "what is outside of the ring can run"


def test_a_ring_through_data_is_found_where_depends_on_closes_it() -> None:
    solution = solved(
        {"name": "a", "outputs": [needs("x")], "depends_on": ["c"]},
        {"name": "b", "inputs": [needs("x")], "outputs": [needs("y")]},
        {"name": "c", "inputs": [needs("y")]},
    )
    problem = only_problem(solution)
    assert (problem.step, problem.reason, problem.part) == ("a", Reason.CYCLIC, "depends_on")
    assert "a → b → c → a" in problem.text.english()
    assert solution.order == []


def test_two_rings_are_two_problems() -> None:
    steps = [{"name": name, "depends_on": [other]} for name, other in ("ab", "ba", "cd", "dc")]
    assert [problem.step for problem in solved(*steps).problems] == ["a", "c"]


def test_names_are_the_modules_and_numbered() -> None:
    steps = make_steps(
        {"module_name": "prices"}, {"module_name": "prices"}, {"module_name": "x", "name": "prices-2"}, {"module_name": "prices"}
    )
    assert name_steps(steps) == ["prices", "prices-3", "prices-2", "prices-4"]
    assert solve(steps).problems == []


def test_two_steps_of_one_name() -> None:
    solution = solved({"name": "a"}, {"name": "b"}, {"name": "a"})
    problem = only_problem(solution)
    assert (problem.index, problem.reason) == (2, Reason.DUPLICATE_NAME)
    assert solution.names == ["a", "b", "a-2"]
    assert "step number 1" in problem.text.english()
    assert list(fields_of(solution.problems)) == ["execute_modules[2].name"]


def test_no_steps_are_no_problem() -> None:
    assert solve([]) == Solution(names=[], edges=[], waits_for={}, order=[], problems=[])


def test_the_index_is_the_place() -> None:
    with pytest.raises(ValueError, match="place in the list"):
        solve([StepPlan(index=1, module_name="a")])


def test_what_a_step_receives() -> None:
    steps = make_steps(
        {"name": "a", "outputs": [needs("x"), needs("y")]},
        {"name": "b", "inputs": [needs("x"), needs("y", required=False), needs("z")], "args": {"z": 1, "extra": 2}},
    )
    solution = solve(steps)
    assert inputs_for(steps[1], solution, {"a": {"x": 5, "y": None}}) == {"z": 1, "extra": 2, "x": 5, "y": None}
    assert inputs_for(steps[1], solution, {"a": {"x": 5}}) == {"z": 1, "extra": 2, "x": 5}
    assert inputs_for(steps[1], solution, {}) == {"z": 1, "extra": 2}
    assert inputs_for(steps[0], solution, {"a": {"x": 5}}) == {}


def test_args_win_over_what_flows() -> None:
    steps = make_steps({"name": "a", "outputs": [needs("x")]}, {"name": "b", "inputs": [needs("x")]})
    solution = solve(steps)
    late = StepPlan(index=1, name="b", module_name="b", inputs=steps[1].inputs, args={"x": "mine"})
    assert inputs_for(late, solution, {"a": {"x": "theirs"}}) == {"x": "mine"}


def test_every_problem_can_be_said_in_both_languages() -> None:
    solution = solved(
        {"name": "a", "outputs": [needs("t", "array"), needs("two")], "depends_on": ["b", "nobody"]},
        {"name": "a", "outputs": [needs("two")]},
        {"name": "b", "depends_on": ["b"], "inputs": [needs("t", "table"), needs("late"), needs("two", from_="zz"), needs("none")]},
        {"name": "c", "inputs": [needs("two"), needs("n", "number"), needs("t", "table")], "args": {"n": "x"}},
        {"name": "d", "outputs": [needs("late")]},
    )
    assert {problem.reason for problem in solution.problems} == set(Reason)
    for problem in solution.problems:
        for sentence in (problem.text.say("zh"), problem.text.say("en")):
            assert problem.step in sentence
            assert problem.requirement in sentence
            assert all(nearest.step in sentence for nearest in problem.nearest)
            assert "{" not in sentence
            assert "Kind." not in sentence


names = st.sampled_from("abcdef")
kinds = st.sampled_from(["any", "table", "array", "number"])
requirements = st.lists(
    st.builds(needs, names, kinds, required=st.booleans(), from_=st.none() | names), max_size=3, unique_by=lambda one: one.name
)
any_step = st.fixed_dictionaries(
    {"name": st.sampled_from(["", *"abcdef"]), "module_name": names, "inputs": requirements, "outputs": requirements,
     "depends_on": st.lists(names, max_size=2), "args": st.dictionaries(names, st.sampled_from([1, "x", [], None]), max_size=2)}
)  # fmt: skip


@given(st.lists(any_step, max_size=7))
@settings(max_examples=150, deadline=None)
def test_properties_of_solutions(steps: list[dict[str, Any]]) -> None:
    plans = make_steps(*steps)
    solution = solve(plans)
    level = {name: number for number, names in enumerate(solution.order) for name in names}
    for name, waits in solution.waits_for.items():
        if name in level:
            assert all(level[other] < level[name] for other in waits)
    for edge in solution.edges:
        assert edge.producer in solution.waits_for[edge.consumer]
    assert len(set(solution.names)) == len(solution.names)
    if not solution.problems:
        assert sorted(level) == sorted(solution.names), "every step has its place"
        linked = {(edge.consumer, edge.input) for edge in solution.edges}
        for plan, name in zip(plans, solution.names, strict=True):
            for wanted in plan.inputs:
                met = (wanted.name in plan.args) + ((name, wanted.name) in linked)
                assert met == 1 or (met == 0 and not wanted.required)
    assert all(problem.text.say("zh") for problem in solution.problems)
    assert len(fields_of(solution.problems)) <= len(solution.problems)
