"""scim2-cli, a checker of SCIM servers, in a Python environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from scripts import ensure
from tests.peers.process import spawn, unavailable

_VERDICT = re.compile(r"^(SUCCESS|COMPLIANT|ACCEPTABLE|DEVIATION|ERROR|CRITICAL|SKIPPED) (\w+)", re.MULTILINE)
LONGEST_S = 300


class Verdict(NamedTuple):
    """What the checker found: each check's status, and all that it wrote."""

    checks: list[tuple[str, str]]
    exit_status: int
    output: str

    @property
    def failed(self) -> list[str]:
        return [f"{status} {name}" for status, name in self.checks if status != "SUCCESS"]


def checker() -> Path:
    """The command `scim2` of .venv-scim, which is made when it is missing; skips, or fails in CI, when it cannot be made."""
    try:
        ensure.ensure("scim")
    except ensure.CannotInstall as problem:
        unavailable(f"scim2-cli cannot be installed: {problem}")
    return ensure.ROOT / ensure.SETS["scim"][0] / "bin" / "scim2"


def check(command: Path, url: str, key: str, folder: Path) -> Verdict:
    """Have a server checked that takes `key` as bearer token."""
    log = folder / "scim2.txt"
    proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
    environment = {name: value for name, value in os.environ.items() if name not in proxies}
    environment["SCIM_CLI_HEADERS"] = f"Authorization: Bearer {key}"  # not among the arguments, which other users see
    with log.open("w") as output:
        process = spawn([str(command), "--url", url, "test"], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            status = process.wait(LONGEST_S)
        finally:
            process.kill()
            process.wait()
    said = log.read_text(errors="replace")
    return Verdict(_VERDICT.findall(said), status, said)
