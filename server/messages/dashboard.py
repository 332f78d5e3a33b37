"""Sentences about the dashboard."""

MESSAGES: dict[str, tuple[str, str]] = {
    "dashboard.no_day": ("这不是有效日期，应类似 2026-05-01。", "This is no day; one looks like 2026-05-01."),
    "dashboard.backwards": ("开始日期不能晚于结束日期。", "The first day cannot be after the last."),
    "dashboard.too_many_points": (
        "最多 {most} 个点，请缩短时间或改用周、月。",
        "There can be {most} points at most: ask for fewer days, or for weeks.",
    ),
}
