"""/api/users: the people of the institution, their changes, and sheets of them."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from handlers.sheets import SheetForm, SheetHandler, SheetUploadHandler
from server.paging import Page, PageQuery
from server.people import user_changes, user_export, user_import, user_merging, users
from server.people.schemas import User
from server.people.user_import import ImportQuery, ImportReport, ImportSummary
from server.people.user_schemas import MergeRequest, PasswordSetting, UserDetail, UserDraft, UserFilter, UserPatch, UserQuery

ID = r"(?P<user_id>[0-9]{1,15})"
IMPORT = r"(?P<import_id>[0-9a-f]{32})"


class UsersHandler(ApiHandler):
    @operation("users:read", "Users, by page; q searches names and mail addresses.")
    async def get(self, query: UserQuery) -> Page[User]:
        return await users.list_users(self.ctx, self.actor, query)

    @operation("users:write", "Create a user, with roles in its organization.", idempotent=True)
    async def post(self, body: UserDraft) -> UserDetail:
        return await user_changes.create_user(self.ctx, self.actor, body)


class UserHandler(ApiHandler):
    @operation("users:read", "One user.")
    async def get(self, user_id: str) -> UserDetail:
        return await users.get_user(self.ctx, self.actor, int(user_id))

    @operation("users:write", "Change names, mail address or organization.")
    async def patch(self, user_id: str, body: UserPatch) -> UserDetail:
        return await user_changes.change_user(self.ctx, self.actor, int(user_id), body)

    @operation("users:write", "Disable a user everywhere at once.")
    async def delete(self, user_id: str) -> UserDetail:
        return await user_changes.disable_user(self.ctx, self.actor, int(user_id))


class RestoreHandler(ApiHandler):
    @operation("users:write", "Let a disabled user in again.")
    async def post(self, user_id: str) -> UserDetail:
        return await user_changes.restore_user(self.ctx, self.actor, int(user_id))


class PasswordHandler(ApiHandler):
    @operation("users:write", "Give a user another password; all of the user's sessions end.")
    async def post(self, user_id: str, body: PasswordSetting) -> UserDetail:
        return await user_changes.set_password(self.ctx, self.actor, int(user_id), body.password)


class MergeHandler(ApiHandler):
    @operation("users:write", "Move what a user holds to another account, and disable the user; answers with that account.")
    async def post(self, user_id: str, body: MergeRequest) -> UserDetail:
        return await user_merging.merge_users(self.ctx, self.actor, int(user_id), body.into)


class TemplateHandler(SheetHandler):
    @operation("users:read", "An empty sheet to fill in for an import.", raw=True)
    async def get(self) -> None:
        self.answer_sheet("users-template.xlsx", await user_export.template(self.ctx, self.actor))


class ExportHandler(SheetHandler):
    @operation("users:read", "Users as a spreadsheet.", raw=True)
    async def get(self, query: UserFilter) -> None:
        self.answer_sheet("users.xlsx", await user_export.export(self.ctx, self.actor, query))


class ImportHandler(SheetUploadHandler):
    @operation("users:write", "Import users from an xlsx; with dry_run=1 only look at it.", idempotent=True, upload=SheetForm)
    async def post(self, query: ImportQuery) -> ImportReport:
        sheet = await self.sheet()
        return await user_import.import_sheet(self.ctx, self.actor, sheet.filename, sheet.body, dry_run=bool(query.dry_run))


class ImportsHandler(ApiHandler):
    @operation("users:write", "Imports of users, newest first.")
    async def get(self, query: PageQuery) -> Page[ImportSummary]:
        return await user_import.list_imports(self.ctx, self.actor, query)


class OneImportHandler(ApiHandler):
    @operation("users:write", "What an import did, row by row.")
    async def get(self, import_id: str) -> ImportReport:
        return await user_import.get_import(self.ctx, self.actor, import_id)


class UndoHandler(ApiHandler):
    @operation(
        "users:write", "Disable what an import created and restore what it changed, unless changed since; 202 when by a task.", raw=True
    )
    async def post(self, import_id: str) -> ImportReport:
        report = await user_import.undo_import(self.ctx, self.actor, import_id)
        self.answer(report, status=200 if report.task_id is None else 202)
        return report


routes = [
    (r"/api/users", UsersHandler),
    (r"/api/users/template\.xlsx", TemplateHandler),
    (r"/api/users/export\.xlsx", ExportHandler),
    (r"/api/users/import", ImportHandler),
    (r"/api/users/imports", ImportsHandler),
    (rf"/api/users/imports/{IMPORT}", OneImportHandler),
    (rf"/api/users/imports/{IMPORT}/undo", UndoHandler),
    (rf"/api/users/{ID}", UserHandler),
    (rf"/api/users/{ID}/restore", RestoreHandler),
    (rf"/api/users/{ID}/password", PasswordHandler),
    (rf"/api/users/{ID}/merge", MergeHandler),
]
