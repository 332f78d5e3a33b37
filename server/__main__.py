"""`python -m server`: one process, in the foreground, until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import signal
import socket
import sys
from collections.abc import Sequence

from tornado.netutil import bind_sockets

from server.config import Settings, SettingsError, listed, read_settings
from server.data_dir import DataDirInUse, DataDirUnusable, lock_data_dir
from server.logs import set_up_logs
from server.proxies import listed_addresses
from server.secrets_file import open_secrets
from server.serving import BACKLOG, Stopping, open_and_serve

USAGE = "usage: python -m server [--check]    --check only reads the settings and loads the application"
CANNOT_START = 2


class PortTaken(Exception):
    """The port cannot be listened on; the message is one clear line."""


def usable_settings() -> Settings:
    """The settings, with the checks that only a server needs. Raises SettingsError."""
    settings = read_settings()
    try:
        listed_addresses(listed(settings.trusted_proxies))
    except ValueError as error:
        raise SettingsError(f"{error} (see .env.example).") from None
    return settings


def listen(settings: Settings) -> list[socket.socket]:
    """Listening sockets at SERVER_HOST and SERVER_PORT. Raises PortTaken."""
    try:
        return bind_sockets(settings.server_port, settings.host, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.host}:{settings.server_port}"
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"SERVER_PORT: {where} is taken by another program.") from None
        raise PortTaken(f"SERVER_HOST, SERVER_PORT: cannot listen on {where}: {error.strerror}.") from None


async def _serve(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    stopping = Stopping()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants the terminal's end to be ignored
            loop.add_signal_handler(number, stopping.ask)
    await open_and_serve(settings, sockets, stopping)


def _check() -> int:
    usable_settings()
    importlib.import_module("server.resources")
    sys.stdout.write("The settings are usable and the application loads.\n")
    return 0


def _run(settings: Settings) -> int:
    with lock_data_dir(settings):
        logs = set_up_logs(settings)
        try:
            secrets = open_secrets(settings)
            logs.hide((secrets.secret_key, secrets.module_key, secrets.admin_password))
            asyncio.run(_serve(settings, listen(settings)))
        except (PortTaken, SettingsError):
            raise
        except Exception:
            logging.getLogger(__name__).exception("the server had to stop")
            return 1
        finally:
            logs.close()
    return 0


def main(arguments: Sequence[str]) -> int:
    """Serve; the exit status is 0 after a stop, 1 after a failure, 2 when the settings, the folder or the port stand in the way."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write(f"{USAGE}\n")
        return CANNOT_START
    try:
        return _check() if arguments else _run(usable_settings())
    except (SettingsError, DataDirInUse, DataDirUnusable, PortTaken) as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
