"""`./manage.sh bench documents_quality`: search on the Debian manual in two languages, hybrid against the better of its halves."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Row, note, print_notes, print_table, say
from server.config import Settings, SettingsError, read_settings
from server.evaluating import measure_manuals
from server.knowledge.eval_figures import TOLERANCE, ModeFigures, table

# Of the Debian packages debian-reference-zh-cn and debian-reference-en.
MANUALS = (
    Path("/usr/share/debian-reference/debian-reference.zh-cn.pdf"),
    Path("/usr/share/debian-reference/debian-reference.en.pdf"),
)


# What hybrid search is to reach: kind of question, figure, its field, target.
TARGETS = (
    ("zh headings", "MRR@10", "mrr", 0.75),
    ("zh headings", "found@10", "found", 0.94),
    ("en→zh cross_language", "MRR@10", "mrr", 0.59),
)


@dataclass(frozen=True)
class Quality:
    """The figures by kind of question, and the model that made the vectors."""

    kinds: dict[str, ModeFigures]
    model: str

    @property
    def mean(self) -> float:
        """Mean MRR@10 of hybrid over the kinds."""
        return sum(row.hybrid.mrr for row in self.kinds.values()) / len(self.kinds)


def measure(settings: Settings) -> Quality:
    """Read, embed, index and ask, in a temporary folder; some minutes. Raises SettingsError when the manuals are not installed."""
    missing = [str(path) for path in MANUALS if not path.is_file()]
    if missing:
        raise SettingsError(f"{', '.join(missing)}: install debian-reference-zh-cn and debian-reference-en")
    kinds, model = asyncio.run(measure_manuals(settings, list(MANUALS), note))
    return Quality(kinds, model)


def rows(quality: Quality) -> list[Row]:
    """Hybrid search against its targets; then its MRR@10, by kind, against the better of its halves less what fusing may cost."""
    asked = [
        Row(what=f"{figure}, {name}", ours=getattr(quality.kinds[name].hybrid, field), unit="", target=target)
        for name, figure, field, target in TARGETS
        if name in quality.kinds
    ]
    return asked + [
        Row(
            what=f"MRR@10, {name}",
            ours=row.hybrid.mrr,
            unit="",
            peer=row.better_half,
            target=(row.better_half - TOLERANCE) / row.better_half,
        )
        for name, row in quality.kinds.items()
        if row.better_half > 0
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench documents_quality", description=__doc__)
    parser.parse_args(arguments)
    try:
        quality = measure(read_settings())
    except SettingsError as problem:
        sys.stderr.write(f"bench: {problem}\n")
        return 2
    print_table(rows(quality))
    say()
    for line in table(quality.kinds, "questions"):
        say(line)
    print_notes(
        "How it was measured",
        [
            f"the Debian Reference in Chinese and English as PDFs, through reader, chunker, model {quality.model} and Milvus Lite",
            "headings: each heading asks for its own section, from which the heading is cut; sentences and identifiers: of the text",
            "cross_language: headings of one language, the text in the other; both and split: both languages in one index",
            f"peer: the better of keyword (BM25, jieba) and dense search on the same passages; hybrid may be {TOLERANCE} under it",
            f"mean MRR@10 of hybrid over all kinds: {quality.mean:.3f}",
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
