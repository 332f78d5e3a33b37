"""Embedding with the bundled model, for worker processes: what the server names and they run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.cpu.e5_file import Float
    from jobs.cpu.e5_recipe import Recipe


def embed_passages(folder: str, passages: Sequence[tuple[str, str, str]]) -> list[bytes]:
    """Unit vectors of passages (text, own heading, language), in order; little-endian float32, 4 · 384 bytes each.

    `folder` is where built models are kept (DATA_DIR/models). The first call of a process loads the model, the first of all builds it.
    """
    recipe = _recipe(folder)
    return [_as_bytes(recipe.passage(text, heading, language)) for text, heading, language in passages]


def embed_query(folder: str, text: str, language: str) -> bytes:
    """The unit vector of a search query, in the same form."""
    return _as_bytes(_recipe(folder).query(text, language))


def _as_bytes(vector: Float) -> bytes:
    return vector.astype("<f4").tobytes()


@functools.cache
def _recipe(folder: str) -> Recipe:
    """The loaded model, once a process and folder."""
    from jobs.cpu.e5_model import open_encoder
    from jobs.cpu.e5_recipe import Recipe, read_means

    return Recipe(open_encoder(Path(folder)), read_means())
