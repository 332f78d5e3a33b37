"""Writes .env.example from server/config.py: every setting, its meaning and its default."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from server.config import ALIASES, MAIL_SETTINGS, NEEDED_IN_PRODUCTION, Settings  # noqa: E402

PATH = ROOT / ".env.example"
HEADINGS = {
    "server_host": "The server",
    "mysql_host": "Engines: an empty address means the embedded one, for which nothing has to be installed",
    "embedding_url": "Language models",
    "notification_email": "Mail",
    "bupt_cas_server_url": "Single sign-on (CAS)",
    "access_token_minutes": "Accounts",
    "hot_swap_grace_s": "Times and limits",
}
INTRODUCTION = f"""\
Zhihui's settings. Copy this file to .env beside it and change what you need: each line that begins with # shows
the default. A variable of the environment wins over .env. Nothing has to be set to begin.

DEBUG=False (production) needs {", ".join(NEEDED_IN_PRODUCTION)}, NOTIFICATION_EMAIL, and {" or ".join(MAIL_SETTINGS)}.
Older names are read too: {", ".join(f"{old} for {new}" for old, new in ALIASES.items())}.

Written by scripts/env_example.py from server/config.py; change it there.
"""


def as_comment(text: str) -> list[str]:
    paragraphs = [textwrap.wrap(paragraph, 110) for paragraph in text.strip().split("\n\n")]
    return [f"# {line}".rstrip() for number, lines in enumerate(paragraphs) for line in ([""] if number else []) + lines]


def meaning(kind: Any) -> str:
    """The description of a setting, and the values it may have where they are few."""
    told: list[str] = [meta.description for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta) and meta.description]
    values = [str(value) for value in getattr(kind.__origin__, "__args__", ()) if value != ""]
    if values:
        told.append(f"Values: {', '.join(values)}.")
    return " ".join(told)


def render() -> str:
    """The text of .env.example."""
    lines = as_comment(INTRODUCTION)
    defaults = Settings()
    for name, kind in get_type_hints(Settings, include_extras=True).items():
        if name in HEADINGS:
            lines += ["", f"# ---- {HEADINGS[name]} ----"]
        lines += ["", *as_comment(meaning(kind)), f"#{name.upper()}={getattr(defaults, name)}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
    print(f"wrote {PATH.name}")
