"""Posts to a webhook, never to an address where only ourselves or our neighbours listen."""

from __future__ import annotations

import ipaddress
from typing import Any

from tornado.httpclient import HTTPClientError
from tornado.httputil import HTTPInputError
from tornado.netutil import DefaultLoopResolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from server.platform.notifications.webhook_formats import Format, NotTaken, Outgoing, check_answer

CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S = 5.0, 10.0
LARGEST_ANSWER = 64 * 1024


def may_reach(address: str, *, inside: bool) -> bool:
    """Whether an IP address may be posted to; `inside`: private networks too, but never this machine or the link."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return False
    return inside or ip.is_global


class _Guarded(DefaultLoopResolver):
    """Names as they resolve at the moment of sending: what was looked up earlier may be another address by now."""

    inside = False

    async def resolve(self, host: str, port: int, *args: Any, **kwargs: Any) -> list[tuple[int, Any]]:
        found = await super().resolve(host, port, *args, **kwargs)
        allowed = [(family, address) for family, address in found if may_reach(address[0], inside=self.inside)]
        if not allowed:
            raise OSError("the address is not one that may be posted to")
        return allowed


class _GuardedInside(_Guarded):
    inside = True


async def post(kind: Format, outgoing: Outgoing, *, inside: bool, anywhere: bool = False) -> None:
    """Send, and read what is answered. `anywhere`: loopback too, as in development. Raises NotTaken."""
    resolver = None if anywhere else _GuardedInside() if inside else _Guarded()
    client = SimpleAsyncHTTPClient(force_instance=True, resolver=resolver, max_body_size=LARGEST_ANSWER)
    try:
        answer = await client.fetch(
            outgoing.url,
            method="POST",
            headers=outgoing.headers,
            body=outgoing.body,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            follow_redirects=False,  # elsewhere is not whom the token is for
            decompress_response=False,
            raise_error=False,
        )
    except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
        raise NotTaken(type(error).__name__) from None  # its words may hold the address, and so the token
    finally:
        client.close()
    if answer.code == 599:  # Tornado's own: no whole answer came
        raise NotTaken(type(answer.error).__name__ if answer.error is not None else "no answer")
    check_answer(kind, answer.code, answer.headers, answer.body or b"")
