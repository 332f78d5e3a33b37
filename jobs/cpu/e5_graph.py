"""E5's encoder as an ONNX graph with int8 weights: embedded tokens in, their mean hidden state out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from jobs.cpu.e5_file import E5File, weights_of

if TYPE_CHECKING:
    from onnx import NodeProto

# onnxruntime's own operators: attention, the quantized product, the exact GELU.
CONTRIB = "com.microsoft"
OPSETS = {"": 18, CONTRIB: 1}
IR_VERSION = 9
# Outputs of these feed-forward products have outliers, which int8 blurs most: they stay fp32.
FP32_PRODUCTS = frozenset({"l0.fo", "l4.fo", "l5.fo"})


class _Nodes:
    """The nodes and constants of a graph that is being written; a value goes by its name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        """A node, told by its first output."""
        self.nodes.append(helper.make_node(kind, inputs, list(outputs), domain=domain, **attributes))
        return outputs[0]


class _Encoder:
    def __init__(self, file: E5File) -> None:
        self._file = file
        self._graph = _Nodes()

    def _product(self, x: str, name: str, tensors: list[str], width: int) -> str:
        """x W' + b, the rows of several tensors as one product."""
        graph, file = self._graph, self._file
        matrix = weights_of(np.concatenate([file.blocks(f"{tensor}.w", width) for tensor in tensors])).T
        bias = graph.constant(f"{name}.bias", np.concatenate([file.floats(f"{tensor}.b") for tensor in tensors]))
        if FP32_PRODUCTS.intersection(tensors):
            bare = graph.add("MatMul", [x, graph.constant(f"{name}.weights", matrix)], f"{name}.bare")
            return graph.add("Add", [bare, bias], name)
        # A scale a column. Signed: with unsigned weights onnxruntime takes five times as long.
        scales = np.abs(matrix).max(axis=0) / 127
        weights = graph.constant(f"{name}.weights", np.rint(matrix / scales).astype(np.int8))
        scale = graph.constant(f"{name}.scales", scales.astype(np.float32))
        return graph.add("DynamicQuantizeMatMul", [x, weights, scale, "", bias], name, domain=CONTRIB)

    def _normed_sum(self, x: str, y: str, name: str, tensor: str) -> str:
        """LayerNorm(x + y), as two nodes: the one that onnxruntime has for both takes five times as long."""
        gain, bias = (self._graph.constant(f"{name}.{part}", self._file.floats(f"{tensor}.{part}")) for part in "wb")
        total = self._graph.add("Add", [x, y], f"{name}.sum")
        return self._graph.add("LayerNormalization", [total, gain, bias], name, epsilon=self._file.sizes.epsilon)

    def _layer(self, x: str, number: int) -> str:
        graph, sizes, at = self._graph, self._file.sizes, f"l{number}"
        packed = self._product(x, f"{at}.qkv", [f"{at}.q", f"{at}.k", f"{at}.v"], sizes.hidden)
        heads = [f"{at}.queries", f"{at}.keys", f"{at}.values"]
        graph.add("Split", [packed], *heads, axis=2, num_outputs=3)
        seen = graph.add("MultiHeadAttention", heads, f"{at}.seen", domain=CONTRIB, num_heads=sizes.heads)
        x = self._normed_sum(x, self._product(seen, f"{at}.attention", [f"{at}.ao"], sizes.hidden), f"{at}.attended", f"{at}.aln")
        inner = graph.add("Gelu", [self._product(x, f"{at}.wide", [f"{at}.fi"], sizes.hidden)], f"{at}.gelu", domain=CONTRIB)
        return self._normed_sum(x, self._product(inner, f"{at}.narrow", [f"{at}.fo"], 4 * sizes.hidden), f"{at}.out", f"{at}.oln")

    def written(self) -> bytes:
        graph, file, sizes = self._graph, self._file, self._file.sizes
        # All tokens are of type 0, so its vector belongs to every position; positions count from 0.
        table = file.floats("emb.pos").reshape(-1, sizes.hidden) + file.floats("emb.type")[: sizes.hidden]
        zero, one = (graph.constant(f"number.{number}", np.array([number], np.int64)) for number in (0, 1))
        length = graph.add("Shape", ["words"], "length", start=1, end=2)
        places = graph.add("Slice", [graph.constant("table", table[None]), zero, length, one], "places")
        x = self._normed_sum("words", places, "embedded", "emb.ln")
        for number in range(sizes.layers):
            x = self._layer(x, number)
        graph.add("ReduceMean", [x, one], "mean", keepdims=0)
        whole = helper.make_graph(
            graph.nodes,
            "e5",
            [helper.make_tensor_value_info("words", TensorProto.FLOAT, [1, "tokens", sizes.hidden])],
            [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, sizes.hidden])],
            graph.constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        return bytes(helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())


def encoder_graph(file: E5File) -> bytes:
    """The serialized graph: `words` [1, tokens, hidden], fp32, to `mean` [1, hidden]. One text at a time, without padding or mask."""
    return _Encoder(file).written()
