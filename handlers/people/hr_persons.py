"""People as HR says them, and why their accounts are as they are."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
