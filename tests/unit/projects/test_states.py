"""The table of transitions: every state can be reached and left as it should be."""

from __future__ import annotations

from server.messages.catalogue import CATALOGUE
from server.projects.states import DUE_DAYS, TRANSITIONS, Action, ProjectState


def reached(start: ProjectState) -> set[ProjectState]:
    found, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        for transition in TRANSITIONS.values():
            if state in transition.sources and transition.to not in found:
                found.add(transition.to)
                waiting.append(transition.to)
    return found


def test_every_action_is_in_the_table_and_every_state_is_reached_from_a_draft() -> None:
    assert set(TRANSITIONS) == set(Action)
    assert reached(ProjectState.DRAFT) == set(ProjectState)


def test_an_archived_project_stays_so_and_from_every_other_state_there_is_a_way_on() -> None:
    left = {state for transition in TRANSITIONS.values() for state in transition.sources}
    assert set(ProjectState) - left == {ProjectState.ARCHIVED}
    assert all(ProjectState.ARCHIVED in reached(state) for state in ProjectState)


def test_everything_has_a_name_in_both_languages() -> None:
    keys = [f"project.state.{state.value}" for state in ProjectState] + [f"project.action.{action.value}" for action in Action]
    assert all(all(CATALOGUE[key]) for key in keys)
    assert set(DUE_DAYS) <= set(ProjectState)
