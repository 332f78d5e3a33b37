"""A REST source is read whole or not at all: pages, cursors, credentials, retries, and every way to be wrong."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from tornado.web import RequestHandler

from server.people.hr.reading.json_pages import LARGEST_ANSWER
from server.people.hr.reading.rest import ATTEMPTS, RestReader
from server.people.hr.refusals import (
    EncodingUnclear,
    PageMismatch,
    PageRepeated,
    SnapshotRefused,
    SourceAway,
    SourceNotJson,
    SourceRefused,
    SourceTooLarge,
)
from server.people.hr.source_schemas import Paging, Reading, Secrets
from tests.peers.hr_server import HrPeer, Mischief, changed, cut, fine, half, held, html, person, refused, running_hr, said

SMALL = Paging(page_size=5)


async def read(peer: HrPeer, paging: Paging = SMALL, secrets: Secrets | None = None, url: str = "", **more: Any) -> list[dict[str, Any]]:
    reader = RestReader(Reading(url=url or peer.url, paging=paging, **more), secrets or Secrets(), first_wait_s=0.01)
    try:
        async with aclosing(reader.pages(url or peer.url)) as pages:
            return [row async for page in pages for row in page.rows]
    finally:
        reader.close()


@asynccontextmanager
async def hr(persons: int = 12) -> AsyncIterator[HrPeer]:
    async with running_hr(persons) as peer:
        yield peer


@pytest.mark.parametrize("style", ["page", "cursor", "none"])
@pytest.mark.parametrize("says_total", [True, False])
@pytest.mark.parametrize("persons", [1, 10, 12])
@pytest.mark.gen_test
async def test_all_rows_come_in_order(style: Any, says_total: bool, persons: int) -> None:
    async with hr(persons) as peer:
        peer.says_total = says_total
        assert await read(peer, Paging(style=style, page_size=5)) == peer.persons


@pytest.mark.parametrize("says_total", [True, False])
@pytest.mark.gen_test
async def test_a_source_that_gives_fewer_rows_a_page_is_not_cut_short(says_total: bool) -> None:
    async with hr() as peer:
        peer.says_total, peer.most_rows = says_total, 3
        assert await read(peer) == peer.persons


@pytest.mark.gen_test
async def test_pages_may_be_packed() -> None:
    async with hr() as peer:
        peer.packs = True
        assert await read(peer) == peer.persons
        assert peer.requests[0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.gen_test
async def test_parameters_and_paths_are_the_sources_own() -> None:
    async with hr() as peer:
        peer.mischief.append(said('{"data": {"list": [{"gh": 1}], "count": "1"}}'))
        paging = Paging(page_param="pageNo", size_param="limit", page_size=7, first_page=0, items="data.list", total="data.count")
        assert await read(peer, paging, url=f"{peer.url}?tenant=1") == [{"gh": 1}]
        assert peer.requests[0].query == "tenant=1&pageNo=0&limit=7"


@pytest.mark.gen_test
async def test_the_next_page_may_be_given_as_an_address_of_the_same_origin() -> None:
    async with hr() as peer:
        peer.says_total = False
        peer.mischief.append(changed(next=f"{peer.url}?cursor=5&page_size=7"))
        peer.mischief.append(changed(next=None))
        assert await read(peer, Paging(style="cursor", page_size=5)) == peer.persons
        peer.mischief.append(changed(next="http://localhost:1/persons?cursor=5"))
        with pytest.raises(SourceAway):
            await read(peer, Paging(style="cursor", page_size=5))


@pytest.mark.gen_test
async def test_a_token_or_a_login_or_a_header_lets_us_in() -> None:
    async with hr() as peer:
        peer.token = "t0ken"
        assert await read(peer, secrets=Secrets(token="t0ken")) == peer.persons
        peer.token, peer.login = "", ("hr", "pässword")
        assert await read(peer, secrets=Secrets(password="pässword"), username="hr") == peer.persons
        await read(peer, secrets=Secrets(password="pässword", headers={"X-Api-Key": "k"}), username="hr")
        assert peer.requests[-1].headers["X-Api-Key"] == "k"


@pytest.mark.gen_test
async def test_a_source_that_refuses_us_is_asked_once() -> None:
    async with hr() as peer:
        peer.token = "t0ken"
        with pytest.raises(SourceRefused):
            await read(peer, secrets=Secrets(token="wrong"))
        assert len(peer.requests) == 1


@pytest.mark.parametrize("mischief", [refused(500), refused(503), refused(429, Retry_After="0"), cut])
@pytest.mark.gen_test
async def test_what_fails_for_a_moment_is_asked_again(mischief: Mischief) -> None:
    async with hr() as peer:
        peer.mischief.extend([fine, mischief, mischief])
        assert await read(peer) == peer.persons


@pytest.mark.gen_test
async def test_a_source_that_keeps_failing_is_away() -> None:
    async with hr() as peer:
        peer.mischief.extend([refused(502)] * ATTEMPTS)
        with pytest.raises(SourceAway, match="502"):
            await read(peer)
        assert len(peer.requests) == ATTEMPTS


@pytest.mark.gen_test(timeout=20)
async def test_a_source_that_hangs_is_away() -> None:
    async with hr() as peer:
        for_ever = asyncio.Event()
        peer.mischief.extend([held(for_ever)] * ATTEMPTS)
        with pytest.raises(SourceAway):
            await read(peer, timeout_s=0.1)
        for_ever.set()


@pytest.mark.gen_test
async def test_a_source_that_is_not_there_is_away() -> None:
    async with hr() as peer:
        url = peer.url
    reader = RestReader(Reading(url=url), Secrets(), first_wait_s=0.01)
    with pytest.raises(SourceAway):
        await anext(reader.pages(f"{url}?key=topsecret"))
    reader.close()


@pytest.mark.gen_test
async def test_credentials_go_nowhere_else() -> None:
    async with hr() as peer, hr() as other:
        peer.token = "t0ken"
        secrets = Secrets(token="t0ken", headers={"X-Api-Key": "k"})
        peer.mischief.append(refused(302, Location=other.url))
        with pytest.raises(SourceAway):
            await read(peer, secrets=secrets)
        assert other.requests == []
        peer.mischief.append(refused(302, Location="/persons?again=1"))
        with pytest.raises(SourceRefused):
            await read(peer, secrets=secrets)
        assert "Authorization" not in peer.requests[-1].headers
        assert "X-Api-Key" not in peer.requests[-1].headers


@pytest.mark.gen_test
async def test_a_redirect_within_the_source_is_followed_and_not_for_ever() -> None:
    async with hr() as peer:
        peer.mischief.append(refused(307, Location="/persons?page_size=100"))
        assert await read(peer) == peer.persons
        peer.mischief.extend([refused(302, Location="/persons")] * 5)
        with pytest.raises(SourceAway):
            await read(peer)


def unpacked(body: bytes) -> Mischief:
    async def apply(handler: RequestHandler, _answer: Any) -> None:
        handler.set_header("Content-Encoding", "gzip")
        await handler.finish(body)

    return apply


REPEATED: list[Mischief] = [fine, changed(items=[person(number) for number in range(5)])]
WRONG: list[tuple[str, list[Mischief], type[SnapshotRefused]]] = [
    ("page", [html], SourceNotJson),
    ("page", [said("")], SourceNotJson),
    ("page", [said("null")], SourceNotJson),
    ("page", [said('{"items": {}}')], SourceNotJson),
    ("page", [said('{"items": [1]}')], SourceNotJson),
    ("page", [said('{"items": [], "total": "many"}')], SourceNotJson),
    ("page", [said('{"items": [')], SourceNotJson),
    ("page", [fine, html], SourceNotJson),
    ("page", [said("[" * 100_000)], SourceNotJson),
    ("page", [unpacked(b"no gzip")], SourceNotJson),
    ("page", [unpacked(gzip.compress(b'{"items": []}')[:-9])], SourceNotJson),
    ("page", [unpacked(gzip.compress(b" " * (LARGEST_ANSWER + 1)))], SourceTooLarge),
    ("page", [said('{"items": [{"name": "李雷"}]}'.encode("gb18030"))], EncodingUnclear),
    ("page", [changed(total=13), changed(total=13), changed(total=13)], PageMismatch),
    ("page", [changed(total=9), changed(total=9)], PageMismatch),
    ("page", [fine, changed(total=11)], PageMismatch),
    ("page", [fine, changed(items=[])], PageMismatch),
    ("page", [fine, half], PageMismatch),
    ("page", REPEATED, PageRepeated),
    ("cursor", REPEATED, PageRepeated),
    ("cursor", [fine, changed(next="5")], PageRepeated),
    ("cursor", [changed(next=None)], PageMismatch),
    ("cursor", [changed(next={})], SourceNotJson),
    ("none", [half], PageMismatch),
    ("page", [refused(404)], SourceAway),
]


@pytest.mark.parametrize(("style", "mischief", "error"), WRONG)
@pytest.mark.gen_test
async def test_any_doubt_refuses_the_whole(style: Any, mischief: list[Mischief], error: type[SnapshotRefused]) -> None:
    async with hr() as peer:
        peer.mischief.extend(mischief)
        with pytest.raises(SnapshotRefused) as refusal:
            await read(peer, Paging(style=style, page_size=5))
        assert type(refusal.value) is error
        assert refusal.value.text.say("zh") != refusal.value.text.say("en")


@pytest.mark.gen_test
@pytest.mark.holds_loop  # the source, on the same loop, writes megabytes
async def test_an_answer_without_end_is_refused() -> None:
    async with hr() as peer:
        peer.mischief.extend([said(b" " * (LARGEST_ANSWER + 1))] * ATTEMPTS)
        with pytest.raises(SourceTooLarge):
            await read(peer)


@pytest.mark.gen_test
async def test_an_encoding_that_is_given_is_read() -> None:
    async with hr() as peer:
        peer.mischief.append(said('{"items": [{"name": "李雷"}], "total": 1}'.encode("gb18030")))
        assert await read(peer, encoding="gb18030") == [{"name": "李雷"}]


@pytest.mark.gen_test
async def test_a_row_that_comes_between_two_pages_is_noticed() -> None:
    async with hr() as peer:

        def grown(then: Callable[[], object]) -> Mischief:
            async def apply(_handler: RequestHandler, _answer: Any) -> None:
                then()

            return apply

        peer.mischief.append(grown(lambda: peer.persons.insert(0, person(99))))
        with pytest.raises(PageMismatch):
            await read(peer)
