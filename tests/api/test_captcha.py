"""A captcha after failed sign-ins and for mail codes, against a verifier that answers as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

from server.clock import HeldClock
from server.config import Settings, SettingsError, read_settings
from server.context import Context
from tests.api.client import Answer, Api
from tests.embedded import ADMIN_PASSWORD, settings_in
from tests.peers.http_peer import Answer as Said
from tests.peers.http_peer import HttpPeer, running_http

SECRET, SITE_KEY = "the-captchas-secret", "the-site-key"
RIGHT = {"username": "admin", "password": ADMIN_PASSWORD}
WRONG = {**RIGHT, "password": "wrong"}
ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def verifier(io_loop: IOLoop) -> Iterator[HttpPeer]:
    """It takes the answer `right`."""
    running = running_http()
    peer: HttpPeer = io_loop.run_sync(running.__aenter__)
    peer.answer = lambda request: Said(200, {"success": b"response=right" in request.body, "error-codes": []})
    yield peer
    io_loop.run_sync(lambda: running.__aexit__(None, None, None))


@pytest.fixture
def verify_url(verifier: HttpPeer) -> str:
    return verifier.url + "/siteverify"


@pytest.fixture
def settings(tmp_path: Any, verify_url: str) -> Settings:
    return settings_in(tmp_path / "data", captcha_verify_url=verify_url, captcha_secret=SECRET, captcha_site_key=SITE_KEY)


async def log_in(api: Api, body: dict[str, str], **more: Any) -> Answer:
    return await api.post("/api/auth/login", body, **more)


async def fail(api: Api, times: int, **more: Any) -> None:
    for _ in range(times):
        assert (await log_in(api, WRONG, **more)).type == "credentials_wrong"


@pytest.mark.gen_test
async def test_it_is_asked_for_after_three_failures(anonymous: Api, verifier: HttpPeer) -> None:
    await fail(anonymous, 3)
    asked = await log_in(anonymous, RIGHT)
    assert (asked.status, asked.type) == (422, "captcha_required")
    assert asked.error["fields"]["site_key"] == [SITE_KEY]
    assert asked.fields == ["captcha", "site_key"]
    assert verifier.requests == []
    wrong = await log_in(anonymous, {**RIGHT, "captcha": "wrong"})
    assert (wrong.type, wrong.error["fields"]["site_key"]) == ("captcha_wrong", [SITE_KEY])
    assert (await log_in(anonymous, {**RIGHT, "captcha": "right"})).status == 200
    form = parse_qs(verifier.requests[-1].body.decode())
    assert form == {"secret": [SECRET], "response": ["right"], "remoteip": ["127.0.0.1"]}
    assert verifier.requests[-1].path == "/siteverify"


@pytest.mark.gen_test
async def test_failures_of_the_account_count_from_anywhere(anonymous: Api) -> None:
    for number in range(3):
        await fail(anonymous, 1, headers={"X-Forwarded-For": f"203.0.113.{number}"})
    assert (await log_in(anonymous, RIGHT)).type == "captcha_required"
    assert (await log_in(anonymous, {**RIGHT, "captcha": "right"})).status == 200, "nobody is locked out"
    assert (await log_in(anonymous, RIGHT, headers=ELSEWHERE)).status == 200, "a success forgets what failed for the account"


@pytest.mark.gen_test
async def test_failures_of_the_address_count_for_any_account(anonymous: Api) -> None:
    for number in range(3):
        answer = await log_in(anonymous, {"username": f"nobody-{number}", "password": "x"})
        assert answer.type == "credentials_wrong"
    assert (await log_in(anonymous, RIGHT)).type == "captcha_required"
    assert (await log_in(anonymous, RIGHT, headers=ELSEWHERE)).status == 200, "a stranger elsewhere is not bothered"


@pytest.mark.gen_test
async def test_the_failures_are_forgotten(anonymous: Api, clock: HeldClock) -> None:
    await fail(anonymous, 3)
    assert (await log_in(anonymous, RIGHT)).type == "captcha_required"
    clock.advance(seconds=3601)
    assert (await log_in(anonymous, RIGHT)).status == 200


@pytest.mark.gen_test
async def test_guesses_that_come_at_once_do_not_pass_it_by(anonymous: Api) -> None:
    answers = await asyncio.gather(*(log_in(anonymous, WRONG) for _ in range(12)))
    told = [answer.type for answer in answers]
    assert told.count("credentials_wrong") <= 4, "two are checked at a time"
    assert told.count("captcha_required") >= 8


@pytest.mark.gen_test
async def test_each_mail_code_needs_one(anonymous: Api, ctx: Context) -> None:
    body = {"email": "ann@example.org", "purpose": "login"}
    assert (await anonymous.post("/api/auth/code", body)).type == "captcha_required"
    assert (await anonymous.post("/api/auth/code", {**body, "captcha": "wrong"})).type == "captcha_wrong"
    asked = await anonymous.post("/api/auth/code", {**body, "captcha": "right"})
    assert asked.result == {"expires_in": 600}, "what was refused has not begun the pause of the mailbox"
    assert (await anonymous.post("/api/auth/code", {**body, "captcha": "right"})).type == "too_many"


@pytest.mark.parametrize(
    "said",
    [
        Said(500),
        Said(302, "", {"Location": "http://127.0.0.1:1/"}),
        Said(200, "no JSON"),
        Said(200, {"ok": True}),
        Said(200, {"success": False, "error-codes": ["invalid-input-secret"]}),
    ],
    ids=["500", "elsewhere", "text", "another form", "our secret"],
)
@pytest.mark.gen_test
async def test_a_verifier_that_is_away_keeps_nobody_out(
    anonymous: Api, verifier: HttpPeer, clock: HeldClock, caplog: pytest.LogCaptureFixture, said: Said
) -> None:
    verifier.answer = lambda _request: said
    await fail(anonymous, 3)
    assert (await log_in(anonymous, RIGHT)).type == "captcha_required", "it is asked for all the same"
    for _ in range(2):
        assert (await log_in(anonymous, {**WRONG, "captcha": "x"})).type == "credentials_wrong"
    slowed = await log_in(anonymous, {**RIGHT, "captcha": "x"})
    assert slowed.type == "too_many", "the growing delay goes on"
    clock.advance(seconds=int(slowed.headers["Retry-After"]))
    assert (await log_in(anonymous, {**RIGHT, "captcha": "x"})).status == 200
    assert "a captcha could not be verified" in caplog.text
    assert SECRET not in caplog.text


class TestNobodyListens:
    @pytest.fixture
    def verify_url(self) -> str:
        socket, port = bind_unused_port()
        socket.close()
        return f"http://127.0.0.1:{port}/siteverify"

    @pytest.mark.gen_test
    async def test_nobody_is_kept_out(self, anonymous: Api) -> None:
        await fail(anonymous, 3)
        assert (await log_in(anonymous, {**RIGHT, "captcha": "x"})).status == 200


class TestNotSetUp:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> Settings:
        return settings_in(tmp_path / "data")

    @pytest.mark.gen_test
    async def test_nobody_is_asked(self, anonymous: Api) -> None:
        await fail(anonymous, 4)
        assert (await log_in(anonymous, {**RIGHT, "captcha": "anything"})).status == 200


@pytest.mark.parametrize("lacking", ["CAPTCHA_VERIFY_URL", "CAPTCHA_SECRET", "CAPTCHA_SITE_KEY"])
def test_its_settings_belong_together(lacking: str) -> None:
    given = {"CAPTCHA_VERIFY_URL": "http://x/", "CAPTCHA_SECRET": "s", "CAPTCHA_SITE_KEY": "k"}
    assert read_settings(given, None).captcha_after == 3
    del given[lacking]
    with pytest.raises(SettingsError, match="CAPTCHA_VERIFY_URL"):
        read_settings(given, None)
