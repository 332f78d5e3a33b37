"""Sentences about single sign-on."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.cas_off": ("未启用统一身份认证。", "Single sign-on is not switched on here."),
    "error.cas_away": ("统一身份认证服务暂时不可用，请稍后再试。", "The single sign-on server does not answer; please try again later."),
    "error.cas_garbled": ("统一身份认证服务的应答无法理解。", "The answer of the single sign-on server cannot be understood."),
    "error.cas_state": (
        "登录已过期或不是在此浏览器发起的，请重新登录。",
        "This sign-in is too old or was begun elsewhere; please begin again.",
    ),
    "error.cas_ticket_invalid": ("认证票据无效或已使用，请重新登录。", "The sign-in ticket does not hold or was used; please begin again."),
    "error.cas_code_invalid": ("登录代码无效、已使用或已过期。", "The sign-in code does not hold, was used or is too old."),
    "error.cas_user_disabled": ("该账号已停用。", "This account is disabled."),
    "error.cas_user_unknown": ("该账号尚未在本系统开通。", "There is no account here for this person yet."),
    "cas.next_local": ("只能是本站内以 / 开头的路径。", "must be a path of this site that begins with /."),
    "cas.logout_unreadable": ("无法读取注销请求：{detail}。", "the logout request cannot be read: {detail}."),
}
