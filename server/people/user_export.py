"""Users as a spreadsheet: those of a query, and an empty one to fill in."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.sheets import PIECE
from jobs.cpu.user_sheets import write_user_sheet
from server.actor import Actor
from server.context import Context
from server.messages import Locale, say
from server.people.tables import organizations, users
from server.people.user_rights import grants_of
from server.people.user_schemas import UserFilter
from server.people.users import SEARCHED, narrow
from server.platform import audit

# Column -> (Chinese header, English header). What a sheet is exported with can be imported again.
HEADERS: dict[str, tuple[str, str]] = {
    "username": ("用户名", "username"),
    "name": ("姓名", "name"),
    "email": ("邮箱", "email"),
    "organization": ("组织代码", "organization"),
    "roles": ("角色", "roles"),
    "kind": ("类型", "kind"),
}
SHOWN_ALONE: dict[str, tuple[str, str]] = {
    "organization_name": ("组织名称", "organization name"),
    "state": ("状态", "state"),
    "created_at": ("创建时间", "created at"),
    "last_login_at": ("最近登录", "last login"),
}
# What goes into each column, in their order, and a word about passwords.
GUIDE = (
    "users.guide_username",
    "users.guide_name",
    "users.guide_email",
    "users.guide_organization",
    "users.guide_roles",
    "users.guide_kind",
    "users.guide_password",
)
WRITE_S = 300.0


def titles(locale: Locale, *columns: dict[str, tuple[str, str]]) -> list[str]:
    """The headers in a language."""
    return [title[0 if locale == "zh" else 1] for part in columns for title in part.values()]


async def template(ctx: Context, actor: Actor) -> bytes:
    """An xlsx with headers and, on a second sheet, what goes where."""
    header = titles(actor.locale, HEADERS)
    notes = [[title, say(key, actor.locale)] for key, title in zip(GUIDE, [*header, ""], strict=True)]
    title = "说明" if actor.locale == "zh" else "guide"
    return await ctx.compute.run(write_user_sheet, header, [], notes, title, time_limit_s=WRITE_S, urgent=True)


async def export(ctx: Context, actor: Actor, query: UserFilter) -> bytes:
    """The users of a query, of the organizations where the caller may read users, as an xlsx."""
    places = actor.organizations("users:read")
    pieces: list[bytes] = []
    after = count = 0
    while True:
        rows, after = await ctx.sql.read(lambda connection, after=after: _piece(connection, places, query, after))  # type: ignore[misc]
        if not rows:
            break
        pieces.append(msgspec.json.encode(rows))
        count += len(rows)
    now = ctx.clock.now()
    await ctx.sql.write(lambda connection: audit.note(connection, now, actor, "user.export", "user", count=count))
    header = titles(actor.locale, HEADERS, SHOWN_ALONE)
    return await ctx.compute.run(write_user_sheet, header, pieces, time_limit_s=WRITE_S, urgent=True)


def _piece(connection: sa.Connection, places: frozenset[int] | None, query: UserFilter, after: int) -> tuple[list[list[str]], int]:
    """The next users by id, as rows, and the last id."""
    wanted = sa.select(users, organizations.c.code, organizations.c.name.label("organization_name")).outerjoin(
        organizations, organizations.c.id == users.c.organization_id
    )
    wanted = narrow(wanted, places, query).where(users.c.id > after).order_by(users.c.id).limit(PIECE)
    if query.q:
        pattern = "%" + query.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        wanted = wanted.where(sa.or_(*(column.ilike(pattern, escape="\\") for column in SEARCHED)))
    found = connection.execute(wanted).all()
    granted = grants_of(connection, [row.id for row in found])
    return [_row(row, granted.get(row.id, ())) for row in found], found[-1].id if found else after


def _row(user: Any, granted: Any) -> list[str]:
    roles = sorted({grant.name for grant in granted if grant.organization_id == user.organization_id})
    return [
        user.username,
        user.name,
        user.email or "",
        user.code or "",
        ", ".join(roles),
        user.kind,
        user.organization_name or "",
        user.state,
        user.created_at.isoformat(timespec="seconds"),
        user.last_login_at.isoformat(timespec="seconds") if user.last_login_at else "",
    ]
