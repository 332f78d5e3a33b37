"""Where the server is and what the module shows it: addresses, and the key as a header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

DEFAULT_URL = "http://127.0.0.1:10080"


@dataclass(frozen=True, slots=True)
class Address:
    """The server's base URL (no slash at its end) and the module key, which never shows in a repr."""

    url: str
    key: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        headers = {"User-Agent": "zhihui-module"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return headers

    def path(self, path: str) -> str:
        """The full URL of one of the server's paths."""
        return f"{self.url}{path}"

    def websocket(self, module_hash: str, process: str) -> str:
        """The socket's URL: ws for http, wss for https. `process` tells the server a reconnection from a restart."""
        return f"ws{self.url.removeprefix('http')}/websocket?hash={quote(module_hash, safe='')}&protocol=2&process={process}"

    def resolve(self, url: str) -> str:
        """The full URL of a file reference, which may be a path on the server."""
        return urljoin(f"{self.url}/", url)

    def is_ours(self, url: str) -> bool:
        """Whether a URL has the server's own origin; only there may the key be shown."""
        ours, theirs = urlsplit(self.url), urlsplit(url)
        return (ours.scheme, ours.netloc.lower()) == (theirs.scheme, theirs.netloc.lower())


def read_address(url: str | None, key: str | None, environ: Mapping[str, str]) -> Address:
    """The address from arguments, else from ZHIHUI_URL and ZHIHUI_MODULE_KEY, else the default without a key.

    Raises ValueError naming `url` or `key`.
    """
    chosen = (url or environ.get("ZHIHUI_URL") or DEFAULT_URL).rstrip("/")
    parts = urlsplit(chosen)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"url: {chosen!r} is not an address such as {DEFAULT_URL}")
    secret = key or environ.get("ZHIHUI_MODULE_KEY") or None
    if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise ValueError("key: must be printable ASCII without spaces")
    return Address(chosen, secret)
