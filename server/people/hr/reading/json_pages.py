"""An answer of a REST source taken apart, in a thread: unpacked, decoded, and checked to be what it should be."""

from __future__ import annotations

import codecs
import hashlib
import zlib
from typing import Any, NamedTuple

import msgspec

from server.people.hr.field_map import dig
from server.people.hr.reading.pages import RawRow
from server.people.hr.refusals import EncodingUnclear, SourceNotJson, SourceTooLarge
from server.people.hr.source_schemas import Paging

# Some 30,000 persons; decoding more at once would keep other threads waiting for too long.
LARGEST_ANSWER = 8 << 20
SHOWN = 60


class JsonPage(NamedTuple):
    """`next` is the next cursor or address; `digest` tells whether two pages hold the same rows."""

    rows: list[RawRow]
    total: int | None
    next: str | None
    digest: bytes


def read_page(body: bytes, content_encoding: str, encoding: str, paging: Paging) -> JsonPage:
    """Raises EncodingUnclear, SourceNotJson and SourceTooLarge."""
    answer = _decoded(_unpacked(body, content_encoding), encoding)
    items = answer if not paging.items else dig(answer, paging.items)
    if not isinstance(items, list):
        raise SourceNotJson(detail=f"{paging.items or 'answer'}: {_kind(items)}")
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise SourceNotJson(detail=f"{paging.items or 'answer'}[{number}]: {_kind(item)}")
    total = dig(answer, paging.total) if paging.total and isinstance(answer, dict) else None
    if isinstance(total, str) and total.isdecimal() and len(total) < 12:
        total = int(total)
    if total is not None and (not isinstance(total, int) or isinstance(total, bool) or total < 0):
        raise SourceNotJson(detail=f"{paging.total}: {_kind(total)}")
    return JsonPage(items, total, _next(answer, paging), hashlib.sha256(msgspec.json.encode(items)).digest())


def _next(answer: Any, paging: Paging) -> str | None:
    if paging.style != "cursor":
        return None
    found = dig(answer, paging.next)
    if found is None or found == "" or found is False:
        return None
    if isinstance(found, (str, int)) and not isinstance(found, bool) and len(str(found)) <= 4096:
        return str(found)
    raise SourceNotJson(detail=f"{paging.next}: {_kind(found)}")


def _unpacked(body: bytes, content_encoding: str) -> bytes:
    kind = content_encoding.strip().lower()
    if kind in ("", "identity"):
        return body
    if kind not in ("gzip", "x-gzip"):
        raise SourceNotJson(detail=f"Content-Encoding: {kind[:SHOWN]}")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, LARGEST_ANSWER + 1)
    except zlib.error as error:
        raise SourceNotJson(detail=f"gzip: {error}") from None
    if len(unpacked) > LARGEST_ANSWER:
        raise SourceTooLarge(limit=f"{LARGEST_ANSWER >> 20} MiB")
    if not unpacker.eof:
        raise SourceNotJson(detail="gzip: cut off")
    return unpacked


def _decoded(body: bytes, encoding: str) -> Any:
    if encoding in ("gb18030", "utf-16"):
        try:
            body = body.decode(encoding).encode()
        except UnicodeError:
            raise EncodingUnclear(detail=encoding) from None
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        reason = str(error)
    except (UnicodeDecodeError, RecursionError) as error:
        reason = type(error).__name__
    try:
        written = body.decode()
    except UnicodeDecodeError:
        raise EncodingUnclear(detail="utf-8") from None
    if written.lstrip()[:1] == "<":
        reason = "HTML"
    raise SourceNotJson(detail=reason[:SHOWN] if written.strip() else "0 bytes")


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", int: "number", float: "number", bool: "truth value", type(None): "nothing"}
    return names.get(type(value), "something else")
