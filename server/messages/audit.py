"""Sentences about the audit log."""

MESSAGES: dict[str, tuple[str, str]] = {
    "audit.range": ("结束时间应晚于开始时间。", "The end must be after the beginning."),
}
