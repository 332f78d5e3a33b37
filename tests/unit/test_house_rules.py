"""The rules of the house that a machine can check: size, first line, names, no global state, one writer of states."""

from __future__ import annotations

import ast

import pytest

from tests.unit.house.source import ROOT, SourceFile, at_import, files

FILES = [file for file in files() if "versions" not in file.path.parts]
ALL = [*FILES, *files("client", "tests", "scripts", "benchmarks")]
LONGEST = 400
# Names that say nothing.
EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base_utils"}
MUTABLE_CALLS = {"list", "dict", "set", "defaultdict", "deque", "Counter", "OrderedDict"}
CHANGING = {"append", "add", "update", "pop", "clear", "extend", "remove", "insert", "setdefault", "discard", "popitem"}
IO_CALLS = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "mkdir",
    "exists",
    "is_file",
    "iterdir",
    "glob",
    "getenv",
    "connect",
    "urlopen",
    "run",
    "Popen",
    "getaddrinfo",
    "basicConfig",
}


@pytest.mark.parametrize("file", ALL, ids=str)
def test_a_file_is_short_and_says_what_it_is(file: SourceFile) -> None:
    assert len(file.text.splitlines()) < LONGEST
    if file.path.parts[0] == "client" and len(file.path.parts) == 2:
        return  # the two inherited examples, which are kept as they were
    first = file.tree.body[0]
    assert isinstance(first, ast.Expr), f"{file} does not begin with a docstring"
    assert isinstance(first.value, ast.Constant), f"{file} does not begin with a docstring"
    assert first.value.lineno == 1
    sentence = str(first.value.value).splitlines()[0].strip()
    assert len(sentence) > 5, f"{file}: the first line says nothing"


@pytest.mark.parametrize("file", ALL, ids=str)
def test_a_file_has_a_name_that_says_something(file: SourceFile) -> None:
    assert not set(file.path.with_suffix("").parts) & EMPTY_WORDS


@pytest.mark.parametrize("file", FILES, ids=str)
def test_nothing_global_changes(file: SourceFile) -> None:
    constants: set[str] = set()
    for node in file.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_mutable(node.value):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                assert isinstance(target, ast.Name)
                assert target.id in ("routes", "__all__") or target.id.lstrip("_").isupper(), (
                    f"{file}:{node.lineno}: {target.id} is no constant"
                )
                constants.add(target.id)
    for inner in ast.walk(file.tree):
        assert not isinstance(inner, ast.Global), f"{file}:{inner.lineno}: global"
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and isinstance(inner.func.value, ast.Name):
            changes = inner.func.value.id in constants and inner.func.attr in CHANGING
            assert not changes, f"{file}:{inner.lineno}: {inner.func.value.id} is changed"
        if isinstance(inner, ast.Subscript) and isinstance(inner.ctx, ast.Store | ast.Del) and isinstance(inner.value, ast.Name):
            assert inner.value.id not in constants, f"{file}:{inner.lineno}: {inner.value.id} is changed"


def _is_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return True
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in MUTABLE_CALLS


@pytest.mark.parametrize("file", FILES, ids=str)
def test_importing_does_nothing_outside(file: SourceFile) -> None:
    if file.name == "server.migrations.env":
        return  # Alembic runs it
    for node in at_import(file):
        if _is_main_block(node):
            continue
        if isinstance(node, ast.Attribute):
            assert not (node.attr == "environ" and isinstance(node.value, ast.Name)), f"{file}:{node.lineno}: os.environ"
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in IO_CALLS, f"{file}:{node.lineno}: {name}() at import"


def _is_main_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.dump(node.test)


@pytest.mark.parametrize("file", [file for file in files("handlers") if len(file.path.parts) == 3 and not file.is_package], ids=str)
def test_a_file_of_handlers_ends_in_its_routes(file: SourceFile) -> None:
    last = file.tree.body[-1]
    assert isinstance(last, ast.Assign)
    assert [target.id for target in last.targets if isinstance(target, ast.Name)] == ["routes"]


def writes_state(call: ast.Call) -> bool:
    """Whether a `.values(…)` sets `state`, by keyword or in a dict."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "values":
        return False
    named = any(keyword.arg == "state" for keyword in call.keywords)
    dicts = [argument for argument in [*call.args, *(keyword.value for keyword in call.keywords)] if isinstance(argument, ast.Dict)]
    return named or any(isinstance(key, ast.Constant) and key.value == "state" for one in dicts for key in one.keys)


def inserts_rows(call: ast.Call) -> bool:
    """Whether it is `runs.insert()` or `insert_into(runs)`, or the same of steps."""
    function = call.func
    if isinstance(function, ast.Name) and function.id == "insert_into":
        return any(isinstance(argument, ast.Name) and argument.id in ("runs", "steps") for argument in call.args)
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "insert"
        and isinstance(function.value, ast.Name)
        and function.value.id in ("runs", "steps")
    )


@pytest.mark.parametrize("file", files("server/dispatch", "handlers", "jobs"), ids=str)
def test_only_states_writes_the_states_of_runs_and_steps(file: SourceFile) -> None:
    calls = [node for node in ast.walk(file.tree) if isinstance(node, ast.Call)]
    writers = [node.lineno for node in calls if writes_state(node) or inserts_rows(node)]
    if file.name == "server.dispatch.states":
        assert writers, "the one writer writes"
    else:
        assert not writers, f"{file}, lines {writers}"


def test_every_route_is_in_the_application() -> None:
    tree = ast.parse((ROOT / "server/app.py").read_text(encoding="utf-8"))
    table = next(node for node in tree.body if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "ROUTES")
    imported = {
        name.asname or name.name: f"{(node.module or '').replace('.', '/')}/{name.name}.py"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    starred = [imported[node.value.id] for node in ast.walk(table) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    written = {file.path.as_posix() for file in files("handlers") if len(file.path.parts) == 3 and not file.is_package}
    assert sorted(starred) == sorted(written)
