"""A new password by the present one or by a mail code, and what it ends."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from server.actor import NOBODY
from server.clock import HeldClock
from server.context import Context
from server.people import sessions as signing_in
from server.people.passwords import Passwords
from server.people.schemas import LoginRequest
from server.people.sessions import CredentialsWrong
from server.people.tables import users
from server.platform.tables import audit_log, tasks
from tests.api.client import Answer, Api
from tests.api.mailed_codes import ask, code_for, mails, other_than
from tests.api.people import user
from tests.api.test_live_events import browser

OLD, NEW = "a password", "quite another secret"
MAILBOX = "Ann@Example.org"
CHANGE, RESET = "/api/auth/change-password", "/api/auth/reset-password"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def ann(ctx: Context, anonymous: Api) -> Api:
    """A user with a mailbox, signed in."""
    api = await user(ctx, anonymous, "annabel", "student")
    mailbox = users.update().where(users.c.username == "annabel").values(email=MAILBOX, email_key=MAILBOX.casefold())
    await ctx.sql.write(lambda connection: connection.execute(mailbox))
    return api


async def sign_in(anonymous: Api, password: str) -> Answer:
    return await anonymous.post("/api/auth/login", {"username": "annabel", "password": password})


async def reset(anonymous: Api, code: str, email: str = MAILBOX, password: str = NEW) -> Answer:
    return await anonymous.post(RESET, {"email": email, "code": code, "password": password})


@pytest.mark.gen_test
async def test_a_change_keeps_this_session_and_ends_the_others(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    api = await ann(ctx, anonymous)
    pair = (await sign_in(anonymous, OLD)).result
    phone = anonymous.as_caller(pair["access_token"])
    clock.advance(seconds=5)
    async with browser(phone) as theirs, browser(api) as ours:
        assert (await api.post(CHANGE, {"old_password": OLD, "password": NEW})).result == {"done": True}
        assert await theirs.closed() == 4401
        assert await ours.ask("modules") == [("modules", "refused")]
    assert (await phone.get("/api/auth/me")).type == "session_over"
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})).status == 401
    assert (await api.get("/api/auth/me")).status == 200
    assert (await sign_in(anonymous, OLD)).type == "credentials_wrong"
    assert (await sign_in(anonymous, NEW)).status == 200
    asked = sa.select(users.c.password_changed_at).where(users.c.username == "annabel")
    assert await ctx.sql.read(lambda connection: connection.execute(asked).scalar_one()) == clock.now()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"old_password": "wrong", "password": NEW}, "old_password"),
        ({"old_password": OLD, "password": "short"}, "password"),
        ({"old_password": OLD, "password": "password123"}, "password"),
        ({"old_password": OLD, "password": "annabel1990"}, "password"),
        ({"old_password": OLD, "password": "ann@example.org"}, "password"),
        ({"old_password": OLD, "password": "x" * 1025}, "password"),
        ({"old_password": OLD}, "password"),
        ({"old_password": OLD, "password": NEW, "user_id": 1}, "user_id"),
    ],
)
@pytest.mark.gen_test
async def test_a_change_that_is_refused_changes_nothing(anonymous: Api, ctx: Context, body: dict[str, str], field: str) -> None:
    api = await ann(ctx, anonymous)
    phone = anonymous.as_caller((await sign_in(anonymous, OLD)).result["access_token"])
    assert (await api.post(CHANGE, body)).fields == [field]
    assert (await phone.get("/api/auth/me")).status == 200
    assert (await sign_in(anonymous, OLD)).status == 200


@pytest.mark.gen_test
async def test_of_two_changes_at_once_one_holds(anonymous: Api, ctx: Context) -> None:
    api = await ann(ctx, anonymous)
    answers = await asyncio.gather(*(api.post(CHANGE, {"old_password": OLD, "password": f"{NEW} {n}"}) for n in range(3)))
    assert sorted(answer.status for answer in answers) == [200, 422, 422]
    assert sorted([(await sign_in(anonymous, f"{NEW} {n}")).status for n in range(3)]) == [200, 401, 401]


@pytest.mark.gen_test
async def test_guessing_the_present_password_is_slowed_down(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    api = await ann(ctx, anonymous)
    for _ in range(5):
        assert (await api.post(CHANGE, {"old_password": "guess", "password": NEW})).status == 422
    late = await api.post(CHANGE, {"old_password": OLD, "password": NEW})
    assert (late.status, late.type) == (429, "too_many")
    clock.advance(seconds=int(late.headers["Retry-After"]))
    assert (await api.post(CHANGE, {"old_password": OLD, "password": NEW})).status == 200


@pytest.mark.gen_test
async def test_a_key_cannot_change_its_owners_password(anonymous: Api, ctx: Context) -> None:
    api = await ann(ctx, anonymous)
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["documents:read"]})).result["key"]
    assert (await anonymous.post(CHANGE, {"old_password": OLD, "password": NEW}, token=key)).status == 403
    assert (await sign_in(anonymous, OLD)).status == 200


@pytest.mark.gen_test
async def test_a_reset_ends_every_session(anonymous: Api, ctx: Context) -> None:
    api = await ann(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "reset")
    async with browser(api) as socket:
        assert (await reset(anonymous, code, " ann@example.ORG ")).result == {"done": True}
        assert await socket.closed() == 4401
    assert (await api.get("/api/auth/me")).type == "session_over"
    assert (await sign_in(anonymous, OLD)).status == 401
    assert (await sign_in(anonymous, NEW)).status == 200


@pytest.mark.gen_test
async def test_a_weak_password_does_not_use_a_code_up(anonymous: Api, ctx: Context) -> None:
    await ann(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "reset")
    for weak in ("short", "password123", "ann@example.org", "Annabel99", "annabel1", "annabel2", "annabel3"):
        assert (await reset(anonymous, code, password=weak)).fields == ["password"]
    assert (await reset(anonymous, code)).status == 200


@pytest.mark.gen_test
async def test_a_weak_password_says_nothing_about_an_account(anonymous: Api, ctx: Context) -> None:
    await ann(ctx, anonymous)
    assert (await reset(anonymous, "000000", password="annabel99")).type == "code_wrong"
    assert (await reset(anonymous, "000000", "nobody@example.org", "annabel99")).type == "code_wrong"


@pytest.mark.gen_test
async def test_one_answer_for_unknown_wrong_and_locked(anonymous: Api, ctx: Context) -> None:
    await ann(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "reset")
    await ask(anonymous, "nobody@example.org", "reset")
    assert await mails(ctx) == []  # nothing for a mailbox that nobody here has
    wrong = await reset(anonymous, other_than(code))
    unknown = await reset(anonymous, code, "nobody@example.org")
    never_asked = await reset(anonymous, code, "never@example.org")
    await ctx.sql.write(lambda connection: connection.execute(users.update().values(state="disabled")))
    locked = await reset(anonymous, code)
    assert {(answer.status, answer.type) for answer in (wrong, unknown, never_asked, locked)} == {(401, "code_wrong")}
    assert len({answer.envelope["message"] for answer in (wrong, unknown, never_asked, locked)}) == 1


@pytest.mark.gen_test
async def test_a_disabled_user_gets_no_code(anonymous: Api, ctx: Context) -> None:
    await ann(ctx, anonymous)
    await ctx.sql.write(lambda connection: connection.execute(users.update().values(state="disabled")))
    for purpose in ("reset", "login"):
        await ask(anonymous, MAILBOX if purpose == "reset" else "admin@example.org", purpose)
    assert await mails(ctx) == []


@pytest.mark.gen_test
async def test_a_sign_in_that_a_change_overtakes_opens_nothing(anonymous: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    api = await ann(ctx, anonymous)
    checked = signing_in.open_session

    async def overtaken(*given: object, **named: object) -> object:
        assert (await api.post(CHANGE, {"old_password": OLD, "password": NEW})).status == 200
        return await checked(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(signing_in, "open_session", overtaken)
    assert (await sign_in(anonymous, OLD)).type == "credentials_wrong"
    assert (await api.get("/api/auth/sessions")).result["total"] == 1


@pytest.mark.gen_test
async def test_nobody_who_is_disabled_gets_a_session_by_any_method(anonymous: Api, ctx: Context) -> None:
    api = await ann(ctx, anonymous)
    user_id = (await api.get("/api/auth/me")).result["id"]
    await ctx.sql.write(lambda connection: connection.execute(users.update().values(state="disabled")))
    with pytest.raises(CredentialsWrong):
        await signing_in.open_session(ctx, NOBODY, user_id, method="cas", agent="")
    with pytest.raises(CredentialsWrong):
        await signing_in.log_in(ctx, NOBODY, LoginRequest(username="annabel", password=OLD), agent="")
    assert not ctx.services.get(Passwords).turn.locked()


@pytest.mark.gen_test
async def test_what_is_written_holds_no_secret(anonymous: Api, ctx: Context, caplog: pytest.LogCaptureFixture) -> None:
    api = await ann(ctx, anonymous)
    await api.post(CHANGE, {"old_password": "my-wrong-guess", "password": NEW})
    code = await code_for(ctx, anonymous, MAILBOX, "reset")
    await reset(anonymous, other_than(code))
    assert (await reset(anonymous, code)).status == 200
    await anonymous.as_caller((await sign_in(anonymous, NEW)).result["access_token"]).post(CHANGE, {"old_password": NEW, "password": OLD})
    asked = sa.select(audit_log).order_by(audit_log.c.id)
    rows = await ctx.sql.read(lambda connection: connection.execute(asked).all())
    noted = [row.action for row in rows if row.action.startswith(("password.", "code."))]
    assert noted == ["password.refused", "code.refused", "password.reset", "password.change"]
    queued = await ctx.sql.read(lambda connection: connection.execute(sa.select(tasks)).all())
    assert [row.kind for row in sorted(queued, key=lambda row: row.id)] == ["mail.code", "mail.account", "mail.account"]
    kept = [await ctx.bus.find(key) for key in list(getattr(ctx.bus, "_values", {}))]
    assert kept
    for written in (repr([row.detail for row in rows]), repr(queued), repr(kept), caplog.text):
        for secret in (code, OLD, NEW, "my-wrong-guess"):
            assert secret not in written
