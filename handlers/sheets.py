"""Spreadsheets over HTTP: fetched as a file, sent in a form."""

from __future__ import annotations

import asyncio
import hashlib
from urllib.parse import quote

import msgspec
from tornado.httputil import HTTPFile, HTTPHeaders, HTTPInputError, parse_body_arguments

from handlers.base import ApiHandler
from server.errors import Invalid, Malformed
from server.platform import kept_answers

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class SheetForm(msgspec.Struct, forbid_unknown_fields=True):
    """The form of an import has nothing beside its file."""


class SheetHandler(ApiHandler):
    """Answers with a spreadsheet."""

    def answer_sheet(self, name: str, data: bytes) -> None:
        self.set_header("Content-Type", XLSX)
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        self.set_header("Content-Length", str(len(data)))
        self.finish(b"" if self.request.method == "HEAD" else data)


class SheetUploadHandler(ApiHandler):
    """Takes a spreadsheet."""

    async def sheet(self) -> HTTPFile:
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
        shown = "".join(letter for letter in name if letter.isprintable()).strip() or "sheet.xlsx"
        return HTTPFile(filename=shown, body=given[0].body, content_type=XLSX)

    def idempotency_key(self) -> kept_answers.Key:
        """The form without its boundary, which differs each time."""
        boundary = self.request.headers.get("Content-Type", "").rpartition("boundary=")[2].strip('"').encode()
        said = hashlib.sha256(bytes(self._body).replace(boundary, b"") if boundary else bytes(self._body)).digest()
        return msgspec.structs.replace(super().idempotency_key(), request=said + self.request.query.encode())
