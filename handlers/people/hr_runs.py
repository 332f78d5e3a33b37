"""Sync runs, their plans and what people decide about them."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
