"""Sentences of the embedding door."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.embedding_misfit": ("嵌入模型不可用：{detail}", "The embedding model cannot be used: {detail}"),
    "error.embedding_refused": (
        "嵌入服务拒绝了请求（HTTP {status}）：{reason}",
        "The embedding service refused the request (HTTP {status}): {reason}",
    ),
    "embedding.wrong_dim": ("向量有 {found} 维，应为 {wanted} 维。", "its vectors have {found} dimensions rather than {wanted}."),
    "embedding.wrong_count": ("{wanted} 段文本得到 {found} 个向量。", "it answered {found} vectors for {wanted} texts."),
    "embedding.no_vector": ("答复中有无法使用的向量。", "its answer has a vector that is none."),
    "embedding.unreadable": ("无法读懂它的答复。", "its answer cannot be read."),
    "embedding.unknown_model": (
        "此版本无法计算 {name} 的向量，请重建索引。",
        "this release cannot make the vectors of {name}; build the index anew.",
    ),
}
