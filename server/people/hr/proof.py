"""Proof of an end: after a disable every door is tried until none opens, and the time from the order to zero access is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.errors import DomainError, NotSignedIn
from server.people import sessions, tokens
from server.people.hr.tables import deprovisionings, hr_accounts, hr_persons
from server.people.hr.targets.doors import DoorState, try_target
from server.people.identify import identify
from server.people.open_sockets import OpenSockets
from server.people.tables import api_keys, cas_links, users
from server.people.tables import sessions as sessions_table
from server.people.told import tell_holders
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce
from server.platform.tasks import Queue, TaskQueued, enqueue
from server.scopes import system_actor

AT_ONCE = 100
# Sessions that are tried; who had more than these has the newest tried.
SESSIONS_TRIED = 5
# So long a door may stay open before the case is called open and people are told.
PATIENCE = timedelta(hours=24)


class ProofState(StrEnum):
    CHECKING = "checking"
    PROVEN = "proven"  # every door was tried, and none opened
    OPEN = "open"  # a door stayed open too long: people have to look


class Check(msgspec.Struct, frozen=True):
    """One door as it was last tried."""

    door: str
    state: DoorState
    at: datetime
    detail: str = ""


PROVE = "accounts.prove"
Door = Callable[[], Awaitable[tuple[DoorState, str]]]


def open_cases(connection: sa.Connection, person_ids: Sequence[int], run_id: str | None, ordered_at: datetime) -> None:
    """Note in the caller's transaction that the access of people (at most some hundreds) is to end; `prove` takes it from there."""
    drop_cases(connection, person_ids)
    case: dict[str, Any] = {"run_id": run_id, "state": ProofState.CHECKING.value, "ordered_at": ordered_at, "checks": [], "tries": 0}
    if person_ids:
        connection.execute(deprovisionings.insert(), [{"person_id": person_id, **case} for person_id in person_ids])


def drop_cases(connection: sa.Connection, person_ids: Sequence[int]) -> None:
    """Whoever is let in again, or is to go once more, has nothing left to prove from before."""
    checking = deprovisionings.c.state == ProofState.CHECKING.value
    if person_ids:
        connection.execute(deprovisionings.delete().where(deprovisionings.c.person_id.in_(person_ids), checking))


async def ask_for_proof(ctx: Context) -> None:
    """Have the doors tried soon, when there is a case to prove."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> str | None:
        checking = sa.select(deprovisionings.c.id).where(deprovisionings.c.state == ProofState.CHECKING.value).limit(1)
        if connection.execute(checking).first() is None:
            return None
        return enqueue(connection, Queue.ACCOUNT_PROCESSING, PROVE, {}, now=now, unique_key=PROVE)

    if await ctx.sql.write(transaction) is not None:
        await ctx.events.publish(TaskQueued(Queue.ACCOUNT_PROCESSING.value))


async def prove_all(ctx: Context) -> dict[str, int]:
    """Try the doors of all cases that are not proven yet; how many were proven and how many are not."""
    counts = {"proven": 0, "checking": 0, "open": 0}
    after = 0
    while True:
        wanted = (
            sa.select(deprovisionings.c.id)
            .where(deprovisionings.c.state == ProofState.CHECKING.value, deprovisionings.c.id > after)
            .order_by(deprovisionings.c.id)
            .limit(AT_ONCE)
        )
        cases = await ctx.sql.read(lambda connection, wanted=wanted: list(connection.execute(wanted).scalars()))  # type: ignore[misc]
        for case_id in cases:
            counts[(await prove(ctx, case_id)).value] += 1
            after = case_id
        if len(cases) < AT_ONCE:
            return counts


async def prove(ctx: Context, case_id: int) -> ProofState:
    """Try every door of one case, and keep what was found."""
    case = await ctx.sql.read(
        lambda connection: connection.execute(sa.select(deprovisionings).where(deprovisionings.c.id == case_id)).one()
    )
    theirs = sa.select(hr_accounts).where(hr_accounts.c.person_id == case.person_id)
    accounts = await ctx.sql.read(lambda connection: connection.execute(theirs).all())
    checks: list[Check] = []
    for account in accounts:
        if account.user_id is not None and await _is_active(ctx, account.user_id):
            checks.append(Check("account", DoorState.OPEN, ctx.clock.now(), "the account is active"))  # its doors open: no need to try
        elif account.user_id is not None:
            for door, attempt in _our_doors(ctx, account.user_id).items():
                checks.append(await _tried(ctx, door, attempt))
        else:
            checks.append(await _tried(ctx, f"target:{account.target_id}", lambda account=account: try_target(ctx, account)))  # type: ignore[misc]
    user_id = next((account.user_id for account in accounts if account.user_id is not None), None)
    return await _keep(ctx, case, user_id, checks)


async def _is_active(ctx: Context, user_id: int) -> bool:
    state = sa.select(users.c.state).where(users.c.id == user_id)
    return bool(await ctx.sql.read(lambda connection: connection.execute(state).scalar()) == "active")


async def _tried(ctx: Context, door: str, attempt: Door) -> Check:
    try:
        state, detail = await attempt()
    except DomainError as error:  # a target or the bus is away: asked again later
        state, detail = DoorState.UNKNOWN, f"{type(error).__name__}: {error}"
    return Check(door, state, ctx.clock.now(), detail[:300])


async def _keep(ctx: Context, case: Any, user_id: int | None, checks: list[Check]) -> ProofState:
    """Write a try down. Proven when every door is closed; one that can never be asked neither proves nor hinders."""
    now = ctx.clock.now()
    if all(check.state in (DoorState.CLOSED, DoorState.UNTOLD) for check in checks):
        state = ProofState.PROVEN
    else:
        state = ProofState.OPEN if now - case.ordered_at > PATIENCE else ProofState.CHECKING
    values: dict[str, Any] = {"state": state.value, "checks": msgspec.to_builtins(checks), "tries": case.tries + 1, "user_id": user_id}
    if state is ProofState.PROVEN:
        values["zero_at"] = now
    still = deprovisionings.update().where(deprovisionings.c.id == case.id, deprovisionings.c.state == ProofState.CHECKING.value)

    def transaction(connection: sa.Connection) -> Told | None:
        kept = connection.execute(still.values(values)).rowcount == 1
        return _tell(connection, now, case, checks) if kept and state is ProofState.OPEN else None

    if (told := await ctx.sql.write(transaction)) is not None:
        await announce(ctx, told)
    return state


def _tell(connection: sa.Connection, now: datetime, case: Any, checks: list[Check]) -> Told:
    """Those who look after HR have to look."""
    name = connection.execute(sa.select(hr_persons.c.name).where(hr_persons.c.id == case.person_id)).scalar()
    doors = ", ".join(check.door for check in checks if check.state in (DoorState.OPEN, DoorState.UNKNOWN))
    params = {"person": name or "", "doors": doors}
    return tell_holders(connection, now, "hr:write", Kind.ACCESS_OPEN, f"deprovisioning:{case.id}", params, "/#/hr/deprovisionings")


def _our_doors(ctx: Context, user_id: int) -> dict[str, Door]:
    """What opens our own house to a user, each with an attempt to go through it."""
    return {
        "sign_in": lambda: _sign_in(ctx, user_id),
        "cas": lambda: _cas(ctx, user_id),
        "refresh_token": lambda: _tokens(ctx, user_id, "refresh"),
        "access_token": lambda: _tokens(ctx, user_id, "access"),
        "api_keys": lambda: _api_keys(ctx, user_id),
        "sockets": lambda: _sockets(ctx, user_id),
    }


async def _sign_in(ctx: Context, user_id: int) -> tuple[DoorState, str]:
    """Every way of signing in (password, mail code, CAS) ends in this one action: it must refuse."""
    actor = system_actor("proof")
    try:
        opened = await sessions.open_session(ctx, actor, user_id, method="proof", agent="proof of an end")
    except sessions.CredentialsWrong:
        return DoorState.CLOSED, "a session was refused"
    claims = tokens.read(ctx.secrets.secret_key, "access", opened.access_token, now=ctx.clock.now())
    await sessions.log_out(ctx, msgspec.structs.replace(actor, session_id=claims.session_id, user_id=user_id))
    return DoorState.OPEN, "a session could be opened"


async def _cas(ctx: Context, user_id: int) -> tuple[DoorState, str]:
    held = sa.select(sa.func.count()).select_from(cas_links).where(cas_links.c.user_id == user_id)
    links = await ctx.sql.read(lambda connection: connection.execute(held).scalar_one())
    if not links:
        return DoorState.CLOSED, "no account at the CAS server is linked"
    state, detail = await _sign_in(ctx, user_id)
    return state, f"{links} linked: {detail}"


async def _tokens(ctx: Context, user_id: int, use: tokens.Use) -> tuple[DoorState, str]:
    """Tokens of the newest sessions, as their owner may still hold them, are tried."""
    newest = (
        sa.select(sessions_table.c.id, sessions_table.c.generation)
        .where(sessions_table.c.user_id == user_id)
        .order_by(sessions_table.c.created_at.desc())
        .limit(SESSIONS_TRIED)
    )
    rows = await ctx.sql.read(lambda connection: connection.execute(newest).all())
    for row in rows:
        claims = tokens.Claims(user_id, row.id, row.generation)
        held = tokens.issue(ctx.secrets.secret_key, use, claims, now=ctx.clock.now(), life=timedelta(minutes=1))
        try:
            if use == "refresh":
                await sessions.refresh(ctx, system_actor("proof"), held)
            else:
                await identify(ctx, held, address="")
        except NotSignedIn:
            continue
        return DoorState.OPEN, f"a token of session {row.id} still opens"
    return DoorState.CLOSED, f"tokens of {len(rows)} sessions were refused"


async def _api_keys(ctx: Context, user_id: int) -> tuple[DoorState, str]:
    live = sa.select(sa.func.count()).select_from(api_keys).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    held = await ctx.sql.read(lambda connection: connection.execute(live).scalar_one())
    return (DoorState.OPEN if held else DoorState.CLOSED), f"{held} keys hold"


async def _sockets(ctx: Context, user_id: int) -> tuple[DoorState, str]:
    count = await ctx.services.get(OpenSockets).of(user_id)
    if count is None:
        return DoorState.UNKNOWN, "not every instance has answered"
    return (DoorState.OPEN if count else DoorState.CLOSED), f"{count} open"
