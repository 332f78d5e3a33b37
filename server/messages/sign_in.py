"""Sentences about sessions, mail codes and passwords."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.session_not_found": ("没有这个会话。", "There is no such session."),
    "error.code_wrong": ("验证码无效或已过期。", "The code is wrong or no longer holds."),
    "error.registration_off": ("本系统未开放注册。", "Nobody can register here by themselves."),
    "password.short": ("密码至少需要 {least} 个字符。", "A password needs at least {least} characters."),
    "password.long": ("密码最多 {most} 个字符。", "A password has at most {most} characters."),
    "password.common": ("这个密码太常见，请换一个。", "This password is too common; please choose another."),
    "password.name": ("密码不能是用户名、邮箱或姓名。", "A password must not be the user name, the mail address or the name."),
    "sign_in.old_password_wrong": ("原密码不正确。", "The present password is wrong."),
    "sign_in.email_form": ("邮箱地址格式不正确。", "This is not a mail address."),
    "sign_in.username_form": (
        "用户名不能包含空白、@ 或控制字符。",
        "A user name has no blanks, no @ and no control characters.",
    ),
    "sign_in.username_taken": ("这个用户名已被使用。", "This user name is taken."),
    "mail.code.subject": ("智汇验证码", "Your Zhihui code"),
    "mail.code.register": ("您正在用邮箱 {email} 注册智汇账号。", "Somebody, we hope you, registers at Zhihui with the address {email}."),
    "mail.code.reset": ("您正在重设智汇账号 {username} 的密码。", "Somebody, we hope you, sets a new password for {username} at Zhihui."),
    "mail.code.login": ("您正在登录智汇账号 {username}。", "Somebody, we hope you, signs in as {username} at Zhihui."),
    "mail.code.holds": (
        "验证码在 {minutes} 分钟内有效，只能使用一次。请勿转告他人，我们不会向您索要。",
        "It holds for {minutes} minutes and once. Tell it to nobody; we never ask for it.",
    ),
    "mail.code.not_you": ("如果不是您本人操作，请忽略这封邮件。", "If it was not you, ignore this mail."),
    "mail.code.account_exists": (
        "有人用邮箱 {email} 注册智汇，但它已属于账号 {username}。如果是您本人，请直接登录或重设密码。",
        "Somebody registers at Zhihui with the address {email}, which belongs to {username} already. If it was you, sign in or reset the password.",
    ),
}
