"""Words: what a question and a passage are compared by."""

from __future__ import annotations

import pytest

from server.knowledge.words import folded, language, pairs, spans, units


@pytest.mark.parametrize(
    ("text", "expected"),
    [("apt-get 命令", "zh"), ("The apt-get command", "en"), ("ÄÖ", "en"), ("1 2 3 …", ""), ("", ""), ("𠮷", "en")],
)
def test_the_language_is_told_by_characters(text: str, expected: str) -> None:
    assert language(text) == expected


def test_chinese_is_cut_into_overlapping_pairs() -> None:
    assert units("软件包管理") == {"软件", "件包", "包管", "管理"}
    assert units("用 vi 写") == {"用", "vi", "写"}
    assert pairs("包") == ["包"]


def test_identifiers_stay_whole_and_end_before_punctuation() -> None:
    assert units("apt-get(8), sources.list. And user@host?") == {"apt-get", "8", "sources.list", "and", "user@host", "user", "host"}


def test_a_path_gives_its_parts_too() -> None:
    assert units("/etc/apt/sources.list") == {"etc/apt/sources.list", "etc", "apt", "sources.list"}


def test_chinese_and_latin_need_no_space_between_them() -> None:
    assert units("使用MC。用dpkg-i命令") == {"使用", "mc", "用", "dpkg-i", "命令"}


def test_full_width_and_ligatures_are_folded() -> None:
    assert folded("ＡＰＴ ﬁle Straße") == "apt file strasse"
    assert units("ＡＰＴ") == units("apt") == {"apt"}


def test_spans_are_places_in_the_text() -> None:
    text = "装 apt-get 包"
    assert [(text[start:stop], cjk) for start, stop, cjk in spans(text)] == [("装", True), ("apt-get", False), ("包", True)]


def test_a_text_without_words_has_no_units() -> None:
    assert units(" -- … ") == set()
