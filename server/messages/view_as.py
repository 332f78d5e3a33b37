"""Sentences about looking with another user's eyes, captchas and other additions to sign-in."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.view_only": ("您正在以他人身份查看，不能修改。", "You look with another user's eyes, and can change nothing."),
    "error.not_to_be_viewed": ("不能查看服务账号或您自己的账号。", "A service's account, or your own, cannot be viewed like this."),
    "rights.everywhere": (
        "{username} 拥有 {scope}：角色“{role}”在根组织“{organization}”授予，处处有效。",
        "{username} holds {scope}: the role {role} is granted at the root, {organization}, and holds everywhere.",
    ),
    "rights.there": (
        "{username} 在“{place}”拥有 {scope}：角色“{role}”就在该组织授予。",
        "{username} holds {scope} in {place}: the role {role} is granted there.",
    ),
    "rights.above": (
        "{username} 在“{place}”拥有 {scope}：角色“{role}”在其上级组织“{organization}”授予。",
        "{username} holds {scope} in {place}: the role {role} is granted in {organization}, which is above it.",
    ),
    "rights.somewhere": (
        "{username} 拥有 {scope}：角色“{role}”在“{organization}”授予，在该组织及其下级有效。",
        "{username} holds {scope}: the role {role} is granted in {organization}, and holds there and below.",
    ),
    "rights.elsewhere": (
        "{username} 在“{place}”没有 {scope}：只在以下组织及其下级拥有：{organizations}。",
        "{username} does not hold {scope} in {place}, only in these and below: {organizations}.",
    ),
    "rights.none": ("{username} 的任何角色都不含 {scope}。", "None of the roles of {username} has {scope}."),
    "rights.disabled": (
        "{username} 已停用，没有任何权限（包括 {scope}）。",
        "{username} is disabled and may do nothing, {scope} included.",
    ),
    "error.captcha_required": ("请完成人机验证。", "Please solve the captcha."),
    "error.captcha_wrong": ("人机验证未通过，请重试。", "The captcha was not right; please try again."),
    "error.captcha_away": ("人机验证服务暂时不可用。", "The captcha's verifier does not answer."),
    "captcha.required": ("需要人机验证。", "A captcha is needed."),
    "captcha.wrong": ("错误、过期或已使用。", "Wrong, too old, or used."),
    "captcha.site_key": ("{site_key}", "{site_key}"),
    "mail.account.subject": ("智汇账号安全提醒", "Your Zhihui account"),
    "mail.account.password_changed": (
        "智汇账号 {username}（{site}）的密码已于 {when} 更改。",
        "The password of {username} at Zhihui ({site}) was changed on {when}.",
    ),
    "mail.account.password_reset": (
        "智汇账号 {username}（{site}）的密码已于 {when} 通过邮箱验证码重设。",
        "The password of {username} at Zhihui ({site}) was set anew by a mailed code on {when}.",
    ),
    "mail.account.password_set": (
        "管理员已于 {when} 为智汇账号 {username}（{site}）设置了新密码。",
        "An administrator set a new password for {username} at Zhihui ({site}) on {when}.",
    ),
    "mail.account.cas_linked": (
        "智汇账号 {username}（{site}）已于 {when} 关联统一身份认证账号，今后可用其登录。",
        "A single sign-on account was linked to {username} at Zhihui ({site}) on {when}; it can sign in from now on.",
    ),
    "mail.account.not_you": (
        "如果不是您本人操作，请立即重设密码并联系管理员。",
        "If it was not you, set a new password at once and tell your administrator.",
    ),
    "error.cas_link_taken": ("该统一身份认证账号已关联其他用户。", "This single sign-on account is linked to somebody else."),
    "error.cas_link_not_found": ("没有这个关联。", "There is no such link."),
    "error.cas_link_last": (
        "这是您唯一的登录方式，请先设置密码。",
        "It is your only way to sign in; set a password first.",
    ),
    "error.cas_link_elsewhere": (
        "只能从本站页面发起关联。",
        "A link is begun from a page of this site alone.",
    ),
}
