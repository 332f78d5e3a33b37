"""Secrets that must be used again (a token of another system): sealed with a key that is derived from SECRET_KEY."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.context import Context
from server.errors import Conflict


class SealBroken(Conflict):
    """What was sealed cannot be opened: SECRET_KEY is another one now. The secret must be given again."""

    type = "seal_broken"


def _fernet(ctx: Context) -> Fernet:
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"zhihui sealed secrets").derive(ctx.secrets.secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def seal(ctx: Context, secrets: dict[str, Any]) -> str | None:
    """Encrypted text of what is secret; None when nothing is."""
    return _fernet(ctx).encrypt(msgspec.json.encode(secrets)).decode() if secrets else None


def unseal(ctx: Context, sealed: str | None) -> dict[str, Any]:
    """What `seal` took. Raises SealBroken."""
    if not sealed:
        return {}
    try:
        opened: dict[str, Any] = msgspec.json.decode(_fernet(ctx).decrypt(sealed.encode()))
    except InvalidToken as error:
        raise SealBroken() from error
    return opened
