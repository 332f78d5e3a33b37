"""One server at a time holds a data folder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from server.config import Settings
from server.data_dir import DataDirInUse, DataDirUnusable, find_holder, lock_data_dir, lock_path, make_private


def test_the_lock_names_its_holder_and_refuses_a_second(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))
    with lock_data_dir(settings, "gunicorn"):
        assert find_holder(settings) == (os.getpid(), "gunicorn")
        with pytest.raises(DataDirInUse) as caught:
            lock_data_dir(settings)
        assert str(caught.value) == f"DATA_DIR {tmp_path / 'data'} is in use by the server with pid {os.getpid()}."
    assert find_holder(settings) is None
    lock_data_dir(settings).release()


def test_a_lock_left_by_a_killed_process_is_free(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    code = (
        "import os, signal, sys; from server.config import Settings; from server.data_dir import lock_data_dir;"
        "lock = lock_data_dir(Settings(data_dir=sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert child.returncode == -9
    assert lock_path(settings).read_text().splitlines()[0].isdigit()  # its pid still stands there
    assert find_holder(settings) is None
    lock_data_dir(settings).release()


def test_a_forked_child_keeps_the_lock_when_its_parent_is_gone(tmp_path: Path) -> None:
    """A worker that outlives its arbiter still uses the folder."""
    settings = Settings(data_dir=str(tmp_path))
    code = (
        "import os, sys; from server.config import Settings; from server.data_dir import lock_data_dir;"
        "lock = lock_data_dir(Settings(data_dir=sys.argv[1]));"
        "sys.stdout.write('held\\n'); sys.stdout.flush();"
        "os.fork() and os._exit(0); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    child.wait(10)
    with pytest.raises(DataDirInUse):
        lock_data_dir(settings)
    child.stdin.close()
    assert child.stdout.read() == ""  # the forked one has ended
    child.stdout.close()
    lock_data_dir(settings).release()


def test_folders_that_we_make_are_private_and_others_keep_their_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    make_private(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    with lock_data_dir(Settings(data_dir=str(tmp_path / "data"))):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "run").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnusable) as caught:
        lock_data_dir(Settings(data_dir=str(tmp_path / "file" / "data")))
    assert str(caught.value).startswith(f"DATA_DIR {tmp_path / 'file' / 'data'} cannot be used: ")
    assert "\n" not in str(caught.value)


def test_no_holder_where_no_server_ever_was(tmp_path: Path) -> None:
    assert find_holder(Settings(data_dir=str(tmp_path / "nowhere"))) is None
