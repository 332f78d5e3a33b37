"""The sentences of planning: both languages say the same things, and every reason has one."""

from __future__ import annotations

from string import Formatter

import pytest

from server.dispatch.solver import Reason
from server.messages.planning import MESSAGES
from server.platform.schedules.calendars_model import ClosedBy
from server.platform.schedules.plan import ClockChange


@pytest.mark.parametrize("key", MESSAGES)
def test_both_languages_name_the_same_things(key: str) -> None:
    chinese, english = ({name for _, name, _, _ in Formatter().parse(sentence) if name} for sentence in MESSAGES[key])
    assert chinese == english


def test_every_reason_has_a_sentence() -> None:
    keys = [*(f"solver.{reason}" for reason in Reason), *(f"schedule.closed.{reason}" for reason in ClosedBy)]
    keys += [f"schedule.clock.{change}" for change in ClockChange]
    assert [key for key in keys if key not in MESSAGES] == []
