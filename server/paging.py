"""Lists in pages: what a caller may ask for, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from server.engines.prepared import Prepared
from server.errors import Invalid

T = TypeVar("T")
LARGEST_PAGE = 200


class PageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which page of a list; `sort` names a field, with `-` in front for descending."""

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_PAGE)] = 20
    sort: str = ""
    # SQLite takes a pattern to end at a NUL: the search would find everything.
    q: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")] = ""


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    total: int
    page: int
    page_size: int


def page_of(
    connection: sa.Connection,
    wanted: sa.Select[Any],
    query: PageQuery,
    read: Callable[[sa.Row[Any]], T],
    *,
    sortable: Mapping[str, sa.ColumnElement[Any]],
    searched: Sequence[sa.ColumnElement[str]] = (),
    order: str,
) -> Page[T]:
    """One page of a select, narrowed by `q` over `searched`, ordered by `sort` or else by `order`. Raises Invalid for an unknown sort."""
    if query.q and searched:
        pattern = "%" + query.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        # MySQL cannot compare a column of ASCII with other letters, which it cannot hold.
        columns = [column for column in searched if query.q.isascii() or not _is_ascii(column)]
        wanted = wanted.where(sa.or_(sa.false(), *(column.ilike(pattern, escape="\\") for column in columns)))
    ordered = _ordered(wanted, sortable, query.sort or order, order)
    total = connection.execute(sa.select(sa.func.count()).select_from(wanted.order_by(None).subquery())).scalar_one()
    rows = connection.execute(ordered.limit(query.page_size).offset((query.page - 1) * query.page_size))
    return Page(items=[read(row) for row in rows], total=total, page=query.page, page_size=query.page_size)


class Listing:
    """A list whose statements are compiled once for each order: for the lists that are read most, and in their plainest shape.

    The order of `page_of`; what narrows the list is in the select itself, as `bindparam`s.
    """

    def __init__(self, wanted: sa.Select[Any], *, sortable: Mapping[str, sa.ColumnElement[Any]], order: str) -> None:
        self._wanted = wanted
        self._sortable = sortable
        self._order = order
        self._count = Prepared(sa.select(sa.func.count().label("number")).select_from(wanted.subquery()))
        self._pages: dict[str, Prepared] = {}

    def page(
        self, connection: sa.Connection, query: PageQuery, read: Callable[[Any], T], parameters: Mapping[str, Any] | None = None
    ) -> Page[T]:
        """One page; `query.q` is not looked at. Raises Invalid for an unknown sort."""
        given = dict(parameters or {})
        prepared = self._for(query.sort or self._order)
        total = self._count.first(connection, given).number
        rows = prepared.all(connection, {**given, "_limit": query.page_size, "_offset": (query.page - 1) * query.page_size})
        return Page(items=[read(row) for row in rows], total=total, page=query.page, page_size=query.page_size)

    def _for(self, name: str) -> Prepared:
        prepared = self._pages.get(name)
        if prepared is None:
            ordered = _ordered(self._wanted, self._sortable, name, self._order)
            prepared = self._pages[name] = Prepared(ordered.limit(sa.bindparam("_limit")).offset(sa.bindparam("_offset")))
        return prepared


def _ordered(wanted: sa.Select[Any], sortable: Mapping[str, sa.ColumnElement[Any]], name: str, order: str) -> sa.Select[Any]:
    column = sortable.get(name.removeprefix("-"))
    if column is None:
        raise Invalid.field("sort", "field.sort", choices=", ".join(sortable))
    ordered = wanted.order_by(column.desc() if name.startswith("-") else column.asc())
    if (last := sortable[order.removeprefix("-")]) is not column:
        ordered = ordered.order_by(last)  # rows that are alike must not change places between two pages
    return ordered


def _is_ascii(column: sa.ColumnElement[str]) -> bool:
    """Whether a column is one of hex ids, hashes and plain names (schema.identifier)."""
    variants = getattr(column.type, "_variant_mapping", {})
    return any(getattr(variant, "charset", None) == "ascii" for variant in variants.values())
