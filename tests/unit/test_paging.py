"""Pages of a list: counted, ordered, searched literally."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa

from server.errors import Invalid
from server.paging import LARGEST_PAGE, Page, PageQuery, page_of

metadata = sa.MetaData()
things = sa.Table(
    "things", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String), sa.Column("size", sa.Integer)
)
NAMES = ["100%", "1000", "under_score", "underXscore", "back\\slash", "Ada", "ada", "张三"]


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        metadata.create_all(opened)
        opened.execute(things.insert(), [{"name": name, "size": len(name) % 2} for name in NAMES])
        yield opened
    engine.dispose()


def page(connection: sa.Connection, **query: object) -> Page[str]:
    return page_of(
        connection,
        sa.select(things),
        msgspec.convert(query, PageQuery),
        lambda row: row.name,
        sortable={"id": things.c.id, "name": things.c.name, "size": things.c.size},
        searched=(things.c.name,),
        order="id",
    )


def test_pages_cover_everything_once(connection: sa.Connection) -> None:
    for sort in ("id", "-id", "name", "-name", "size", "-size"):
        seen = [name for number in (1, 2, 3) for name in page(connection, page=number, page_size=3, sort=sort).items]
        assert sorted(seen) == sorted(NAMES), sort
    last = page(connection, page=4, page_size=3)
    assert (last.items, last.total, last.page, last.page_size) == ([], len(NAMES), 4, 3)


def test_order(connection: sa.Connection) -> None:
    assert page(connection, sort="-id").items == NAMES[::-1]
    assert page(connection).items == NAMES


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("%", ["100%"]),
        ("_", ["under_score"]),
        ("\\", ["back\\slash"]),
        ("0%", ["100%"]),
        ("ADA", ["Ada", "ada"]),
        ("三", ["张三"]),
        ("' OR 1=1 --", []),
        ("", NAMES),
    ],
)
def test_a_search_is_literal(connection: sa.Connection, q: str, found: list[str]) -> None:
    answer = page(connection, q=q)
    assert answer.items == found
    assert answer.total == len(found)


@pytest.mark.parametrize("sort", ["size; drop table things", "--id", "-", "nothing", "id desc", "-id,name"])
def test_an_unknown_order_is_refused(connection: sa.Connection, sort: str) -> None:
    with pytest.raises(Invalid) as refused:
        page(connection, sort=sort)
    assert list(refused.value.fields) == ["sort"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"page": 0},
        {"page": -1},
        {"page": 10**9},
        {"page_size": 0},
        {"page_size": LARGEST_PAGE + 1},
        {"q": 201 * "x"},
        {"q": "a\x00"},
        {"pages": 1},
    ],
)
def test_what_cannot_be_asked_for(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, PageQuery)
