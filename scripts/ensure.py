"""Makes .venv and installs what is missing, quickly when nothing is. Standard library only: it runs before anything is installed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
# what can be asked for: the folder of the virtual environment and the requirements file
SETS = {
    "run": (".venv", "requirements.txt"),
    "dev": (".venv", "requirements-dev.txt"),
    "peers": (".venv-peers", "benchmarks/requirements-peers.txt"),
    "scim": (".venv-scim", "tests/peers/requirements-scim.txt"),
    "cas": (".venv-cas", "tests/peers/requirements-cas.txt"),
}
NO_VENV = """\
This Python ({python}) cannot make virtual environments: its `ensurepip` is missing.
Install it and run the command again; on Debian or Ubuntu: apt-get install python3-venv"""


class CannotInstall(Exception):
    """Something is missing that only a person can put there; the message says what."""


def included(requirements: Path) -> list[Path]:
    """A requirements file and those that it names with -r."""
    found, waiting = [], [requirements]
    while waiting:
        path = waiting.pop()
        found.append(path)
        waiting += [path.parent / line.split()[1] for line in path.read_text().splitlines() if line.startswith("-r ")]
    return found


def digest(requirements: Path, python: str) -> str:
    """What is asked for, as one hash: the texts of the requirements files and the Python that they are for."""
    seen = hashlib.sha256(python.encode())
    for path in included(requirements):
        seen.update(path.read_bytes())
    return seen.hexdigest()


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def works(python: Path) -> bool:
    """Whether an interpreter runs, is new enough and has pip."""
    code = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def make_venv(venv: Path) -> None:
    """Make the virtual environment, anew when it is broken."""
    if works(python_of(venv)):
        return
    try:
        import ensurepip  # noqa: F401 - Debian ships Python without it
    except ImportError:
        raise CannotInstall(NO_VENV.format(python=sys.executable)) from None
    say(f"making {venv.name} with Python {'.'.join(map(str, sys.version_info[:3]))}")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", venv], capture_output=True, text=True, check=False)
    if made.returncode or not works(python_of(venv)):
        raise CannotInstall(f"{NO_VENV.format(python=sys.executable)}\n{(made.stdout + made.stderr).strip()}")


def install(venv: Path, requirements: Path) -> None:
    """Run pip, quietly; PIP_ variables and pip.conf have their usual say."""
    say(f"installing {requirements.relative_to(ROOT)} into {venv.name} (once; this takes a minute or two)")
    command = [
        str(python_of(venv)),
        "-m",
        "pip",
        "install",
        "-qq",
        "--no-input",
        "--disable-pip-version-check",
        "-r",
        str(requirements),
    ]
    status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    if status:
        raise CannotInstall(f"pip could not install {requirements.name} (exit {status}); what it said stands above.")


def ensure(wanted: str) -> None:
    """Bring one set up to date; a second run at the same time waits for the first. Raises CannotInstall."""
    folder, file = SETS[wanted]
    venv, requirements = ROOT / folder, ROOT / file
    if not requirements.is_file():
        raise CannotInstall(f"{file} is missing: the working copy is not complete.")
    turn = os.open(ROOT, os.O_RDONLY)  # the project's own folder is what is locked: no file is left behind
    try:
        if stands(venv, requirements):
            return
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another manage.sh that is installing")
            fcntl.flock(turn, fcntl.LOCK_EX)
            if stands(venv, requirements):
                return
        make_venv(venv)
        install(venv, requirements)
        for path in included(requirements):
            stamp(venv, path).write_text(f"{digest(path, identity(venv))}\n")
    finally:
        os.close(turn)


def stamp(venv: Path, requirements: Path) -> Path:
    return venv / f".installed-{requirements.name}"


def stands(venv: Path, requirements: Path) -> bool:
    """Whether the environment has just what is asked for."""
    python, mark = identity(venv), stamp(venv, requirements)
    return bool(python) and mark.is_file() and mark.read_text().strip() == digest(requirements, python)


def identity(venv: Path) -> str:
    """Version and real path of the environment's Python: read, not asked, so that the usual run starts no second interpreter.

    Empty when there is none; another one after the system's Python was replaced.
    """
    try:
        lines = (venv / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return ""
    versions = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "version"]
    return f"{versions[0]} {os.path.realpath(python_of(venv))}" if versions and os.access(python_of(venv), os.X_OK) else ""


def say(line: str) -> None:
    sys.stderr.write(f"manage.sh: {line}\n")


def main(arguments: list[str]) -> int:
    for wanted in arguments or ["run"]:
        try:
            ensure(wanted)
        except CannotInstall as problem:
            say(str(problem))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
