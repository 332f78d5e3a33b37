"""Values too large for a frame: kept as files, and passed on as `{"$file": {…}}` with a link."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.platform import file_links, file_references

LARGEST_INLINE = 256 << 10
JSON = "application/json"
SHA256 = re.compile(r"^[0-9a-f]{64}$")


class Kept(msgspec.Struct, frozen=True):
    """A file that a step's output or a run's args refer to."""

    sha256: str
    size: int
    content_type: str


async def put_away(ctx: Context, values: dict[str, Any]) -> tuple[dict[str, Any], list[Kept]]:
    """The values with each that is over 256 KiB of JSON as a file, and the files now referred to."""
    slim, kept = {}, []
    for name, value in values.items():
        reference = find_reference(value)
        if reference is not None:
            kept.append(reference)
            value = _as_reference(reference)
        else:
            encoded = msgspec.json.encode(value)
            if len(encoded) > LARGEST_INLINE:
                stored = await ctx.files.put(encoded)
                reference = Kept(stored.sha256, stored.size, JSON)
                kept.append(reference)
                value = _as_reference(reference)
        slim[name] = value
    return slim, kept


def find_reference(value: Any) -> Kept | None:
    """The file that a value stands for, or None when it is a plain value."""
    inner = value.get("$file") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(inner, dict) or not isinstance(sha256 := inner.get("sha256"), str) or not SHA256.match(sha256):
        return None
    size, content_type = inner.get("size"), inner.get("content_type")
    return Kept(sha256, size if isinstance(size, int) else 0, content_type if isinstance(content_type, str) else JSON)


def _as_reference(kept: Kept) -> dict[str, Any]:
    return {"$file": {"sha256": kept.sha256, "size": kept.size, "content_type": kept.content_type}}


def with_links(ctx: Context, values: dict[str, Any]) -> dict[str, Any]:
    """The values with a fresh link in each that is a file."""
    if not any(isinstance(value, dict) and "$file" in value for value in values.values()):
        return values
    linked = dict(values)
    for name, value in values.items():
        kept = find_reference(value)
        if kept is not None:
            linked[name] = {"$file": {**value["$file"], "url": file_links.sign(ctx, kept.sha256, now=ctx.clock.now())}}
    return linked


def refer(connection: sa.Connection, owner: str, kept: list[Kept], now: datetime) -> None:
    """Note that `owner` (such as step:<id>) needs these files."""
    for sha256, reference in {reference.sha256: reference for reference in kept}.items():
        file_references.refer(connection, owner, sha256, reference.size, reference.content_type, now)
