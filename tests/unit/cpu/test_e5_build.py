"""The built model in its folder: built once, kept whole, and never in the way."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.cpu import e5_build, e5_identity
from jobs.cpu.e5_build import Built, find_whole, get_built
from jobs.cpu.e5_file import E5File, E5Unavailable, weights_path

SMALL = Built(b"the graph", b"the words")


@pytest.fixture(scope="module")
def file() -> E5File:
    return E5File(weights_path())


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A build that is over at once; how often it was asked for."""
    asked: list[float] = []

    def build(_file: E5File) -> Built:
        asked.append(time.monotonic())
        return SMALL

    monkeypatch.setattr(e5_build, "build", build)
    return asked


def test_it_is_built_once(tmp_path: Path, file: E5File, builds: list[float]) -> None:
    assert get_built(file, tmp_path / "models") == SMALL
    assert get_built(file, tmp_path / "models") == SMALL
    assert len(builds) == 1
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == sorted([e5_identity.built_name(), "build.lock"])


@pytest.mark.parametrize("name", ["encoder.onnx", "words.model", "sums.json"])
@pytest.mark.parametrize("harm", ["changed", "emptied", "removed"])
def test_a_broken_one_is_built_anew(tmp_path: Path, file: E5File, builds: list[float], name: str, harm: str) -> None:
    get_built(file, tmp_path)
    place = tmp_path / e5_identity.built_name()
    if harm == "changed":
        (place / name).write_bytes(b"X" + (place / name).read_bytes()[1:])
    elif harm == "emptied":
        (place / name).write_bytes(b"")
    else:
        (place / name).unlink()
    assert find_whole(place) is None
    assert get_built(file, tmp_path) == SMALL
    assert len(builds) == 2
    assert find_whole(place) == SMALL


def test_another_graph_has_a_folder_of_its_own(tmp_path: Path, file: E5File, builds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    get_built(file, tmp_path)
    first = e5_identity.built_name()
    monkeypatch.setattr(e5_identity, "GRAPH", "int8-next")
    get_built(file, tmp_path)
    assert len(builds) == 2
    assert find_whole(tmp_path / first) == SMALL


def test_those_that_come_together_build_once(tmp_path: Path, file: E5File, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(4, timeout=30)
    builds: list[int] = []

    def build(_file: E5File) -> Built:
        builds.append(1)
        return SMALL

    def get(_number: int) -> Built:
        together.wait()
        return get_built(file, tmp_path)

    monkeypatch.setattr(e5_build, "build", build)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(get, range(4))) == [SMALL] * 4
    assert builds == [1]


def test_nothing_is_left_of_a_build_that_fails(tmp_path: Path, file: E5File, builds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert get_built(file, tmp_path) == SMALL
    assert [path.name for path in tmp_path.iterdir()] == ["build.lock"]
    assert len(builds) == 1


def test_a_folder_that_cannot_be_used_is_no_hindrance(
    tmp_path: Path, file: E5File, builds: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "models").write_text("a file")
    assert get_built(file, tmp_path / "models") == SMALL
    assert len(builds) == 1
    assert "for this process alone" in caplog.text


def test_other_weights_are_not_built(tmp_path: Path, file: E5File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5_identity, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(E5Unavailable, match="not those that this release was made for"):
        get_built(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["build.lock"]
