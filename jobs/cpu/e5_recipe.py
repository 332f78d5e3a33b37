"""From E5's vectors to those that are stored and searched: centred by language and side, a passage with its heading."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from jobs.cpu import e5_identity
from jobs.cpu.e5_file import E5Unavailable
from jobs.cpu.e5_model import unit

if TYPE_CHECKING:
    from jobs.cpu.e5_file import Float
    from jobs.cpu.e5_model import Encoder

Side = Literal["query", "passage"]

MEANS = Path(__file__).with_name("e5_means.npz")
# How much a passage's own heading weighs beside its text; tuned on two manuals, held on a third.
HEADING_WEIGHT = 0.3
# A section's passages come one after the other, often in several calls.
HEADINGS_KEPT = 512


def mean_key(side: Side, language: str) -> str:
    """The name of a mean in the file; a text without words counts as English."""
    return f"{side}_{language if language in e5_identity.LANGUAGES else 'en'}"


def read_means(path: Path = MEANS) -> dict[str, Float]:
    """The mean vector of each side and language. Raises E5Unavailable when the file is not the one that the model's name stands for."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise E5Unavailable(f"{path.name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != e5_identity.MEANS_SHA256:
        raise E5Unavailable(f"{path.name} is not the one that this release was made for")
    with np.load(io.BytesIO(data)) as found:
        return {name: found[name].astype(np.float32) for name in found.files}


class Recipe:
    """E5's vectors lie in a narrow cone, each language in its own; without their means they tell topics rather than languages."""

    def __init__(self, encoder: Encoder, means: dict[str, Float]) -> None:
        self._encoder = encoder
        self._means = means
        self._heading = lru_cache(HEADINGS_KEPT)(self._passage)

    def passage(self, text: str, heading: str, language: str) -> Float:
        """normalised(text + 0.3 heading), both centred; the text alone when it has no heading."""
        body = self._passage(text, language)
        return unit(body + HEADING_WEIGHT * self._heading(heading, language)) if heading.strip() else body

    def query(self, text: str, language: str) -> Float:
        return unit(self._encoder.query(text) - self._means[mean_key("query", language)])

    def _passage(self, text: str, language: str) -> Float:
        return unit(self._encoder.passage(text) - self._means[mean_key("passage", language)])
