"""gunicorn in production: one draining worker, its address and times from the settings, its log with ours.

`./manage.sh start` uses this file; by hand: `.venv/bin/python -m gunicorn -c gunicorn.conf.py`. There is no pid file beside
DATA_DIR/run/server.lock, which the arbiter holds for as long as it lives and whose first line is its pid.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

SHARED_MEMORY = "/dev/shm"  # noqa: S108
HERE = Path(__file__).resolve().parent
os.chdir(HERE)  # .env and a relative DATA_DIR are found from here
sys.path[:0] = [] if str(HERE) in sys.path else [str(HERE)]

from server.__main__ import CANNOT_START, PortTaken, listen, usable_settings  # noqa: E402
from server.config import SettingsError  # noqa: E402
from server.data_dir import DataDirInUse, DataDirUnusable, lock_data_dir  # noqa: E402
from server.logs import set_up_logs  # noqa: E402
from server.serving import BACKLOG  # noqa: E402

try:
    settings = usable_settings()
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(CANNOT_START)

wsgi_app = "server.app:make_app"  # a name for the process list; the worker opens the application itself
worker_class = "server.gunicorn_worker.DrainingWorker"
logger_class = "server.gunicorn_worker.PropagatingLogger"
workers = 1  # modules, browsers and the embedded engines live in one process; further instances are further machines
preload_app = False  # nothing may be open before the worker's loop runs
bind = f"[{settings.host}]:{settings.server_port}" if ":" in settings.host else f"{settings.host}:{settings.server_port}"
backlog = BACKLOG
timeout = 60  # seconds without a heartbeat: the loop stands still
graceful_timeout = settings.drain_timeout_s + 10  # draining, then closing the engines
max_requests = 0
loglevel = settings.log_level.lower()
proc_name = "zhihui"
chdir = str(HERE)
control_socket_disable = True
if os.access(SHARED_MEMORY, os.W_OK):
    worker_tmp_dir = SHARED_MEMORY  # the heartbeat must not wait for a disk


def on_starting(server: Any) -> None:
    """Before the first worker: take the data folder and see that the port is free, or say in one line why not."""
    try:
        server.data_dir_lock = lock_data_dir(settings, "gunicorn")
        for probe in listen(settings):
            probe.close()
    except (DataDirInUse, DataDirUnusable, PortTaken) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(CANNOT_START)
    server.arbiter_logs = set_up_logs(settings, console=os.environ.get("ZHIHUI_CONSOLE") != "off", queued=False)


def on_exit(server: Any) -> None:
    server.arbiter_logs.close()
    server.data_dir_lock.release()


def worker_abort(worker: Any) -> None:
    """The worker has not been heard for `timeout` seconds: leave behind where it hung."""
    worker.log.critical("the worker hung", stack_info=True)
