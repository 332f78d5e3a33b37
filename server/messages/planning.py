"""Sentences about data requirements, crons, calendars and the plan of a schedule."""

MESSAGES: dict[str, tuple[str, str]] = {
    "requirement.too_many": ("数据需求过多，上限 {limit} 项。", "Too many data requirements: the limit is {limit}."),
    "requirement.twice": ("名称 {name} 与 {first} 重复。", "The name {name} is already used by {first}."),
    "solver.nearest": ("最接近的有：{items}。", " Nearest: {items}."),
    "solver.no_nearest": ("", ""),
    "solver.unmet": (
        "步骤 {step} 需要 {requirement}（{type}），但 args 和之前的步骤都没有提供。{nearest}",
        "Step {step} needs {requirement} ({type}), but neither its args nor an earlier step gives it.{nearest}",
    ),
    "solver.unmet.from": (
        "步骤 {step} 需要来自 {name} 的 {requirement}（{type}），但 {name} 不输出它。{nearest}",
        "Step {step} needs {requirement} ({type}) from {name}, which does not give it.{nearest}",
    ),
    "solver.ambiguous": (
        "步骤 {step} 需要的 {requirement}（{type}）有 {count} 个步骤提供，请用 from 选择其一。{nearest}",
        "Step {step} needs {requirement} ({type}), which {count} earlier steps give; choose one with `from`.{nearest}",
    ),
    "solver.mistyped": (
        "步骤 {step} 需要的 {requirement} 应为 {type}，但 {giver} 给出的是 {got}。{nearest}",
        "Step {step} needs {requirement} as {type}, but {giver} gives it as {got}.{nearest}",
    ),
    "solver.cyclic": (
        "步骤 {step} 处于循环等待：{ring}。{nearest}",
        "Step {step} is in a ring of steps that wait for each other: {ring}.{nearest}",
    ),
    "solver.unknown_from": (
        "步骤 {step} 的 {requirement}（{type}）要从 {name} 取得，但没有这个步骤。{nearest}",
        "Step {step} takes {requirement} ({type}) from {name}, but there is no such step.{nearest}",
    ),
    "solver.unknown_step": (
        "步骤 {step} 的 depends_on 写了 {name}，但没有这个步骤。{nearest}",
        "Step {step} depends on {name}, but there is no such step.{nearest}",
    ),
    "solver.duplicate_name": (
        "步骤名 {name} 与第 {first} 个步骤重复；未改名前记为 {step}。{nearest}",
        "The step name {name} is already used by step number {first}; until renamed, this one is called {step}.{nearest}",
    ),
    "solver.later_producer": (
        "步骤 {step} 需要的 {requirement}（{type}）由 {giver} 提供，但 {giver} 不在它之前；请把 {giver} 移到前面，或在 depends_on 中写上它。{nearest}",
        "Step {step} needs {requirement} ({type}), which {giver} gives, but {giver} does not come before it; "
        "move {giver} up, or name it in depends_on.{nearest}",
    ),
    "solver.bad_args": (
        "步骤 {step} 的 args.{requirement} 应为 {type}，收到 {got}。{nearest}",
        "Step {step} takes args.{requirement} as {type}, but got {got}.{nearest}",
    ),
    "cron.empty": ("cron 表达式不能为空。", "A cron expression must not be empty."),
    "cron.too_long": ("cron 表达式过长，上限 {limit} 个字符。", "The cron expression is too long: the limit is {limit} characters."),
    "cron.too_many": ("cron 过多，上限 {limit} 个。", "Too many crons: the limit is {limit}."),
    "cron.fields": (
        "cron 应有 5 段（分 时 日 月 星期），或 6 段（秒在最后），收到 {count} 段。",
        "A cron has 5 fields (minute hour day month weekday), or 6 with seconds last; this has {count}.",
    ),
    "cron.hashed": (
        "不支持随机或散列写法 {part}：同一个 cron 必须总是得出同样的时间。",
        "Random or hashed fields such as {part} are not supported: a cron must always name the same times.",
    ),
    "cron.syntax": ("cron 表达式“{cron}”不正确：{detail}", "Not a valid cron expression, {cron!r}: {detail}"),
    "cron.impossible": ("“{cron}”指定的日期永远不会出现。", "{cron!r} names a date that never comes."),
    "cron.zone": ("没有名为 {zone} 的时区，应类似 Asia/Shanghai。", "There is no time zone {zone}; one looks like Asia/Shanghai."),
    "schedule.closed.excluded_date": ("日历 {calendar} 排除了 {date}，不会执行。", "Calendar {calendar} excludes {date}; it will not run."),
    "schedule.closed.closed_weekday": (
        "{date} 是{weekday}，日历 {calendar} 在这一天关闭，不会执行。",
        "{date} is a {weekday}, on which calendar {calendar} is closed; it will not run.",
    ),
    "schedule.closed.not_included": (
        "日历 {calendar} 只开放列出的日期，{date} 不在其中，不会执行。",
        "Calendar {calendar} is open on listed dates alone, and {date} is not one; it will not run.",
    ),
    "schedule.closed.note": ("（{note}）", "({note})"),
    "schedule.clock.moved": (
        "{zone} 的时钟在此处拨快，cron 所写的时间不存在，改在其后的第一刻 {time} 执行一次。",
        "The clock of {zone} goes forward here and skips the time in the cron; it runs once at the first moment after, {time}.",
    ),
    "schedule.clock.first_pass": (
        "{zone} 的时钟在此后拨慢，{time} 会出现两次，这是第一次。",
        "The clock of {zone} goes back after this, so {time} comes twice; this is the first time.",
    ),
    "schedule.clock.second_pass": (
        "{zone} 的时钟已拨慢，{time} 第二次出现；每小时执行的 cron 两次都执行。",
        "The clock of {zone} went back, so this is {time} for the second time; a cron with every hour runs in both.",
    ),
    "schedule.weekday.1": ("星期一", "Monday"),
    "schedule.weekday.2": ("星期二", "Tuesday"),
    "schedule.weekday.3": ("星期三", "Wednesday"),
    "schedule.weekday.4": ("星期四", "Thursday"),
    "schedule.weekday.5": ("星期五", "Friday"),
    "schedule.weekday.6": ("星期六", "Saturday"),
    "schedule.weekday.7": ("星期日", "Sunday"),
    "calendar.too_large": ("日历文件过大，上限 {limit}。", "The calendar file is too large: the limit is {limit}."),
    "calendar.too_many": ("日期过多，上限 {limit} 个。", "Too many dates: the limit is {limit}."),
    "calendar.unreadable": ("不是可读的 {format} 文件：{detail}", "Not a readable {format} file: {detail}"),
    "calendar.says_nothing": ("文件中没有日历的内容：{parts}。", "The file has no part of a calendar: {parts}."),
    "calendar.header": (
        "第一行应为表头，且有“日期”（date）列；可选“类型”（kind）和“说明”（note）。",
        "The first row must be a header with a date (日期) column; kind (类型) and note (说明) are optional.",
    ),
    "calendar.date": ("{value} 不是日期，应类似 2026-01-01 或 2026年1月1日。", "{value} is not a date; write 2026-01-01 or 2026年1月1日."),
    "calendar.kind": (
        "{value} 不是类型，应为 exclude（休）或 include（班）。",
        "{value} is not a kind; write exclude (休) or include (班).",
    ),
    "calendar.both": ("{date} 既是休息日又是工作日。", "{date} is both excluded and included."),
    "calendar.cell": ("第 {row} 行“{column}”列：{why}", "Row {row}, column {column}: {why}"),
    "calendar.weekdays": ("星期应为 1（星期一）到 7（星期日）。", "Weekdays are 1 (Monday) to 7 (Sunday)."),
}
