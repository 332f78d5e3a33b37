"""manage.sh sets up what is missing: in a fresh folder, twice at a time, from anywhere, and says clearly what it cannot do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.commands import COMMANDS, WITHOUT_ENGINES

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The door and what it stands on, with a management command that echoes, and nothing to install."""
    folder = tmp_path / "a folder"
    (folder / "scripts").mkdir(parents=True)
    (folder / "server").mkdir()
    shutil.copy(ROOT / "manage.sh", folder)
    shutil.copy(ROOT / "scripts" / "ensure.py", folder / "scripts")
    (folder / "server" / "__init__.py").touch()
    (folder / "server" / "commands.py").write_text('import sys\nprint("ran", *sys.argv[1:], "in", sys.prefix)\n')
    (folder / "requirements.txt").write_text("# nothing\n")
    return folder


def environment(**changes: str) -> dict[str, str]:
    return {name: value for name, value in {**os.environ, **changes}.items() if not name.startswith(("VIRTUAL_ENV", "COV_"))}


def manage(project: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "manage.sh", *arguments], cwd="/", env=environment(**changes), capture_output=True, text=True, check=False, timeout=120
    )


def test_a_fresh_folder_is_set_up_once_by_two_at_a_time(project: Path) -> None:
    both = [
        subprocess.Popen(
            [project / "manage.sh", "expire_modules", "--all", name],
            cwd="/",
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(out for out, _ in said) == [f"ran expire_modules --all {name} in {project / '.venv'}\n" for name in ("one", "two")]
    told = "".join(err for _, err in said)
    assert told.count("making .venv with Python") == 1
    assert told.count("installing requirements.txt") == 1

    again = manage(project, "expire_modules")
    assert again.stderr == ""  # nothing is missing: nothing is said

    link = project.parent / "link"
    link.symlink_to(project / "manage.sh")
    linked = subprocess.run(
        [link, "backup"], cwd="/", env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60
    )
    assert linked.stdout == f"ran backup in {project / '.venv'}\n", linked.stderr

    (project / "requirements.txt").write_text("# changed\n")
    changed = manage(project, "backup")
    assert "installing requirements.txt into .venv" in changed.stderr
    assert "making" not in changed.stderr

    (project / ".venv" / "bin" / "python").unlink()
    mended = manage(project, "backup", PYTHON=sys.executable)
    assert "making .venv" in mended.stderr
    assert mended.returncode == 0


def test_a_package_that_cannot_be_had_is_told_and_tried_again(project: Path) -> None:
    (project / "requirements.txt").write_text("./no-such-package\n")
    for _ in range(2):
        failed = manage(project, "backup")
        assert failed.returncode == 1
        assert failed.stdout == ""
        assert "pip could not install requirements.txt" in failed.stderr


def test_no_python_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "dirname", "readlink"):
        (tools / name).symlink_to(str(shutil.which(name)))
    failed = manage(project, "backup", PATH=str(tools), PYTHON="")
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        "manage.sh: no Python 3.11 or later was found on PATH; install one (Debian, Ubuntu: apt-get install python3"
    )
    assert len(failed.stderr.splitlines()) == 1


def test_a_python_without_venv_says_what_to_install(project: Path) -> None:
    code = "import runpy, sys; sys.modules['ensurepip'] = None; runpy.run_path('scripts/ensure.py', run_name='__main__')"
    failed = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False, timeout=60)
    assert failed.returncode == 1
    assert "apt-get install python3-venv" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_help_needs_nothing(project: Path, arguments: tuple[str, ...]) -> None:
    told = manage(project, *arguments)
    assert told.returncode == 0
    commands = "demo start run stop restart reload status logs logs-follow deploy migrate test check bench"
    for command in [*commands.split(), *WITHOUT_ENGINES, *COMMANDS]:
        assert command in told.stdout, command
    assert not (project / ".venv").exists()


def test_a_misspelt_option_is_refused(project: Path) -> None:
    refused = manage(project, "--stop")
    assert (refused.returncode, refused.stderr) == (2, "manage.sh: unknown option --stop; ./manage.sh help tells what there is\n")
