"""The child's own search: filters that it reads, words that it counts, rows that are visible."""

from __future__ import annotations

import math
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from server.engines.milvus_lite_search import K1, B, Condition, File, Postings, best, live_rows, read_condition
from server.engines.vectors import Where, condition


class Column(list[Any]):
    """A column of a table, as far as it is asked."""

    def to_pylist(self) -> list[Any]:
        return list(self)

    def to_numpy(self) -> list[Any]:
        return list(self)


def file(keys: list[str], orders: list[int], **columns: list[Any]) -> File:
    import numpy as np

    table = SimpleNamespace(column=lambda name: Column(columns[name]))
    rows = {key: number for number, key in enumerate(keys)}
    return File(SimpleNamespace(pks=keys, seqs=np.array(orders, dtype=np.uint64), pk_to_row=rows, table=table))


def packed(**counts: float) -> bytes:
    return b"".join(struct.pack("<If", int(word[1:]), count) for word, count in sorted(counts.items()))


def test_our_own_filters_are_read() -> None:
    where = Where(organizations=frozenset({1, 7}), documents=(-3, 2**62), language="en")
    read = read_condition(condition(where))
    assert read is not None
    assert {field: numbers.tolist() for field, numbers in read.numbers.items()} == {"organization": [1, 7], "document": [-3, 2**62]}
    assert read.language == "en"
    assert read_condition("") == read_condition(None) == Condition({}, None)


@pytest.mark.parametrize(
    "filter", ["id > 'a'", "document in []", "document in [1] or organization in [2]", "document in [1,2]", "text in [1]"]
)
def test_other_filters_are_not_ours(filter: str) -> None:
    assert read_condition(filter) is None


def test_words_and_where_they_stand() -> None:
    postings = Postings(Column([packed(w5=2, w9=1), b"", None, packed(w5=1)]))
    found = postings.find(5)
    assert found is not None
    assert [part.tolist() for part in found] == [[0, 3], [2, 1]]
    assert postings.lengths.tolist() == [3, 0, 0, 1]
    assert postings.find(6) is None
    assert postings.find(4_000_000_000) is None
    assert Postings(Column([])).find(1) is None


def test_the_newest_of_a_row_is_visible_unless_deleted() -> None:
    old, new = file(["a", "b", "c"], [1, 2, 3]), file(["b", "d"], [5, 6])
    assert [one.tolist() for one in live_rows((old, new), {})] == [[True, False, True], [True, True]]
    deletions = {"c": 4, "d": 5, "b": 7, "x": 9}  # d was put again after its deletion
    assert [one.tolist() for one in live_rows((old, new), deletions)] == [[True, False, False], [False, True]]
    assert [one.tolist() for one in live_rows((old,), {"a": 1})] == [[True, True, True]]


def test_conditions_are_applied_to_what_is_visible() -> None:
    import numpy as np

    one = file(["a", "b", "c"], [1, 2, 3], document=[7, 8, 7], language=["zh", "zh", "en"])
    live = np.array([True, True, True])
    assert one.allowed(live, Condition({"document": np.array([7, 9])}, None)).tolist() == [True, False, True]
    assert one.allowed(live, Condition({"document": np.array([7])}, "en")).tolist() == [False, False, True]
    assert one.allowed(np.array([True, False, False]), Condition({}, None)).tolist() == [True, False, False]
    assert live.all()


def test_the_best_of_several_files() -> None:
    import numpy as np

    first, second = file(["a", "b", "c"], [1, 2, 3]), file(["d"], [4])
    scored = [(first, np.array([0, 2]), np.array([0.5, 0.9])), (second, np.array([0]), np.array([0.7]))]
    assert [(hit["id"], hit["distance"]) for hit in best(scored, 2, sign=1)] == [("c", 0.9), ("d", 0.7)]
    assert [hit["distance"] for hit in best(scored, 9, sign=-1)] == [-0.9, -0.7, -0.5]
    assert best([], 5, sign=1) == []


def test_bm25_as_robertson_wrote_it() -> None:
    """Against the formula by hand: three rows, the word in two of them, which stand in two files."""
    from server.engines.milvus_lite_search import QuickSearch, View

    files = (file(["a", "b"], [1, 2], sparse=[packed(w5=2, w9=1), packed(w9=4)]), file(["c"], [3], sparse=[packed(w5=1)]))
    analyzer = SimpleNamespace(analyze=lambda text: [5])
    collection: Any = SimpleNamespace(search=None, _bm25_analyzers={"sparse": analyzer})
    scored = QuickSearch(collection)._keyword(View(files, live_rows(files, {}), -1), Condition({}, None), "sparse", "five")
    found = {hit["id"]: hit["distance"] for hit in best(scored, 10, sign=1)}
    rarity = math.log((3 - 2 + 0.5) / (2 + 0.5) + 1)
    average = (3 + 4 + 1) / 3
    expected = {key: rarity * n * (K1 + 1) / (n + K1 * (1 - B + B * length / average)) for key, n, length in (("a", 2, 3), ("c", 1, 1))}
    assert found == pytest.approx(expected, rel=1e-5)
