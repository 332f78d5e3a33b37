"""Questions about a manual, asked through the doors; stand-ins count what they are asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.cpu.shapes import Chunk
from server.engines import embedding
from server.engines.vectors import Hit, Row, Where
from server.knowledge.eval_manual import Manual, ManualSearch, question_sets
from server.knowledge.question_kinds import Kind


class Doors:
    """Finds by the text alone: the passage that holds the question first, then the others in order; the dense side finds nothing."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.embedded: Counter[embedding.Passage] = Counter()
        self.asked: Counter[str] = Counter()

    async def passages(self, passages: Sequence[embedding.Passage]) -> list[bytes]:
        self.embedded.update(passages)
        return [bytes(16) for _ in passages]

    async def query(self, text: str, _language: str) -> bytes:
        self.asked[text] += 1
        return bytes(16)

    async def drop(self, _collection: str) -> None:
        self.rows.clear()

    async def prepare(self, _collection: str, dim: int) -> None:
        assert dim == 4

    async def put(self, _collection: str, rows: Sequence[Row]) -> None:
        self.rows.update({row.id: row for row in rows})

    async def dense(self, *_asked: Any) -> list[Hit]:
        return []

    async def keyword(self, _collection: str, text: str, where: Where, limit: int) -> list[Hit]:
        ordered = sorted(self.rows.values(), key=lambda row: (text not in row.text, row.id))
        return [Hit(row.id, 1 / number) for number, row in enumerate(ordered[:limit], 1)]


def manual(language: Any, *titles: str) -> Manual:
    chunks = [
        Chunk(number, [title], f"Section {number} tells of item-{number} and what is done with it every day.", [], language)
        for number, title in enumerate(titles, 1)
    ]
    return Manual(len(chunks), chunks, language)


@pytest.mark.gen_test
async def test_each_kind_is_asked_and_measured() -> None:
    doors, said = Doors(), []
    sets = question_sets(manual("en", "Firewall rules", "Kitchen sinks", "Mail transport"), None)
    ctx: Any = SimpleNamespace(embedding=doors, vectors=doors)
    figures = await ManualSearch(ctx, said.append).measure(sets)
    assert set(figures) == {f"en {kind}" for kind in (Kind.HEADINGS, Kind.SENTENCES, Kind.IDENTIFIERS)}
    assert figures["en sentences"].keyword.mrr == 1.0  # the sentence stands in the passage
    assert figures["en sentences"].questions == 3
    assert figures["en headings"].keyword.mrr == pytest.approx((1 + 1 / 2 + 1 / 3) / 3, abs=1e-4)  # the heading was cut
    assert all(row.dense.mrr == 0.0 for row in figures.values())
    assert said


@pytest.mark.gen_test
async def test_nothing_is_embedded_twice() -> None:
    doors = Doors()
    one, two = manual("en", "Firewall rules", "Kitchen sinks"), manual("zh", "防火墙规则", "厨房水槽")
    sets = question_sets(one, two)
    assert {made.name.split()[0] for made in sets} == {"en", "zh", "en→zh", "zh→en"}
    ctx: Any = SimpleNamespace(embedding=doors, vectors=doors)
    await ManualSearch(ctx, lambda _line: None).measure(sets)
    assert set(doors.embedded.values()) == {1}
    assert set(doors.asked.values()) == {1}


def test_a_kind_without_questions_has_no_row() -> None:
    assert question_sets(Manual(1, [Chunk(1, [], "嗯", [], "zh")], "zh"), None) == []
