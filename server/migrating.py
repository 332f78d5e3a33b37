"""Brings the database's tables up to this version; by itself on the embedded SQLite, by command elsewhere."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory

from server.config import Settings
from server.engines.sql import sync_url

log = logging.getLogger(__name__)


class SchemaBehind(Exception):
    """The database is not at this version; the message says what to run."""


def configuration(connection: sa.Connection | None = None) -> Config:
    """Alembic's settings, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def _engine(settings: Settings) -> sa.Engine:
    settings.data.mkdir(parents=True, exist_ok=True)
    return sa.create_engine(sync_url(settings), poolclass=sa.pool.NullPool)


def migrate(settings: Settings, to: str = "head") -> tuple[str | None, str | None]:
    """Upgrade the tables to `to`; the revisions before and after. Blocking."""
    engine = _engine(settings)
    with engine.begin() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
        command.upgrade(configuration(connection), to)
        after = MigrationContext.configure(connection).get_current_revision()
    if before != after:
        log.info("database migrated from %s to %s", before or "nothing", after)
    return before, after


def downgrade(settings: Settings, to: str) -> None:
    """Take the tables back to revision `to`. Blocking."""
    engine = _engine(settings)
    with engine.begin() as connection:
        command.downgrade(configuration(connection), to)


def revisions(settings: Settings) -> tuple[str | None, str | None]:
    """The database's revision, and the one that this version needs. Blocking; raises SQLAlchemy's errors when the database is away."""
    engine = _engine(settings)
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current, ScriptDirectory.from_config(configuration()).get_current_head()


def check(settings: Settings) -> None:
    """Raise SchemaBehind unless the database is at this version. Blocking."""
    current, needed = revisions(settings)
    if current != needed:
        raise SchemaBehind(f"The database is at revision {current or 'none'}, this version needs {needed}: run ./manage.sh migrate first.")


def make(message: str) -> Path:
    """Write the migration that leads from the last revision to the tables in the code, compared on a SQLite of its own; its path."""
    number = len(list((Path(__file__).parent / "migrations" / "versions").glob("*.py"))) + 1
    with tempfile.TemporaryDirectory() as folder:
        engine = sa.create_engine(sa.URL.create("sqlite", database=f"{folder}/empty.db"), poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            command.upgrade(configuration(connection), "head")
        with engine.begin() as connection:
            made = command.revision(configuration(connection), message, autogenerate=True, rev_id=f"{number:04d}")
    if not isinstance(made, Script):
        raise TypeError(made)
    return Path(made.path)
