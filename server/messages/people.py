"""Sentences about people and signing in."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.credentials_wrong": ("用户名或密码不正确。", "The user name or the password is wrong."),
    "error.token_invalid": ("令牌无效，请重新登录。", "The token does not hold; please sign in again."),
    "error.token_expired": ("令牌已过期。", "The token has expired."),
    "error.session_over": ("会话已结束，请重新登录。", "The session is over; please sign in again."),
    "error.refresh_reused": ("刷新令牌已失效，请重新登录。", "The refresh token no longer holds; please sign in again."),
    "error.key_invalid": ("API 密钥无效。", "The API key does not hold."),
    "error.ticket_invalid": ("票据无效或已使用。", "The ticket does not hold or was used."),
    "error.user_not_found": ("没有这个用户。", "There is no such user."),
    "error.api_key_not_found": ("没有这个 API 密钥。", "There is no such API key."),
    "people.no_organization": ("没有编号为 {id} 的组织。", "There is no organization {id}."),
    "people.scope_not_held": ("不能授予自己没有的权限：{scopes}。", "You cannot give what you do not hold: {scopes}."),
}
