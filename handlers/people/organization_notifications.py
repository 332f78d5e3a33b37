"""Who in an organization is told of what."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
