"""A private MariaDB server."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

from server.config import Settings
from tests.peers.process import Peer, free_port, require

USER = "root"


class MariaDb(Peer):
    """Its only user is root, without a password, on loopback."""

    def run(self, statement: str) -> list[Any]:
        connection = pymysql.connect(host="127.0.0.1", port=self.port, user=USER, autocommit=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    @contextmanager
    def database(self) -> Iterator[dict[str, Any]]:
        """A fresh database, as the settings that name it."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield {"mysql_host": "127.0.0.1", "mysql_port": self.port, "mysql_user": USER, "mysql_db": name}
        finally:
            self.run(f"DROP DATABASE {name}")


@contextmanager
def running_mariadb(folder: Path) -> Iterator[MariaDb]:
    server = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    install = shutil.which("mariadb-install-db")
    require("mariadb-server", server and install)
    assert server
    assert install
    data = folder / "data"
    subprocess.run(
        [
            install,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--user=root",
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    # The socket's path may have 107 bytes at most, which a test folder's can exceed: it is given relative to the data.
    command = [server, "--no-defaults", "--user=root", f"--datadir={data}", f"--port={port}", "--socket=s.sock"]
    peer = MariaDb([*command, "--bind-address=127.0.0.1", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2"], folder, port)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


def settings_of(database: dict[str, Any], data: Path) -> Settings:
    return Settings(data_dir=str(data), **database)
