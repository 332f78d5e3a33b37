"""What is streamed: words at once, references only when checked, and never anything that is not kept."""

from __future__ import annotations

import asyncio
import random

import pytest

from server.knowledge.assistant_schemas import Citation, Delta
from server.knowledge.assistant_stream import CheckedText
from server.knowledge.citations import Passage, Support, support
from tests.unit.knowledge.found import Found

APT = Found("安装之前应先执行 apt update。升级整个系统请使用 apt full-upgrade。", chunk_id="a", page=3)
SWAP = Found("The default of vm.swappiness is 60. Use swapon to enable a swap area.", chunk_id="b", page=9)
FUND = Found("国家级项目资助经费为 20000 元。执行期一般不超过两年。", chunk_id="c", page=1)
PASSAGES = [APT, SWAP, FUND]


async def judge(sentence: str, passage: Passage) -> Support:
    return support(sentence, passage)


async def streamed(text: str, cuts: list[int]) -> tuple[list[Delta | Citation], CheckedText]:
    """The events of a text that comes in the pieces that the cuts make."""
    checked = CheckedText(PASSAGES, judge)
    events: list[Delta | Citation] = []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        events += [event async for event in checked.feed(text[begin:end])]
    events += [event async for event in checked.end()]
    return events, checked


def run(text: str, cuts: list[int] | None = None) -> tuple[str, list[Citation], list[Delta | Citation]]:
    events, checked = asyncio.run(streamed(text, cuts or []))
    assert "".join(event.text for event in events if isinstance(event, Delta)) == checked.text
    return checked.text, checked.citations, events


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("安装之前应先执行 apt update [1]。", "安装之前应先执行 apt update [1]。"),
        ("安装之前应先执行 apt update。[1] 完。", "安装之前应先执行 apt update。[1] 完。"),
        ("安装之前应先执行 apt update [2]。", "安装之前应先执行 apt update。"),
        (
            "国家级项目资助 20,000 元【3】。升级系统使用 apt full-upgrade【1】。",
            "国家级项目资助 20,000 元[1]。升级系统使用 apt full-upgrade[2]。",
        ),
        ("国家级项目资助 30000 元 [3]。", "国家级项目资助 30000 元。"),
        ("The default of vm.swappiness is 60 [2, 9].", "The default of vm.swappiness is 60 [1]."),
        ("The default of vm.swappiness is 60 [1-3].", "The default of vm.swappiness is 60 [1]."),
        ("The default of vm.swappiness is 60 [^2][2].", "The default of vm.swappiness is 60 [1]."),
        ("The default of vm.swappiness is 60 [7].", "The default of vm.swappiness is 60."),
        (
            "Use swapon to enable a swap area [2], and buy 16 new disks every year [2].",
            "Use swapon to enable a swap area [1], and buy 16 new disks every year.",
        ),
        (
            "安装之前应先执行 apt update，国家级项目资助经费为 20000 元 [1][3]。",
            "安装之前应先执行 apt update，国家级项目资助经费为 20000 元 [1][2]。",
        ),
        (
            "安装之前应先执行 apt update，国家级项目资助经费为 20000 元 [1][2]。",
            "安装之前应先执行 apt update，国家级项目资助经费为 20000 元。",
        ),
        (
            "2. 安装之前应先执行 apt update [1]。\n3. 国家级项目资助 2 万元 [3]。",
            "2. 安装之前应先执行 apt update [1]。\n3. 国家级项目资助 2 万元 [2]。",
        ),
        ("Write `a[1]` there.", "Write `a[1]` there."),
        ("```\nx = a[1]\n```\nDone.", "```\nx = a[1]\n```\nDone."),
        ("See [the manual] and [2026].", "See [the manual] and [2026]."),
        ("", ""),
        ("[2]", ""),
        ("no stop at the end", "no stop at the end"),
    ],
)
def test_references_are_kept_only_where_they_hold(said: str, kept: str) -> None:
    assert run(said)[0] == kept


def test_numbers_follow_first_use_and_quotes_are_verbatim() -> None:
    text, citations, events = run(
        "The default of vm.swappiness is 60 [2]. 安装之前应先执行 apt update [1]。Use swapon to enable a swap area [2]."
    )
    assert text == "The default of vm.swappiness is 60 [1]. 安装之前应先执行 apt update [2]。Use swapon to enable a swap area [1]."
    assert [(one.n, one.chunk_id, one.page) for one in citations] == [(1, "b", 9), (2, "a", 3)]
    assert citations[0].quote == "The default of vm.swappiness is 60.\nUse swapon to enable a swap area."
    assert [event.n for event in events if isinstance(event, Citation)] == [1, 2, 1]
    for one in citations:
        assert all(line in next(p.text for p in PASSAGES if p.chunk_id == one.chunk_id) for line in one.quote.split("\n"))


def test_a_citation_comes_before_the_words_that_refer_to_it() -> None:
    events = run("The default of vm.swappiness is 60 [2]. 安装之前应先执行 apt update [1]。")[2]
    known: set[int] = set()
    for event in events:
        if isinstance(event, Citation):
            known.add(event.n)
        else:
            assert all(f"[{n}]" not in event.text or n in known for n in range(1, 10))
    assert known == {1, 2}


def test_words_are_not_held_back() -> None:
    checked = CheckedText(PASSAGES, judge)

    async def feed(piece: str) -> str:
        return "".join([event.text async for event in checked.feed(piece) if isinstance(event, Delta)])

    async def scene() -> list[str]:
        return [await feed(piece) for piece in ("The default of", " vm.swappiness", " is 60", " [", "2", "]", ".", " And")]

    assert asyncio.run(scene()) == ["The default of", " vm.swappiness", " is 60", "", "", "", "", " [1]. And"]


def test_where_the_pieces_are_cut_changes_nothing() -> None:
    said = (
        "系统升级：先执行 `apt update`，安装之前应先执行 apt update [1]。然后使用 apt full-upgrade 升级整个系统 [1][3]。\n\n"
        "- The default of vm.swappiness is 60 [2].\n- It was e.g. 3.5 GB [2]? No.\n"
        "```\na[1] = b[2]\n```\n最后，国家级项目资助 20000 元。[3]"
    )
    whole = run(said)
    assert len(whole[1]) == 3
    assert "a[1] = b[2]" in whole[0]
    chance = random.Random(7)
    for _ in range(200):
        cuts = sorted(chance.sample(range(1, len(said)), chance.randint(1, 40)))
        assert run(said, cuts)[:2] == whole[:2]
    assert run(said, list(range(1, len(said))))[:2] == whole[:2]
