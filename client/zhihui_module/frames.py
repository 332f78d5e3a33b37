"""The frames on the socket: how each is written, and how the server's are told apart.

Frames are put together from pieces that are already JSON, so that no output or log line is encoded twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from zhihui_module.task_meta import TaskMeta

# What the server takes in one frame (1 MiB), less room for what surrounds an output.
MAX_FRAME_BYTES = 1024 * 1024
MAX_PAYLOAD_BYTES = 960 * 1024
MAX_ERROR_CHARACTERS = 8000

RESULT_RECEIVED = "receive result"

# NaN and Infinity are not JSON: refusing them here names the output, where the server could only refuse the frame.
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode_text(text: str) -> str:
    """JSON of a text, with what UTF-8 cannot carry (lone surrogates) replaced."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return encode(text)


def size_of(text: str) -> int:
    """Bytes of a text in UTF-8. Raises UnicodeEncodeError for lone surrogates."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def ids_of(meta: TaskMeta) -> str:
    """The members that tell the server which step a frame is about, or nothing towards a server that knows no steps."""
    if meta.step_id is None:
        return ""
    return f',"run_id":{encode(meta.run_id)},"step_id":{encode(meta.step_id)},"fence":{encode(meta.fence)}'


def ack_frame(ids: str, *, started: bool) -> str:
    """The module has the step; `started` is false while it waits its turn here, so that its time does not count yet."""
    return f'{{"type":"ack"{ids},"started":{"true" if started else "false"}}}'


def cancelled_frame(ids: str) -> str:
    return f'{{"type":"cancelled"{ids}}}'


def drain_frame() -> str:
    """The module takes no new work on this socket; what it holds it finishes."""
    return '{"type":"drain"}'


def refused_frame(ids: str) -> str:
    """A step came after the drain and was not taken: the server may give it to another process."""
    return f'{{"type":"refused"{ids}}}'


def progress_frame(ids: str, percent: float, message: str) -> str:
    return f'{{"type":"progress"{ids},"percent":{encode(percent)},"message":{encode_text(message)}}}'


def log_frame(ids: str, level: str, encoded_lines: Iterable[str]) -> str:
    """One level's lines, each already JSON."""
    return f'{{"type":"log"{ids},"level":"{level}","lines":[{",".join(encoded_lines)}]}}'


def success_frame(meta: TaskMeta, ids: str, encoded_module_name: str, outputs: Iterable[tuple[str, str]]) -> str:
    """The result of a handler that returned; `outputs` are pairs of JSON texts, name and value."""
    members = ",".join([f"{name}:{value}" for name, value in outputs])
    return (
        f'{{"type":"result","status":"success","workflow_id":{encode(meta.workflow_id)},"workflow_name":{encode(meta.workflow_name)},'
        f'"module_name":{encoded_module_name},"error":"","message":"done"{ids},"output":{{{members}}}}}'
    )


def failure_frame(meta: TaskMeta, ids: str, encoded_module_name: str, error: str, message: str) -> str:
    """The result of a handler that did not: `error` is the exception's message, `message` one line with its type."""
    return (
        f'{{"type":"result","status":"failure","workflow_id":{encode(meta.workflow_id)},"workflow_name":{encode(meta.workflow_name)},'
        f'"module_name":{encoded_module_name},"error":{encode_text(error[:MAX_ERROR_CHARACTERS])},'
        f'"message":{encode_text(message[:MAX_ERROR_CHARACTERS])}{ids},"output":{{}}}}'
    )


def find_frame(text: str) -> dict[str, Any] | None:
    """A frame of the server, or None when the text is not a JSON object."""
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    return frame if isinstance(frame, dict) else None
