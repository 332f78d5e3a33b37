"""The weights' file: what it holds, and that it is the one the model's name stands for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from jobs.cpu import e5_identity
from jobs.cpu.e5_file import E5File, E5Unavailable, weights_of, weights_path
from jobs.cpu.e5_recipe import MEANS


@pytest.fixture(scope="module")
def file() -> E5File:
    return E5File(weights_path())


def test_the_name_stands_for_these_files(file: E5File) -> None:
    assert file.sha256() == e5_identity.WEIGHTS_SHA256
    assert hashlib.sha256(MEANS.read_bytes()).hexdigest() == e5_identity.MEANS_SHA256


@pytest.mark.parametrize("part", ["WEIGHTS_SHA256", "MEANS_SHA256", "GRAPH", "RECIPE"])
def test_the_name_changes_with_each_part(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    before = e5_identity.model_name(), e5_identity.built_name()
    monkeypatch.setattr(e5_identity, part, "other")
    assert e5_identity.model_name() != before[0]
    # The means and the recipe come after the graph.
    assert (e5_identity.built_name() != before[1]) == (part in ("WEIGHTS_SHA256", "GRAPH"))


def test_it_is_a_small_e5(file: E5File) -> None:
    sizes = file.sizes
    assert (sizes.hidden, sizes.layers, sizes.heads, sizes.positions) == (e5_identity.DIM, 12, 12, 512)
    vocabulary = file.vocabulary()
    assert len(vocabulary) == 250_002
    assert [piece.text for piece in vocabulary[:4]] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert (file.begin, file.end, file.unknown) == (0, 2, 3)
    assert file.characters[ord("Ａ")] == "A"
    assert file.floats("emb.pos").shape == (512 * 384,)
    assert file.blocks("emb.word", 384).shape == (250_037, 12, 18)


def test_a_block_is_sixteen_low_halves_then_sixteen_high_ones() -> None:
    scale = np.array([0.5], "<f2").view(np.uint8)
    packed = np.arange(16, dtype=np.uint8) | (15 - np.arange(16, dtype=np.uint8)) << 4
    rows = weights_of(np.concatenate((scale, packed)).reshape(1, 1, 18))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[*(0.5 * (weight - 8) for weight in range(16)), *(0.5 * (7 - weight) for weight in range(16))]]


@pytest.mark.parametrize("content", [b"", b"GGUF" + bytes(100), b"E5S1" + bytes(10), b"E5S1" + b"\xff" * 200])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(E5Unavailable, match=r"weights\.bin cannot be read"):
        E5File(path)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(weights_path().read_bytes()[:60_000_000])
    with pytest.raises(E5Unavailable, match="ends before its tensor"):
        E5File(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(E5Unavailable, match="No such file"):
        E5File(tmp_path / "weights.bin")
