"""Jobs: a misspelt queue or option, or a kind declared twice, fails when the file is imported."""

from __future__ import annotations

from types import ModuleType

import pytest

from jobs.all import JOBS
from jobs.registry import Job, collect, job
from server.platform.tasks import Queue


async def work() -> None: ...


def file_with(*functions: object, name: str = "made_up") -> ModuleType:
    made = ModuleType(name)
    for number, function in enumerate(functions):
        function.__module__ = name
        setattr(made, f"job{number}", function)
    return made


def declared(kind: str, **policy: object) -> object:
    async def function() -> None: ...

    return job(kind, queue="mail", **policy)(function)


def test_a_misspelt_queue_fails() -> None:
    with pytest.raises(ValueError, match="mails"):
        job("x", queue="mails")(work)


def test_a_misspelt_option_fails() -> None:
    with pytest.raises(TypeError, match="max_atempts"):
        job("x", queue="mail", max_atempts=3)(work)


def test_a_kind_declared_twice_fails() -> None:
    with pytest.raises(ValueError, match="two jobs are called"):
        collect([file_with(declared("x"), declared("x"))])
    with pytest.raises(ValueError, match="two jobs are called"):
        collect([file_with(declared("x"), name="a"), file_with(declared("x"), name="b")])


def test_what_a_file_only_imports_is_not_its_own() -> None:
    one = file_with(declared("x"), name="a")
    other = ModuleType("b")
    other.borrowed = one.job0  # type: ignore[attr-defined]
    assert set(collect([one, other])) == {"x"}


def test_the_systems_own_jobs() -> None:
    assert {"mail.run_failed", "maintenance.clean_up"} <= set(JOBS)
    for kind, one in JOBS.items():
        assert one.kind == kind
        assert one.max_attempts >= 1
        assert one.time_limit_s > 0


def test_the_wait_before_a_retry_doubles_with_jitter_and_is_bounded() -> None:
    one = Job(kind="x", queue=Queue.MAIL, function=work, backoff_s=10, backoff_most_s=100)
    for attempt, most in [(1, 10), (2, 20), (3, 40), (4, 80), (5, 100), (50, 100)]:
        waits = [one.retry_after(attempt) for _ in range(50)]
        assert all(most / 2 <= wait <= most for wait in waits)
        assert len(set(waits)) > 1
