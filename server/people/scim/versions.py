"""Versions of resources: weak entity tags, and what a client says of the one that it knows (RFC 7644, 3.14)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from server.people.scim.errors import VersionMismatch


def version_of(*parts: Any) -> str:
    """A weak entity tag of whatever tells one state of a resource from another."""
    said = "\n".join(part.isoformat() if isinstance(part, datetime) else str(part) for part in parts)
    return f'W/"{hashlib.sha256(said.encode()).hexdigest()[:20]}"'


def is_named(header: str, version: str) -> bool:
    """Whether an If-Match or If-None-Match names the version. Weak and strong tags compare alike: some clients drop the W/."""
    named = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in named or version.removeprefix("W/") in named


def check_match(if_match: str, version: str) -> None:
    """Raise VersionMismatch unless the client knows the present version, or does not say."""
    if if_match and not is_named(if_match, version):
        raise VersionMismatch()
