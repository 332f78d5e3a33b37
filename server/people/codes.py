"""Mail codes: six digits that prove who reads a mailbox, for ten minutes and once.

A code lies on the bus as a keyed hash. It is made from a seed and SECRET_KEY, so that the task which mails it can tell it again
without its ever being stored.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import msgspec

from server.actor import Actor
from server.context import Context
from server.errors import Invalid, NotSignedIn, TooMany
from server.ids import new_id
from server.people import captcha, login_delay
from server.people.schemas import Captcha
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued, enqueue

MAIL_CODE = "mail.code"
LIFE_S = 600
DIGITS = 6
# Wrong ones that a code survives; whoever guesses hits with 5 in a million.
MOST_TRIES = 5
MAIL_ATTEMPTS = 5

# Between two codes for one mailbox and purpose: a minute, then twice as long each time. Not for all purposes together: whoever asks in
# somebody else's name would keep the owner from the code that the owner needs; so the owner has that code in the mail.
FIRST_PAUSE_S = 60
LONGEST_PAUSE_S = 900
# From one address, which may be a whole campus.
FREE_CODES_OF_ADDRESS = 50
FORGOTTEN_AFTER_S = 3600

_MAILBOX = re.compile(r"[^\s,;:<>()\[\]\\\"@\x00-\x1f\x7f]+@[^\s,;:<>()\[\]\\\"@\x00-\x1f\x7f]+")
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Purpose(StrEnum):
    REGISTER = "register"
    RESET = "reset"
    LOGIN = "login"


class CodeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`captcha` is needed where one is set up."""

    email: Email
    purpose: Purpose
    captcha: Captcha | None = None


class CodeAsked(msgspec.Struct):
    """The same whoever asks: `expires_in` is the life of a code in seconds."""

    expires_in: int


class CodeWrong(NotSignedIn):
    """Unknown, wrong, used, expired and tried too often look alike."""

    type = "code_wrong"


class Proof(msgspec.Struct, frozen=True):
    """A code that was right; it counts once, by `spend`."""

    code_id: str
    mailbox: str
    purpose: Purpose


class _Kept(msgspec.Struct, frozen=True):
    id: str
    hash: str


def mailbox_of(email: str) -> str:
    """A mail address as it is compared. Raises Invalid for what is none."""
    mailbox = email.strip().casefold()
    if not _MAILBOX.fullmatch(mailbox):
        raise Invalid.field("email", "sign_in.email_form")
    return mailbox


async def ask(ctx: Context, actor: Actor, request: CodeRequest) -> CodeAsked:
    """A new code for a mailbox; whether it is mailed depends on whether it is of use there, the answer does not.

    Raises TooMany for a mailbox or an address that asks too often; CaptchaRequired and CaptchaWrong where a captcha is set up.
    """
    mailbox = mailbox_of(request.email)
    # Before anything is counted: who has not passed it must not keep the mailbox's owner waiting.
    await captcha.check(ctx, actor, request.captcha)
    await _check_pauses(ctx, request.purpose, mailbox, actor.address)
    now, seed, code_id = ctx.clock.now(), secrets.token_hex(16), new_id()
    kept = _Kept(code_id, _hash(ctx, request.purpose, mailbox, code_id, code_from(ctx, seed)))
    payload = {
        "email": request.email.strip(),
        "purpose": request.purpose.value,
        "seed": seed,
        "locale": actor.locale,
        "until": (now + timedelta(seconds=LIFE_S)).isoformat(),
    }
    await ctx.bus.put(_key(request.purpose, mailbox), msgspec.json.encode(kept), ttl_s=LIFE_S)
    await ctx.sql.write(lambda connection: enqueue(connection, Queue.MAIL, MAIL_CODE, payload, now=now, max_attempts=MAIL_ATTEMPTS))
    await ctx.events.publish(TaskQueued(Queue.MAIL.value))
    return CodeAsked(expires_in=LIFE_S)


def code_from(ctx: Context, seed: str) -> str:
    """The code that a seed stands for; nobody can tell it without SECRET_KEY."""
    if ctx.settings.fixed_verification_code and ctx.settings.environment == "test":
        return ctx.settings.fixed_verification_code
    number = int.from_bytes(_keyed(ctx, f"mail-code:{seed}").digest()[:8])
    return f"{number % 10**DIGITS:0{DIGITS}}"


async def prove(ctx: Context, actor: Actor, email: str, purpose: Purpose, code: str) -> Proof:
    """Check a code without using it up. Raises CodeWrong, or TooMany after repeated failures from this address."""
    mailbox = mailbox_of(email)
    await login_delay.check(ctx, _account(purpose, mailbox), actor.address)
    found = await ctx.bus.find(_key(purpose, mailbox))
    if found is None:
        raise await refuse(ctx, actor, purpose, mailbox)
    kept = msgspec.json.decode(found, type=_Kept)
    # Counted before it is looked at: of many guesses that come at once no more are looked at than that.
    tried = await ctx.bus.increment(_tries(kept.id), ttl_s=LIFE_S)
    right = hmac.compare_digest(kept.hash, _hash(ctx, purpose, mailbox, kept.id, code.strip()))
    if tried > MOST_TRIES or not right or await ctx.bus.find(_spent(kept.id)) is not None:
        raise await refuse(ctx, actor, purpose, mailbox)
    await ctx.bus.increment(_tries(kept.id), ttl_s=LIFE_S, by=-1)
    return Proof(kept.id, mailbox, purpose)


async def spend(ctx: Context, actor: Actor, proof: Proof) -> None:
    """Use a code up. Of several who bring it at once one gets on, the others get CodeWrong."""
    if await ctx.bus.increment(_spent(proof.code_id), ttl_s=LIFE_S) != 1:
        raise await refuse(ctx, actor, proof.purpose, proof.mailbox)
    await login_delay.succeeded(ctx, _account(proof.purpose, proof.mailbox), actor.address)


async def refuse(ctx: Context, actor: Actor, purpose: Purpose, mailbox: str) -> CodeWrong:
    """Count a failure and note it; the error to raise."""
    await login_delay.failed(ctx, _account(purpose, mailbox), actor.address)
    await ctx.sql.write(
        lambda connection: audit.note(connection, ctx.clock.now(), actor, "code.refused", f"mailbox:{mailbox}", purpose=purpose.value)
    )
    return CodeWrong()


def pause_after(asked: int) -> int:
    """Seconds until a mailbox that has been asked for so many codes may be asked for the next: 60, 120, 240 … up to fifteen minutes."""
    return int(min(FIRST_PAUSE_S * 2 ** min(asked - 1, 16), LONGEST_PAUSE_S))


async def _check_pauses(ctx: Context, purpose: Purpose, mailbox: str, address: str) -> None:
    if ctx.settings.rate_limit == "off":
        return
    of_address = f"code-address:{address}"
    if (left := await ctx.bus.ttl(f"{of_address}:wait")) > 0:
        raise TooMany(retry_after=math.ceil(left))
    of_mailbox = f"code-mailbox:{purpose.value}:{_short(mailbox)}"
    asked = int(await ctx.bus.find(of_mailbox) or 0)
    # The first count opens the pause, so that of several who ask at once one gets through.
    if await ctx.bus.increment(f"{of_mailbox}:wait", ttl_s=pause_after(asked + 1)) > 1:
        raise TooMany(retry_after=max(1, math.ceil(await ctx.bus.ttl(f"{of_mailbox}:wait"))))
    await ctx.bus.increment(of_mailbox, ttl_s=FORGOTTEN_AFTER_S)
    number = await ctx.bus.increment(of_address, ttl_s=FORGOTTEN_AFTER_S)
    if seconds := login_delay.delay_after(number, FREE_CODES_OF_ADDRESS):
        await ctx.bus.put(f"{of_address}:wait", b"1", ttl_s=seconds)


def _keyed(ctx: Context, text: str) -> hmac.HMAC:
    return hmac.new(ctx.secrets.secret_key.encode(), text.encode(), hashlib.sha256)


def _hash(ctx: Context, purpose: Purpose, mailbox: str, code_id: str, code: str) -> str:
    return _keyed(ctx, f"mail-code-kept:{purpose.value}:{mailbox}:{code_id}:{code}").hexdigest()


def _short(mailbox: str) -> str:
    """Keys of the bus are plain ASCII; a mail address need not be."""
    return hashlib.sha256(mailbox.encode()).hexdigest()[:32]


def _key(purpose: Purpose, mailbox: str) -> str:
    return f"code:{purpose.value}:{_short(mailbox)}"


def _tries(code_id: str) -> str:
    return f"code-tries:{code_id}"


def _spent(code_id: str) -> str:
    return f"code-spent:{code_id}"


def _account(purpose: Purpose, mailbox: str) -> str:
    return f"code:{purpose.value}:{mailbox}"
