"""Sentences about tags: why one is proposed for a document."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.tags_applying": (
        "正在按词表检查该组织的文档，完成后才能再次开始。",
        "The organization's documents are being looked at already; it can be started again when that has ended.",
    ),
    "tag.comma": ("名称不能为空，也不能含有逗号。", "A name must not be empty and must hold no comma."),
    "tag.most": ("每个组织最多 {limit} 个标签。", "An organization has at most {limit} tags."),
    "tag.reason.both": (
        "{count} 段提到“{words}”（共 {passages} 段）；最接近的段落在第 {page} 页",
        "{count} of {passages} passages mention “{words}”; the nearest passage is on page {page}",
    ),
    "tag.reason.words": ("{count} 段提到“{words}”（共 {passages} 段）", "{count} of {passages} passages mention “{words}”"),
    "tag.reason.none": ("文中没有找到依据", "Nothing in the text speaks for it"),
    "tag.reason.meaning": (
        "没有直接提到；最接近的段落在第 {page} 页",
        "It is not mentioned by name; the nearest passage is on page {page}",
    ),
}
