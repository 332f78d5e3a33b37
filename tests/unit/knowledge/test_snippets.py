"""Snippets: what is marked, where they begin and end, and that they are safe HTML."""

from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.knowledge.snippets import LONGEST, WIDTH, WORD_ROOM, snippet


def marks(text: str, query: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r"<mark>(.*?)</mark>", snippet(query, text))]


def test_latin_words_are_marked_whole() -> None:
    assert marks("The apt command; apt-get, aptitude and APT.", "apt") == ["apt", "apt", "APT"]
    assert marks("digital", "git") == []


def test_an_identifier_is_one_mark() -> None:
    assert marks("参见 /etc/apt/sources.list 文件", "sources.list") == ["sources.list"]


def test_chinese_pairs_that_overlap_make_one_mark() -> None:
    assert marks("安装软件包的方法", "软件包管理") == ["软件包"]
    assert marks("管理软件", "软件管理") == ["管理软件"]


def test_a_match_is_found_in_full_width_and_in_decomposed_letters() -> None:
    assert marks("用ＡＰＴ安装", "apt") == ["ＡＰＴ"]
    assert marks("un cafe\u0301 noir", "café") == ["cafe\u0301"]


def test_everything_else_is_escaped() -> None:
    assert (
        snippet("alert", '<script>alert("x")</script> & more')
        == "&lt;script&gt;<mark>alert</mark>(&quot;x&quot;)&lt;/script&gt; &amp; more"
    )
    assert snippet("b", "a <b> c") == "a &lt;<mark>b</mark>&gt; c"


def test_a_long_text_shows_where_most_of_the_question_stands() -> None:
    text = "磁盘。" + "天地玄黄宇宙洪荒。" * 60 + "调整磁盘分区的大小要先卸载。" + "日月盈昃辰宿列张。" * 60
    shown = snippet("如何调整磁盘分区", text)
    assert "<mark>调整磁盘分区</mark>" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert 160 <= len(html.unescape(re.sub("<[^>]*>", "", shown))) <= LONGEST + 2


def test_without_a_match_it_is_the_beginning() -> None:
    text = "word " * 100
    shown = snippet("磁盘", text)
    assert shown.startswith("word word")
    assert shown.endswith("word…")
    assert len(shown) >= WIDTH - 1


def test_a_short_text_is_whole_on_one_line() -> None:
    assert snippet("", "first\n\n  second") == "first second"


def test_latin_words_are_not_cut() -> None:
    text = " ".join(f"word{n:03}" for n in range(200))
    for query in ("word100", "word003", "word199", "none"):
        shown = re.sub("</?mark>|…", "", snippet(query, text))
        assert all(re.fullmatch(r"word\d{3}", word) for word in shown.split())


def test_what_combines_stays_together() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    for padding in range(WIDTH - 3, WIDTH + 3):
        text = "x" * padding + family + "e\u0301" * 200
        body = snippet("", text).removesuffix("…")
        assert unicodedata.category(text[len(body)])[0] != "M"
        assert (family in body) or body == "x" * min(padding, len(body))


def test_a_lone_surrogate_does_not_break_the_answer() -> None:
    assert snippet("a", "a \ud83d b").encode() == "<mark>a</mark> \ufffd b".encode()


@given(st.text(max_size=700), st.text(max_size=30))
def test_any_text_gives_safe_html_of_itself(text: str, query: str) -> None:
    shown = snippet(query, text)
    bare = re.sub("</?mark>", "", shown)
    assert not re.search(r"[<>\"']", bare)
    assert "<mark></mark>" not in shown
    plain = html.unescape(bare)
    flat = " ".join(text.split())
    assert plain.strip("…").strip() in flat
    clusters = sum(1 for char in plain if unicodedata.category(char)[0] != "M")
    assert clusters <= LONGEST + WORD_ROOM + 2 or "\u200d" in plain


@pytest.mark.parametrize("query", ["", "(", "*", "\\"])
def test_a_question_without_words_marks_nothing(query: str) -> None:
    assert "<mark>" not in snippet(query, "a (b) * \\ c")
