"""Alembic's entry: runs the migrations on the connection that it is given."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlalchemy.types import TypeDecorator

from server.tables import metadata


def render(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    """How a new migration spells our column types."""
    if kind != "type":
        return False
    if isinstance(item, TypeDecorator):
        autogen.imports.add(f"from {type(item).__module__} import {type(item).__name__}")
        return f"{type(item).__name__}()"
    variants = item._variant_mapping
    if isinstance(item, sa.String) and "mysql" in variants:
        autogen.imports.add("from server.engines import schema")
        spelt = "identifier" if variants["mysql"].charset == "ascii" else "short_text"
        return f"schema.{spelt}({item.length})"
    if isinstance(item, sa.BigInteger) and "sqlite" in variants:
        autogen.imports.add("from server.engines import schema")
        return "schema.serial()"
    return False


connection = context.config.attributes["connection"]
# render_as_batch: SQLite changes a table by copying it.
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, render_item=render)
with context.begin_transaction():
    context.run_migrations()
