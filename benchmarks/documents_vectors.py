"""`python -m benchmarks.documents_vectors`: dense and keyword search through the vectors door, against bare pymilvus on Milvus Lite.

Both sides hold the same rows in the same way, each in a child of its own; the calls of a round follow each other, so that what else the
machine does hits all alike. "bare" is the plain client with Milvus Lite as its own command starts it, HNSW and the analyzer as they come;
"same" is the plain client on our own child and collection: what the door costs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.processes import free_port
from benchmarks.report import Row as Line
from benchmarks.report import note, print_notes, print_table
from server.config import Settings
from server.engines.milvus_lite import LiteChild
from server.engines.vectors import Row, VectorsDoor, Where, condition, open_vectors

DIM = 384
CHARACTERS = 320
CLUSTERS = 200
PER_DOCUMENT = 40
LIMIT = 50
OURS = "ours"
SPARE_WORDS = "的 是 在 了 和 有 不 为".split()
LATIN = (
    "server network package install kernel boot disk apt-get /etc/fstab module system config user group file CVE-2024-1234 "
    "mount shell script daemon journal socket process memory swap partition filesystem encryption key"
).split()


class Corpus:
    """Texts whose words are as unevenly frequent as real ones, and vectors in clusters."""

    def __init__(self, seed: int = 1) -> None:
        import jieba

        jieba.setLogLevel(60)
        jieba.initialize()
        self.drawn = random.Random(seed)
        self._words = [word for word, frequency in jieba.dt.FREQ.items() if frequency > 200 and len(word) > 1]
        self.drawn.shuffle(self._words)
        # Zipf's law, without the very top: those are the spare words.
        self._weights = list(itertools.accumulate(1 / (rank + 30) for rank in range(len(self._words))))
        self._centres = [[self.drawn.gauss(0, 1) for _ in range(DIM)] for _ in range(CLUSTERS)]

    def text(self, characters: int = CHARACTERS) -> str:
        parts: list[str] = []
        length = 0
        while length < characters:
            chance = self.drawn.random()
            if chance < 0.15:
                part = self.drawn.choice(SPARE_WORDS)
            elif chance < 0.25:
                part = self.drawn.choice("，。、")
            elif chance < 0.32:
                part = f" {self.drawn.choice(LATIN)} "
            else:
                part = self.drawn.choices(self._words, cum_weights=self._weights)[0]
            parts.append(part)
            length += len(part)
        return "".join(parts)

    def question(self) -> str:
        return self.text(14) + "是什么？"

    def vector(self) -> bytes:
        numbers = [centre + self.drawn.gauss(0, 0.7) for centre in self.drawn.choice(self._centres)]
        length = sum(number * number for number in numbers) ** 0.5
        return struct.pack(f"<{DIM}f", *(number / length for number in numbers))

    def rows(self, count: int) -> list[Row]:
        return [Row(f"{n:032x}", n // PER_DOCUMENT, n // PER_DOCUMENT % 20, "zh", self.text(), self.vector()) for n in range(count)]


class Bare:
    """Two searches or a hybrid one by the plain client."""

    def __init__(self, uri: str, collection: str) -> None:
        from pymilvus import MilvusClient

        self._collection = collection
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client = MilvusClient(uri, timeout=2)
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise

    def fill(self, rows: list[Row], batch: int) -> None:
        """The usual collection: HNSW, words by jieba. Loaded anew at the end, so that what it built is in use."""
        import numpy as np
        from pymilvus import DataType, Function, FunctionType

        schema = self.client.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
        schema.add_field("document", DataType.INT64)
        schema.add_field("text", DataType.VARCHAR, max_length=16_000, enable_analyzer=True, analyzer_params={"tokenizer": "jieba"})
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
        indexes = self.client.prepare_index_params()
        indexes.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
        indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        self.client.create_collection(self._collection, schema=schema, index_params=indexes)
        for start in range(0, len(rows), batch):
            data = [
                {"id": row.id, "document": row.document_id, "text": row.text, "vector": np.frombuffer(row.vector, "<f4")}
                for row in rows[start : start + batch]
            ]
            self.client.upsert(self._collection, data)
            self.client.flush(self._collection)

    def dense(self, vector: bytes, filter: str = "") -> None:
        import numpy as np

        params = {"metric_type": "COSINE", "params": {"ef": 100}}
        self.client.search(
            self._collection,
            [np.frombuffer(vector, "<f4")],
            anns_field="vector",
            limit=LIMIT,
            filter=filter,
            output_fields=["id"],
            search_params=params,
        )

    def keyword(self, text: str, filter: str = "") -> None:
        self.client.search(
            self._collection,
            [text],
            anns_field="sparse",
            limit=LIMIT,
            filter=filter,
            output_fields=["id"],
            search_params={"metric_type": "BM25"},
        )

    def hybrid(self, vector: bytes, text: str, filter: str = "") -> None:
        import numpy as np
        from pymilvus import AnnSearchRequest, RRFRanker

        expression = {"expr": filter} if filter else {}
        requests = [
            AnnSearchRequest(
                [np.frombuffer(vector, "<f4")], "vector", {"metric_type": "COSINE", "params": {"ef": 100}}, LIMIT, **expression
            ),
            AnnSearchRequest([text], "sparse", {"metric_type": "BM25"}, LIMIT, **expression),
        ]
        self.client.hybrid_search(self._collection, requests, RRFRanker(60), limit=LIMIT)


class Timings:
    """Milliseconds by name."""

    def __init__(self) -> None:
        self.of: dict[str, list[float]] = {}

    async def take(self, name: str, call: Callable[[], Awaitable[Any]]) -> None:
        started = time.perf_counter()
        await call()
        self.of.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    def quantile(self, name: str, share: float) -> float:
        found = sorted(self.of[name])
        return found[min(len(found) - 1, int(share * len(found)))]


async def fill(door: VectorsDoor, rows: list[Row], batch: int, timings: Timings) -> list[float]:
    """The gaps of the loop in milliseconds while rows go in."""
    gaps: list[float] = []
    filling = True

    async def tick() -> None:
        while filling:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append((time.perf_counter() - started - 0.001) * 1000)

    ticking = asyncio.create_task(tick())
    for start in range(0, len(rows), batch):
        await timings.take("put", partial(door.put, OURS, rows[start : start + batch]))
    filling = False
    await ticking
    return gaps


class Round:
    """One question, asked in every way, one after the other."""

    def __init__(self, door: VectorsDoor, bare: Bare, same: Bare, vector: bytes, question: str, timings: Timings) -> None:
        self._door, self._bare, self._same = door, bare, same
        self._vector, self._question = vector, question
        self._timings = timings

    async def ask(self, name: str, where: Where) -> None:
        vector, question, filters = self._vector, self._question, condition(where)
        take = self._timings.take
        await take(f"dense{name}", lambda: self._door.dense(OURS, vector, where, LIMIT))
        await take(f"keyword{name}", lambda: self._door.keyword(OURS, question, where, LIMIT))
        await take(f"both{name}", lambda: self._both(where))
        await take(f"bare hybrid{name}", partial(asyncio.to_thread, self._bare.hybrid, vector, question, filters))
        for kind, client in (("bare", self._bare), ("same", self._same)):
            await take(f"{kind} dense{name}", partial(asyncio.to_thread, client.dense, vector, filters))
            await take(f"{kind} keyword{name}", partial(asyncio.to_thread, client.keyword, question, filters))

    async def _both(self, where: Where) -> None:
        await asyncio.gather(self._door.dense(OURS, self._vector, where, LIMIT), self._door.keyword(OURS, self._question, where, LIMIT))


async def rounds(door: VectorsDoor, bare: Bare, same: Bare, corpus: Corpus, count: int, documents: int, timings: Timings) -> None:
    filters = {"": Where(), " 1,000 documents": some(corpus, 1_000, documents), " 10,000 documents": some(corpus, 10_000, documents)}
    for number in range(count + 3):
        one = Round(door, bare, same, corpus.vector(), corpus.question(), timings if number >= 3 else Timings())
        for name, where in filters.items():
            if not name or number % 4 == 0:
                await one.ask(name, where)


def some(corpus: Corpus, count: int, documents: int) -> Where:
    """So many ids, of which some are there."""
    return Where(documents=tuple(corpus.drawn.sample(range(max(2 * count, 2 * documents)), count)))


async def measure(rows: int = 10_000, batch: int = 32, count: int = 60) -> tuple[Timings, dict[str, float]]:
    """Timings in milliseconds, and single figures: seconds and MiB."""
    timings, figures = Timings(), {}
    corpus = Corpus()
    note(f"drawing {rows} rows")
    drawn = corpus.rows(rows)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = ["-m", "milvus_lite", "server", "--data-dir", f"{folder}/bare", "--host", "127.0.0.1", "--port", str(port)]
        peer = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=-3, stderr=-3)
        door = open_vectors(Settings(data_dir=f"{folder}/ours"))
        try:
            started = time.perf_counter()
            await door.collections()
            figures["start, s"] = time.perf_counter() - started
            pid = int(Path(folder, "ours", "run", "milvus.users").read_text())
            figures["child at first, MiB"] = resident(pid)
            await door.prepare(OURS, DIM)
            note("putting ours")
            gaps = sorted(await fill(door, drawn, batch, timings))
            figures["loop lag while putting, p99 ms"] = gaps[int(0.99 * len(gaps))]
            figures["loop lag while putting, most ms"] = gaps[-1]
            await timings.take("first keyword", lambda: door.keyword(OURS, corpus.question(), Where(), LIMIT))
            note("putting bare")
            bare = await asyncio.to_thread(Bare, f"http://127.0.0.1:{port}", "bare")
            await asyncio.to_thread(bare.fill, drawn, batch)
            note("searching")
            same = await asyncio.to_thread(Bare, LiteChild(Path(folder, "ours")).address, OURS)
            await rounds(door, bare, same, corpus, count, rows // PER_DOCUMENT, timings)
            figures["child in the end, MiB"] = resident(pid)
            figures["bare child in the end, MiB"] = resident(peer.pid)
            await asyncio.to_thread(same.client.close)
            await door.close()
            door = open_vectors(Settings(data_dir=f"{folder}/ours"))
            started = time.perf_counter()
            await door.keyword(OURS, corpus.question(), Where(), LIMIT)
            figures["first search after a restart, s"] = time.perf_counter() - started
        finally:
            await door.close()
            peer.kill()
            await peer.wait()
    return timings, figures


def resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    timings, figures = asyncio.run(measure(asked.rows, asked.batch, asked.rounds))
    if asked.json:
        print(json.dumps({"ms": timings.of, "figures": figures}))
        return
    lines = []
    for name in ("", " 1,000 documents", " 10,000 documents"):
        for share, quantile in ((0.5, "p50"), (0.95, "p95")):
            for ours, theirs in (
                ("dense", "bare dense"),
                ("keyword", "bare keyword"),
                ("both", "bare hybrid"),
                ("dense", "same dense"),
                ("keyword", "same keyword"),
            ):
                is_target = not name and ours == "both"
                lines.append(
                    Line(
                        what=f"{ours}{name}, {quantile}, against {theirs}",
                        ours=timings.quantile(ours + name, share),
                        unit="ms",
                        peer=timings.quantile(theirs + name, share),
                        target=1.3 if is_target else None,
                        want="at most",
                    )
                )
    lines.append(Line(what="both, p95", ours=timings.quantile("both", 0.95), unit="ms", target=60, want="at most"))
    lines.append(Line(what=f"put of {asked.batch} rows, p50", ours=statistics.median(timings.of["put"]), unit="ms"))
    lines.append(Line(what=f"put of {asked.batch} rows, p95", ours=timings.quantile("put", 0.95), unit="ms"))
    print_table(lines)
    print_notes(
        "Besides", [f"{name}: {value:.2f}" for name, value in figures.items()] + [f"first keyword: {timings.of['first keyword'][0]:.0f} ms"]
    )


if __name__ == "__main__":
    main()
