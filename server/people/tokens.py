"""Access and refresh tokens: signed JWTs that name a session, a generation and what they are for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

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
        seconds = now.timestamp()
        if seconds >= int(payload["exp"]):
            raise TokenExpired()
        if seconds < int(payload["nbf"]) - 5:  # clocks of two instances differ a little
            raise TokenInvalid()
        return Claims(int(payload["sub"]), str(payload["sid"]), int(payload["gen"]))
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise TokenInvalid() from error
