"""Milvus Lite as a child process: started when it is needed, shared by those who overlap on one DATA_DIR, started again when it dies."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from server.engines.milvus_lite_server import LOCKED
from server.errors import EngineAway

# Generous: a new interpreter on a busy machine, and a large folder to open.
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
LONGEST_SOCKET = 100  # bytes; the kernel takes 107
LOG_BYTES = 5 << 20
YOUNG_S = 10.0
# After a start that failed no other is tried for so long; doubled each time, up to the second.
BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30.0
# What the child gets of our environment: no secrets.
ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
ROOT = Path(__file__).resolve().parents[2]


class LiteChild:
    """The child of one DATA_DIR. All methods block: call them in a thread.

    Everybody who uses it holds a shared flock on DATA_DIR/run/milvus.users, which the kernel releases however a process ends; the child
    ends when nobody holds it. So while two servers overlap, the second uses the child of the first and keeps it after that has gone.
    """

    def __init__(self, data: Path, *, start_timeout_s: float = START_TIMEOUT_S) -> None:
        self._data = data / "milvus"
        self._users = data / "run" / "milvus.users"
        self._log = data / "logs" / "milvus.log"
        self._start_timeout_s = start_timeout_s
        self.socket = _socket_path(data)
        self._lock = threading.Lock()
        self._holding: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff_s = 0.0
        self._not_before = 0.0
        self._closed = False

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    def ensure(self) -> None:
        """Return once the child takes connections. Raises EngineAway."""
        with self._lock:
            if self._closed:
                raise EngineAway("vectors", "closed")
            if self._holding is not None and self.accepts():
                return
            if time.monotonic() < self._not_before:
                raise EngineAway("vectors", f"Milvus Lite could not be started: {self._last_words()}")
            deadline = time.monotonic() + self._start_timeout_s
            try:
                self._hold(deadline)
                self._start(deadline)
            except OSError as error:
                raise self._failed(str(error)) from error
            self._backoff_s = 0.0

    def _hold(self, deadline: float) -> None:
        """Be one of its users; one that is just ending for want of users is waited for."""
        if self._holding is not None:
            return
        for folder in (self._users.parent, self._data, self._log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        _make_private(self.socket.parent, self._users.parent)
        held = os.open(self._users, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if self._closed or time.monotonic() > deadline:
                    os.close(held)
                    raise self._failed("the one before does not end") from None
                time.sleep(POLL_S)
        self._holding = held

    def _start(self, deadline: float) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = None  # it died since
        while not self.accepts():
            if self._closed or time.monotonic() > deadline:
                if self._process is not None:
                    self._process.kill()
                raise self._failed("it does not answer")
            if self._process is None:
                self._process = self._spawn()
            code = self._process.poll()
            if code == LOCKED:  # somebody else's has the folder: it is coming up, or ending
                self._process = None
                time.sleep(10 * POLL_S)
            elif code is not None:
                raise self._failed(f"exit code {code}")
            time.sleep(POLL_S)

    def _failed(self, cause: str) -> EngineAway:
        self._backoff_s = min(LONGEST_BACKOFF_S, 2 * self._backoff_s or BACKOFF_S)
        self._not_before = time.monotonic() + self._backoff_s
        return EngineAway("vectors", f"Milvus Lite could not be started: {cause}; {self._last_words()}")

    def _last_words(self) -> str:
        with suppress(OSError):
            return self._log.read_text(errors="replace")[-500:].strip().rpartition("\n")[2]
        return ""

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        # One thread each for what is one multiplication of a matrix by a vector, and few pools of free memory.
        environment |= {
            "PYTHONPATH": str(ROOT),
            "GRPC_VERBOSITY": "NONE",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        command = [sys.executable, "-m", "server.engines.milvus_lite_server", str(self._data), str(self.socket), str(self._users)]
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C is for the server, and the child outlives the one of two servers that started it.
            process = subprocess.Popen(
                command, cwd=self._data, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        threading.Thread(target=self._follow, args=(process, time.monotonic()), name="milvus-lite-follow", daemon=True).start()
        return process

    def _follow(self, process: subprocess.Popen[bytes], started: float) -> None:
        """Take note of its end, also when it outlives us, and start another; one that dies young waits for the next request."""
        process.wait()
        if time.monotonic() - started > YOUNG_S and not self._closed:
            with suppress(EngineAway):
                self.ensure()

    def accepts(self) -> bool:
        """Whether somebody listens; one that is frozen does too."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            return probe.connect_ex(str(self.socket)) == 0

    def refuse(self) -> None:
        """Start no child from now on, and give up one that is coming up."""
        self._closed = True

    def close(self) -> None:
        """Let go; the last one to do so ends the child and waits for that."""
        self.refuse()
        with self._lock:
            if self._holding is None:
                return
            try:
                fcntl.flock(self._holding, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # others use it
            else:
                self._stop()
            finally:
                os.close(self._holding)
                self._holding = None

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        pid = self._pid()
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            while _lives(pid):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    deadline += STOP_TIMEOUT_S
                time.sleep(POLL_S)

    def _pid(self) -> int | None:
        """The child that is there now, whoever started it."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        if not self.accepts():
            return None
        with suppress(OSError, ValueError):
            return int(self._users.read_text())
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def _socket_path(data: Path) -> Path:
    """DATA_DIR/run/milvus.sock, or, where that is too long for a socket, one in a folder of the temporary ones that only we may enter."""
    path = data / "run" / "milvus.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    return Path(tempfile.gettempdir()) / f"zhihui-{os.getuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}" / "milvus.sock"


def _make_private(folder: Path, run: Path) -> None:
    """Make the folder of a socket outside of DATA_DIR/run; EngineAway when others may enter it."""
    if folder == run:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EngineAway("vectors", f"{folder} belongs to somebody else")
