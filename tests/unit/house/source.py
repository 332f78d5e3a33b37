"""The project's Python files as syntax trees, for tests that look at the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("server", "handlers", "jobs")


class SourceFile:
    """One file: its path from the root, its dotted name, its tree."""

    def __init__(self, path: Path) -> None:
        self.path = path.relative_to(ROOT)
        parts = self.path.with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.text = path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def __repr__(self) -> str:
        return str(self.path)


def files(*parts: str) -> list[SourceFile]:
    """All Python files of the given folders (of server, handlers and jobs when none are given)."""
    return [SourceFile(path) for part in parts or PARTS for path in sorted((ROOT / part).rglob("*.py"))]


def imports(file: SourceFile, *, at_import: bool = False) -> Iterator[tuple[str, str]]:
    """What a file imports, as (dotted name, name taken from it or ""); with `at_import` only what runs when it is imported."""
    for node in _nodes(file.tree, into_functions=not at_import):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            for alias in node.names:
                yield node.module or "", alias.name


def _nodes(tree: ast.AST, *, into_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not into_functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node, into_functions=into_functions)


def at_import(file: SourceFile) -> Iterator[ast.AST]:
    """Every node that is evaluated when the file is imported: bodies of functions are not."""
    return _nodes(file.tree, into_functions=False)
