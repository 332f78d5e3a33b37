"""How the child searches a collection: whole columns at a time in numpy, where Milvus Lite goes row by row in Python.

Takes over only what our door asks: one query, ids as the answer, our own filters; all else goes to Milvus Lite. It looks at flushed rows
alone: the child flushes each write before it answers, and what a crash left unflushed when it loads the collection. The answers are the
same but for one thing: words are weighed over the whole collection instead of within each file.
"""

from __future__ import annotations

import math
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, Any]

# The release whose inner workings these are; with another one the child searches in Milvus Lite's own way.
RELEASE = "3.2.2"
PLAIN = {"partition_names", "group_by_field", "radius", "range_filter", "ranker"}
# Most of BM25's parameters are by convention; these are Milvus Lite's.
K1, B = 1.5, 0.75
# Below this share of allowed rows, only theirs are multiplied.
FEW = 0.3

_LIST = re.compile(r"(organization|document) in \[(-?[0-9]+(?:, -?[0-9]+)*)\]")
_LANGUAGE = re.compile(r'language == "([a-z]*)"')


def knows_this_release() -> bool:
    from importlib.metadata import version

    return version("milvus-lite") == RELEASE


class Condition(NamedTuple):
    """A filter as `server.engines.vectors.condition` writes it: allowed numbers by field, and a language."""

    numbers: dict[str, Numbers]
    language: str | None


def read_condition(filter: str | None) -> Condition | None:
    """None for a filter that is not ours."""
    import numpy as np

    numbers: dict[str, Numbers] = {}
    language = None
    for part in filter.split(" and ") if filter else ():
        if found := _LIST.fullmatch(part):
            numbers[found[1]] = np.fromstring(found[2], dtype=np.int64, sep=",")
        elif found := _LANGUAGE.fullmatch(part):
            language = found[1]
        else:
            return None
    return Condition(numbers, language)


class Postings:
    """The words of one file: for each, the rows that have it and how often, in one array sorted by word."""

    def __init__(self, column: Any) -> None:
        """`column` holds packed (word uint32, count float32) pairs of each row."""
        import numpy as np

        rows = column.to_pylist()
        pairs = np.frombuffer(b"".join(row or b"" for row in rows), dtype=[("word", "<u4"), ("count", "<f4")])
        sizes = np.fromiter((len(row or b"") // 8 for row in rows), dtype=np.int64, count=len(rows))
        order = np.argsort(pairs["word"], kind="stable")
        words = pairs["word"][order]
        self._words, self._starts = np.unique(words, return_index=True)
        self._starts = np.append(self._starts, len(words))
        of = np.repeat(np.arange(len(rows), dtype=np.int32), sizes)
        self._rows, self._counts = of[order], pairs["count"][order]
        self.lengths = np.bincount(of, weights=pairs["count"], minlength=len(rows)).astype(np.float32)

    def find(self, word: int) -> tuple[Numbers, Numbers] | None:
        """The rows that have the word, and its counts there."""
        at = int(self._words.searchsorted(word))
        if at == len(self._words) or self._words[at] != word:
            return None
        part = slice(int(self._starts[at]), int(self._starts[at + 1]))
        return self._rows[part], self._counts[part]


class File:
    """One immutable file of rows: its columns as arrays, each made at first use."""

    def __init__(self, segment: Any) -> None:
        self.segment = segment
        self._columns: dict[str, Any] = {}
        self._making = threading.Lock()

    def __len__(self) -> int:
        return len(self.segment.pks)

    def _once(self, name: str, make: Any) -> Any:
        if name not in self._columns:
            with self._making:
                if name not in self._columns:
                    self._columns[name] = make()
        return self._columns[name]

    def numbers(self, field: str) -> Numbers:
        import numpy as np

        def make() -> Numbers:
            return np.asarray(self.segment.table.column(field).to_numpy(), dtype=np.int64)

        column: Numbers = self._once(field, make)
        return column

    def languages(self) -> Numbers:
        import numpy as np

        column: Numbers = self._once("language", lambda: np.asarray(self.segment.table.column("language").to_pylist(), dtype=object))
        return column

    def norms(self) -> Numbers:
        import numpy as np

        def make() -> Numbers:
            lengths: Numbers = np.linalg.norm(self.segment.vectors, axis=1)
            lengths[lengths == 0] = np.inf  # a vector of zeros is like nothing
            return lengths

        column: Numbers = self._once("norms", make)
        return column

    def postings(self, field: str) -> Postings:
        column: Postings = self._once(field, lambda: Postings(self.segment.table.column(field)))
        return column

    def allowed(self, live: Numbers, condition: Condition) -> Numbers:
        import numpy as np

        mask: Numbers = live
        for field, numbers in condition.numbers.items():
            mask = np.logical_and(mask, np.isin(self.numbers(field), numbers))
        if condition.language is not None:
            mask = np.logical_and(mask, np.equal(self.languages(), condition.language))
        return mask


class View(NamedTuple):
    """What is visible at one time: the files, and which of their rows are neither deleted nor replaced."""

    files: tuple[File, ...]
    live: tuple[Numbers, ...]
    newest_deletion: int


def live_rows(files: tuple[File, ...], deletions: dict[Any, int]) -> tuple[Numbers, ...]:
    import numpy as np

    live = tuple(np.ones(len(file), dtype=bool) for file in files)
    newest: dict[Any, int] = {}
    for file in files:
        newest.update(dict.fromkeys(file.segment.pks))
    if len(newest) < sum(map(len, files)):  # some were replaced
        newest = dict.fromkeys(newest, -1)
        for file in files:
            for key, order in zip(file.segment.pks, file.segment.seqs.tolist(), strict=True):
                newest[key] = max(newest[key], order)
        for file, mask in zip(files, live, strict=True):
            orders = file.segment.seqs.tolist()
            mask[:] = [newest[key] == order for key, order in zip(file.segment.pks, orders, strict=True)]
    for key, deleted in deletions.items():
        for file, mask in zip(files, live, strict=True):
            row = file.segment.pk_to_row.get(key)
            if row is not None and file.segment.seqs[row] < deleted:
                mask[row] = False
    return live


class QuickSearch:
    """The search of one collection of Milvus Lite.

    Searches use the view that is there and wait for nothing: Milvus Lite merges files under the lock that its own searches take, which
    for 10,000 rows is a second. Who writes brings the view up to date before the write is answered, and merges change nothing visible.
    """

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._slow = collection.search
        self._view: View | None = None
        self._refreshing = threading.Lock()

    def refresh(self) -> View:
        """The view that holds now, with all that searches need of it. Waits for a merge that is going on."""
        with self._refreshing:
            segments, deletions = self._collection._read_snapshot()
            newest = max(deletions._map.values(), default=-1)
            view = self._view
            # What is visible changes with the set of files and with the newest deletion, and with nothing else.
            if view and newest == view.newest_deletion and [id(file.segment) for file in view.files] == [id(one) for one in segments]:
                return view
            known = {id(file.segment): file for file in view.files} if view else {}
            files = tuple(known.get(id(segment)) or File(segment) for segment in segments)
            for file in files:
                file.norms()
                for field in self._collection._bm25_analyzers:
                    file.postings(field)
            self._view = View(files, live_rows(files, deletions._map), newest)
            return self._view

    def search(self, query_vectors: list[Any], top_k: int = 10, **asked: Any) -> list[list[dict[str, Any]]]:
        """As Milvus Lite's `Collection.search`."""
        collection = self._collection
        condition = read_condition(asked.get("expr"))
        is_ours = (
            condition is not None
            and len(query_vectors) == 1
            and asked.get("output_fields") == [collection.pk_field]
            and not asked.get("offset")
            and not any(asked.get(name) for name in PLAIN)
            and collection.load_state == "loaded"
        )
        if not is_ours or condition is None:
            found: list[list[dict[str, Any]]] = self._slow(query_vectors=query_vectors, top_k=top_k, **asked)
            return found
        field = asked.get("anns_field") or "vector"
        view = self._view or self.refresh()
        if field == "vector" and asked.get("metric_type") == "COSINE":
            scored = self._dense(view, condition, query_vectors[0])
        elif field in collection._bm25_analyzers and isinstance(query_vectors[0], str):
            scored = self._keyword(view, condition, field, query_vectors[0])
        else:
            return self._slow(query_vectors=query_vectors, top_k=top_k, **asked)  # type: ignore[no-any-return]
        return [best(scored, top_k, sign=-1 if field != "vector" else 1)]

    def _dense(self, view: View, condition: Condition, query: Any) -> list[tuple[File, Numbers, Numbers]]:
        import numpy as np

        wanted = np.asarray(query, dtype=np.float32)
        length = float(np.linalg.norm(wanted))
        wanted = wanted / length if length else wanted
        scored = []
        for file, live in zip(view.files, view.live, strict=True):
            mask = file.allowed(live, condition)
            rows = np.flatnonzero(mask)
            if not len(rows):
                continue
            vectors = file.segment.vectors
            if wanted.shape[0] != vectors.shape[1]:
                raise ValueError(f"a query of {wanted.shape[0]} dimensions for vectors of {vectors.shape[1]}")
            if len(rows) < FEW * len(mask):
                scores = vectors[rows] @ wanted / file.norms()[rows]
            else:
                scores = (vectors @ wanted / file.norms())[rows]
            scored.append((file, rows, scores))
        return scored

    def _keyword(self, view: View, condition: Condition, field: str, query: str) -> list[tuple[File, Numbers, Numbers]]:
        import numpy as np

        postings = [file.postings(field) for file in view.files]
        total = sum(map(len, view.files))
        average = float(sum(float(one.lengths.sum()) for one in postings)) / total if total else 0.0
        counted: dict[int, int] = {}
        for word in self._collection._bm25_analyzers[field].analyze(query):
            counted[word] = counted.get(word, 0) + 1
        found = [(weight, [one.find(word) for one in postings]) for word, weight in counted.items()]
        scored = []
        for at, (file, live) in enumerate(zip(view.files, view.live, strict=True)):
            scores = np.zeros(len(file), dtype=np.float32)
            for weight, parts in found:
                part = parts[at]
                if part is None:
                    continue
                frequency = sum(len(other[0]) for other in parts if other is not None)
                rarity = math.log((total - frequency + 0.5) / (frequency + 0.5) + 1.0)
                rows, counts = part
                spread = counts + K1 * (1.0 - B + B * postings[at].lengths[rows] / (average or 1.0))
                scores[rows] += weight * rarity * counts * (K1 + 1.0) / spread
            hits = np.flatnonzero((scores > 0) & file.allowed(live, condition))
            if len(hits):
                scored.append((file, hits, scores[hits]))
        return scored


def best(scored: list[tuple[File, Numbers, Numbers]], most: int, *, sign: int) -> list[dict[str, Any]]:
    """The best of all files, best first, as Milvus Lite answers them."""
    import numpy as np

    candidates: list[tuple[float, int, int]] = []
    for number, (_, rows, scores) in enumerate(scored):
        if len(scores) > most:
            top = np.argpartition(-scores, most - 1)[:most]
            rows, scores = rows[top], scores[top]
        candidates += [(-score, number, row) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)]
    candidates.sort()
    return [{"id": scored[number][0].segment.pks[row], "distance": sign * -score, "entity": {}} for score, number, row in candidates[:most]]
