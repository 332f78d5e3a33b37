"""What an OpenAI-compatible endpoint answers to /embeddings, checked and turned into vectors of unit length."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array

import msgspec

from server.engines.embedding import EmbeddingMisfit, Vector
from server.messages import Text, text


class _Item(msgspec.Struct):
    # Kept as it came, and decoded one by one: a whole answer has a million numbers, at which one call would hold all threads.
    embedding: msgspec.Raw
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]


def misfit(detail: Text) -> EmbeddingMisfit:
    return EmbeddingMisfit(detail=detail)


def read_vectors(body: bytes, count: int, dim: int) -> list[Vector]:
    """The `count` vectors in the order of the texts, whatever order they came in; `dim` 0 takes any dimension, as long as it is one.

    Raises EmbeddingMisfit for an answer that cannot be read, has another number of vectors, or one that is no direction.
    """
    try:
        items = msgspec.json.decode(body, type=_Answer).data
    except msgspec.DecodeError as error:  # so is what is of another shape
        raise misfit(text("embedding.unreadable")) from error
    places = [number if item.index is None else item.index for number, item in enumerate(items)]
    if sorted(places) != list(range(count)):
        raise misfit(text("embedding.wrong_count", found=len(set(places) & set(range(count))), wanted=count))
    vectors: list[Vector] = [b""] * count
    for place, item in zip(places, items, strict=True):
        numbers = _numbers(item.embedding)
        dim = dim or len(numbers)
        if len(numbers) != dim:
            raise misfit(text("embedding.wrong_dim", found=len(numbers), wanted=dim))
        vectors[place] = _unit(numbers)
    return vectors


def _numbers(raw: msgspec.Raw) -> array[float]:
    """The numbers of a vector, given as a list or as base64 of little-endian float32."""
    try:
        given = msgspec.json.decode(raw, type=list[float] | str)
        if isinstance(given, list):
            return array("d", given)
        numbers = array("f", base64.b64decode(given, validate=True))
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise misfit(text("embedding.no_vector")) from error
    if sys.byteorder == "big":
        numbers.byteswap()
    return array("d", numbers)


def _unit(numbers: array[float]) -> Vector:
    length = math.hypot(*numbers)
    if not math.isfinite(length) or length == 0:  # NaN and infinity carry over into the length
        raise misfit(text("embedding.no_vector"))
    scaled = array("f", [number / length for number in numbers])
    if sys.byteorder == "big":
        scaled.byteswap()
    return scaled.tobytes()
