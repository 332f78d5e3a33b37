"""Sentences about schedules as rows and queues."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.schedule_built_in": (
        "系统自带的定时任务不能删除，可以停用。",
        "The system brings this schedule along: it can be disabled, not removed.",
    ),
    "error.schedule_of_workflow": (
        "这是工作流的定时，随工作流一起删除。",
        "This schedule belongs to its workflow, and is removed with it.",
    ),
    "error.queue_not_found": ("没有这个队列。", "There is no such queue."),
    "schedule.built_in_field": ("系统自带的定时任务不能改这一项。", "This cannot be changed in a schedule that the system brings along."),
    "schedule.of_workflow_field": ("工作流的这一项请在工作流中修改。", "For a workflow this is part of the workflow; change it there."),
}
