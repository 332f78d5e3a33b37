"""gunicorn's worker: our own loop, which drains; the arbiter stays around it, restarts it and reloads it without a gap."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

if TYPE_CHECKING:
    from server.serving import Stopping

OURS = ("server", "handlers", "jobs")
BEAT_S = 1.0


def forget_our_code() -> None:
    """Let the next import read our files again.

    The worker is forked from the arbiter, which has imported some of them long ago: a reload after an update would mix old and new.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]


class DrainingWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """One process, one asyncio loop. SIGTERM drains, SIGINT and SIGQUIT stop at once.

    The arbiter hears the heartbeat from before the engines are opened until after they are closed, so neither a slow start nor a
    long drain gets the worker killed. A first worker that cannot start ends gunicorn; one that fails later is tried again.
    """

    served = False

    def load_wsgi(self) -> None:
        """There is no WSGI application: `run` opens ours on its loop."""

    def run(self) -> None:
        forget_our_code()
        logs_file = importlib.import_module("server.logs")
        settings = importlib.import_module("server.config").read_settings()
        logs = logs_file.set_up_logs(settings, console=os.environ.get("ZHIHUI_CONSOLE") != "off")
        try:
            secrets = importlib.import_module("server.secrets_file").open_secrets(settings)
            logs.hide((secrets.secret_key, secrets.module_key, secrets.admin_password))
            asyncio.run(self._serve(settings))
        except Exception:
            self.log.exception("the worker had to stop")
            sys.exit(Arbiter.WORKER_BOOT_ERROR if self.age == 1 and not self.served else 1)
        finally:
            logs.close()

    async def _serve(self, settings: Any) -> None:
        serving = importlib.import_module("server.serving")
        stopping: Stopping = serving.Stopping()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stopping.asked.set)  # the arbiter may send it twice: not an insistence
        loop.add_signal_handler(signal.SIGINT, stopping.insist)
        loop.add_signal_handler(signal.SIGQUIT, stopping.insist)
        beat = asyncio.create_task(self._beat(stopping), name="heartbeat")
        try:
            await serving.open_and_serve(settings, [listener.sock for listener in self.sockets], stopping, ready=self._ready)
        finally:
            beat.cancel()

    def _ready(self) -> None:
        self.served = True

    async def _beat(self, stopping: Stopping) -> None:
        while True:
            self.notify()
            if self.ppid != os.getppid():
                stopping.asked.set()  # the arbiter is gone: nobody would start us again
            await asyncio.sleep(BEAT_S)


class PropagatingLogger(Logger):  # type: ignore[misc]
    """gunicorn's own lines go where all others go; requests are logged by the application."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS[cfg.loglevel.lower()]
        self._access_log_enabled = False
        for logger in (self.error_log, self.access_log):
            logger.handlers, logger.propagate = [], True
        self.error_log.setLevel(self.loglevel)
