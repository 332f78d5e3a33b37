"""Sentences about results of rounds."""

MESSAGES: dict[str, tuple[str, str]] = {
    "result.why_not.too_few": (
        "评分太少，无法区分评审人的宽严与项目的质量；校准分等于原始分，名次区间不确定。",
        "There are too few scores to tell a reviewer's leniency from a project's quality: calibrated scores are the raw ones, and any rank is "
        "possible.",
    ),
    "result.why_not.all_equal": (
        "所有评分相同，无需校准。",
        "All scores are equal; there is nothing to calibrate.",
    ),
    "result.why_not.too_many": (
        "评审人过多，未做校准；校准分等于原始分。",
        "There are too many reviewers to calibrate: calibrated scores are the raw ones.",
    ),
    "result.parts": (
        "本轮分为 {parts} 个没有共同评审人的部分；跨部分的名次只在各部分评审人平均宽严相同的假设下可比。",
        "The round falls into {parts} parts without a reviewer in common; ranks across parts compare only if their reviewers are equally lenient "
        "on average.",
    ),
    "result.yes": ("是", "yes"),
    "result.no": ("否", "no"),
    "result.line.round": ("轮次状态：{state}；已提交评审 {reviews} 份。", "The round is {state}; {reviews} reviews have been given."),
    "result.line.computed": ("计算于 {at}（评分第 {revision} 版）。", "Computed at {at}, from revision {revision} of the scores."),
    "result.line.alpha": (
        "评审一致性 Krippendorff α = {alpha}（区间尺度）。",
        "Agreement of reviewers: Krippendorff's α = {alpha} (interval).",
    ),
    "result.line.deviations": (
        "标准差（分）：项目质量 {quality}，评审宽严 {leniency}，其余 {noise}。",
        "Standard deviations in points: quality of projects {quality}, leniency of reviewers {leniency}, the rest {noise}.",
    ),
    "result.line.changes": (
        "取前 {accept} 名时，缺少某一位评审人会改变结果。",
        "With the first {accept} accepted, one reviewer less would change the outcome.",
    ),
    "result.line.stays": (
        "取前 {accept} 名时，缺少任何一位评审人都不改变结果。",
        "With the first {accept} accepted, no single reviewer's absence would change the outcome.",
    ),
}
