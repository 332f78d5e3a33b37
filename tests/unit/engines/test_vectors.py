"""What the vectors door writes: filters, texts that are cut, ids that are checked."""

from __future__ import annotations

import struct

import pytest

from server.config import Settings
from server.engines import vectors_schema
from server.engines.vectors import MOST_TEXT_BYTES, Row, Where, check_ids, check_row, condition, cut, open_vectors


def test_conditions_are_written_in_one_way() -> None:
    assert condition(Where()) == ""
    assert condition(Where(organizations=frozenset({3, 1}))) == "organization in [1, 3]"
    assert condition(Where(documents=(5, 2, 5), language="zh")) == 'document in [2, 5] and language == "zh"'
    assert condition(Where(language="")) == 'language == ""'


@pytest.mark.parametrize(
    "where", [Where(organizations=frozenset()), Where(documents=()), Where(documents=(), organizations=frozenset({1}))]
)
def test_an_empty_condition_is_never_written(where: Where) -> None:
    assert where.is_empty
    with pytest.raises(ValueError):
        condition(where)


@pytest.mark.parametrize(
    "where",
    [
        Where(language='zh" or id > "'),
        Where(language="de"),
        Where(documents=(True,)),
        Where(documents=(2**63,)),
        Where(organizations=frozenset({"1"})),  # type: ignore[arg-type]
    ],
)
def test_what_could_change_a_filter_is_refused(where: Where) -> None:
    with pytest.raises(ValueError):
        condition(where)


@pytest.mark.parametrize("id", ["", "A", "g", "1" * 33, "1'", "1\n", "é"])
def test_ids_are_hexadecimal(id: str) -> None:
    with pytest.raises(ValueError):
        check_ids(["a", id])


def test_ids_of_32_digits_are_fine() -> None:
    check_ids(["0123456789abcdef" * 2, "a"])


@pytest.mark.parametrize("vector", [b"", b"123", struct.pack("<3f", 1, 2, 3)])
def test_a_vector_has_the_dimension_of_its_collection(vector: bytes) -> None:
    with pytest.raises(ValueError):
        check_row(Row("a", 1, 1, "zh", "", vector), 2)


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("abc", 3, "abc"),
        ("abc", 2, "ab"),
        ("系统", 5, "系"),
        ("系统", 6, "系统"),
        ("😀😀", 7, "😀"),
        ("a\ud83db", 9, "ab"),
        ("a\0b", 9, "a b"),
        ("", 9, ""),
    ],
)
def test_texts_are_cut_between_characters(text: str, most: int, kept: str) -> None:
    assert cut(text, most) == kept


def test_the_collection_takes_the_longest_text() -> None:
    assert MOST_TEXT_BYTES <= vectors_schema.MOST_TEXT


def test_stop_words_are_single_and_small() -> None:
    words = vectors_schema.ANALYZER["filter"][1]["stop_words"]
    assert len(words) == len(set(words))
    assert [word for word in words if word != word.lower()] == []


def test_opening_a_door_starts_nothing(tmp_path: object) -> None:
    door = open_vectors(Settings(data_dir=f"{tmp_path}/none"))
    assert door.mode == "embedded"
    assert open_vectors(Settings(data_dir=f"{tmp_path}/none", milvus_host="milvus")).mode == "distributed"
