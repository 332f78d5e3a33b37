"""What the system tells of processes."""

from __future__ import annotations

import os
import subprocess
import sys

from scripts.processes import memory_mib, seconds_since_start, tree_of


def test_a_tree_has_the_children_and_their_children() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); sys.stdin.read(); p.kill(); p.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert {child.pid, grandchild} <= tree_of(os.getpid())
        assert tree_of(child.pid) == {child.pid, grandchild}
        assert memory_mib(tree_of(child.pid)) > 1
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
    assert tree_of(child.pid) == set()
    assert memory_mib({child.pid}) == 0
    assert seconds_since_start(child.pid) is None


def test_how_long_this_process_has_been_running() -> None:
    seconds = seconds_since_start(os.getpid())
    assert seconds is not None
    assert 0 <= seconds < 86_400
