"""Schedules as rows: list, make, edit, remove, run, history."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
