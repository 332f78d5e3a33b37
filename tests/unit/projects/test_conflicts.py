"""Conflicts of interest, found in plain facts."""

from __future__ import annotations

from typing import Any

from server.projects.conflicts import ConflictKind, Facts, find, in_words, partners_of

C = ConflictKind


def facts(**more: Any) -> Facts:
    values: dict[str, Any] = {"places": {}, "homes": {}, "above": {}, "people": {}, "partners": {}, "said": {}}
    return Facts(**{**values, **more})


def test_who_is_in_a_project_does_not_review_it() -> None:
    found = find(facts(people={1: {7}, 2: {8}}, homes={7: [], 9: []}))
    assert found == {(1, 7): [C.TEAM]}


def test_the_same_organization_is_a_conflict_as_far_up_as_it_is_asked() -> None:
    places, homes = {1: [11], 2: [12], 3: [20]}, {7: [11], 8: [13]}
    near = {one: [one] for one in (11, 12, 13, 20)}
    assert find(facts(places=places, homes=homes, above=near)) == {(1, 7): [C.ORGANIZATION]}
    far = {11: [11, 10], 12: [12, 10], 13: [13, 10], 20: [20]}
    assert set(find(facts(places=places, homes=homes, above=far))) == {(1, 7), (1, 8), (2, 7), (2, 8)}
    assert find(facts(places=places, homes=homes, above={})) == {}


def test_a_reviewer_of_several_organizations_has_the_conflicts_of_each() -> None:
    above = {one: [one] for one in (11, 12)}
    assert set(find(facts(places={1: [11], 2: [12]}, homes={7: [11, 12]}, above=above))) == {(1, 7), (2, 7)}


def test_partners_and_supervision_reach_every_project_of_the_other() -> None:
    found = find(facts(people={1: {5}, 2: {5, 6}}, homes={7: []}, partners={7: {5: C.COMMON, 6: C.SUPERVISION}}))
    assert found == {(1, 7): [C.COMMON], (2, 7): [C.SUPERVISION, C.COMMON]}


def test_what_people_say_comes_first() -> None:
    found = find(facts(people={1: {7}}, homes={7: []}, said={(1, 7): C.DECLARED, (2, 7): C.DECLINED}))
    assert found == {(1, 7): [C.DECLARED, C.TEAM], (2, 7): [C.DECLINED]}


def test_a_mentor_supervises_and_members_work_together() -> None:
    teams = [{1: "lead", 2: "member", 3: "mentor"}]
    found = partners_of(teams, {1, 3})
    assert found == {1: {2: C.COMMON, 3: C.SUPERVISION}, 3: {1: C.SUPERVISION, 2: C.SUPERVISION}}
    assert partners_of([{3: "mentor", 4: "mentor"}], {3}) == {3: {4: C.COMMON}}


def test_supervision_outweighs_a_common_project_in_any_order() -> None:
    teams = [{1: "member", 2: "member"}, {1: "member", 2: "mentor"}]
    assert partners_of(teams, {1}) == partners_of(teams[::-1], {1}) == {1: {2: C.SUPERVISION}}


def test_the_reasons_are_said_in_both_languages() -> None:
    assert in_words([C.DECLARED, C.TEAM], "en") == "a conflict was declared; belongs to the project"
    assert "；" in in_words(list(C), "zh")
