"""Uploads: a multipart form that streams to disk, file by file, never whole in memory."""

from __future__ import annotations

from typing import Any

import msgspec
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from handlers.errors import fields_of
from handlers.streaming import StreamingHandler
from server.errors import DomainError, Invalid, Malformed
from server.knowledge.schemas import UploadedFile, UploadFields
from server.knowledge.warming import Warming
from server.messages import text
from server.platform import kept_answers

MAGIC = b"%PDF-"
# A PDF may begin a little later: readers accept the mark within the first KiB.
MAGIC_WITHIN = 1024
LONGEST_FIELD = 64 << 10
MOST_PARTS = 50


class _Part:
    """One part of the form as it comes in."""

    def __init__(self) -> None:
        self.header_name = b""
        self.header_value = b""
        self.name = ""
        self.filename: str | None = None
        self.value = bytearray()
        self.head = b""
        self.size = 0


class UploadHandler(StreamingHandler):
    """A handler whose POST takes files. What was begun and not finished leaves nothing; a wrong form is read to its end and refused."""

    room = 1 << 20

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._parser: MultipartParser | None = None
        self._part = _Part()
        self._parts = 0
        self._fields: dict[str, str] = {}
        self._files: list[UploadedFile] = []
        self._waiting: list[tuple[str, bytes]] = []
        self._wrong: DomainError | None = None
        self._complete = False

    async def prepare(self) -> None:
        await super().prepare()
        if self.request.method != "POST":
            return
        self.ctx.services.get(Warming).begin()  # while the files come in
        kind, options = parse_options_header(self.request.headers.get("Content-Type", ""))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            self._wrong = Malformed(detail=text("upload.no_form"))
            return
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda data, start, end: self._header(name=data[start:end]),
                "on_header_value": lambda data, start, end: self._header(value=data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": lambda data, start, end: self._waiting.append(("data", bytes(data[start:end]))),
                "on_part_end": lambda: self._waiting.append(("end", b"")),
                "on_end": self._form_ends,
            },
        )

    async def data_received(self, chunk: bytes) -> None:  # type: ignore[override]
        if self._wrong is not None or self._parser is None:
            return  # what still comes is let go by, so that the client hears why
        try:
            self._parser.write(chunk)
            for event, data in self._taken():
                await self._take(event, data)
        except FormParserError as error:
            self._wrong = Malformed(detail=str(error))
        except DomainError as error:
            self._wrong = error
        if self._wrong is not None:
            await self._abandon()

    async def received(self) -> tuple[UploadFields, list[UploadedFile]]:
        """The form, once all of it is there. Raises what was wrong with it."""
        if self._wrong is None and not self._complete:
            self._wrong = Malformed(detail=text("upload.cut_short"))
        if self._wrong is None and not self._files:
            self._wrong = Invalid.field("file", "field.required")
        if self._wrong is not None:
            raise self._wrong
        try:
            return msgspec.convert(self._fields, UploadFields, strict=False), self._files
        except msgspec.ValidationError as error:
            raise Invalid(fields=fields_of(error)) from None

    def idempotency_key(self) -> kept_answers.Key:
        """The files' hashes and the fields stand for the body."""
        said = [self._fields, [(file.filename, file.stored.sha256) for file in self._files]]
        return msgspec.structs.replace(super().idempotency_key(), request=msgspec.json.encode(said))

    # What the parser tells. It is not async: what there is to write is kept until its call has returned.

    def _taken(self) -> list[tuple[str, bytes]]:
        taken, self._waiting = self._waiting, []
        return taken

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Malformed(detail=text("form.too_many", limit=MOST_PARTS))
        self._waiting.append(("begin", b""))

    def _header(self, name: bytes = b"", value: bytes = b"") -> None:
        part = self._part
        part.header_name += name
        part.header_value += value

    def _header_ends(self) -> None:
        part = self._part
        if part.header_name.lower() == b"content-disposition":
            self._waiting.append(("disposition", part.header_value))
        part.header_name = part.header_value = b""

    def _headers_end(self) -> None:
        self._waiting.append(("headers", b""))

    def _form_ends(self) -> None:
        self._complete = True

    async def _take(self, event: str, data: bytes) -> None:
        if event == "begin":
            self._part = _Part()
        elif event == "disposition":
            self._name_part(data)
        elif event == "headers":
            if self._part.filename is not None:
                self._writer = self.ctx.files.put_stream()
        elif event == "data":
            await self._take_data(data)
        else:
            await self._end_part()

    def _name_part(self, disposition: bytes) -> None:
        _, options = parse_options_header(disposition)
        part = self._part
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            named = options[b"filename"].decode("utf-8", "replace").replace("\\", "/")
            part.filename = "".join(letter for letter in named.rpartition("/")[2] if letter.isprintable()).strip() or "document.pdf"
            if part.name != "file":
                raise Invalid.field(part.name or "file", "upload.other_file")

    async def _take_data(self, data: bytes) -> None:
        part = self._part
        part.size += len(data)
        if self._writer is None:
            if part.size > LONGEST_FIELD:
                raise Invalid.field(part.name, "field.too_long", limit=LONGEST_FIELD)
            part.value += data
            return
        if part.size > self._limit:
            raise self._too_large_error()
        if len(part.head) < MAGIC_WITHIN:
            part.head = (part.head + data)[:MAGIC_WITHIN]
            if len(part.head) == MAGIC_WITHIN:
                self._check_magic()
        await self._writer.write(data)

    async def _end_part(self) -> None:
        part = self._part
        if self._writer is None:
            if part.name in self._fields:
                raise Invalid.field(part.name, "upload.twice")
            self._fields[part.name] = part.value.decode("utf-8", "replace")
            return
        self._check_magic()
        writer, self._writer = self._writer, None
        assert part.filename is not None
        self._files.append(UploadedFile(part.filename, await writer.finish()))

    def _check_magic(self) -> None:
        part = self._part
        if not part.size:
            raise Invalid.field("file", "upload.empty", name=part.filename)
        if MAGIC not in part.head:
            raise Invalid.field("file", "upload.not_pdf", name=part.filename)
