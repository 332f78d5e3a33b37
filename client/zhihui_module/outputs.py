"""What a handler returned, made ready for its result frame: checked against the declaration, encoded once, large values sent ahead."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

from zhihui_module import frames
from zhihui_module.errors import ModuleError
from zhihui_module.files import JSON, Files
from zhihui_module.requirements import Requirement

# A value whose JSON is larger than this travels as a file.
MAX_INLINE_BYTES = 256 * 1024
# Values with more parts than this are encoded off the loop: a thousand parts take about 0.2 ms.
SMALL_PARTS = 1000
SMALL_CHARACTERS = 128 * 1024

Pair = tuple[str, str]


class OutputWrong(ModuleError):
    """The handler returned something that cannot be the module's output."""


class Outputs:
    """The declared outputs of one module, and how a handler's dict becomes pairs of JSON texts."""

    def __init__(self, declared: tuple[Requirement, ...], files: Files) -> None:
        self._files = files
        self._declared = frozenset(output.name for output in declared)
        self._required = [output.name for output in declared if output.required]

    async def encode(self, output: Any, warn: Callable[[str], None]) -> list[Pair]:
        """Name and value of each output, as JSON. Raises OutputWrong naming the output, FileTransferFailed."""
        values = self._check(output, warn)
        pairs: list[Pair] = []
        total = 0
        for name, value in values.items():
            text, size = await self._encode_value(name, value)
            total += size
            pairs.append((frames.encode_text(name), text))
        if total > frames.MAX_PAYLOAD_BYTES:
            await self._lighten(pairs, total)
        return pairs

    def _check(self, output: Any, warn: Callable[[str], None]) -> dict[str, Any]:
        if output is None:
            output = {}
        if not isinstance(output, dict) or not all(isinstance(name, str) for name in output):
            raise OutputWrong(f"the handler must return an object of outputs by name, not {type(output).__name__}")
        missing = [name for name in self._required if name not in output]
        if missing:
            raise OutputWrong(f"declared outputs are missing: {', '.join(missing)}")
        if not output.keys() <= self._declared:
            for name in output.keys() - self._declared:
                warn(f"output {name!r} is not declared; no other step can rely on it")
        return output

    async def _encode_value(self, name: str, value: Any) -> tuple[str, int]:
        try:
            if _is_small(value):
                text = frames.encode(value)
                if (size := frames.size_of(text)) <= MAX_INLINE_BYTES:
                    return text, size
            with tempfile.TemporaryFile() as spill:
                size = await asyncio.to_thread(_spill, value, spill)
                if size <= MAX_INLINE_BYTES:
                    spill.seek(0)
                    return spill.read().decode("utf-8"), size
                text = frames.encode(await self._files.put_stream(spill, JSON))
                return text, len(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise OutputWrong(f"output {name!r} is not JSON: {error}") from None

    async def _lighten(self, pairs: list[Pair], total: int) -> None:
        """Send the largest values ahead until the rest fits into one frame."""
        for index in sorted(range(len(pairs)), key=lambda index: len(pairs[index][1]), reverse=True):
            if total <= frames.MAX_PAYLOAD_BYTES:
                return
            name, text = pairs[index]
            reference = frames.encode(await self._files.put(text.encode("utf-8"), JSON))
            if len(reference) >= len(text):
                break
            pairs[index] = name, reference
            total += len(reference) - frames.size_of(text)
        if total > frames.MAX_PAYLOAD_BYTES:
            raise OutputWrong(f"{len(pairs)} outputs are too many for one result")


def _is_small(value: Any, parts: int = SMALL_PARTS, characters: int = SMALL_CHARACTERS) -> bool:
    """Whether encoding a value is surely quick; looks at no more parts than that takes."""
    stack = [value]
    while stack:
        part = stack.pop()
        parts -= 1
        if isinstance(part, str):
            characters -= len(part)
        elif isinstance(part, dict):
            parts -= len(part)
            if parts > 0:
                stack.extend(part.values())
        elif isinstance(part, (list, tuple)):
            if len(part) <= parts:
                stack.extend(part)
            else:
                return False
        if parts <= 0 or characters < 0:
            return False
    return True


def _spill(value: Any, spill: IO[bytes]) -> int:
    """Write a value's JSON to a file, row by row, so that the interpreter is let go between rows; its size in bytes."""
    size = 0
    for piece in _pieces(value):
        size += spill.write(piece.encode("utf-8"))
    spill.flush()
    return size


def _pieces(value: Any, depth: int = 2) -> Iterator[str]:
    splits = bool(value) and (depth == 2 or (depth == 1 and len(value) > SMALL_PARTS)) if isinstance(value, (list, tuple, dict)) else False
    if splits and isinstance(value, (list, tuple)):
        before = "["
        for member in value:
            yield before
            yield from _pieces(member, depth - 1)
            before = ","
        yield "]"
    elif splits and isinstance(value, dict) and all(isinstance(name, str) for name in value):
        before = "{"
        for name, member in value.items():
            yield f"{before}{frames.encode(name)}:"
            yield from _pieces(member, depth - 1)
            before = ","
        yield "}"
    else:
        yield frames.encode(value)
