"""The migrations lead from nothing to the tables that the code declares, and back, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from server import migrating
from server.config import Settings
from server.engines.sql import sync_url
from server.tables import metadata

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "mariadb"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a database that holds nothing yet."""
    if request.param == "sqlite":
        yield Settings(data_dir=str(tmp_path))
        return
    with request.getfixturevalue("mariadb").database() as database:
        yield Settings(data_dir=str(tmp_path), **database)


def tables_of(settings: Settings) -> set[str]:
    engine = sa.create_engine(sync_url(settings), poolclass=sa.pool.NullPool)
    return set(sa.inspect(engine).get_table_names())


def _differs(context: MigrationContext, _inspected: Any, _column: Any, inspected: Any, declared: Any) -> bool | None:
    """Whether a column's types differ: not when the database spells both alike; for what is left, as Alembic thinks."""
    return False if _spelt(inspected, context.dialect) == _spelt(declared, context.dialect) else None


def _spelt(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    # MySQL and MariaDB keep text of the binary character set as VARBINARY.
    return re.sub(r"VARCHAR\((\d+)\) CHARACTER SET binary", r"VARBINARY(\1)", str(kind.compile(dialect=dialect)))


def test_they_lead_to_what_the_code_declares_and_back(settings: Settings) -> None:
    head = migrating.revisions(settings)[1]
    with pytest.raises(migrating.SchemaBehind):
        migrating.check(settings)
    assert migrating.migrate(settings) == (None, head)
    migrating.check(settings)
    engine = sa.create_engine(sync_url(settings), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": _differs})
        assert compare_metadata(context, metadata) == []
    assert tables_of(settings) == {*metadata.tables, "alembic_version"}
    assert migrating.migrate(settings) == (head, head)
    migrating.downgrade(settings, "base")
    assert tables_of(settings) == {"alembic_version"}
    assert migrating.migrate(settings) == (None, head)
    migrating.check(settings)


def test_rows_survive_a_second_upgrade(settings: Settings) -> None:
    migrating.migrate(settings)
    engine = sa.create_engine(sync_url(settings), poolclass=sa.pool.NullPool)
    organizations = metadata.tables["organizations"]
    with engine.begin() as connection:
        connection.execute(
            organizations.insert().values(name="智汇", code="root", kind="root", created_at=datetime(2026, 1, 1, tzinfo=UTC))
        )
    migrating.migrate(settings)
    with engine.connect() as connection:
        assert connection.execute(sa.select(organizations.c.name)).scalars().all() == ["智汇"]
