"""The language model's door: none, one that misbehaves in every way, and llmock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.config import Settings
from server.engines.llm import LlmBroken, LlmDoor, Message, open_llm
from server.engines.llm_http import HttpLlm, Patience
from server.errors import EngineAway
from tests.peers.llm_server import Asked, Llmock, Misbehaving, event, running_llmock, running_misbehaving, saying
from tests.peers.process import free_port

KEY = "ark-0123456789-secret"
ASKED = [Message("system", "be brief"), Message("user", "你好")]
QUICK = Patience(connect=5, first=5, between=5, total=20, retries=2, backoff=0.001, longest_retry_after=1)


def door_to(peer: Misbehaving, **patience: Any) -> HttpLlm:
    return HttpLlm(peer.url, "m-1", KEY, msgspec.structs.replace(QUICK, **patience))


async def collected(door: LlmDoor) -> list[str]:
    return [piece async for piece in door.stream(ASKED)]


async def broken(door: LlmDoor) -> tuple[str, EngineAway]:
    """What came, and the error that ended it."""
    came = ""
    with pytest.raises(EngineAway) as raised:
        async with aclosing(door.stream(ASKED)) as pieces:
            async for piece in pieces:
                came += piece
    assert KEY not in repr(raised.value) + raised.value.cause + str(raised.value)
    return came, raised.value


@pytest.mark.gen_test(timeout=30)
async def test_without_a_model_nothing_is_asked(tmp_path: Path) -> None:
    door = open_llm(Settings(data_dir=str(tmp_path)))
    assert (door.available, door.mode) == (False, "embedded")
    await door.ping()
    assert (await broken(door))[0] == ""
    await door.close()


@pytest.mark.gen_test(timeout=30)
async def test_what_is_sent_and_what_comes_back(tmp_path: Path) -> None:
    async with running_misbehaving() as peer:
        peer.behaviours = [saying("你", "好", "!")]
        door = open_llm(Settings(data_dir=str(tmp_path), llm_url=peer.url, llm_model="m-1", ark_api_key=KEY))
        assert (door.available, door.mode) == (True, "distributed")
        assert await collected(door) == ["你", "好", "!"]
        [asked] = peer.asked
        assert asked.line == "POST /v1/chat/completions HTTP/1.1"
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "你好"}]
        assert (asked.body["model"], asked.body["stream"], asked.body["temperature"]) == ("m-1", True, 0.2)
        await door.close()


@pytest.mark.gen_test(timeout=30)
async def test_an_answer_in_one_piece() -> None:
    async with running_misbehaving() as peer:

        async def whole(asked: Asked) -> None:
            asked.whole("200 OK", {"choices": [{"message": {"content": "all of it"}, "finish_reason": "stop"}]})

        peer.behaviours = [whole]
        assert await collected(door_to(peer)) == ["all of it"]


@pytest.mark.gen_test(timeout=30)
async def test_events_cut_anywhere_reasoning_and_comments() -> None:
    async with running_misbehaving() as peer:

        async def in_crumbs(asked: Asked) -> None:
            asked.begin()
            stream = (
                ": hello\r\n\r\n" + event("", role="assistant") + event("", reasoning_content="hm") + event("好吗").replace("\n", "\r\n")
            )
            stream += event("？") + 'data: {"choices":[],"usage":{"total_tokens":3}}\n\n' + event("", "stop") + "data: [DONE]\n\n"
            await asked.send(*(bytes([byte]) for byte in stream.encode()))

        peer.behaviours = [in_crumbs]
        assert await collected(door_to(peer)) == ["好吗", "？"]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oops", "503 Away"])
@pytest.mark.gen_test(timeout=30)
async def test_what_may_pass_is_tried_again(status: str) -> None:
    async with running_misbehaving() as peer:

        async def refuse(asked: Asked) -> None:
            asked.whole(status, {"error": {"message": f"wrong key {KEY}", "code": "busy"}}, Retry_After="0")

        peer.behaviours = [refuse, refuse, saying("now")]
        assert await collected(door_to(peer)) == ["now"]
        assert len(peer.asked) == 3
        peer.behaviours = [refuse]
        came, error = await broken(door_to(peer))
        assert (came, type(error), error.cause) == ("", EngineAway, f"HTTP {status[:3]} busy")
        assert len(peer.asked) == 6


@pytest.mark.gen_test(timeout=30)
async def test_a_long_retry_after_is_not_waited_for_nor_disregarded() -> None:
    async with running_misbehaving() as peer:

        async def refuse(asked: Asked) -> None:
            asked.whole("429 Too Many Requests", {}, Retry_After="3600")

        peer.behaviours = [refuse]
        assert (await broken(door_to(peer)))[1].cause == "HTTP 429"
        assert len(peer.asked) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found", "302 Found"])
@pytest.mark.gen_test(timeout=30)
async def test_what_will_not_pass_is_not_tried_again(status: str) -> None:
    async with running_misbehaving() as peer:

        async def refuse(asked: Asked) -> None:
            asked.whole(status, {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "invalid_request_error"}})

        peer.behaviours = [refuse]
        came, error = await broken(door_to(peer))
        assert (came, type(error), error.cause) == ("", EngineAway, f"HTTP {status[:3]} invalid_request_error")
        assert len(peer.asked) == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_stream_that_is_cut() -> None:
    async with running_misbehaving() as peer:
        peer.behaviours = [saying("half of", " it", end=None)]
        came, error = await broken(door_to(peer))
        assert (came, type(error)) == ("half of it", LlmBroken)
        assert len(peer.asked) == 1

        async def reset(asked: Asked) -> None:
            asked.begin(Content_Length="9999")
            await asked.send(event("some"))

        peer.behaviours = [reset]
        came, error = await broken(door_to(peer))
        assert (came, type(error)) == ("some", LlmBroken)


@pytest.mark.gen_test(timeout=30)
async def test_a_connection_that_ends_before_the_answer_is_tried_again() -> None:
    async with running_misbehaving() as peer:

        async def hang_up(asked: Asked) -> None:
            pass

        peer.behaviours = [hang_up, saying("here")]
        assert await collected(door_to(peer)) == ["here"]


@pytest.mark.parametrize(
    ("ended", "error"), [("length", LlmBroken), ("content_filter", LlmBroken), ("stop", None)], ids=["length", "filter", "stop"]
)
@pytest.mark.gen_test(timeout=30)
async def test_how_it_ends(ended: str, error: type[EngineAway] | None) -> None:
    async with running_misbehaving() as peer:
        peer.behaviours = [saying("text", end=ended)]
        if error is None:
            assert await collected(door_to(peer)) == ["text"]
            return
        came, raised = await broken(door_to(peer))
        assert (came, type(raised), raised.cause) == ("text", error, ended)


@pytest.mark.parametrize("nonsense", ["<html>busy</html>", "data: nonsense\n\n", "data: []\n\n", 'data: {"hello": 1}\n\n', ""])
@pytest.mark.gen_test(timeout=30)
async def test_nonsense(nonsense: str) -> None:
    async with running_misbehaving() as peer:

        async def at_once(asked: Asked) -> None:
            asked.begin()
            await asked.send(nonsense)

        async def later(asked: Asked) -> None:
            asked.begin()
            await asked.send(event("a word"), nonsense)

        peer.behaviours = [at_once, later]
        assert type((await broken(door_to(peer)))[1]) is EngineAway
        came, error = await broken(door_to(peer))
        assert (came, type(error)) == ("a word", LlmBroken)


@pytest.mark.gen_test(timeout=30)
async def test_an_error_in_the_stream_is_named_without_its_words() -> None:
    async with running_misbehaving() as peer:

        async def fail(asked: Asked) -> None:
            asked.begin()
            await asked.send(event("a word"), f'data: {{"error": {{"message": "quota of {KEY}", "type": "server_error"}}}}\n\n')

        peer.behaviours = [fail]
        came, error = await broken(door_to(peer))
        assert (came, type(error), error.cause) == ("a word", LlmBroken, "error sent: server_error")


@pytest.mark.gen_test(timeout=30)
async def test_a_model_that_says_nothing() -> None:
    async with running_misbehaving() as peer:
        peer.behaviours = [saying()]
        assert (await broken(door_to(peer)))[1].cause == "an empty answer"


@pytest.mark.gen_test(timeout=30)
async def test_silence_ends() -> None:
    async with running_misbehaving() as peer:

        async def silent(asked: Asked) -> None:
            await asked.gone()

        async def falls_silent(asked: Asked) -> None:
            asked.begin()
            await asked.send(event("one"))
            await asked.gone()

        peer.behaviours = [silent]
        assert type((await broken(door_to(peer, connect=0.02, first=0.05)))[1]) is EngineAway
        assert len(peer.asked) == 1  # a model that was slow may have worked all the same: it is not paid twice
        peer.behaviours = [falls_silent]
        came, error = await broken(door_to(peer, between=0.05))
        assert (came, type(error)) == ("one", LlmBroken)
        came, error = await broken(door_to(peer, total=0.2))
        assert type(error) in (LlmBroken, EngineAway)


@pytest.mark.gen_test(timeout=30)
async def test_whoever_stops_listening_closes_the_connection() -> None:
    async with running_misbehaving() as peer:
        gone = asyncio.Event()

        async def endless(asked: Asked) -> None:
            asked.begin()
            await asked.send(event("one"))
            await asked.gone()
            gone.set()

        peer.behaviours = [endless]
        door = door_to(peer)
        async with aclosing(door.stream(ASKED)) as pieces:
            assert await anext(pieces) == "one"
        await asyncio.wait_for(gone.wait(), 10)
        gone.clear()

        task = asyncio.ensure_future(collected(door))
        while len(peer.asked) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 10)


@pytest.mark.gen_test(timeout=30)
async def test_a_reader_that_is_slow_holds_the_endpoint_back() -> None:
    async with running_misbehaving() as peer:
        sent = 0

        async def flood(asked: Asked) -> None:
            nonlocal sent
            asked.begin()
            for _ in range(2000):
                await asked.send(event("x" * 10_000))
                sent += 1
            await asked.send(event("", "stop"))

        peer.behaviours = [flood]
        taken = 0
        async with aclosing(door_to(peer).stream(ASKED)) as pieces:
            async for _ in pieces:
                taken += 1
                if taken == 3:
                    before = -1
                    while sent != before:  # until nothing moves any more
                        before = sent
                        for _turn in range(200):
                            await asyncio.sleep(0)
                    assert sent < 1500
                if taken == 50:
                    break


@pytest.mark.gen_test(timeout=30)
async def test_an_endpoint_that_is_away() -> None:
    door = HttpLlm(f"http://127.0.0.1:{free_port()}/v1", "m", KEY, QUICK)
    with pytest.raises(EngineAway):
        await door.ping()
    assert type((await broken(door))[1]) is EngineAway


@pytest.mark.gen_test(timeout=30)
async def test_a_ping_asks_the_model_nothing() -> None:
    async with running_misbehaving() as peer:

        async def refuse(asked: Asked) -> None:
            asked.whole("404 Not Found", {})

        peer.behaviours = [refuse]
        await door_to(peer).ping()
        assert [asked.line for asked in peer.asked] == ["GET /v1/models HTTP/1.1"]


# llmock.


@pytest.fixture(scope="module")
def llmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llmock]:
    with running_llmock(tmp_path_factory.mktemp("llmock")) as peer:
        yield peer


def faults(verdict: Any) -> set[str]:
    """What llmock holds against us; that a cut stream was taken for whole is its guess from our not asking again, which we must not."""
    return {str(one["code"]) for one in verdict["findings"] if one["severity"] == "error"} - {"truncated_stream_accepted"}


@pytest.mark.integration
@pytest.mark.gen_test(timeout=60)
async def test_llmock_streams_and_finds_no_fault(llmock: Llmock) -> None:
    door = HttpLlm(llmock.url, "gpt-4o", KEY, msgspec.structs.replace(QUICK, backoff=0.05, between=1))
    await door.ping()
    llmock.scenario({"type": "reply", "text": "安装 systemd。 Then reboot."})
    assert "".join(await collected(door)) == "安装 systemd。 Then reboot."
    llmock.scenario({"type": "fail", "status": 429, "retry_after": 1, "times": 1}, {"type": "reply", "text": "again"})
    assert "".join(await collected(door)) == "again"
    assert faults(llmock.verdict()) == set()
    for kind in ("truncate", "disconnect", "malformed", "stall"):
        text = "one two three four five six seven"
        llmock.scenario({"type": "reply", "text": text}, {"type": "stream_fault", "kind": kind, "after_chunks": 3})
        came, error = await broken(door)
        assert text.startswith(came)
        assert isinstance(error, LlmBroken) == bool(came), kind
        assert faults(llmock.verdict()) == set(), kind
