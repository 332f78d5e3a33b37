"""What a webhook is sent, in the format of its receiver: signed JSON of our own, or a message of a DingTalk or WeCom robot."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from server.messages import Locale, say

SIGNATURE = "X-Zhihui-Signature"
# What a message of a robot may have in bytes: WeCom says 4096 of markdown, DingTalk 20,000 of the whole body.
_MOST_BYTES = {"wecom": 4096, "dingtalk": 16_000}
# Robots take 20 messages a minute; what comes sooner is told together.
ROBOT_GAP_S = 3.0
BUSY_PAUSE_S = 60.0
# "Too many messages": DingTalk's and WeCom's.
_BUSY = frozenset({130101, 302033, 45009})


class Format(StrEnum):
    SIGNED = "signed"
    DINGTALK = "dingtalk"
    WECOM = "wecom"

    @property
    def gap_s(self) -> float:
        """Seconds between two messages."""
        return 0.0 if self is Format.SIGNED else ROBOT_GAP_S


class Line(msgspec.Struct, frozen=True):
    """One notification as it is told. `id` is the same however often it is sent; `link`: a whole address, or empty."""

    id: str
    kind: str
    text: str
    params: Mapping[str, Any]
    link: str
    at: datetime


class Outgoing(msgspec.Struct, frozen=True):
    """A POST."""

    url: str
    headers: dict[str, str]
    body: bytes


class NotTaken(Exception):
    """The receiver did not take it; the words hold no secret. `retry_after_s`: how long it asks to be left alone, if it does."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail[:300])
        self.retry_after_s = retry_after_s


def build(kind: Format, url: str, secret: str, lines: Sequence[Line], locale: Locale, now: datetime) -> Outgoing:
    """The POST that tells the lines."""
    return _BUILDERS[kind](url, secret, lines, locale, now)


def signature(secret: str, body: bytes, at: int) -> str:
    """`t=<seconds>,v1=<HMAC-SHA256 in hex of "<seconds>.<body>">`: the receiver refuses what is old, or signed otherwise."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def dingtalk_address(url: str, secret: str, at_ms: int) -> str:
    """The robot's address with `timestamp` and `sign`: base64 of HMAC-SHA256, keyed with the secret, of "<ms>\\n<secret>".

    DingTalk, custom robots, security settings (加签); it takes a timestamp for an hour.
    """
    if not secret:
        return url
    signed = hmac.new(secret.encode(), f"{at_ms}\n{secret}".encode(), hashlib.sha256).digest()
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("timestamp", "sign")]
    query += [("timestamp", str(at_ms)), ("sign", base64.b64encode(signed).decode())]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))


def check_answer(kind: Format, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise NotTaken unless the receiver took it: any 2xx, and of a robot `errcode` 0."""
    if not 200 <= status < 300:
        after = headers.get("Retry-After", "")
        raise NotTaken(f"HTTP {status}", min(float(after), 3600.0) if after.isascii() and after.isdigit() else None)
    if kind is Format.SIGNED:
        return
    try:
        said = msgspec.json.decode(body, type=_Said)
    except msgspec.MsgspecError:
        raise NotTaken("its answer cannot be read") from None
    if said.errcode:
        raise NotTaken(f"errcode {said.errcode}: {said.errmsg}", BUSY_PAUSE_S if said.errcode in _BUSY else None)


class _Said(msgspec.Struct):
    errcode: int
    errmsg: str = ""


def _signed(url: str, secret: str, lines: Sequence[Line], _locale: Locale, now: datetime) -> Outgoing:
    body = msgspec.json.encode({"notifications": lines})
    return Outgoing(url, {**_JSON, SIGNATURE: signature(secret, body, int(now.timestamp()))}, body)


def _dingtalk(url: str, secret: str, lines: Sequence[Line], locale: Locale, now: datetime) -> Outgoing:
    message = {"title": say("notification.webhook.title", locale), "text": markdown(lines, locale, _MOST_BYTES["dingtalk"])}
    body = msgspec.json.encode({"msgtype": "markdown", "markdown": message})
    return Outgoing(dingtalk_address(url, secret, int(now.timestamp() * 1000)), dict(_JSON), body)


def _wecom(url: str, _secret: str, lines: Sequence[Line], locale: Locale, _now: datetime) -> Outgoing:
    message = {"content": markdown(lines, locale, _MOST_BYTES["wecom"])}
    return Outgoing(url, dict(_JSON), msgspec.json.encode({"msgtype": "markdown", "markdown": message}))


_JSON = {"Content-Type": "application/json; charset=utf-8"}
_BUILDERS: dict[Format, Callable[[str, str, Sequence[Line], Locale, datetime], Outgoing]] = {
    Format.SIGNED: _signed,
    Format.DINGTALK: _dingtalk,
    Format.WECOM: _wecom,
}
# A title must not become a link, a mention (<@all>) or another line.
_PLAIN = str.maketrans({"[": "［", "]": "］", "<": "＜", ">": "＞", "\n": " ", "\r": " "})


def markdown(lines: Sequence[Line], locale: Locale, most_bytes: int) -> str:
    """One paragraph a notification; those that do not fit are counted."""
    opened, found, room = say("notification.webhook.open", locale), list[str](), most_bytes - 64
    for number, line in enumerate(lines):
        words = line.text.translate(_PLAIN)
        link = f" [{opened}]({line.link})" if line.link else ""
        written = f"- {words}{link}"
        if number == 0 and len(written.encode()) > room:
            written = f"- {words.encode()[: room - len(link.encode()) - 8].decode(errors='ignore')}…{link}"
        if len(written.encode()) + 2 > room and number:
            found.append(f"- {say('notification.webhook.more', locale, number=len(lines) - number)}")
            break
        found.append(written)
        room -= len(written.encode()) + 2
    return "\n\n".join(found)
