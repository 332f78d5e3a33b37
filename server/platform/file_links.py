"""Links to files that hold for a while: whoever has the link may fetch the file, and nobody can make one."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

from server.context import Context
from server.engines.files import FileMissing

LIFE = timedelta(days=7)


def sign(ctx: Context, sha256: str, *, now: datetime) -> str:
    """The address of a file, good for a week."""
    expires = int((now + LIFE).timestamp())
    return f"{ctx.settings.url}/files/{sha256}?expires={expires}&signature={_signature(ctx, sha256, expires)}"


def check(ctx: Context, sha256: str, expires: int, signature: str, *, now: datetime) -> None:
    """Raise FileMissing unless the link holds."""
    if now.timestamp() > expires or not hmac.compare_digest(_signature(ctx, sha256, expires).encode(), signature.encode()):
        raise FileMissing()


def _signature(ctx: Context, sha256: str, expires: int) -> str:
    return hmac.new(ctx.secrets.secret_key.encode(), f"file:{sha256}:{expires}".encode(), hashlib.sha256).hexdigest()[:40]
