"""Multipart forms as browsers and curl send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BOUNDARY = "----a-boundary-of-the-tests"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(files: Sequence[tuple[str, bytes]], fields: Mapping[str, str] | None = None, *, name: str = "file") -> bytes:
    """The body of an upload: files as (file name, content), then the other fields."""
    parts = []
    for filename, content in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: application/pdf\r\n\r\n'
        parts.append(f"--{BOUNDARY}\r\n{head}".encode() + content + b"\r\n")
    for field, value in (fields or {}).items():
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode())
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
