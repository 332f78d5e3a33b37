"""Account tasks: list, attempts, retry, cancel."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
