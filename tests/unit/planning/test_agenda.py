"""The agenda: what is due when, and that an edit touches one row."""

from __future__ import annotations

from datetime import timedelta

from server.platform.schedules.agenda import Agenda, Planned
from server.platform.schedules.cadence import Cadence
from tests.unit.planning.times import make_cadence, utc

START = utc("2026-06-01 00:00")


def make_planned(name: str, *crons: str, version: int = 1, cadence: Cadence | None = None) -> Planned:
    return Planned(id=name, version=version, cadence=cadence or make_cadence(*crons, zone="UTC"))


def names_due(agenda: Agenda, at: str) -> list[tuple[str, list[str]]]:
    return [(due.schedule.id, [f"{instant.planned_at:%H:%M}" for instant in due.instants]) for due in agenda.due(utc(at))]


def test_each_instant_is_handed_out_once() -> None:
    agenda = Agenda()
    agenda.put(make_planned("hourly", "0 * * * *"), START)
    agenda.put(make_planned("half", "30 * * * *"), START)
    assert agenda.next_at() == utc("2026-06-01 00:30")
    assert names_due(agenda, "2026-06-01 00:29:59") == []
    assert names_due(agenda, "2026-06-01 00:30") == [("half", ["00:30"])]
    assert names_due(agenda, "2026-06-01 00:30") == []
    assert names_due(agenda, "2026-06-01 02:10") == [("hourly", ["01:00", "02:00"]), ("half", ["01:30"])]
    assert agenda.next_at() == utc("2026-06-01 02:30")


def test_an_edit_replaces_one_row() -> None:
    agenda = Agenda()
    agenda.put(make_planned("a", "0 * * * *"), START)
    agenda.put(make_planned("b", "10 * * * *"), START)
    assert agenda.put(make_planned("a", "20 * * * *", version=2), START)
    assert names_due(agenda, "2026-06-01 01:15") == [("b", ["00:10", "01:10"]), ("a", ["00:20"])]
    assert len(agenda) == 2


def test_the_same_or_an_older_version_changes_nothing() -> None:
    agenda = Agenda()
    agenda.put(make_planned("a", "0 * * * *", version=3), START)
    assert not agenda.put(make_planned("a", "5 * * * *", version=3), START)
    assert not agenda.put(make_planned("a", "5 * * * *", version=2), START)
    assert agenda.next_at() == utc("2026-06-01 01:00")


def test_a_removed_schedule_is_not_due() -> None:
    agenda = Agenda()
    agenda.put(make_planned("a", "0 * * * *"), START)
    assert agenda.remove("a")
    assert not agenda.remove("a")
    assert "a" not in agenda
    assert agenda.next_at() is None
    assert names_due(agenda, "2026-06-02 00:00") == []


def test_a_removed_schedule_can_come_back() -> None:
    agenda = Agenda()
    agenda.put(make_planned("a", "0 * * * *"), START)
    agenda.remove("a")
    assert agenda.put(make_planned("a", "0 * * * *"), utc("2026-06-01 05:30"))
    assert names_due(agenda, "2026-06-01 06:00") == [("a", ["06:00"])]


def test_a_schedule_without_crons_waits_for_nothing() -> None:
    agenda = Agenda()
    agenda.put(make_planned("by hand"), START)
    assert agenda.next_at() is None
    assert agenda.find_next("by hand") is None
    assert [planned.id for planned in agenda] == ["by hand"]


def test_the_next_instant_of_one_schedule() -> None:
    agenda = Agenda()
    agenda.put(make_planned("a", "0 12 * * *"), START)
    found = agenda.find_next("a")
    assert found is not None
    assert found.planned_at == utc("2026-06-01 12:00")
    assert agenda.find_next("unknown") is None


def test_the_shift_decides_when_it_is_due() -> None:
    agenda = Agenda()
    agenda.put(make_planned("early", cadence=make_cadence("0 12 * * *", zone="UTC", shift_s=-30)), START)
    assert agenda.next_at() == utc("2026-06-01 11:59:30")


def test_a_host_that_slept_gets_the_newest_and_one_span() -> None:
    agenda = Agenda()
    agenda.put(make_planned("each second", "* * * * * *"), START)
    agenda.put(make_planned("daily", "0 0 * * *"), START)
    woke = START + timedelta(days=30)
    second, daily = agenda.due(woke)
    assert (len(second.instants), second.instants[-1].planned_at) == (100, woke)
    assert second.older is not None
    assert second.older.count == 30 * 86400 - 100
    assert (len(daily.instants), daily.older) == (30, None)
    assert agenda.next_at() == woke + timedelta(seconds=1)


def test_a_span_begins_where_the_last_answer_ended() -> None:
    agenda = Agenda()
    agenda.put(make_planned("a", "* * * * *"), START)
    agenda.due(START + timedelta(minutes=10))
    (due,) = agenda.due(START + timedelta(minutes=200))
    assert due.older is not None
    assert due.older.first == START + timedelta(minutes=11)
    assert due.older.count + len(due.instants) == 190


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    agenda = Agenda()
    agenda.put(make_planned("a", "* * * * *"), START)
    agenda.due(START + timedelta(minutes=10))
    assert agenda.due(START + timedelta(minutes=5)) == []
    assert agenda.next_at() == START + timedelta(minutes=11)


def test_many_edits_do_not_grow_the_heap() -> None:
    agenda = Agenda()
    for version in range(1, 2001):
        agenda.put(make_planned("a", "0 * * * *", version=version), START)
    assert len(agenda._heap) < 100
    assert names_due(agenda, "2026-06-01 01:00") == [("a", ["01:00"])]
