"""Sentences about accounts in other systems and the tasks that bring them about."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.account_task_not_found": ("没有这个账号任务。", "There is no such account task."),
    "error.account_task_state": ("账号任务处于 {state} 状态，不能这样操作。", "The account task is {state}; this cannot be done now."),
    "error.account_task_overtaken": (
        "同一账号已有更新的任务，请重试那一个。",
        "A later task of the same account has taken its place; try that one again.",
    ),
    "error.target_failed": ("目标系统出错（{error_class}）：{detail}", "The target failed ({error_class}): {detail}"),
    "why.account_away": ("目标系统没有应答，将自动重试。", "The target does not answer; it is tried again by itself."),
    "why.account_busy": ("目标系统要求稍后再来，将自动重试。", "The target asked to come later; it is tried again by itself."),
    "why.account_refused": (
        "目标系统不接受我们的凭据或权限，请检查其设置。",
        "The target refuses our credentials or rights; look at its settings.",
    ),
    "why.account_invalid": ("目标系统不接受这些内容，请更正后重试。", "The target does not take it as it is; correct it and try again."),
    "why.account_conflict": (
        "名称或邮箱已被他人使用，需要人工处理。",
        "Somebody else has the name or the mail address; a person must decide.",
    ),
    "why.account_not_effective": (
        "目标系统接受了操作，但读回的结果不符，或停用后仍能登录。",
        "The target took it, but it does not hold: read back otherwise, or one can still sign in.",
    ),
    "why.account_protected": ("这是受保护的账号，人事同步不会改动它。", "This account is protected; HR sync leaves it alone."),
    "why.account_broken": ("服务器内部错误，已记录。", "Something failed inside the server; it has been logged."),
    "account.username_rule": ("应含有以下占位符之一：{choices}。", "Must have one of these places: {choices}."),
    "account.target_url": ("应为完整地址，协议：{schemes}。", "Must be a whole address, by {schemes}."),
    "account.start_tls_twice": ("ldaps 地址已加密，不能再用 StartTLS。", "An ldaps address is encrypted already; leave StartTLS out."),
}
