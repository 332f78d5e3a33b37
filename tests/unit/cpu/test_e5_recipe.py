"""The recipe on vectors that can be reckoned by hand, and the means that it comes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.cpu import e5_identity
from jobs.cpu.e5_file import E5Unavailable
from jobs.cpu.e5_recipe import HEADING_WEIGHT, Recipe, mean_key, read_means


class Axes:
    """An encoder that knows three texts, each an axis, and tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def passage(self, text: str) -> Any:
        self.asked.append(text)
        return np.eye(3, dtype=np.float32)["abc".index(text)]

    query = passage


@pytest.fixture
def axes() -> Axes:
    return Axes()


def recipe(axes: Axes, **means: list[float]) -> Recipe:
    keys = [mean_key(side, language) for side in ("query", "passage") for language in ("zh", "en")]  # type: ignore[arg-type]
    return Recipe(axes, {key: np.array(means.get(key, [0, 0, 0]), np.float32) for key in keys})


def test_the_mean_of_its_side_and_language_is_taken_away(axes: Axes) -> None:
    made = recipe(axes, passage_zh=[0, -1, 0], query_zh=[0, 0, -1], passage_en=[0.5, 0, 0])
    half = 0.5**0.5
    assert made.passage("a", "", "zh") == pytest.approx([half, half, 0])
    assert made.query("a", "zh") == pytest.approx([half, 0, half])
    assert made.passage("a", "", "en") == pytest.approx([1, 0, 0])
    assert made.query("a", "en") == pytest.approx([1, 0, 0])


def test_no_words_count_as_english(axes: Axes) -> None:
    made = recipe(axes, passage_en=[0, -1, 0], query_en=[0, -1, 0])
    assert made.passage("a", "", "") == pytest.approx(made.passage("a", "", "en"))
    assert made.query("a", "") == pytest.approx(made.query("a", "en"))
    assert made.query("a", "").tolist() != made.query("a", "zh").tolist()


def test_the_heading_weighs_less_than_the_text(axes: Axes) -> None:
    length = (1 + HEADING_WEIGHT**2) ** 0.5
    assert recipe(axes).passage("a", "b", "zh") == pytest.approx([1 / length, HEADING_WEIGHT / length, 0])


def test_both_are_centred_before_they_are_joined(axes: Axes) -> None:
    half = 0.5**0.5
    body, heading = np.array([half, 0, half]), np.array([0, half, half])
    joined = body + HEADING_WEIGHT * heading
    assert recipe(axes, passage_zh=[0, 0, -1]).passage("a", "b", "zh") == pytest.approx(joined / np.linalg.norm(joined))


def test_no_heading_and_a_blank_one_are_alike(axes: Axes) -> None:
    made = recipe(axes)
    assert made.passage("a", " ", "zh").tolist() == made.passage("a", "", "zh").tolist() == [1, 0, 0]
    assert axes.asked == ["a", "a"]


def test_a_heading_is_embedded_once_a_language(axes: Axes) -> None:
    made = recipe(axes)
    for text in "abcab":
        made.passage(text, "c", "zh")
    assert axes.asked == ["a", "c", "b", "c", "a", "b"]
    made.passage("a", "c", "en")
    assert axes.asked[6:] == ["a", "c"]


def test_the_means_are_those_of_a_narrow_cone() -> None:
    means = read_means()
    assert set(means) == {"passage_zh", "passage_en", "query_zh", "query_en"}
    for mean in means.values():
        assert mean.shape == (e5_identity.DIM,)
        assert mean.dtype == np.float32
        assert 0.85 < np.linalg.norm(mean) < 0.97
    # What sets the languages apart is what is taken away.
    assert np.linalg.norm(means["passage_zh"] - means["passage_en"]) > 0.1


def test_other_means_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "means.npz"
    with pytest.raises(E5Unavailable, match="cannot be read"):
        read_means(path)
    np.savez(path, passage_zh=np.zeros(384, np.float32))
    with pytest.raises(E5Unavailable, match="not the one"):
        read_means(path)
