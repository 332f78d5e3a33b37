"""The scopes: what a role, an API key or the system can be allowed to do."""

from __future__ import annotations

from server.actor import Actor, ActorKind, Grant

# name -> (Chinese, English)
SCOPES: dict[str, tuple[str, str]] = {
    "modules:read": ("查看模块", "See modules"),
    "modules:write": ("注册、修改和删除模块", "Register, change and remove modules"),
    "modules:send": ("向模块发送消息", "Send messages to modules"),
    "workflows:read": ("查看工作流和运行", "See workflows and runs"),
    "workflows:write": ("创建、修改和删除工作流", "Create, change and delete workflows"),
    "workflows:run": ("启动、取消和重试运行", "Start, cancel and retry runs"),
    "schedules:read": ("查看定时任务和日历", "See schedules and calendars"),
    "schedules:write": ("修改定时任务和日历", "Change schedules and calendars"),
    "tasks:read": ("查看任务队列", "See the task queues"),
    "tasks:write": ("重试和取消任务", "Retry and cancel tasks"),
    "users:read": ("查看用户", "See users"),
    "users:write": ("创建、修改和停用用户", "Create, change and disable users"),
    "organizations:read": ("查看组织", "See organizations"),
    "organizations:write": ("修改组织", "Change organizations"),
    "roles:read": ("查看角色", "See roles"),
    "roles:write": ("修改和分配角色", "Change and assign roles"),
    "documents:read": ("查看和检索文档", "See and search documents"),
    "documents:write": ("上传文档，修改自己的文档", "Upload documents and change one's own"),
    "documents:manage": ("管理组织内的所有文档、标签和评测", "Manage all documents, tags and evaluations of the organization"),
    "assistant:use": ("向助手提问", "Ask the assistant"),
    "projects:read": ("查看项目", "See projects"),
    "projects:write": ("申报项目，修改自己的项目", "Propose projects and change one's own"),
    "projects:manage": ("管理组织内的所有项目", "Manage all projects of the organization"),
    "projects:audit": ("审核项目", "Decide on projects that are reviewed"),
    "reviews:write": ("为项目评分", "Give scores to projects"),
    "rounds:manage": ("管理评分标准、评审轮次和结果", "Manage rubrics, rounds of reviews and their results"),
    "dashboard:read": ("查看看板", "See the dashboard"),
    "hr:read": ("查看人事来源、同步计划和账号任务", "See HR sources, sync plans and account tasks"),
    "hr:write": ("修改人事来源，启动同步，重试账号任务", "Change HR sources, start a sync, retry account tasks"),
    "hr:approve": ("批准和撤销同步计划", "Approve and undo sync plans"),
    "scim:manage": ("通过 SCIM 管理用户和组", "Manage users and groups over SCIM"),
    "audit:read": ("查看审计日志", "Read the audit log"),
    "operations:read": ("查看系统状态和指标", "See the system's state and metrics"),
}
ALL = frozenset(SCOPES)
READ = frozenset(name for name in SCOPES if name.endswith(":read"))

# What anyone who has signed in may do to what is their own.
SIGNED_IN = "signed_in"
# Declared on routes that anyone may call.
ANYONE = "anyone"

SYSTEM_ROLES: dict[str, frozenset[str]] = {
    "administrator": ALL,
    "organization_admin": frozenset(
        {
            "users:read",
            "users:write",
            "organizations:read",
            "organizations:write",
            "roles:read",
            "documents:read",
            "documents:write",
            "documents:manage",
            "assistant:use",
            "projects:read",
            "projects:write",
            "projects:manage",
            "projects:audit",
            "reviews:write",
            "rounds:manage",
            "dashboard:read",
            "modules:read",
            "workflows:read",
            "schedules:read",
        }
    ),
    "teacher": frozenset(
        {
            "users:read",
            "organizations:read",
            "documents:read",
            "documents:write",
            "assistant:use",
            "projects:read",
            "projects:write",
            "reviews:write",
            "dashboard:read",
        }
    ),
    "student": frozenset(
        {"organizations:read", "documents:read", "documents:write", "assistant:use", "projects:read", "projects:write", "dashboard:read"}
    ),
    "reviewer": frozenset({"organizations:read", "documents:read", "assistant:use", "projects:read", "projects:audit", "reviews:write"}),
    "operator": frozenset(
        {
            "modules:read",
            "modules:write",
            "modules:send",
            "workflows:read",
            "workflows:write",
            "workflows:run",
            "schedules:read",
            "schedules:write",
            "tasks:read",
            "tasks:write",
            "operations:read",
        }
    ),
    "auditor": READ,
}


def system_actor(name: str) -> Actor:
    """The actor of schedules, queue workers and management commands: may do everything, and is named in the audit log."""
    return Actor(kind=ActorKind.SYSTEM, name=name, grants=(Grant(ALL),))
