"""The growing delay: nobody guesses quickly, and nobody is locked out by a stranger."""

from __future__ import annotations

import pytest
from tornado.ioloop import IOLoop

from server.clock import Clock, HeldClock
from server.context import Context
from server.errors import TooMany
from server.people import login_delay
from server.people.login_delay import FREE_TRIES, FREE_TRIES_OF_ADDRESS, LONGEST_DELAY_S, delay_after


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


def test_the_delay_doubles_up_to_five_minutes() -> None:
    assert [delay_after(failures, 5) for failures in range(4, 14)] == [0, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert delay_after(10**9, 5) == LONGEST_DELAY_S


async def fail(ctx: Context, account: str, address: str, times: int) -> None:
    for _ in range(times):
        await login_delay.failed(ctx, account, address)


@pytest.mark.gen_test
async def test_the_pair_waits_and_others_do_not(ctx: Context, clock: HeldClock) -> None:
    await fail(ctx, "ada", "10.0.0.1", FREE_TRIES - 1)
    await login_delay.check(ctx, "ada", "10.0.0.1")
    await fail(ctx, "ada", "10.0.0.1", 1)
    with pytest.raises(TooMany) as refused:
        await login_delay.check(ctx, "ada", "10.0.0.1")
    assert refused.value.retry_after == 2
    await login_delay.check(ctx, "ada", "10.0.0.2")  # the owner, from her own machine
    await login_delay.check(ctx, "bob", "10.0.0.1")
    clock.advance(seconds=2)
    await login_delay.check(ctx, "ada", "10.0.0.1")
    await fail(ctx, "ada", "10.0.0.1", 1)
    with pytest.raises(TooMany) as refused:
        await login_delay.check(ctx, "ada", "10.0.0.1")
    assert refused.value.retry_after == 4


@pytest.mark.gen_test
async def test_an_address_that_tries_many_accounts_waits(ctx: Context) -> None:
    for number in range(FREE_TRIES_OF_ADDRESS):
        await fail(ctx, f"user{number}", "10.0.0.1", 1)
    with pytest.raises(TooMany):
        await login_delay.check(ctx, "somebody else", "10.0.0.1")
    await login_delay.check(ctx, "user1", "10.0.0.2")


@pytest.mark.gen_test
async def test_success_clears_the_pair(ctx: Context) -> None:
    await fail(ctx, "ada", "10.0.0.1", FREE_TRIES - 1)
    await login_delay.succeeded(ctx, "ada", "10.0.0.1")
    await fail(ctx, "ada", "10.0.0.1", FREE_TRIES - 1)
    await login_delay.check(ctx, "ada", "10.0.0.1")


@pytest.mark.gen_test
async def test_failures_are_forgotten(ctx: Context, clock: HeldClock) -> None:
    await fail(ctx, "ada", "10.0.0.1", FREE_TRIES - 1)
    clock.advance(hours=1)
    await fail(ctx, "ada", "10.0.0.1", 1)
    await login_delay.check(ctx, "ada", "10.0.0.1")


def test_the_held_clock_moves_only_when_told(io_loop: IOLoop) -> None:
    held, real = HeldClock(), Clock()
    at = held.now()
    assert held.now() == at
    assert held.now().tzinfo is not None
    before = held.monotonic()
    held.advance(minutes=1, seconds=1)
    assert (held.now() - at).total_seconds() == held.monotonic() - before == 61
    assert real.now().tzinfo is not None
    assert real.monotonic() <= real.monotonic()
