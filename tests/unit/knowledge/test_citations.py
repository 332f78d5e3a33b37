"""Sentences, units and verdicts in their details; how well they judge is in test_citations_pairs.py."""

from __future__ import annotations

import pytest

from server.knowledge.assistant_evidence import evidence
from server.knowledge.assistant_judging import cosine
from server.knowledge.assistant_sentences import sentence_end, sentences
from server.knowledge.citations import across_languages, common_units, parts_of, support
from tests.unit.knowledge.found import Found


@pytest.mark.parametrize(
    "parts",
    [
        ["First, e.g. this one. ", "Second (see Fig. 3)! ", "Third?"],
        ["It costs 3.5 GB in sources.list. ", "Yes."],
        ["第一句。", "第二句！", "“第三句。”", "第四句；", "第五句"],
        ["Claim. [1] [2] ", "Next 【3】. ", "End."],
        ["结论。[1] ", "下一句[2]。"],
        ["1. Do this.", "\n2. Do that.", "\n\n- Item\n", "End"],
        ["Wait... ", "Then."],
    ],
)
def test_sentences(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


def test_an_end_that_may_go_on_is_none_yet() -> None:
    for text in ("It is 3.", "Claim. [", "结论。", "Claim.", "He said “yes.”", "Claim. [1", "Claim. [1]", "No stop"):
        assert sentence_end(text, final=False) is None
        assert "".join(sentences(text)) == text
    assert sentence_end("Claim. Next", final=False) == len("Claim. ")


def test_units() -> None:
    found = evidence("必须在三天内用 apt-get 更新 /etc/apt/sources.list，共两百三十个包、１,024 MB，不可中断。")
    assert found.numbers == {"3", "230", "1024"}
    assert found.names == {"etc/apt/sources.list"}
    assert {"apt", "get", "mb"} <= found.latin
    assert {"更新", "中断"} <= found.units
    assert found.negated
    assert not evidence("未来不断改进，不仅如此。").negated
    assert evidence("within twelve days, 007, 1.50").numbers == {"12", "7", "1.5"}


def test_numbers_in_many_forms() -> None:
    assert evidence("8GB, 1.5s 和 2 万元、1.2亿").numbers == {"8", "1.5", "20000", "120000000"}
    assert evidence("8GB").names == frozenset()
    for listed in ("3. Do it", "- 3) do it", "（3）做", "③ 做", "步骤 3：做", "Step 3: do it"):
        assert evidence(listed).numbers == frozenset()
    assert evidence("3.5 GB is enough").numbers == {"3.5"}
    assert evidence("3 days").numbers == evidence("三天").numbers == evidence("three days").numbers == {"3"}
    assert evidence("2026-03-01").numbers == evidence("2026年3月1日").numbers == {"2026", "3", "1"}


def test_numbers_and_names_must_occur() -> None:
    passage = Found("Jobs live in /etc/cron.d and run every 5 minutes.")
    assert support("Jobs live in /etc/cron.d.", passage)
    assert "10" in support("Jobs live in /etc/cron.d and run every 10 minutes.", passage).why
    assert "cron.daily" in support("Jobs live in /etc/cron.daily.", passage).why


def test_headings_and_title_count_but_are_not_quoted() -> None:
    passage = Found("默认值为 60。", title="内核手册", path=["内存", "vm.swappiness 参数"])
    verdict = support("vm.swappiness 参数的默认值为 60。", passage)
    assert verdict.quote == "默认值为 60。"


def test_the_quote_is_the_part_that_carries_it() -> None:
    passage = Found("Cats sleep all day. The default of swappiness is 60. Dogs bark at night. Birds sing.")
    assert support("Swappiness has a default of 60.", passage).quote == "The default of swappiness is 60."


def test_what_all_passages_are_about_says_little_about_one() -> None:
    passages = [Found(f"使用 apt 命令管理软件包：{text}。") for text in ("搜索", "升级到新版本", "删除配置文件", "查看依赖关系")]
    common = common_units(passages)
    assert {"apt", "软件", "件包", "命令"} <= common
    claim = "使用 apt 命令管理软件包，可以查看依赖关系。"
    assert [bool(support(claim, passage)) for passage in passages] == [True, True, True, True]
    assert [bool(support(claim, passage, None, common)) for passage in passages] == [False, False, False, True]
    assert common_units(passages[:3]) == frozenset()


def test_nothing_supports_nothing() -> None:
    assert not support("", Found("text"))
    assert not support("的了。", Found("的了。"))
    assert not support("A claim about cats.", Found(""))
    assert not support("A claim about cats.", Found("   "))


def test_across_languages_without_vectors_only_plain_evidence_counts() -> None:
    passage = Found("Use swapon to enable 4 GB of swap and swapoff to disable it.")
    assert across_languages("用 swapon 启用 4 GB 的交换区。", passage)
    assert support("用 swapon 启用 4 GB 的交换区。", passage)
    assert not support("启用交换区的方法。", passage)
    assert not support("用 mkswap 创建 4 GB 的交换区。", passage, [0.9] * len(parts_of(passage)))


def test_cosine() -> None:
    import struct

    one, other = struct.pack("<2f", 1.0, 0.0), struct.pack("<2f", 0.6, 0.8)
    assert cosine(one, other) == pytest.approx(0.6)
