""".env.example and Settings say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

from scripts.env_example import HEADINGS, PATH, render
from server.config import Settings, read_settings

LINE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def test_the_file_is_what_the_script_writes() -> None:
    assert PATH.read_text(encoding="utf-8") == render(), "run: .venv/bin/python scripts/env_example.py"


def test_every_setting_is_in_the_file_once_and_nothing_else_is() -> None:
    named = [name for name, _ in LINE.findall(PATH.read_text(encoding="utf-8"))]
    assert named == [name.upper() for name in get_type_hints(Settings)]


def test_the_defaults_shown_are_the_defaults(tmp_path: Path) -> None:
    values = dict(LINE.findall(PATH.read_text(encoding="utf-8")))
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in values.items()))
    assert read_settings(environ={}, dotenv=tmp_path / ".env") == Settings()


def test_the_names_that_operators_know_are_there() -> None:
    text = PATH.read_text(encoding="utf-8")
    for name in ("SERVER_PORT", "DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "MYSQL_HOST", "DB_HOST", "MONGODB_HOST", "REDIS_URL", "WS"):
        assert re.search(rf"\b{name}\b", text), name


def test_headings_stand_before_settings_that_exist() -> None:
    assert set(HEADINGS) <= set(get_type_hints(Settings))
