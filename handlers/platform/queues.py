"""Queues: figures, concurrency, retry of all of a kind."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
