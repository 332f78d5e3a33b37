"""What the rest of the server is told of the jobs, and how the arguments of a schedule are checked."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.all import JOBS, SCHEDULES
from jobs.registry import Job, Work, register
from jobs.worker import CONCURRENCY
from server.context import Context
from server.errors import Invalid
from server.platform.queue_settings import MOST
from server.platform.registered_jobs import RegisteredJobs
from server.platform.tasks import Queue


async def sweep(ctx: Context, work: Work, days: int, where: list[str], note: str | None = None) -> None:
    """Sweep the floor.

    Every corner.
    """


@pytest.fixture
def registered() -> RegisteredJobs:
    jobs = {"floor.sweep": Job(kind="floor.sweep", queue=Queue.MAINTENANCE, function=sweep, schedulable=True)}
    return register(jobs, [], {})


def test_a_job_is_told_by_what_its_function_says(registered: RegisteredJobs) -> None:
    [view] = registered.schedulable()
    assert (view.job, view.queue, view.summary) == ("floor.sweep", "maintenance", "Sweep the floor.")
    assert [(one.name, one.type, one.required) for one in view.parameters] == [
        ("days", "int", True),
        ("where", "list[str]", True),
        ("note", "str | None", False),
    ]


@pytest.mark.parametrize("kwargs", [{"days": 1, "where": []}, {"days": 1, "where": ["hall"], "note": None}], ids=str)
def test_arguments_that_fit(registered: RegisteredJobs, kwargs: dict[str, Any]) -> None:
    assert registered.check("floor.sweep", kwargs).queue is Queue.MAINTENANCE


@pytest.mark.parametrize(
    ("kwargs", "fields"),
    [
        ({}, ["kwargs.days", "kwargs.where"]),
        ({"days": "1", "where": []}, ["kwargs.days"]),
        ({"days": 1, "where": [1], "work": 2}, ["kwargs.where", "kwargs.work"]),
    ],
    ids=str,
)
def test_arguments_that_do_not(registered: RegisteredJobs, kwargs: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        registered.check("floor.sweep", kwargs)
    assert sorted(refused.value.fields) == fields


def test_what_the_system_schedules_people_may_schedule_too() -> None:
    registered = register(JOBS, SCHEDULES, CONCURRENCY)
    for schedule in SCHEDULES:
        assert registered.kinds[schedule.job].schedulable
        assert schedule.name in registered.built_in
    assert any(not kind.schedulable for kind in registered.kinds.values())
    with pytest.raises(Invalid):
        registered.get_schedulable("mail.run_failed")


@pytest.mark.parametrize("queue", list(Queue))
def test_a_queue_has_a_default_that_people_could_set(queue: Queue) -> None:
    assert 1 <= register(JOBS, SCHEDULES, CONCURRENCY).concurrency[queue] <= MOST
