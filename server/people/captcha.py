"""A captcha, where one is set up: asked for after failed sign-ins and for each mail code, and verified by its maker's server."""

from __future__ import annotations

import hashlib
import logging
from urllib.parse import urlencode

import msgspec
from tornado.httpclient import HTTPClientError
from tornado.httputil import HTTPInputError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from server.actor import Actor
from server.context import Context
from server.errors import EngineAway, Fields, Invalid
from server.messages import text

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
REQUEST_TIMEOUT_S = 5.0
LARGEST_ANSWER = 64 << 10
FORGOTTEN_AFTER_S = 3600
# What the verifiers of reCAPTCHA, hCaptcha and Turnstile say when the fault is ours or theirs, not the person's.
NOT_THE_PERSON = frozenset(
    {"missing-input-secret", "invalid-input-secret", "sitekey-secret-mismatch", "internal-error", "bad-request", "invalid-keys"}
)


class CaptchaRequired(Invalid):
    """The field `captcha` is needed; the field `site_key` of the error is what the widget is made with."""

    type = "captcha_required"


class CaptchaWrong(Invalid):
    """The verifier does not take the answer: it is wrong, too old, or was used."""

    type = "captcha_wrong"


class CaptchaAway(EngineAway):
    """The verifier does not answer, or not as the protocol says."""

    type = "captcha_away"


class _Verdict(msgspec.Struct):
    success: bool
    error_codes: list[str] = msgspec.field(default_factory=list, name="error-codes")


async def check_sign_in(ctx: Context, actor: Actor, account: str, answer: str | None) -> bool:
    """Ask for a captcha once sign-ins have failed, from the address or for the account; whether one was needed and has been looked at.

    Raises CaptchaRequired and CaptchaWrong. A verifier that is away keeps nobody out: the growing delay goes on.
    """
    if not ctx.settings.captcha_verify_url or await _failures(ctx, account, actor.address) < ctx.settings.captcha_after:
        return False
    await check(ctx, actor, answer)
    return True


async def check(ctx: Context, actor: Actor, answer: str | None) -> None:
    """Raise CaptchaRequired or CaptchaWrong, where a captcha is set up; let pass when the verifier is away."""
    if not ctx.settings.captcha_verify_url:
        return
    if not answer:
        raise CaptchaRequired(fields=_fields(ctx, "captcha.required"))
    try:
        right = await _verify(ctx, answer, actor.address)
    except CaptchaAway as away:
        log.warning("a captcha could not be verified, and the caller is let through: %s", away.cause)
        return
    if not right:
        raise CaptchaWrong(fields=_fields(ctx, "captcha.wrong"))


async def failed(ctx: Context, account: str, address: str) -> None:
    """Count a failed sign-in."""
    if ctx.settings.captcha_verify_url:
        for key in _keys(account, address):
            await ctx.bus.increment(key, ttl_s=FORGOTTEN_AFTER_S)


async def succeeded(ctx: Context, account: str) -> None:
    """Forget what failed for the account; what failed from the address is remembered, for it may guess at many accounts."""
    if ctx.settings.captcha_verify_url:
        await ctx.bus.remove(_keys(account, "")[0])


async def _failures(ctx: Context, account: str, address: str) -> int:
    return max([int(await ctx.bus.find(key) or 0) for key in _keys(account, address)])


def _keys(account: str, address: str) -> tuple[str, str]:
    return f"captcha-account:{hashlib.sha256(account.encode()).hexdigest()[:32]}", f"captcha-address:{address}"


def _fields(ctx: Context, why: str) -> Fields:
    return {"captcha": [text(why)], "site_key": [text("captcha.site_key", site_key=ctx.settings.captcha_site_key)]}


async def _verify(ctx: Context, answer: str, address: str) -> bool:
    """Whether the verifier takes the answer (siteverify, as reCAPTCHA, hCaptcha and Turnstile have it). Raises CaptchaAway."""
    form = urlencode({"secret": ctx.settings.captcha_secret, "response": answer, "remoteip": address})
    client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=LARGEST_ANSWER)
    try:
        said = await client.fetch(
            ctx.settings.captcha_verify_url,
            method="POST",
            body=form,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            follow_redirects=False,  # the secret goes to nobody else
            decompress_response=False,
            raise_error=False,
        )
    except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
        raise CaptchaAway("captcha", type(error).__name__) from None
    finally:
        client.close()
    if said.code != 200:
        raise CaptchaAway("captcha", f"HTTP {said.code}")
    try:
        verdict = msgspec.json.decode(said.body or b"", type=_Verdict)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CaptchaAway("captcha", "its answer cannot be read") from None
    if not verdict.success and (faults := NOT_THE_PERSON.intersection(verdict.error_codes)):
        raise CaptchaAway("captcha", ", ".join(sorted(faults)))
    return verdict.success
