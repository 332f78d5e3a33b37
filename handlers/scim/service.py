"""What our SCIM server can do: configuration, resource types, schemas."""

from __future__ import annotations

from typing import Any

routes: list[tuple[str, type[Any]]] = []
