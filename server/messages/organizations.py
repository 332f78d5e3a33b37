"""Sentences about organizations, roles and who has them."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.organization_not_found": ("没有这个组织。", "There is no such organization."),
    "error.organization_not_empty": (
        "组织不为空，仍有：{what}。",
        "The organization is not empty; still there: {what}.",
    ),
    "error.root_stays": ("根组织不能移动或删除。", "The root organization can be neither moved nor removed."),
    "error.member_not_found": ("组织中没有这个成员。", "The organization has no such member."),
    "error.role_not_found": ("没有这个角色。", "There is no such role."),
    "error.system_role": ("系统角色不能修改或删除。", "The system's roles can be neither changed nor removed."),
    "error.role_in_use": ("角色已授予 {count} 次，不能删除。", "The role is granted {count} times and cannot be removed."),
    "error.last_administrator": (
        "这是最后一位管理员，不能停用，也不能去掉其管理员角色。",
        "This is the last administrator, who can neither be disabled nor lose the role.",
    ),
    "organization.cycle": ("不能移到自己或自己的下级之下。", "It cannot be moved below itself."),
    "organization.unprintable": ("含有不可显示的字符。", "It holds characters that cannot be shown."),
    "organization.no_user": ("没有编号为 {id} 的用户。", "There is no user {id}."),
    "role.unknown": ("没有名为“{name}”的角色。", "There is no role named “{name}”."),
    "organization.left.and": ("{first}、{then}", "{first}, {then}"),
    "organization.left.organizations": ("下级组织", "organizations below"),
    "organization.left.users": ("用户", "users"),
    "organization.left.organization_members": ("成员", "members"),
    "organization.left.role_grants": ("授予的角色", "granted roles"),
    "organization.left.knowledge_documents": ("文档", "documents"),
    "organization.left.tags": ("标签", "tags"),
    "organization.left.evaluation_sets": ("评测集", "evaluation sets"),
    "organization.left.workflows": ("工作流", "workflows"),
    "organization.left.modules": ("模块", "modules"),
    "organization.left.other": ("其他内容", "other things"),
}
