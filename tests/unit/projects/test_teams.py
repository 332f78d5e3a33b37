"""When a team is whole."""

from __future__ import annotations

import pytest

from server.projects.opening_schemas import TeamMember
from server.projects.teams import Gap, gap_of, people_in, size_of


@pytest.mark.parametrize(
    ("states", "least", "most", "gap"),
    [
        ([], 1, 1, None),
        ([], 2, 3, Gap.TOO_FEW),
        (["joined"], 2, 3, None),
        (["joined", "joined"], 2, 3, None),
        (["joined", "joined", "joined"], 2, 3, Gap.TOO_MANY),
        (["joined", "invited"], 2, 3, Gap.WAITING),
        (["refused"], 2, 3, Gap.TOO_FEW),
        (["joined", "refused"], 2, 2, None),
        (["invited"], 1, 1, Gap.WAITING),
    ],
)
def test_a_team_is_whole_when_all_have_answered_and_its_size_fits(states: list[str], least: int, most: int, gap: Gap | None) -> None:
    assert gap_of(states, least, most) is gap


def test_a_disabled_account_makes_a_gap() -> None:
    assert gap_of(["joined"], 1, 5, all_active=False) is Gap.AWAY


def test_who_applies_is_the_applicant_and_who_has_joined() -> None:
    team = [
        TeamMember(user_id=number, username="", name="", state=state) for number, state in ((2, "joined"), (3, "invited"), (4, "refused"))
    ]
    assert people_in(1, team) == [1, 2]
    assert size_of(member.state for member in team) == 2
