"""How deep a JSON document is nested: what is too deep could be read but no longer written, or only on another stack."""

from __future__ import annotations

import re
from itertools import accumulate

DEEPEST = 100
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def is_too_deep(document: bytes | bytearray) -> bool:
    """Whether a valid JSON document has more than DEEPEST levels; takes time only for one that has as many brackets."""
    if document.count(b"[") + document.count(b"{") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", document).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > DEEPEST
