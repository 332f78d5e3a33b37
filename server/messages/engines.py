"""Sentences of the engine doors."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.duplicate_document": ("已存在相同的记录。", "Such a record exists already."),
    "error.mail_refused": ("邮件被拒绝：{detail}", "The mail was refused: {detail}"),
    "error.compute_crashed": ("计算进程意外退出。", "The worker process ended unexpectedly."),
    "error.compute_timed_out": ("计算超过 {limit_s} 秒，已终止。", "The computation took more than {limit_s} s and was stopped."),
    "error.compute_out_of_memory": (
        "计算所需内存超过上限，已终止。",
        "The computation needed more memory than is allowed and was stopped.",
    ),
}
