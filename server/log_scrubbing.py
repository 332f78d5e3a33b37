"""Scrubbing: what looks like a secret, or is one, never reaches a log line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from server.config import Settings

HIDDEN = "***"
SHORTEST = 6  # characters; hiding a shorter value would tear ordinary words apart
SECRET_SETTINGS = (
    "secret_key",
    "module_key",
    "admin_password",
    "mysql_password",
    "ark_api_key",
    "email_host_password",
    "metrics_token",
    "fixed_verification_code",
)
ADDRESS_SETTINGS = ("redis_url", "mongodb_host", "embedding_url", "llm_url", "email_api_url", "compute_url")

# Query parameters whose values are keys to something; `code` is the one-time code of single sign-on.
_QUERY = re.compile(r"(?i)((?:^|[?&;])[^=&;]*(?:key|ticket|token|password|secret|code|signature)=)[^&;#\s]+")

_QUOTE = r"""(?:\\*["'])"""
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # whole headers
    (
        re.compile(rf"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key)({_QUOTE}?\s*[:=]\s*{_QUOTE}?)[^\r\n\"'\\]+"),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    # fields of JSON, of keyword arguments and of forms, quoted or bare
    (
        re.compile(
            r"(?i)([\w-]*(?:password|passwd|secret|token|api[_-]?key|secret[_-]?key|module[_-]?key|credential))"
            rf"({_QUOTE}?\s*[:=]\s*)(?:b?\\*\"[^\"\r\n]*\"|b?\\*'[^'\r\n]*'|[^\s&,;\"'}}\])]+)"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"([?&]code=)[^\s&;\"'#]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(key|ticket|pwd)(=)[^\s&,;\"'})\]]+"), rf"\1\2{HIDDEN}"),
    # secrets that are known by their shape: API and module keys, JSON web tokens, password hashes, passwords in addresses
    (re.compile(r"\b(z[km]_)[A-Za-z0-9_-]{6,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), HIDDEN),
    (re.compile(r"\$argon2[a-z]+\$[^\s\"']+"), HIDDEN),
    (re.compile(r"\b([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s@/]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
)


def scrub_query(address: str) -> str:
    """A path with its query, the values of secret parameters hidden."""
    return _QUERY.sub(rf"\1{HIDDEN}", address) if "=" in address else address


def secret_values(settings: Settings) -> list[str]:
    """The secrets among the settings, passwords inside addresses included."""
    values = [str(getattr(settings, name)) for name in SECRET_SETTINGS]
    values += [urlsplit(str(getattr(settings, name))).password or "" for name in ADDRESS_SETTINGS]
    return [value for value in values if value]


class Scrubber:
    """Hides secrets in text: by their shape, by the name of their field, and the very values that it was given."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.hide(values)

    def hide(self, values: Iterable[str]) -> None:
        """Hide these values too, from now on, also as they look inside JSON. Values under six characters are left out."""
        for value in values:
            if len(value) >= SHORTEST:
                self._values |= {value, msgspec.json.encode(value).decode()[1:-1]}
        if self._values:
            self._known = re.compile("|".join(re.escape(value) for value in sorted(self._values, key=len, reverse=True)))

    def scrub(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text
