"""Starts, stops, reloads and shows the server that runs in the background; `./manage.sh` calls it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.processes import memory_mib, seconds_since_start, tree_of
from scripts.readiness import Health, ask_health, find_note, is_ready
from server.__main__ import CANNOT_START, usable_settings
from server.config import Settings, SettingsError
from server.data_dir import find_holder, lock_path, make_private
from server.secrets_file import path_of as secrets_path

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60
USUALLY_READY_S = 8
NOT_RUNNING = 3  # what init scripts have always answered for it
LAST_LINES = 30


class Failed(Exception):
    """What was asked for did not happen; the message says why, in a line or a few."""


def say(line: str = "") -> None:
    print(line, flush=True)


def log_path(settings: Settings) -> Path:
    return settings.data / "logs" / "server.log"


def start(settings: Settings) -> None:
    """Start gunicorn as a daemon and wait until it is ready."""
    if holder := find_holder(settings):
        raise Failed(f"already running (pid {holder[0]}) on DATA_DIR {settings.data}")
    make_private(settings.data)
    (settings.data / "logs").mkdir(exist_ok=True)
    said_at_start = settings.data / "logs" / "start.log"
    log_began = log_path(settings).stat().st_size if log_path(settings).exists() else 0
    with open(said_at_start, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "ZHIHUI_CONSOLE": "off"},
        )
    say(f"starting (pid {process.pid})")

    def ready_or_ended() -> bool:
        return process.poll() is not None or is_ready(settings)

    if not wait_until(ready_or_ended, USUALLY_READY_S):
        say("\n".join([f"waiting up to {READY_WITHIN_S} s for it to be ready", *lines_of(ask_health(settings))]))
    if not wait_until(ready_or_ended, READY_WITHIN_S - USUALLY_READY_S):
        health = "\n".join(lines_of(ask_health(settings)))
        raise Failed(f"not ready after {READY_WITHIN_S} s; it goes on trying, ./manage.sh logs tells more\n{health}")
    if process.poll() is not None:
        told = said_at_start.read_text(encoding="utf-8").strip() or log_since(log_path(settings), log_began) or "nothing was logged"
        raise Failed(f"the server did not start (exit status {process.returncode}):\n{told}")
    tell_where(settings)


def tell_where(settings: Settings) -> None:
    """Where the server is, and once, where the generated password is."""
    say(f"ready: UI {settings.url}/  API {settings.url}/api/  log {log_path(settings)}")
    told = settings.data / "run" / "password-told"
    if not settings.admin_password and secrets_path(settings).exists() and not told.exists():
        say(f"sign in as admin; the password was generated and is in {secrets_path(settings)} (admin_password)")
        told.touch()


def stop(settings: Settings) -> bool:
    """SIGTERM, wait for the drain, SIGKILL only when that takes longer than it may. False when nothing runs."""
    holder = find_holder(settings)
    if holder is None:
        return False
    pid = holder[0]
    processes = tree_of(pid)
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        raise Failed(f"the server with pid {pid} is gone, but a process that it started still holds {lock_path(settings)}") from None
    except PermissionError:
        raise Failed(f"pid {pid} belongs to another user") from None
    say(f"stopping (pid {pid}); requests in flight get {settings.drain_timeout_s} s")
    if wait_until(lambda: find_holder(settings) is None, settings.drain_timeout_s + 20):
        say("stopped")
        return True
    say("it did not stop in time: killing it")
    for process in processes | tree_of(pid):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if not wait_until(lambda: find_holder(settings) is None, 10):
        raise Failed(f"pid {pid} cannot be killed")
    say("killed")
    return True


def reload(settings: Settings) -> None:
    """A new worker with the code and settings of now; the old one answers what it has. Nothing is sent to it when they are broken."""
    holder = find_holder(settings)
    if holder is None:
        raise Failed("not running; ./manage.sh start starts it")
    pid, kind = holder
    if kind != "gunicorn":
        raise Failed(f"pid {pid} runs in the foreground and cannot be reloaded: stop and start it there")
    if packages_changed(settings):
        raise Failed("packages have changed since the server was started; a reload would mix them: ./manage.sh restart")
    checked = subprocess.run([sys.executable, "-m", "server", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    if checked.returncode:
        raise Failed(f"not reloaded, the running server is untouched:\n{checked.stderr.strip()}")
    before = find_note(settings)
    os.kill(pid, signal.SIGHUP)
    old = before.pid if before else 0

    def replaced() -> bool:
        note = find_note(settings)
        return (note is not None and note.pid != old and is_ready(settings)) or find_holder(settings) is None

    if not wait_until(replaced, READY_WITHIN_S):
        raise Failed(f"the new worker is not ready after {READY_WITHIN_S} s; see ./manage.sh logs")
    note = find_note(settings)
    if note is None:
        raise Failed("the server ended; see ./manage.sh logs")
    say(f"reloaded (worker {note.pid})")


def packages_changed(settings: Settings) -> bool:
    """Whether packages were installed after the running arbiter was started, which has the old ones in its memory."""
    stamp = Path(sys.prefix) / ".installed-requirements.txt"
    return stamp.exists() and stamp.stat().st_mtime > lock_path(settings).stat().st_mtime


def deploy(settings: Settings) -> None:
    """Start, or reload what runs; new packages need a restart."""
    if find_holder(settings) is None:
        start(settings)
    elif packages_changed(settings):
        say("packages have changed: restarting")
        stop(settings)
        start(settings)
    else:
        reload(settings)


def status(settings: Settings) -> int:
    """Processes and engines; 3 when nothing runs."""
    holder = find_holder(settings)
    if holder is None:
        say(f"not running (DATA_DIR {settings.data})")
        return NOT_RUNNING
    pid, kind = holder
    note = find_note(settings)
    processes = tree_of(pid)
    uptime = seconds_since_start(pid)
    say(f"running: pid {pid} ({'gunicorn' if kind == 'gunicorn' else 'in the foreground'}){f', worker {note.pid}' if note else ''}")
    if note:
        say(f"version {note.version}, serving since {note.started_at}")
    if uptime is not None:
        say(f"up {spoken(uptime)}, {len(processes)} processes, {memory_mib(processes):.0f} MiB")
    say(f"address {settings.url}/  data {settings.data}")
    health = ask_health(settings)
    for line in lines_of(health):
        say(line)
    return 0 if health.status == 200 else 1


def lines_of(health: Health) -> list[str]:
    if not health.engines:
        return [f"health: {health.trouble or f'status {health.status}'}"]
    shown = ("state", "mode", "latency_ms", "cause")
    rows = [[name, *(str(engine.get(field, "")) for field in shown)] for name, engine in health.engines.items()]
    return [f"  {name:<12} {state:<5} {mode:<12} {latency:>7} ms  {cause}".rstrip() for name, state, mode, latency, cause in rows]


def spoken(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    return f"{f'{days} d ' if days else ''}{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def logs(settings: Settings, count: str = "50") -> None:
    """The last lines of the log, across a rotation."""
    if not count.isdigit() or not int(count):
        raise Failed(f"logs: {count!r} is not a number of lines")
    lines: list[str] = []
    for path in (log_path(settings), log_path(settings).with_name("server.log.1")):
        if path.exists() and len(lines) < int(count):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines() + lines
    if not lines:
        raise Failed(f"there is no log yet at {log_path(settings)}")
    sys.stdout.write("\n".join(lines[-int(count) :]) + "\n")


def logs_follow(settings: Settings) -> None:
    log_path(settings).parent.mkdir(parents=True, exist_ok=True)
    os.execvp("tail", ["tail", "-n", "50", "-F", str(log_path(settings))])  # noqa: S606 - becoming it, Ctrl-C ends it


def log_since(path: Path, offset: int) -> str:
    """The last lines that were written after `offset`."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(offset if offset <= path.stat().st_size else 0)
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:])


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Look again and again; False when it took too long."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def main(arguments: list[str]) -> int:
    command, *rest = arguments
    try:
        settings = usable_settings()
        match command, rest:
            case "start", []:
                start(settings)
            case "stop", []:
                if not stop(settings):
                    say("not running")
            case "restart", []:
                stop(settings)
                start(settings)
            case "reload", []:
                reload(settings)
            case "deploy", []:
                deploy(settings)
            case "status", []:
                return status(settings)
            case "logs", [] | [_]:
                logs(settings, *rest)
            case "logs-follow", []:
                logs_follow(settings)
            case _:
                sys.stderr.write(f"{command}: unexpected argument {' '.join(rest)}\n")
                return 2
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_START
    except Failed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
