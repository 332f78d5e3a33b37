"""Access and refresh tokens: signed JWTs that name a session, a generation and what they are for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import jwt
import msgspec

from server.errors import NotSignedIn

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "zhihui"
Use = Literal["access", "refresh"]
REQUIRED = ["iss", "aud", "sub", "sid", "use", "gen", "iat", "nbf", "exp"]


class TokenInvalid(NotSignedIn):
    type = "token_invalid"


class TokenExpired(NotSignedIn):
    type = "token_expired"


class Claims(msgspec.Struct, frozen=True):
    user_id: int
    session_id: str
    generation: int


def issue(secret: str, use: Use, claims: Claims, *, now: datetime, life: timedelta) -> str:
    """A token that holds from `now` for `life`."""
    seconds = int(now.timestamp())
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(claims.user_id),
        "sid": claims.session_id,
        "use": use,
        "gen": claims.generation,
        "iat": seconds,
        "nbf": seconds,
        "exp": seconds + int(life.total_seconds()),
    }
    return jwt.encode(payload, secret, algorithm=ALGORITHM)


def read(secret: str, use: Use, token: str, *, now: datetime) -> Claims:
    """What a token says. Raises TokenExpired or TokenInvalid, also for a refresh token where an access token is due."""
    verified = _verify(secret, use, token)
    _check_time(verified, now)
    return verified.claims


class _Verified(NamedTuple):
    """A token whose signature and form are right; its times are checked at each use."""

    claims: Claims
    not_before: int
    expires: int


def _verify(secret: str, use: Use, token: str) -> _Verified:
    try:
        payload = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
        if payload["use"] != use:
            raise TokenInvalid()
        claims = Claims(int(payload["sub"]), str(payload["sid"]), int(payload["gen"]))
        return _Verified(claims, int(payload["nbf"]), int(payload["exp"]))
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
        raise TokenInvalid() from error


def _check_time(verified: _Verified, now: datetime) -> None:
    seconds = now.timestamp()
    if seconds >= verified.expires:
        raise TokenExpired()
    if seconds < verified.not_before - 5:  # clocks of two instances differ a little
        raise TokenInvalid()


class TokenReader:
    """Reads access tokens, and remembers those whose signature it has verified; what they stand for is asked anew at each use."""

    MOST = 4096

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._verified: dict[str, _Verified] = {}

    def read(self, token: str, *, now: datetime) -> Claims:
        """What an access token says. Raises TokenExpired or TokenInvalid."""
        verified = self._verified.get(token)
        if verified is None:
            verified = _verify(self._secret, "access", token)
            if len(self._verified) >= self.MOST:
                self._verified.clear()  # whoever is still here comes again and is verified again
            self._verified[token] = verified
        _check_time(verified, now)
        return verified.claims
