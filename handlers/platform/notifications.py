"""Notifications of the caller, and what they want to be told."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
