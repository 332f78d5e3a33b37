"""Mail codes: asked for, mailed, brought back; registering and signing in with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from server.clock import Clock, HeldClock
from server.config import Settings
from server.context import Context
from server.people.codes import MOST_TRIES
from server.people.tables import role_grants, users
from server.platform.tables import audit_log
from tests.api.client import Answer, Api
from tests.api.mailed_codes import ask, code_for, code_in, mails, other_than, text_of
from tests.api.module import until
from tests.api.people import user
from tests.embedded import settings_in
from tests.peers.smtp import SmtpPeer, running_smtp

CODE, REGISTER, LOGIN = "/api/auth/code", "/api/auth/register", "/api/auth/login-code"
MAILBOX = "New.One@Example.org"
PASSWORD = "quite another secret"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def registration() -> str:
    return "on"


@pytest.fixture
def smtp() -> Iterator[SmtpPeer]:
    with running_smtp() as peer:
        yield peer


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, registration: str) -> Settings:
    more: dict[str, object] = dict(request.param) if hasattr(request, "param") else {}
    if "smtp" in request.fixturenames:
        more |= {"email_host": "127.0.0.1", "email_port": request.getfixturevalue("smtp").port, "email_from": "zhihui@example.org"}
    return settings_in(tmp_path_factory.mktemp("registration") / "data", registration=registration, **more)


async def register(api: Api, code: str, **more: str) -> Answer:
    return await api.post(REGISTER, {"email": MAILBOX, "code": code, "username": "newone", "password": PASSWORD, **more})


async def log_in(api: Api, code: str, email: str = MAILBOX) -> Answer:
    return await api.post(LOGIN, {"email": email, "code": code})


async def with_mailbox(ctx: Context, anonymous: Api) -> Api:
    """A user who has the mailbox."""
    api = await user(ctx, anonymous, "owner", "student")
    mailbox = users.update().where(users.c.username == "owner").values(email=MAILBOX, email_key=MAILBOX.casefold())
    await ctx.sql.write(lambda connection: connection.execute(mailbox))
    return api


@pytest.mark.gen_test
async def test_who_proves_a_mailbox_becomes_a_student(anonymous: Api, ctx: Context) -> None:
    made = (await register(anonymous, await code_for(ctx, anonymous, MAILBOX, "register"))).result
    assert (made["username"], made["email"], made["roles"]) == ("newone", MAILBOX, ["student"])
    for name in ("newone", "NEWONE", MAILBOX.lower()):
        pair = (await anonymous.post("/api/auth/login", {"username": name, "password": PASSWORD})).result
        assert pair["user"] == made
    me = anonymous.as_caller(pair["access_token"])
    assert (await me.get("/api/documents")).status == 200
    assert (await me.get("/api/users")).status == 403
    granted = sa.select(role_grants).where(role_grants.c.user_id == made["id"])
    assert [row.organization_id for row in await ctx.sql.read(lambda connection: connection.execute(granted).all())] == [1]


@pytest.mark.parametrize("registration", ["off"])
@pytest.mark.gen_test
async def test_registration_is_off_unless_it_is_on(anonymous: Api, ctx: Context) -> None:
    assert Settings().registration == "off"
    await ask(anonymous, MAILBOX, "register")
    assert await mails(ctx) == []
    refused = await register(anonymous, "123456")
    assert (refused.status, refused.type) == (403, "registration_off")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"username": "a@b"}, "username"),
        ({"username": "two words"}, "username"),
        ({"username": "x"}, "username"),
        ({"username": "a\u0000b"}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"username": "Admin"}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "newone2026"}, "password"),
        ({"password": "12345678"}, "password"),
        ({"email": "nobody"}, "email"),
    ],
)
@pytest.mark.gen_test
async def test_what_is_refused_does_not_use_the_code_up(anonymous: Api, ctx: Context, more: dict[str, str], field: str) -> None:
    code = await code_for(ctx, anonymous, MAILBOX, "register")
    for _ in range(MOST_TRIES + 1):
        assert (await register(anonymous, code, **more)).fields == [field]
    assert (await register(anonymous, code)).status == 200


@pytest.mark.gen_test
async def test_only_who_has_a_code_hears_which_names_are_taken(anonymous: Api) -> None:
    for name in ("admin", "nobody"):
        assert (await register(anonymous, "000000", username=name)).type == "code_wrong"


@pytest.mark.gen_test
async def test_a_mailbox_with_an_account_is_told_so_by_mail_alone(anonymous: Api, ctx: Context) -> None:
    await with_mailbox(ctx, anonymous)
    await ask(anonymous, MAILBOX, "register", headers={"Accept-Language": "en"})
    (mail,) = await mails(ctx)
    assert "belongs to owner already" in text_of(mail)
    with pytest.raises(ValueError, match="unpack"):
        code_in(mail)


@pytest.mark.gen_test
async def test_signing_in_with_a_code(anonymous: Api, ctx: Context) -> None:
    await with_mailbox(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "login")
    pair = (await log_in(anonymous, f" {code} ", MAILBOX.upper())).result
    assert pair["user"]["username"] == "owner"
    (current, other) = (await anonymous.get("/api/auth/sessions", token=pair["access_token"])).result["items"]
    assert (current["method"], current["current"], other["method"]) == ("code", True, "password")
    assert (await log_in(anonymous, code)).type == "code_wrong"


@pytest.mark.parametrize("settings", [{"rate_limit": "off"}], indirect=True)
@pytest.mark.gen_test
async def test_a_code_used_many_times_at_once_counts_once(anonymous: Api, ctx: Context) -> None:
    await with_mailbox(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "login")
    answers = await asyncio.gather(*(log_in(anonymous, code) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + 7 * [401]
    registering = await code_for(ctx, anonymous, "other@example.org", "register")
    names = [register(anonymous, registering, email="other@example.org", username=f"other{n}") for n in range(4)]
    assert sorted(answer.status for answer in await asyncio.gather(*names)) == [200, 401, 401, 401]


@pytest.mark.gen_test
async def test_a_code_holds_for_its_mailbox_and_its_purpose(anonymous: Api, ctx: Context) -> None:
    await with_mailbox(ctx, anonymous)
    other = await user(ctx, anonymous, "other", "student")
    assert (await other.get("/api/auth/me")).status == 200
    mailbox = users.update().where(users.c.username == "other").values(email="o@example.org", email_key="o@example.org")
    await ctx.sql.write(lambda connection: connection.execute(mailbox))
    code = await code_for(ctx, anonymous, MAILBOX, "login")
    assert (await log_in(anonymous, code, "o@example.org")).type == "code_wrong"
    for_other = await code_for(ctx, anonymous, "o@example.org", "reset")
    assert (await log_in(anonymous, for_other, "o@example.org")).type == "code_wrong"
    reset = {"email": MAILBOX, "code": code, "password": PASSWORD}
    assert (await anonymous.post("/api/auth/reset-password", reset)).type == "code_wrong"
    assert (await register(anonymous, code)).type == "code_wrong"
    assert (await log_in(anonymous, code)).status == 200


@pytest.mark.gen_test
async def test_a_code_ends_after_ten_minutes(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    await with_mailbox(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "login")
    clock.advance(seconds=599)
    assert (await log_in(anonymous, code)).status == 200
    clock.advance(seconds=300)
    code = await code_for(ctx, anonymous, MAILBOX, "login")
    clock.advance(seconds=600)
    assert (await log_in(anonymous, code)).type == "code_wrong"


@pytest.mark.gen_test
async def test_a_mail_that_comes_too_late_is_not_sent(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    await with_mailbox(ctx, anonymous)
    await ask(anonymous, MAILBOX, "login")
    clock.advance(seconds=600)
    assert await mails(ctx) == []


@pytest.mark.parametrize("settings", [{"rate_limit": "off"}], indirect=True)
@pytest.mark.gen_test
async def test_a_code_survives_five_wrong_tries(anonymous: Api, ctx: Context) -> None:
    await with_mailbox(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "login")
    for _ in range(MOST_TRIES - 1):
        assert (await log_in(anonymous, other_than(code))).type == "code_wrong"
    assert (await log_in(anonymous, code)).status == 200
    code = await code_for(ctx, anonymous, MAILBOX, "login")
    wrong = await asyncio.gather(*(log_in(anonymous, other_than(code)) for _ in range(MOST_TRIES)))
    assert {answer.type for answer in wrong} == {"code_wrong"}
    assert (await log_in(anonymous, code)).type == "code_wrong"
    newer = await code_for(ctx, anonymous, MAILBOX, "login")
    assert (await log_in(anonymous, newer)).status == 200


@pytest.mark.parametrize("settings", [{"rate_limit": "off"}], indirect=True)
@pytest.mark.gen_test
async def test_a_newer_code_takes_the_olders_place(anonymous: Api, ctx: Context) -> None:
    await with_mailbox(ctx, anonymous)
    older = await code_for(ctx, anonymous, MAILBOX, "login")
    newer = await code_for(ctx, anonymous, MAILBOX, "login")
    if older != newer:  # one time in a million
        assert (await log_in(anonymous, older)).type == "code_wrong"
    assert (await log_in(anonymous, newer)).status == 200


@pytest.mark.gen_test
async def test_guessing_is_slowed_down(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    for email in (MAILBOX, "nobody@example.org"):  # the same whether there is such a mailbox or not
        for _ in range(5):
            assert (await log_in(anonymous, "000000", email)).type == "code_wrong"
        late = await log_in(anonymous, "000000", email)
        assert (late.status, late.headers["Retry-After"]) == (429, "2")
    clock.advance(seconds=2)
    assert (await log_in(anonymous, "000000")).type == "code_wrong"
    assert (await log_in(anonymous, "000000")).headers["Retry-After"] == "4"


@pytest.mark.gen_test
async def test_a_mailbox_is_not_flooded(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    await with_mailbox(ctx, anonymous)
    for pause in (60, 120, 240):
        asked = await asyncio.gather(*(anonymous.post(CODE, {"email": MAILBOX, "purpose": "login"}) for _ in range(3)))
        assert sorted(answer.status for answer in asked) == [200, 429, 429]
        again = await anonymous.post(CODE, {"email": MAILBOX.lower(), "purpose": "login"})
        assert (again.status, again.type, again.headers["Retry-After"]) == (429, "too_many", str(pause))
        assert len(await mails(ctx)) == 1
        clock.advance(seconds=pause)
    await ask(anonymous, MAILBOX, "login")
    await ask(anonymous, MAILBOX, "reset")  # what others ask for does not keep the owner from it
    unknown = [await anonymous.post(CODE, {"email": "nobody@example.org", "purpose": "login"}) for _ in range(2)]
    assert [answer.status for answer in unknown] == [200, 429]  # the same without an account


@pytest.mark.gen_test
async def test_one_address_cannot_ask_for_very_many_mailboxes(anonymous: Api, clock: HeldClock) -> None:
    for number in range(50):
        await ask(anonymous, f"m{number}@example.org", "login")
    late = await anonymous.post(CODE, {"email": "one-more@example.org", "purpose": "login"})
    assert (late.status, late.headers["Retry-After"]) == (429, "2")
    clock.advance(seconds=2)
    await ask(anonymous, "one-more@example.org", "login")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "nobody", "purpose": "login"}, "email"),
        ({"email": "a@x.org, b@x.org", "purpose": "login"}, "email"),
        ({"email": "x" * 250 + "@x.org", "purpose": "login"}, "email"),
        ({"email": MAILBOX, "purpose": "enter"}, "purpose"),
        ({"email": MAILBOX}, "purpose"),
    ],
)
@pytest.mark.gen_test
async def test_a_request_that_is_wrong(anonymous: Api, ctx: Context, body: dict[str, str], field: str) -> None:
    assert (await anonymous.post(CODE, body)).fields == [field]
    assert await mails(ctx) == []


@pytest.mark.parametrize("settings", [{"environment": "test", "fixed_verification_code": "424242"}], indirect=True)
@pytest.mark.gen_test
async def test_a_fixed_code_holds_at_once_and_once(anonymous: Api) -> None:
    await ask(anonymous, MAILBOX, "register")
    assert (await register(anonymous, "424242")).status == 200
    assert (await register(anonymous, "424242", username="another")).type == "code_wrong"
    assert (await log_in(anonymous, "424242")).type == "code_wrong"  # nobody asked for that
    await ask(anonymous, "nobody@example.org", "login")
    assert (await log_in(anonymous, "424242", "nobody@example.org")).type == "code_wrong"


@pytest.mark.parametrize(("language", "said"), [("en", "signs in as owner"), ("zh", "您正在登录智汇账号 owner")])
@pytest.mark.gen_test
async def test_the_mail_speaks_the_callers_language(anonymous: Api, ctx: Context, language: str, said: str) -> None:
    await with_mailbox(ctx, anonymous)
    await ask(anonymous, MAILBOX, "login", headers={"Accept-Language": language})
    (mail,) = await mails(ctx)
    assert said in text_of(mail)
    assert "10" in text_of(mail)
    assert (await log_in(anonymous, code_in(mail))).status == 200


@pytest.mark.gen_test
async def test_registering_is_in_the_audit_log_and_the_code_is_not(anonymous: Api, ctx: Context) -> None:
    code = await code_for(ctx, anonymous, MAILBOX, "register")
    await register(anonymous, other_than(code))
    made = (await register(anonymous, code)).result
    asked = sa.select(audit_log).where(audit_log.c.action.in_(("code.refused", "user.register"))).order_by(audit_log.c.id)
    refused, registered = await ctx.sql.read(lambda connection: connection.execute(asked).all())
    assert (refused.target, refused.detail) == (f"mailbox:{MAILBOX.lower()}", {"purpose": "register"})
    assert (registered.target, registered.detail) == (f"user:{made['id']}", {"username": "newone", "role": "student"})
    assert registered.address == "127.0.0.1"
    assert code not in repr((refused, registered))


class TestWithWorkersAndARealServer:
    """The whole way: the task is worked off at once, and the mail goes by SMTP."""

    @pytest.fixture
    def loops(self) -> bool:
        return True

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.mark.gen_test
    async def test_a_code_comes_by_smtp(self, anonymous: Api, smtp: SmtpPeer) -> None:
        await ask(anonymous, MAILBOX, "register")

        async def has_come() -> bool:
            return len(smtp.messages) == 1

        await until(has_come)
        (mail,) = smtp.messages
        assert (smtp.recipients, mail["From"]) == ([[MAILBOX]], "zhihui@example.org")
        assert (await register(anonymous, code_in(mail))).status == 200
