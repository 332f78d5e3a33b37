"""Logs: one line an event, to the console and to DATA_DIR/logs/server.log, scrubbed, written off the loop."""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import traceback
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import msgspec
from tornado.web import RequestHandler

from server.config import Settings
from server.log_files import ConsoleSink, LogWriter, RotatingFile, Sink
from server.log_scrubbing import Scrubber, scrub_query, secret_values

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request being answered; handlers set it, each line of the log carries it."""

access_log = logging.getLogger("access")
QUIET = {
    "asyncio": logging.INFO,
    "pymongo": logging.WARNING,
    "motor": logging.WARNING,
    "aiomysql": logging.WARNING,
    "faker": logging.WARNING,
}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127, 0x85, 0x2028, 0x2029)} | {10: "\\n", 13: "\\r", 9: "\t"}


def json_line(line: dict[str, Any]) -> str:
    """One JSON object and a line end; half characters, which JSON cannot hold, are written as escapes."""
    try:
        return msgspec.json.encode(line).decode() + "\n"
    except UnicodeEncodeError:
        whole = {
            name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value for name, value in line.items()
        }
        return msgspec.json.encode(whole).decode() + "\n"


class LineFormat:
    """How a record becomes a line: text for people, or one JSON object for machines."""

    def __init__(self, form: str, scrubber: Scrubber) -> None:
        self._json, self._scrubber = form == "json", scrubber

    def __call__(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = getattr(record, "facts", {})
        # access lines are clean by construction
        message = record.getMessage() if facts else self._scrubber.scrub(record.getMessage())
        trace = self._scrubber.scrub(record.exc_text) if record.exc_text else ""
        at = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        request = getattr(record, "request_id", "")
        if self._json:
            line = {"at": at, "level": record.levelname, "logger": record.name, "request_id": request, "message": message, **facts}
            if trace:
                line["exception"] = trace
            return json_line(line)
        if not message.isprintable():  # a stranger's text must not look like a line of ours
            message = message.translate(_CONTROL)
        line_text = f"{at} {record.levelname:<7} {record.name} {f'[{request}] ' if request else ''}{message}\n"
        return line_text + "".join(f"    {part}\n" for part in trace.splitlines())


class _Emit(logging.handlers.QueueHandler):
    """Hands records over: to the writer's thread, or straight to the sinks where there is no loop to protect."""

    def __init__(self, form: LineFormat, sinks: list[Sink], writer: LogWriter | None) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # the writer has its own queue
        self._form, self._sinks, self._writer = form, sinks, writer

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Fix what may have changed by the time the line is written: arguments, the traceback, the request."""
        record.msg = record.getMessage()
        record.args = None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        if record.stack_info:
            record.exc_text = "\n".join(filter(None, (record.exc_text, record.stack_info)))
        record.exc_info = record.stack_info = None
        record.request_id = request_id.get()
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._writer is not None:
            self._writer.put(record)
            return
        line = self._form(record)
        for sink in self._sinks:
            sink.write(line)


class Logs:
    """The logs of this process while they are set up."""

    def __init__(self, scrubber: Scrubber, handler: logging.Handler, writer: LogWriter | None, sinks: list[Sink]) -> None:
        self._scrubber, self._handler, self._writer, self._sinks = scrubber, handler, writer, sinks

    def hide(self, values: Iterable[str]) -> None:
        """Never let these values through, wherever they stand; for secrets that are read after the logs are set up."""
        self._scrubber.hide(values)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        atexit.unregister(self.close)
        if self._writer is not None:
            self._writer.close()
            return
        for sink in self._sinks:
            sink.close()


def set_up_logs(settings: Settings, *, console: bool = True, queued: bool = True) -> Logs:
    """Send the log of the whole process to DATA_DIR/logs/server.log (10 MB, 5 older ones) and, with `console`, to standard error.

    Replaces what was set up before. `queued=False` writes in the calling thread: for processes without a loop. Libraries' own
    handlers are taken off, so that no line is written twice.
    """
    scrubber = Scrubber(secret_values(settings))
    form = LineFormat(settings.log_format, scrubber)
    sinks: list[Sink] = [RotatingFile(settings.data / "logs" / "server.log")]
    if console:
        sinks.append(ConsoleSink())
    writer = LogWriter(sinks, form) if queued else None
    handler = _Emit(form, sinks, writer)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in ("gunicorn.error", "gunicorn.access", "tornado", "tornado.access", "tornado.application", "tornado.general"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    logging.captureWarnings(True)
    logs = Logs(scrubber, handler, writer, sinks)
    atexit.register(logs.close)
    return logs


def log_request(handler: RequestHandler) -> None:
    """Tornado's `log_function`: one access line; 5xx are errors, 4xx warnings, health checks debug."""
    status = handler.get_status()
    path = handler.request.uri or "/"
    if status >= 500:
        level = logging.ERROR
    elif status >= 400:
        level = logging.WARNING
    elif path.startswith(("/health", "/metrics")):
        level = logging.DEBUG
    else:
        level = logging.INFO
    if not access_log.isEnabledFor(level):
        return
    path = scrub_query(path)
    milliseconds = round(1000 * handler.request.request_time(), 1)
    length = handler._headers.get("Content-Length", "-")  # Tornado keeps no count of what it has written
    actor = getattr(handler, "actor", None)
    user, viewer = getattr(actor, "user_id", None) or "-", getattr(actor, "viewer", None)
    if viewer is not None:  # who looks, and with whose eyes
        user = f"{viewer.user_id}>{user}"
    method, address = handler.request.method, handler.request.remote_ip
    access_log.log(
        level,
        "%s %s %d %.1fms %sB user=%s %s",
        method,
        path,
        status,
        milliseconds,
        length,
        user,
        address,
        extra={
            "facts": {
                "method": method,
                "path": path,
                "status": status,
                "ms": milliseconds,
                "bytes": length,
                "user": user,
                "address": address,
            }
        },
    )
