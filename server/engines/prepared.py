"""Statements of the hot paths: compiled once for each database, run straight on the driver's cursor.

SQLAlchemy builds, keys and wraps a statement anew at each execution, which costs ten times what SQLite takes for the work. Here a
Core statement is written once, with `bindparam` for what varies, and its types still convert what goes in and what comes out.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

Convert = Callable[[Any], Any]


class _Compiled(NamedTuple):
    text: str
    # In the order of the placeholders: the parameter's name, what converts it, and its value when none is given.
    parameters: tuple[tuple[str, Convert | None, Any], ...]
    row: type[Any] | None
    converts: tuple[tuple[int, Convert], ...]


class Prepared:
    """One statement. Its parameters are plain values; lists for IN must be written into the statement as literals.

    A parameter that is not given has the value that its bindparam was given, or NULL.
    """

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def all(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """The rows of a select, as named tuples."""
        compiled = self._for(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(compiled.text, _bound(compiled, parameters))
            rows = cursor.fetchall()
        except Exception as error:
            raise _wrapped(connection, compiled, error) from error
        finally:
            cursor.close()
        assert compiled.row is not None
        make, converts = compiled.row._make, compiled.converts
        if not converts:
            return [make(row) for row in rows]
        return [make(_converted(row, converts)) for row in rows]

    def first(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> Any:
        """The first row, or None."""
        rows = self.all(connection, parameters)
        return rows[0] if rows else None

    def run(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> int:
        """Run an insert, update or delete; how many rows it touched."""
        compiled = self._for(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(compiled.text, _bound(compiled, parameters))
            return int(cursor.rowcount)
        except Exception as error:
            raise _wrapped(connection, compiled, error) from error
        finally:
            cursor.close()

    def many(self, connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run it for each row."""
        compiled = self._for(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(compiled.text, [_bound(compiled, row) for row in rows])
        except Exception as error:
            raise _wrapped(connection, compiled, error) from error
        finally:
            cursor.close()

    def _for(self, connection: sa.Connection) -> _Compiled:
        compiled = self._compiled.get(connection.dialect.name)
        if compiled is None:
            compiled = self._compiled[connection.dialect.name] = _compile(self._statement, connection.dialect)
        return compiled


def insert_into(table: sa.Table) -> Prepared:
    """An insert of all columns of a table, but for a primary key that the database counts."""
    columns = [column for column in table.columns if column is not table.autoincrement_column]
    return Prepared(table.insert().values({column.name: sa.bindparam(column.name, _default(column), column.type) for column in columns}))


def _default(column: sa.Column[Any]) -> Any:
    default = column.default
    return default.arg if isinstance(default, sa.ColumnDefault) and default.is_scalar else None


def _compile(statement: Any, dialect: sa.Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    if compiled.literal_execute_params or compiled.post_compile_params:
        raise ValueError("a prepared statement cannot have a parameter that stands for a list")
    names = compiled.positiontup
    if names is None:
        raise ValueError(f"the dialect {dialect.name} does not bind by position")
    processors = compiled._bind_processors
    parameters = tuple((name, processors.get(name), compiled.binds[name].value) for name in names)
    if not isinstance(statement, sa.Select):
        return _Compiled(compiled.string, parameters, None, ())
    columns = list(statement.selected_columns)
    row = namedtuple("Row", [str(column.key) for column in columns], rename=True)  # type: ignore[misc]
    found = ((place, column.type.dialect_impl(dialect).result_processor(dialect, None)) for place, column in enumerate(columns))
    return _Compiled(compiled.string, parameters, row, tuple((place, convert) for place, convert in found if convert is not None))


def _bound(compiled: _Compiled, given: Mapping[str, Any]) -> tuple[Any, ...]:
    bound = []
    for name, convert, default in compiled.parameters:
        value = given.get(name, default)
        bound.append(convert(value) if convert is not None else value)
    return tuple(bound)


def _converted(row: Any, converts: tuple[tuple[int, Convert], ...]) -> list[Any]:
    values = list(row)
    for place, convert in converts:
        values[place] = convert(values[place])
    return values


def _wrapped(connection: sa.Connection, compiled: _Compiled, error: Exception) -> BaseException:
    """The driver's error as SQLAlchemy's, so that callers see the same errors whichever way a statement runs."""
    dbapi = connection.dialect.loaded_dbapi
    if not isinstance(error, dbapi.Error):
        return error
    gone = connection.dialect.is_disconnect(error, connection.connection, None)
    wrapped = sa.exc.DBAPIError.instance(
        compiled.text, (), error, dbapi.Error, hide_parameters=True, connection_invalidated=gone, dialect=connection.dialect
    )
    if gone:
        connection.invalidate(error)
    return wrapped
