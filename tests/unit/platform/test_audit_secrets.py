"""No secret is written into the audit log: not by any call in the code, and not by a name that comes at run time."""

from __future__ import annotations

import ast

import pytest

from server.platform.audit import HIDDEN, without_secrets
from tests.unit.house.source import SourceFile, files

NOTING = {"note", "note_bounded"}
# Words that a name of a secret has; `code` may be one that was mailed.
SUSPICIOUS = {"password", "passwd", "secret", "token", "code", "ticket", "key", "credential", "hash", "hashed", "seed"}
# What these calls write is no secret: their file, the name.
KNOWN = {
    ("server.people.cas", "code"),  # why CAS refused a ticket
    ("server.platform.audit_chain", "hash"),  # of a row of the log itself
}


def calls(file: SourceFile) -> list[ast.Call]:
    """The calls of `audit.note…`, and within audit.py of `note…`."""
    found = []
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        by_module = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "audit"
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in NOTING and (by_module or file.name == "server.platform.audit"):
            found.append(node)
    return found


def suspects(call: ast.Call) -> set[str]:
    """Suspicious names of details, and in what is put into them or into the target."""
    names = {keyword.arg for keyword in call.keywords if keyword.arg}
    for part in [*call.args[4:], *(keyword.value for keyword in call.keywords)]:
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
    return {name for name in names if SUSPICIOUS & set(name.lower().split("_")) and not name.endswith(("_id", "_ids", "primary_key"))}


NOTED = [file for file in files() if calls(file)]


@pytest.mark.parametrize("file", NOTED, ids=str)
def test_no_call_puts_a_secret_into_the_log(file: SourceFile) -> None:
    for call in calls(file):
        found = {name for name in suspects(call) if (file.name, name) not in KNOWN}
        assert not found, f"{file}:{call.lineno}: {sorted(found)}"


def test_the_search_finds_what_it_is_for() -> None:
    assert len(NOTED) > 10
    for source, found in {
        "audit.note(c, now, actor, 'a', 't', password=request.password)": {"password"},
        "audit.note(c, now, actor, 'a', 't', given=request.new_password)": {"new_password"},
        "audit.note(c, now, actor, 'a', f'mail:{code}')": {"code"},
        "audit.note(c, now, actor, 'a', 't', refresh_token=1)": {"refresh_token"},
        "audit.note(c, now, actor, 'a', f'api_key:{key_id}', name=request.name)": set(),
    }.items():
        call = ast.parse(source, mode="eval").body
        assert isinstance(call, ast.Call)
        assert suspects(call) == found, source


def test_what_is_named_like_a_secret_is_hidden_at_run_time() -> None:
    given = {"name": "n", "new_password": "p", "changes": [{"TOKEN": "t", "tokens": 3}], "client_secret": {"a": 1}}
    assert without_secrets(given) == {
        "name": "n",
        "new_password": HIDDEN,
        "changes": [{"TOKEN": HIDDEN, "tokens": 3}],
        "client_secret": HIDDEN,
    }
