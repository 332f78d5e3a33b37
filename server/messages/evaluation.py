"""Sentences about the evaluation of search."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.evaluation_not_found": ("没有这个评测集。", "There is no such evaluation set."),
    "error.evaluation_run_not_found": ("没有这次评测。", "There is no such evaluation run."),
    "error.evaluation_running": ("这个评测集正在运行。", "This evaluation set is being run."),
    "error.evaluation_empty": ("评测集里还没有问题。", "The evaluation set has no questions yet."),
    "evaluation.no_document": (
        "找不到文档 {ids}，或该组织的读者看不到它。",
        "There is no document {ids}, or readers of the organization cannot see it.",
    ),
    "evaluation.page": ("文档 {id} 只有 {pages} 页。", "Document {id} has {pages} pages."),
    "evaluation.most": ("每个组织最多 {limit} 个评测集。", "An organization has at most {limit} evaluation sets."),
    "evaluation.no_index": ("还没有可检索的文档。", "No document can be searched yet."),
    "evaluation.task_ended": ("任务被取消或中断。", "The task was cancelled or broke off."),
}
