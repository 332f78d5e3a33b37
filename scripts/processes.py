"""What the system knows of a process and its children: who they are, since when, how much memory they have. Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces and brackets; empty when there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def tree_of(pid: int) -> set[int]:
    """A process and all that descend from it; empty when it is gone, only itself where there is no /proc."""
    parents: dict[int, int] = {}
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    if pid not in parents:
        return set() if parents else {pid}
    found, grown = {pid}, True
    while grown:
        children = {child for child, parent in parents.items() if parent in found} - found
        found |= children
        grown = bool(children)
    return found


def seconds_since_start(pid: int) -> float | None:
    """How long a process has been running, or None where that cannot be known."""
    fields = _fields(pid)
    if not fields:
        return None
    booted_for = float((PROC / "uptime").read_text().split()[0])
    return max(0.0, booted_for - int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def memory_mib(pids: set[int]) -> float:
    """Memory of these processes in MiB: proportional where the kernel tells (shared pages counted once), else resident."""
    return sum(_memory_kib(pid) for pid in pids) / 1024


def _memory_kib(pid: int) -> int:
    for name, label in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            for line in (PROC / str(pid) / name).read_text().splitlines():
                if line.startswith(label):
                    return int(line.split()[1])
        except OSError:
            continue
    return 0
