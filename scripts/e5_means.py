"""Computes jobs/cpu/e5_means.npz: the mean of E5's vectors for each language, of passages and of queries.

python scripts/e5_means.py [--to FILE] [BOOK]: BOOK is the HTML of the Debian Administrator's Handbook (package debian-handbook), which
is Chinese and English alike. Afterwards set MEANS_SHA256 in jobs/cpu/e5_identity.py to what is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from jobs.cpu.e5_model import open_encoder  # noqa: E402
from jobs.cpu.e5_recipe import MEANS, mean_key  # noqa: E402

BOOK = Path("/usr/share/doc/debian-handbook/html")
FOLDERS = {"zh": "zh-CN", "en": "en-US"}
PASSAGE_CHARS = 320  # as long as the chunks of documents are
MOST = 900  # of each kind; the mean of 600 is as good
QUESTIONS = {
    "zh": ("{}", "如何{}？", "什么是{}？", "{}有什么要求", "怎样设置{}", "关于{}的规定"),
    "en": ("{}", "how do I {}?", "what is {}?", "requirements for {}", "how to configure {}", "explain {}"),
}
_HAN = re.compile("[\u4e00-\u9fff]")
_BETWEEN_HAN = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])")
_NUMBERING = re.compile(r"^(第 ?\d+ ?章|chapter \d+\.?|[\dA-Z]+(\.\d+)*\.)\s*", re.IGNORECASE)


class _Texts(HTMLParser):
    """The headings of a page and its paragraphs."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.paragraphs: list[str] = []
        self._words: list[str] = []
        self._depth = 0
        self._skipped = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "ul", "pre"):  # lists are mostly navigation, pre is what a machine says
            self._skipped += 1
        elif tag in ("h1", "h2", "h3", "h4", "p") or (tag == "div" and ("class", "para") in attrs):
            self._words = []

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "ul", "pre"):
            self._skipped -= 1
        elif tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(self._said())
        elif tag in ("div", "p"):
            self.paragraphs.append(self._said())

    def _said(self) -> str:
        said = " ".join("".join(self._words).split())
        self._words = []
        return _BETWEEN_HAN.sub("", said)


def is_in(language: str, text: str) -> bool:
    """The Chinese book has paragraphs that nobody has translated."""
    han = len(_HAN.findall(text)) / max(len(text), 1)
    return han > 0.3 if language == "zh" else han == 0


def read_book(book: Path, language: str) -> tuple[list[str], list[str]]:
    """The passages and the headings of one language."""
    paragraphs: list[str] = []
    headings: dict[str, None] = {}
    for page in sorted((book / FOLDERS[language]).glob("*.html")):
        texts = _Texts()
        texts.feed(page.read_text(encoding="utf-8"))
        paragraphs += [text for text in texts.paragraphs if len(text) > 30 and is_in(language, text)]
        for heading in texts.headings:
            bare = _NUMBERING.sub("", heading)
            if len(bare) > 1 and is_in(language, bare):
                headings[bare] = None
    text = "\n".join(paragraphs)
    return [text[start : start + PASSAGE_CHARS] for start in range(0, len(text), PASSAGE_CHARS)], list(headings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("book", nargs="?", type=Path, default=BOOK)
    parser.add_argument("--to", type=Path, default=MEANS)
    options = parser.parse_args()
    means: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        encoder = open_encoder(Path(folder))
        for language, patterns in QUESTIONS.items():
            passages, headings = read_book(options.book, language)
            queries = [patterns[number % len(patterns)].format(heading) for number, heading in enumerate(headings)]
            for texts, embed, side in ((passages, encoder.passage, "passage"), (queries, encoder.query, "query")):
                drawn = random.Random(1).sample(texts, min(MOST, len(texts)))
                vectors = np.stack([embed(text) for text in drawn]).astype(np.float64)
                means[mean_key(side, language)] = vectors.mean(axis=0).astype(np.float32)  # type: ignore[arg-type]
                print(f"{side} {language}: {len(drawn)} of {len(texts)} texts, for example {drawn[0][:60]!r}")
    np.savez(options.to, **means)  # type: ignore[arg-type]
    print(f'MEANS_SHA256 = "{hashlib.sha256(options.to.read_bytes()).hexdigest()}"')


if __name__ == "__main__":
    main()
