"""The shape of a collection of passages in Milvus: its fields, its analyzer, its indexes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymilvus import MilvusClient

# Milvus's codes; Lite answers the older ones.
NOT_FOUND = frozenset({4, 100})
NOT_LOADED = frozenset({101})

# Left out of the keyword index: they stand in nearly every passage, tell nothing, and cost most of a search.
PUNCTUATION = "，。、；：？！“”‘’（）《》〈〉【】「」『』—…·～．,.;:?!\"'()[]{}<>|/\\-_=+*&^%$#@`~"
CHINESE_STOP_WORDS = "的 了 和 是 在 也 就 都 而 及 与 或 着 之 于 对 为 以 这 那 其 把 被 从 向 到 个 但 吗 呢 吧 啊".split()
ENGLISH_STOP_WORDS = (
    "a an and are as at be but by for if in into is it of on or that the their then there these they this to was with".split()
)

ANALYZER: dict[str, Any] = {
    "tokenizer": "jieba",
    # Milvus Lite lower-cases by itself and does not know that filter.
    "filter": ["lowercase", {"type": "stop", "stop_words": [*PUNCTUATION, *CHINESE_STOP_WORDS, *ENGLISH_STOP_WORDS]}],
}
MOST_TEXT = 16_000  # bytes, as MOST_TEXT_BYTES of the door
OTHERS_S = 3.0  # that another instance may take to make what we were refused
HNSW = {"M": 16, "efConstruction": 200}


def create(client: MilvusClient, collection: str, dim: int, *, embedded: bool, timeout_s: float) -> None:
    """Make the collection, its indexes with it; when another instance makes it at the same moment, that is fine.

    Milvus Lite keeps every partition in files of its own and ranks words within each of them, so there is none by organization there.
    """
    from pymilvus import DataType, Function, FunctionType
    from pymilvus.exceptions import MilvusException

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
    schema.add_field("document", DataType.INT64)
    schema.add_field("organization", DataType.INT64, is_partition_key=not embedded)
    schema.add_field("language", DataType.VARCHAR, max_length=8)
    schema.add_field("text", DataType.VARCHAR, max_length=MOST_TEXT, enable_analyzer=True, analyzer_params=ANALYZER)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"]))
    try:
        client.create_collection(collection, schema=schema, consistency_level="Session", timeout=timeout_s)
    except MilvusException:
        deadline = time.monotonic() + OTHERS_S
        while not client.has_collection(collection, timeout=timeout_s):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def found_dim(client: MilvusClient, collection: str, dim: int, *, embedded: bool, timeout_s: float) -> int:
    """The dimension that the collection has; indexes that are missing, as after a crash half-way, are made if it is the wanted one."""
    from pymilvus.exceptions import MilvusException

    found = dim_of(client, collection, timeout_s)
    wanted = wanted_indexes(embedded)
    deadline = time.monotonic() + OTHERS_S
    while found == dim and (missing := wanted.keys() - _indexed(client, collection, timeout_s)):
        indexes = client.prepare_index_params()
        for name in sorted(missing):
            indexes.add_index(name, index_name=name, **wanted[name])
        try:
            client.create_index(collection, indexes, timeout=timeout_s, sync=False)  # loading waits for them
        except MilvusException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # another instance is at it
    return found


def dim_of(client: MilvusClient, collection: str, timeout_s: float) -> int:
    """0 when it is none of ours."""
    fields = client.describe_collection(collection, timeout=timeout_s)["fields"]
    return int(next((field["params"]["dim"] for field in fields if field["name"] == "vector"), 0))


def wanted_indexes(embedded: bool) -> dict[str, dict[str, Any]]:
    """Each indexed field and how.

    On Milvus Lite no HNSW: it is built anew with every merge of files and misses rows under narrow filters, while reading all vectors of
    some 10,000 passages takes a few milliseconds and is exact.
    """
    dense: dict[str, Any] = {"index_type": "FLAT"} if embedded else {"index_type": "HNSW", "params": HNSW}
    return {
        "vector": {"metric_type": "COSINE", **dense},
        "sparse": {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"},
        "document": {"index_type": "INVERTED"},
    }


def _indexed(client: MilvusClient, collection: str, timeout_s: float) -> list[str]:
    return [
        client.describe_index(collection, name, timeout=timeout_s)["field_name"]
        for name in client.list_indexes(collection, timeout=timeout_s)
    ]
