"""Files that are too large for a frame: sent to the server, fetched from it, checked by SHA-256."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar, cast

from tornado.httpclient import HTTPRequest

from zhihui_module.address import Address
from zhihui_module.backoff import Backoff
from zhihui_module.errors import FileTransferFailed, ServerAway, ServerRefused
from zhihui_module.http_door import HttpDoor
from zhihui_module.task import FileReference, FileSource

PIECE_BYTES = 256 * 1024
TRANSFER_TIMEOUT_S = 600.0
MAX_TRIES = 5
JSON = "application/json"
MARK = "$file"

Result = TypeVar("Result")


class HasHash(Protocol):
    @property
    def module_hash(self) -> str: ...


class Files:
    """The way of files between this module and the server."""

    def __init__(self, http: HttpDoor, address: Address, module: HasHash) -> None:
        self._http = http
        self._address = address
        self._module = module

    async def put(self, source: FileSource, content_type: str) -> FileReference:
        """Upload bytes or the file at a path; the reference to it.

        Raises FileTransferFailed, OSError when the path cannot be read, ValueError for an unfit content type.
        """
        if not content_type or not content_type.isascii() or not content_type.isprintable():
            raise ValueError(f"content_type: {content_type!r} is not a media type")
        stream: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else await asyncio.to_thread(Path(source).open, "rb")
        try:
            return await self.put_stream(stream, content_type)
        finally:
            stream.close()

    async def put_stream(self, stream: IO[bytes], content_type: str) -> FileReference:
        """Upload what a seekable stream holds, piece by piece. Raises FileTransferFailed."""
        sha256, size = await asyncio.to_thread(_measure, stream)

        async def produce(write: Callable[[bytes], Awaitable[None]]) -> None:
            await asyncio.to_thread(stream.seek, 0)
            while piece := await asyncio.to_thread(stream.read, PIECE_BYTES):
                await write(piece)

        async def upload() -> Any:
            headers = {**self._address.headers, "Content-Type": content_type, "Content-Length": str(size)}
            url = self._address.path(f"/module/{self._module.module_hash}/files")
            request = HTTPRequest(url, method="POST", headers=headers, request_timeout=TRANSFER_TIMEOUT_S)
            request.body_producer = cast(Any, produce)  # Tornado awaits it, its annotation says a Future
            return await self._http.ask(request, "the upload of a file")

        result = await _patiently(upload)
        if not isinstance(result, dict) or not isinstance(result.get("url"), str):
            raise FileTransferFailed("the upload of a file: the answer has no url")
        if result.get("sha256") not in (None, sha256):
            raise FileTransferFailed("the upload of a file: the server has another checksum")
        return {MARK: {"url": result["url"], "sha256": sha256, "size": size, "content_type": content_type}}

    async def resolve(self, value: Any) -> Any:
        """The same value with every file reference in it replaced: by what its JSON says, or by bytes.

        Raises FileTransferFailed.
        """
        if isinstance(value, dict):
            reference = value.get(MARK)
            if len(value) == 1 and isinstance(reference, dict) and isinstance(reference.get("url"), str):
                return await self._get(reference)
            return {name: await self.resolve(member) for name, member in value.items()}
        if isinstance(value, list):
            return [await self.resolve(member) for member in value]
        return value

    async def _get(self, reference: dict[str, Any]) -> Any:
        url = self._address.resolve(reference["url"])
        # The key is for the server alone, not for wherever a file may lie.
        headers = self._address.headers if self._address.is_ours(url) else {}

        async def download() -> bytes:
            body = bytearray()
            request = HTTPRequest(url, headers=headers, streaming_callback=body.extend, request_timeout=TRANSFER_TIMEOUT_S)
            response = await self._http.fetch(request)
            if response.code >= 500 or response.code == 429:
                raise ServerAway(f"{url}: {response.code} {response.reason}")
            if response.code != 200:
                raise FileTransferFailed(f"{url}: {response.code} {response.reason}")
            return bytes(body)

        body = await _patiently(download)
        expected = reference.get("sha256")
        if await asyncio.to_thread(_sha256, body) != expected:
            raise FileTransferFailed(f"{url}: its SHA-256 is not {expected}")
        if str(reference.get("content_type", "")).partition(";")[0].strip().lower() != JSON:
            return body
        try:
            return await asyncio.to_thread(json.loads, body)
        except ValueError as error:
            raise FileTransferFailed(f"{url}: is not the JSON that it says it is: {error}") from None


async def _patiently(transfer: Callable[[], Awaitable[Result]]) -> Result:
    """Try again while the server is away; content-addressed transfers may be repeated freely."""
    backoff = Backoff(first_s=0.2, draw=random.uniform)
    for _ in range(MAX_TRIES - 1):
        try:
            return await transfer()
        except ServerAway:
            await asyncio.sleep(backoff.next_delay())
        except ServerRefused as error:
            raise FileTransferFailed(str(error)) from None
    try:
        return await transfer()
    except (ServerAway, ServerRefused) as error:
        raise FileTransferFailed(str(error)) from None


def _measure(stream: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    stream.seek(0)
    while piece := stream.read(PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
