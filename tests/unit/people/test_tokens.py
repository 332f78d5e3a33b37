"""Tokens: only our own, for their own purpose, in their own time."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from server.people.tokens import Claims, TokenExpired, TokenInvalid, issue, read

SECRET = "s" * 40
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LIFE = timedelta(minutes=15)
CLAIMS = Claims(user_id=7, session_id="abc", generation=3)


def payload(**changes: Any) -> dict[str, Any]:
    at = int(NOW.timestamp())
    whole = {"iss": "zhihui", "aud": "zhihui", "sub": "7", "sid": "abc", "use": "access", "gen": 3, "iat": at, "nbf": at, "exp": at + 900}
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_what_is_issued_is_read() -> None:
    assert read(SECRET, "access", issue(SECRET, "access", CLAIMS, now=NOW, life=LIFE), now=NOW) == CLAIMS
    assert read(SECRET, "access", jwt.encode(payload(), SECRET, algorithm="HS256"), now=NOW) == CLAIMS


@pytest.mark.parametrize(("use", "asked"), [("access", "refresh"), ("refresh", "access")])
def test_a_token_is_good_for_one_thing(use: Any, asked: Any) -> None:
    with pytest.raises(TokenInvalid):
        read(SECRET, asked, issue(SECRET, use, CLAIMS, now=NOW, life=LIFE), now=NOW)


def test_it_ends_when_its_time_is_over() -> None:
    token = issue(SECRET, "access", CLAIMS, now=NOW, life=LIFE)
    assert read(SECRET, "access", token, now=NOW + LIFE - timedelta(seconds=1)) == CLAIMS
    with pytest.raises(TokenExpired):
        read(SECRET, "access", token, now=NOW + LIFE)


def test_it_does_not_hold_before_its_time() -> None:
    token = issue(SECRET, "access", CLAIMS, now=NOW, life=LIFE)
    assert read(SECRET, "access", token, now=NOW - timedelta(seconds=4)) == CLAIMS
    with pytest.raises(TokenInvalid):
        read(SECRET, "access", token, now=NOW - timedelta(seconds=6))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
def test_unsigned_tokens_are_refused(algorithm: str) -> None:
    for signature in ("", "x"):
        with pytest.raises(TokenInvalid):
            read(SECRET, "access", f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(payload())}.{signature}", now=NOW)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    with pytest.raises(TokenInvalid):
        read(SECRET, "access", jwt.encode(payload(), SECRET * 2, algorithm=algorithm), now=NOW)


@pytest.mark.parametrize("name", list(payload()))
def test_every_claim_is_needed(name: str) -> None:
    with pytest.raises(TokenInvalid):
        read(SECRET, "access", jwt.encode(payload(**{name: None}), SECRET, algorithm="HS256"), now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "elsewhere"},
        {"iss": "elsewhere"},
        {"use": "admin"},
        {"sub": "seven"},
        {"gen": "third"},
        {"exp": "soon"},
        {"nbf": "soon"},
        {"exp": [1]},
        {"gen": {}},
    ],
    ids=str,
)
def test_wrong_claims_are_refused(wrong: dict[str, Any]) -> None:
    # by hand: the library would not sign some of them
    with pytest.raises(TokenInvalid):
        read(SECRET, "access", jwt.api_jws.encode(json.dumps(payload(**wrong)).encode(), SECRET, algorithm="HS256"), now=NOW)


def test_a_tampered_token_is_refused() -> None:
    head, body, signature = issue(SECRET, "access", CLAIMS, now=NOW, life=LIFE).split(".")
    for forged in (
        f"{head}.{part(payload(sub='1'))}.{signature}",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body}",
        "",
        "x",
        "a.b.c",
        "…",
    ):
        with pytest.raises(TokenInvalid):
            read(SECRET, "access", forged, now=NOW)


def test_another_installations_token_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        read("t" * 40, "access", issue(SECRET, "access", CLAIMS, now=NOW, life=LIFE), now=NOW)
