"""The log: one clean line an event, in one file, off the loop."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import Application, RequestHandler

from server.config import Settings
from server.log_files import RotatingFile
from server.logs import Logs, log_request, request_id, set_up_logs


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The root logger and those of libraries, as they were."""
    names = [
        "",
        "gunicorn.error",
        "tornado",
        "tornado.access",
        "tornado.application",
        "tornado.general",
        "asyncio",
        "pymongo",
        "motor",
        "aiomysql",
    ]
    before = [(logging.getLogger(name), list(logging.getLogger(name).handlers), logging.getLogger(name).level) for name in names]
    yield
    logging.captureWarnings(False)
    for logger, handlers, level in before:
        logger.handlers, logger.level = handlers, level


def log_file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "server.log"


def set_up(tmp_path: Path, **changes: Any) -> Logs:
    return set_up_logs(Settings(data_dir=str(tmp_path), secret_key="the-very-secret-key", **changes), console=False)


def written(logs: Logs, tmp_path: Path) -> list[str]:
    logs.close()
    return log_file(tmp_path).read_text(encoding="utf-8").splitlines()


def test_a_line_has_time_level_logger_request_and_message(tmp_path: Path) -> None:
    logs = set_up(tmp_path)
    token = request_id.set("req-1")
    logging.getLogger("server.x").info("workflow %s 已启动", "prices")
    request_id.reset(token)
    (line,) = written(logs, tmp_path)
    assert line.endswith("INFO    server.x [req-1] workflow prices 已启动")
    assert line[:4].isdigit()
    assert line[19] == "."


def test_json_lines_are_objects(tmp_path: Path) -> None:
    logs = set_up(tmp_path, log_format="json")
    try:
        raise ValueError("password='hunter22'")
    except ValueError:
        logging.getLogger("x").exception("failed with \ud800")
    (line,) = written(logs, tmp_path)
    entry = json.loads(line)
    assert entry["level"] == "ERROR"
    assert "ValueError: password=***" in entry["exception"]
    assert "hunter22" not in line


def test_message_and_exception_are_scrubbed(tmp_path: Path) -> None:
    logs = set_up(tmp_path)
    logs.hide(["learned-later"])
    try:
        raise RuntimeError("cannot sign with the-very-secret-key or learned-later")
    except RuntimeError:
        logging.getLogger("x").exception("Authorization: Bearer abcdefghijk")
    text = "\n".join(written(logs, tmp_path))
    assert "the-very-secret-key" not in text
    assert "learned-later" not in text
    assert "abcdefghijk" not in text
    assert "RuntimeError" in text


def test_a_message_cannot_forge_a_line(tmp_path: Path) -> None:
    logs = set_up(tmp_path)
    logging.getLogger("x").info("bad\n2026-01-01T00:00:00 INFO forged\x1b[2J")
    (line,) = written(logs, tmp_path)
    assert "bad\\n2026" in line
    assert "\x1b" not in line


def test_no_line_is_written_twice(tmp_path: Path) -> None:
    for name in ("gunicorn.error", "tornado.application"):
        logging.getLogger(name).addHandler(logging.StreamHandler())
    logs = set_up(tmp_path)
    logging.getLogger("gunicorn.error").info("arbiter says")
    logging.getLogger("tornado.application").error("tornado says")
    lines = written(logs, tmp_path)
    assert [line.rsplit(" ", 2)[-2:] for line in lines] == [["arbiter", "says"], ["tornado", "says"]]


def test_set_up_again_replaces_and_levels_hold(tmp_path: Path) -> None:
    first = set_up(tmp_path)
    second = set_up(tmp_path, log_level="WARNING")
    logging.getLogger("x").info("not wanted")
    logging.getLogger("x").warning("wanted")
    first.close()
    assert [line.rsplit(" ", 1)[-1] for line in written(second, tmp_path)] == ["wanted"]


def test_disk_writes_happen_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    original = RotatingFile.write

    def noted(self: RotatingFile, text: str) -> None:
        threads.append(threading.current_thread().name)
        original(self, text)

    monkeypatch.setattr(RotatingFile, "write", noted)
    logs = set_up(tmp_path)
    logging.getLogger("x").info("one")
    logs.flush()
    assert threads == ["log-writer"]
    logs.close()


def test_without_a_queue_a_line_is_there_at_once(tmp_path: Path) -> None:
    logs = set_up_logs(Settings(data_dir=str(tmp_path)), console=False, queued=False)
    logging.getLogger("x").info("now")
    assert log_file(tmp_path).read_text().endswith("now\n")
    logs.close()


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    logs = set_up(tmp_path)

    def write_many() -> None:
        for _ in range(200):
            logging.getLogger("x").info("line")

    threads = [threading.Thread(target=write_many) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written(logs, tmp_path)) == 1000


def test_the_file_rotates_and_keeps_five(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    file = RotatingFile(path, limit=100, kept=5)
    for number in range(40):
        file.write(f"{number:03} {'x' * 45}\n")
    file.close()
    assert sorted(entry.name for entry in tmp_path.glob("server.log*")) == ["server.log", *(f"server.log.{n}" for n in range(1, 6))]
    kept = "".join(
        (tmp_path / name).read_text()
        for name in ("server.log.5", "server.log.4", "server.log.3", "server.log.2", "server.log.1", "server.log")
    )
    assert [line[:3] for line in kept.splitlines()] == [f"{n:03}" for n in range(28, 40)]


def test_two_processes_share_a_file_across_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    old, new = RotatingFile(path, limit=60), RotatingFile(path, limit=60)
    old.write("a" * 50 + "\n")
    new.write("b" * 50 + "\n")  # rotates
    old.write("c\n")  # must land in the new file, and not rotate again
    assert path.read_text() == "b" * 50 + "\nc\n"
    assert sorted(entry.name for entry in tmp_path.glob("server.log*")) == ["server.log", "server.log.1"]
    old.close()
    new.close()


def test_a_file_moved_away_by_hand_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    file = RotatingFile(path)
    path.rename(tmp_path / "moved")
    file.write("here\n")
    file.close()
    assert path.read_text() == "here\n"


def answered(status: int, uri: str, **more: Any) -> RequestHandler:
    request: Any = SimpleNamespace(uri=uri, method="GET", remote_ip="10.0.0.9", request_time=lambda: 0.0123)
    handler = RequestHandler.__new__(RequestHandler)
    handler.application, handler.request = Application(), request
    handler._status_code = status
    handler._headers = more.pop("headers", {"Content-Length": "42"})
    for name, value in more.items():
        setattr(handler, name, value)
    return handler


def test_an_access_line_tells_all_but_secrets(tmp_path: Path) -> None:
    logs = set_up(tmp_path)
    log_request(answered(200, "/module/register?name=a&key=zm_abcdefgh", actor=SimpleNamespace(user_id=7)))
    (line,) = written(logs, tmp_path)
    assert line.endswith("INFO    access GET /module/register?name=a&key=*** 200 12.3ms 42B user=7 10.0.0.9")


@pytest.mark.parametrize(
    ("status", "uri", "level"),
    [
        (200, "/x", "INFO"),
        (304, "/x", "INFO"),
        (404, "/x", "WARNING"),
        (503, "/x", "ERROR"),
        (200, "/health/ready", None),
        (503, "/health/", "ERROR"),
    ],
)
def test_the_level_of_an_access_line_follows_the_status(tmp_path: Path, status: int, uri: str, level: str | None) -> None:
    logs = set_up(tmp_path)
    log_request(answered(status, uri))
    lines = written(logs, tmp_path)
    assert [line.split()[1] for line in lines] == ([level] if level else [])


def test_access_lines_in_json_have_fields(tmp_path: Path) -> None:
    logs = set_up(tmp_path, log_format="json")
    log_request(answered(200, "/x?ticket=abc"))
    (line,) = written(logs, tmp_path)
    entry = json.loads(line)
    assert (entry["method"], entry["path"], entry["status"], entry["ms"], entry["bytes"]) == ("GET", "/x?ticket=***", 200, 12.3, "42")
