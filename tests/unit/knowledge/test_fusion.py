"""Fusion: which of the two lists is believed, and when."""

from __future__ import annotations

import random

import pytest

from jobs.cpu.shapes import Language
from server.knowledge.fusion import QUOTED_FROM, fuse

Passages = dict[str, tuple[str, Language]]


def order(query: str, dense: list[str], keyword: list[str], passages: Passages) -> list[str]:
    """The fused ids of two lists whose scores fall evenly; keyword scores are negative, as those of Milvus Lite."""
    by_meaning = [(hit, 0.9 - 0.01 * rank) for rank, hit in enumerate(dense)]
    by_words = [(hit, -9.0 + rank) for rank, hit in enumerate(keyword)]
    return [hit for hit, _ in fuse(query, by_meaning, by_words, passages)]


def chinese(**texts: str) -> Passages:
    return {name: (text, "zh") for name, text in texts.items()}


def test_nothing_found_is_nothing() -> None:
    assert fuse("问题", [], [], {}) == []


def test_without_keywords_the_order_of_meaning_stays() -> None:
    passages = chinese(a="甲", b="乙", c="丙")
    assert order("问题", ["b", "c", "a"], [], passages) == ["b", "c", "a"]


def test_keywords_lift_what_covers_the_question() -> None:
    passages = chinese(a="系统管理", b="磁盘分区的调整", c="网络", d="时钟", e="邮件")
    assert order("调整磁盘分区", ["a", "b", "c", "d", "e"], ["b"], passages) == ["b", "a", "c", "d", "e"]


def test_both_scales_and_signs_give_one_order() -> None:
    passages = chinese(a="磁盘分区", b="分区表", c="磁盘", d="网络")
    dense = [("a", 0.9), ("c", 0.8), ("d", 0.1)]
    negative = fuse("磁盘分区表", dense, [("b", -9.0), ("a", -6.0), ("c", -1.0)], passages)
    positive = fuse("磁盘分区表", dense, [("b", 90.0), ("a", 60.0), ("c", 10.0)], passages)
    assert negative == positive


def test_missing_words_do_not_count_against_another_language() -> None:
    """An English question: nothing in English fits well, the Chinese passage that means it is first, as by meaning alone."""
    passages: Passages = {
        "answer": ("调整磁盘分区的大小", "zh"),
        "near": ("The size of a mail", "en"),
        "far": ("Network and clock", "en"),
    }
    assert order("resizing partitions", ["answer", "near", "far"], ["far", "near"], passages)[0] == "answer"


def test_a_good_passage_in_the_own_language_goes_before_another() -> None:
    passages: Passages = {
        "zh": ("调整磁盘分区的大小", "zh"),
        "en": ("How to resize the partitions of a disk", "en"),
        "far": ("Network and clock", "en"),
    }
    assert order("resize the partitions", ["zh", "en", "far"], ["en"], passages)[0] == "en"


def test_a_quotation_comes_first_in_any_language() -> None:
    passages = chinese(a="配置系统时钟", b="文件 /etc/adjtime 记录偏差", c="网络")
    found = fuse("/etc/adjtime", [("a", 0.9), ("c", 0.8)], [("b", -3.0)], passages)
    assert found[0][0] == "b"
    assert found[0][1] >= QUOTED_FROM > found[1][1]


@pytest.mark.parametrize("text", ["use\nxterm -e now", "使用xterm -e来", "XTERM  -E"])
def test_a_quotation_may_be_wrapped_or_written_otherwise(text: str) -> None:
    passages: Passages = {"a": ("clock", "en"), "b": (text, "zh")}
    assert order("xterm -e", ["a"], ["b"], passages)[0] == "b"


def test_a_part_of_a_word_is_no_quotation() -> None:
    passages: Passages = {"a": ("clock", "en"), "b": ("digital", "en")}
    assert all(score < QUOTED_FROM for _, score in fuse("git", [("a", 0.9), ("b", 0.1)], [], passages))


def test_what_stands_in_many_passages_is_no_quotation() -> None:
    passages: Passages = {str(n): (f"apt and {n}", "en") for n in range(6)}
    hits = [(str(n), 0.9 - n / 100) for n in range(6)]
    assert all(score <= QUOTED_FROM for _, score in fuse("apt", hits, hits, passages))


def test_hits_without_a_passage_are_left_out() -> None:
    found = fuse("磁盘", [("gone", 0.9), ("a", 0.5)], [("gone", -1.0)], chinese(a="磁盘"))
    assert [hit for hit, _ in found] == ["a"]


@pytest.mark.parametrize("query", ["", " ", "…", "(*", "a" * 5000, "404", "[\\"])
def test_any_question_is_answered_with_scores_between_0_and_1(query: str) -> None:
    dice = random.Random(7)
    passages: Passages = {str(n): ("".join(dice.choices("磁盘分区ab (*[\\.", k=60)), dice.choice(("zh", "en", ""))) for n in range(80)}
    dense = sorted(((str(n), dice.uniform(-1, 1)) for n in range(50)), key=lambda hit: -hit[1])
    keyword = sorted(((str(n), dice.uniform(-20, 0)) for n in range(30, 80)), key=lambda hit: hit[1])
    found = fuse(query, dense, keyword, passages)
    assert sorted(hit for hit, _ in found) == sorted(passages)
    assert all(0 <= score <= 1 for _, score in found)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
