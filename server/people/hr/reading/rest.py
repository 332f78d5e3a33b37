"""Pages of a REST source: asked for one by one, again when it fails, and checked to add up."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import ssl
from collections.abc import AsyncGenerator
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.httputil import HTTPHeaders, HTTPInputError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from server.people.hr.reading.json_pages import LARGEST_ANSWER, JsonPage, read_page
from server.people.hr.reading.pages import MOST_ROWS, Page
from server.people.hr.refusals import PageMismatch, PageRepeated, SourceAway, SourceRefused, SourceTooLarge
from server.people.hr.source_schemas import Paging, Reading, Secrets

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
ATTEMPTS = 4
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
MOST_REDIRECTS = 3
# A source that never comes to an end is given up.
MOST_PAGES = 20_000
TRANSIENT = frozenset({408, 425, 429})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _Failed(Exception):
    """This attempt failed in a way that the next may not."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class _Got(NamedTuple):
    body: bytes
    content_encoding: str


class RestReader:
    """Reads from one origin. `first_wait_s`: how long is waited before the second attempt; it doubles with each."""

    def __init__(self, reading: Reading, secrets: Secrets, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self._paging = reading.paging
        self._encoding = reading.encoding
        self._timeout_s = reading.timeout_s
        self._first_wait_s = first_wait_s
        self._headers = _headers(reading, secrets)
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=LARGEST_ANSWER, max_buffer_size=LARGEST_ANSWER)

    def close(self) -> None:
        self._client.close()

    async def pages(self, url: str) -> AsyncGenerator[Page, None]:
        """All rows, page by page. Raises SnapshotRefused of many kinds, also after the last page when they do not add up."""
        paging, seen, rows = self._paging, _Seen(), 0
        total: int | None = None
        asked = _first_address(url, paging)
        for number in range(MOST_PAGES):
            got = await self._get(asked)
            page = await asyncio.to_thread(read_page, got.body, got.content_encoding, self._encoding, paging)
            if number and page.total != total:
                raise PageMismatch(expected=_shown(total), got=_shown(page.total))
            total = page.total
            rows += len(page.rows)
            if rows > MOST_ROWS or (total or 0) > MOST_ROWS:
                raise SourceTooLarge(limit=MOST_ROWS)
            if total is not None and rows > total:
                raise PageMismatch(expected=total, got=rows)
            seen.check(page, number + 1)
            if page.rows:
                yield Page(page.rows, total)
            following = _following(url, asked, page, paging, number, rows)
            if following is None:
                if total is not None and rows != total:
                    raise PageMismatch(expected=total, got=rows)
                return
            asked = following
        raise SourceTooLarge(limit=MOST_PAGES)

    async def _get(self, url: str) -> _Got:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._follow(url)
            except _Failed as failed:
                if attempt == ATTEMPTS:
                    raise SourceAway(detail=str(failed)) from None
                doubled = self._first_wait_s * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
                wait_s = min(LONGEST_WAIT_S, doubled if failed.retry_after_s is None else max(failed.retry_after_s, doubled))
                log.warning("the HR source failed (%s); it is asked again in %.1f s", failed, wait_s)
                await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def _follow(self, url: str) -> _Got:
        """The answer, at the end of redirects within the same origin; the credentials are for the first address alone."""
        asked, headers = url, self._headers
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._ask(asked, headers)
            if answer.code not in REDIRECTS:
                return _Got(answer.body or b"", answer.headers.get("Content-Encoding", ""))
            asked = urljoin(asked, answer.headers.get("Location", ""))
            if origin_of(asked) != origin_of(url):
                raise SourceAway(detail=f"HTTP {answer.code} → {urlsplit(asked).hostname or '?'}")
            headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        raise SourceAway(detail="too many redirects")

    async def _ask(self, url: str, headers: dict[str, str]) -> HTTPResponse:
        declared = _Length()
        try:
            answer = await self._client.fetch(
                url,
                headers=headers,
                header_callback=declared.look,
                connect_timeout=min(CONNECT_TIMEOUT_S, self._timeout_s),
                request_timeout=self._timeout_s,
                follow_redirects=False,
                decompress_response=False,  # in a thread, and not without end
                raise_error=False,
            )
        except ssl.SSLCertVerificationError as error:
            raise SourceAway(detail=error.verify_message) from None
        except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:  # no answer, or not all of it
            if declared.value > LARGEST_ANSWER:
                raise SourceTooLarge(limit=f"{LARGEST_ANSWER >> 20} MiB") from None
            raise _Failed(_without_query(error, url)) from None
        if answer.code in (401, 403):
            raise SourceRefused(status=answer.code)
        if answer.code >= 500 or answer.code in TRANSIENT:
            raise _Failed(f"HTTP {answer.code}", _retry_after_s(answer.headers))
        if answer.code != 200 and answer.code not in REDIRECTS:
            raise SourceAway(detail=f"HTTP {answer.code}")
        return answer


class _Length:
    """How long an answer says that it is: Tornado drops one that is too long, and only its log says why."""

    def __init__(self) -> None:
        self.value = 0

    def look(self, line: str) -> None:
        name, _, given = line.partition(":")
        if name.lower() == "content-length" and given.strip().isdecimal():
            self.value = int(given)


class _Seen:
    """The pages and cursors that came: one that comes twice means that the source does not turn the page."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()
        self._cursors: set[str] = set()

    def check(self, page: JsonPage, number: int) -> None:
        if page.rows and page.digest in self._digests:
            raise PageRepeated(number=number)
        self._digests.add(page.digest)
        if page.next is not None and page.next in self._cursors:
            raise PageRepeated(number=number)
        if page.next is not None:
            self._cursors.add(page.next)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises ValueError for what is no address."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _headers(reading: Reading, secrets: Secrets) -> dict[str, str]:
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **secrets.headers}
    if secrets.token:
        headers["Authorization"] = f"Bearer {secrets.token}"
    elif reading.username:
        pair = f"{reading.username}:{secrets.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return headers


def _first_address(url: str, paging: Paging) -> str:
    if paging.style == "none":
        return url
    more = {paging.size_param: str(paging.page_size)} if paging.size_param else {}
    return _with(url, {**({paging.page_param: str(paging.first_page)} if paging.style == "page" else {}), **more})


def _following(url: str, asked: str, page: JsonPage, paging: Paging, number: int, rows: int) -> str | None:
    """The next page's address; None after the last page.

    Without a total only an empty page is the end: a source that gives fewer rows a page than it was asked for would else be cut short.
    """
    if paging.style == "cursor":
        if page.next is None:
            return None
        if _is_address(page.next):
            address = urljoin(asked, page.next)
            if origin_of(address) != origin_of(url):
                raise SourceAway(detail=f"next → {urlsplit(address).hostname or '?'}")
            return address
        return _with(_first_address(url, paging), {paging.cursor_param: page.next})
    if paging.style == "none" or not page.rows or (page.total is not None and rows >= page.total):
        return None
    return _with(asked, {paging.page_param: str(paging.first_page + number + 1)})


def _is_address(following: str) -> bool:
    """Whether it is the next page's address, whole or from the root on, and no cursor, which may begin with a slash as well."""
    return following.startswith(("http://", "https://", "?")) or (following.startswith("/") and "?" in following)


def _with(url: str, parameters: dict[str, str]) -> str:
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in parameters]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters.items()])))


def _retry_after_s(headers: HTTPHeaders) -> float | None:
    """Retry-After in seconds; its other form, a date, is rare and counts as none."""
    given = headers.get("Retry-After", "")
    return float(given) if given.isascii() and given.isdigit() else None


def _without_query(error: object, url: str) -> str:
    """An error's words without what stands behind the question mark, where keys are sometimes put."""
    return (str(error) or type(error).__name__).replace(url, url.partition("?")[0])[:300]


def _shown(total: int | None) -> int | str:
    return "?" if total is None else total
