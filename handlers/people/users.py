"""/api/users: the people of the institution, their changes, and sheets of them."""

from __future__ import annotations

import asyncio
import hashlib
from urllib.parse import quote

import msgspec
from tornado.httputil import HTTPFile, HTTPHeaders, HTTPInputError, parse_body_arguments

from handlers.base import ApiHandler
from handlers.operation import operation
from server.errors import Invalid, Malformed
from server.paging import Page, PageQuery
from server.people import user_changes, user_export, user_import, user_merging, users
from server.people.schemas import User
from server.people.user_import import ImportQuery, ImportReport, ImportSummary
from server.people.user_schemas import MergeRequest, PasswordSetting, UserDetail, UserDraft, UserFilter, UserPatch, UserQuery
from server.platform import kept_answers

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ID = r"(?P<user_id>[0-9]{1,15})"
IMPORT = r"(?P<import_id>[0-9a-f]{32})"


class SheetForm(msgspec.Struct, forbid_unknown_fields=True):
    """The form of an import has nothing beside its file."""


class SheetHandler(ApiHandler):
    """Answers with a spreadsheet."""

    def answer_sheet(self, name: str, data: bytes) -> None:
        self.set_header("Content-Type", XLSX)
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        self.set_header("Content-Length", str(len(data)))
        self.finish(b"" if self.request.method == "HEAD" else data)


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


class ImportHandler(ApiHandler):
    @operation("users:write", "Import users from an xlsx; with dry_run=1 only look at it.", idempotent=True, upload=SheetForm)
    async def post(self, query: ImportQuery) -> ImportReport:
        sheet = await self._sheet()
        return await user_import.import_sheet(self.ctx, self.actor, sheet.filename, sheet.body, dry_run=bool(query.dry_run))

    async def _sheet(self) -> HTTPFile:
        """The form's one file, which is bounded as any body is (MAX_BODY_MB)."""
        kind, body = self.request.headers.get("Content-Type", ""), self.raw_body()
        if not kind.lower().startswith("multipart/form-data"):
            raise Invalid.field("file", "users.sheet_missing")
        files: dict[str, list[HTTPFile]] = {}
        try:
            await asyncio.to_thread(parse_body_arguments, kind, body, {}, files, HTTPHeaders())
        except HTTPInputError as error:
            raise Malformed(detail=str(error)) from None
        given = [file for group in files.values() for file in group]
        if len(given) != 1 or "file" not in files or not given[0].body:
            raise Invalid.field("file", "users.sheet_missing")
        name = given[0].filename.replace("\\", "/").rpartition("/")[2]
        shown = "".join(letter for letter in name if letter.isprintable()).strip() or "users.xlsx"
        return HTTPFile(filename=shown, body=given[0].body, content_type=XLSX)

    def idempotency_key(self) -> kept_answers.Key:
        """The form without its boundary, which differs each time."""
        boundary = self.request.headers.get("Content-Type", "").rpartition("boundary=")[2].strip('"').encode()
        said = hashlib.sha256(bytes(self._body).replace(boundary, b"") if boundary else bytes(self._body)).digest()
        return msgspec.structs.replace(super().idempotency_key(), request=said + self.request.query.encode())


class ImportsHandler(ApiHandler):
    @operation("users:write", "Imports of users, newest first.")
    async def get(self, query: PageQuery) -> Page[ImportSummary]:
        return await user_import.list_imports(self.ctx, self.actor, query)


class OneImportHandler(ApiHandler):
    @operation("users:write", "What an import did, row by row.")
    async def get(self, import_id: str) -> ImportReport:
        return await user_import.get_import(self.ctx, self.actor, import_id)


class UndoHandler(ApiHandler):
    @operation("users:write", "Disable what an import created and restore what it changed, unless changed since.")
    async def post(self, import_id: str) -> ImportReport:
        return await user_import.undo_import(self.ctx, self.actor, import_id)


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
