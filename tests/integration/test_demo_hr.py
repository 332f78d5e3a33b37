"""`./manage.sh demo hr --once` tells its whole story, and leaves nothing running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.demo_stage import own_environment
from tests.integration.running_server import ROOT

pytestmark = pytest.mark.integration

TOLD = (
    "succeeded: 40 create",
    "1 create, 1 update, 1 disable, 1 move, 37 unchanged",
    "awaiting_approval: 31 disable",
    "403 Nobody approves a plan that they asked for",
    "a second person approves it: succeeded",
    "32 former accounts were tried at every door",
    "dead: create in mail system",
    "doors were tried and are closed",
    "the story is told",
    "everything that it started is stopped",
)


def test_the_story_is_told_to_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.demo", "hr", "--once", "--data", str(tmp_path / "demo")]
    done = subprocess.run(command, cwd=ROOT, env=own_environment(), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    places = [done.stdout.find(part) for part in TOLD]
    assert -1 not in places, [part for part, place in zip(TOLD, places, strict=True) if place == -1]
    assert places == sorted(places)
