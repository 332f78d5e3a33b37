"""Looking with another user's eyes, and what a user may and why."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
