"""Lists of users and groups: filtered, sorted and by page (RFC 7644, 3.4.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.messages import text
from server.people.scim import group_resources, user_resources
from server.people.scim.errors import InvalidFilter, InvalidValue, TooManyMatches
from server.people.scim.filters import Node, parse_filter
from server.people.scim.matching import Test, UnknownAttribute, comparable, make_test
from server.people.scim.narrowing import Condition, narrow, orders
from server.people.scim.projection import Projection, listed
from server.people.scim.schema_model import MESSAGES_URN, ResourceKind, find_place, values_at
from server.people.scim.schemas import GROUP, USER
from server.people.tables import organizations, users

LARGEST_PAGE = 200
USUAL_PAGE = 100
# Candidates that are looked at one by one, for a filter or an order that the database does not know.
MOST_LOOKED_AT = 5000
AT_ONCE = 200

Number = Annotated[int, msgspec.Meta(ge=-(10**15), le=10**15)]


class Showing(msgspec.Struct, kw_only=True, rename="camel"):
    """Which attributes an answer holds, with commas between their names. What else a client adds to an address is not looked at."""

    attributes: str = ""
    excluded_attributes: str = ""

    def projection(self) -> Projection:
        return Projection(listed(self.attributes), listed(self.excluded_attributes))


class Search(Showing, kw_only=True, rename="camel"):
    """A list as asked for in an address. `count` 0 asks for the number alone; without `sortBy` the order is by id."""

    filter: str = ""
    sort_by: str = ""
    sort_order: str = "ascending"
    start_index: Number = 1
    count: Number = USUAL_PAGE


class SearchRequest(msgspec.Struct, kw_only=True, rename="camel"):
    """The same as the body of a POST to .search; the lists are lists."""

    schemas: list[str] = []
    attributes: list[str] | None = None
    excluded_attributes: list[str] | None = None
    filter: str | None = None
    sort_by: str | None = None
    sort_order: Literal["ascending", "descending"] | None = None
    start_index: Number | None = None
    count: Number | None = None

    def search(self) -> Search:
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None and name != "schemas"}
        lists = {name: ",".join(value) for name, value in given.items() if isinstance(value, list)}
        return Search(**{**given, **lists})


class ListResponse(msgspec.Struct, kw_only=True, rename="camel"):
    schemas: tuple[str, ...] = (f"{MESSAGES_URN}:ListResponse",)
    total_results: int
    start_index: int
    items_per_page: int
    resources: list[dict[str, Any]] = msgspec.field(name="Resources")


class Found(NamedTuple):
    """What of one kind meets a search: how many, and how a part of them is read."""

    kind: ResourceKind
    conditions: list[Condition]
    test: Test | None
    total: int


async def search(ctx: Context, kinds: tuple[ResourceKind, ...], wanted: Search, base: str) -> ListResponse:
    """Page `wanted` of the resources of these kinds, users before groups.

    Raises InvalidFilter, InvalidValue; TooManyMatches when MOST_LOOKED_AT candidates are not enough.
    """
    node = parse_filter(wanted.filter) if wanted.filter.strip() else None
    projection = wanted.projection()
    start, count = max(1, wanted.start_index), min(max(0, wanted.count), LARGEST_PAGE)
    descending = _is_descending(wanted.sort_order)
    if wanted.sort_by and all(find_place(kind, wanted.sort_by) is None for kind in kinds):
        raise InvalidValue(detail=text("scim.path_unknown", path=wanted.sort_by[:200]))
    found = await _find(ctx, kinds, node)
    by_database = all(one.test is None for one in found)
    if by_database and (not wanted.sort_by or (len(kinds) == 1 and orders(kinds[0], wanted.sort_by) is not None)):
        total, resources = await _page(ctx, found, wanted.sort_by, descending, start, count, projection, base)
    else:
        total, resources = await _looked_at(ctx, found, wanted.sort_by, descending, start, count, projection, base)
    return ListResponse(total_results=total, start_index=start, items_per_page=len(resources), resources=resources)


async def _find(ctx: Context, kinds: tuple[ResourceKind, ...], node: Node | None) -> list[Found]:
    found = []
    for kind in kinds:
        try:
            test = make_test(kind, node, among_others=len(kinds) > 1) if node is not None else None
        except UnknownAttribute as unknown:
            raise InvalidFilter(detail=text("scim.path_unknown", path=str(unknown)[:200])) from None
        conditions, exact = narrow(kind, node)
        counted = sa.select(sa.func.count()).select_from(_source(kind)).where(*_visible(kind), *conditions)
        total = await ctx.sql.read(lambda connection, counted=counted: int(connection.execute(counted).scalar_one()))  # type: ignore[misc]
        found.append(Found(kind, conditions, None if exact else test, total))
    return found


async def _page(
    ctx: Context, found: list[Found], sort_by: str, descending: bool, start: int, count: int, projection: Projection, base: str
) -> tuple[int, list[dict[str, Any]]]:
    """A page that the database counts off."""
    skipped, resources = start - 1, list[dict[str, Any]]()
    for one in found:
        wanted = min(count - len(resources), max(0, one.total - skipped))
        if wanted > 0:
            column = orders(one.kind, sort_by)
            assert column is not None
            last = users.c.id if one.kind is USER else organizations.c.id
            order = (column.desc(), last.desc()) if descending else (column, last)
            rows = _select(one).order_by(*order).limit(wanted).offset(skipped)
            resources += await _read(ctx, one.kind, rows, projection, base, "")
        skipped = max(0, skipped - one.total)
    return sum(one.total for one in found), [projection.of(_kind_of(resource), resource) for resource in resources]


async def _looked_at(
    ctx: Context, found: list[Found], sort_by: str, descending: bool, start: int, count: int, projection: Projection, base: str
) -> tuple[int, list[dict[str, Any]]]:
    """A page of what is tested and sorted here, candidate by candidate, in portions."""
    if sum(one.total for one in found) > MOST_LOOKED_AT:
        raise TooManyMatches(most=MOST_LOOKED_AT)
    matches: list[dict[str, Any]] = []
    for one in found:
        column, last = (users.c.id if one.kind is USER else organizations.c.id), 0
        while True:
            rows = _select(one).where(column > last).order_by(column).limit(AT_ONCE)
            portion = await _read(ctx, one.kind, rows, projection, base, sort_by, all_of_it=one.test is not None)
            matches += await asyncio.to_thread(_meeting, one.test, portion)
            if len(portion) < AT_ONCE:
                break
            last = int(portion[-1]["id"])
    if sort_by:
        matches = await asyncio.to_thread(_sorted, matches, sort_by, descending)
    elif descending:
        matches.reverse()
    page = matches[start - 1 : start - 1 + count]
    return len(matches), [projection.of(_kind_of(resource), resource) for resource in page]


def _meeting(test: Test | None, resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return resources if test is None else [one for one in resources if test(one)]


def _sorted(resources: list[dict[str, Any]], sort_by: str, descending: bool) -> list[dict[str, Any]]:
    """By the first or primary value of an attribute; what has none comes last when ascending, first when descending."""

    def key(resource: dict[str, Any]) -> tuple[bool, str, Any]:
        place = find_place(_kind_of(resource), sort_by)
        values = values_at(resource, place) if place is not None else []
        attribute = place.last if place is not None else None
        if attribute is not None and attribute.type == "complex":
            values = sorted((one for one in values if isinstance(one, dict)), key=lambda one: not one.get("primary"))
            values, attribute = [one["value"] for one in values if "value" in one], attribute.find_sub("value")
        have = comparable(attribute, values[0]) if attribute is not None and values else None
        return (have is None, type(have).__name__, have if have is not None else "")

    return sorted(resources, key=key, reverse=descending)


async def _read(
    ctx: Context, kind: ResourceKind, rows: sa.Select[Any], projection: Projection, base: str, sort_by: str, *, all_of_it: bool = False
) -> list[dict[str, Any]]:
    show: Callable[[], list[dict[str, Any]]]
    if kind is USER:
        read = await ctx.sql.read(lambda connection: user_resources.read_users(connection, rows))
        show = partial(_shown_users, read, base)
    else:
        with_members = all_of_it or projection.shows(kind, "members") or sort_by.casefold().startswith("members")
        groups = await ctx.sql.read(lambda connection: group_resources.read_groups(connection, rows, with_members=with_members))
        show = partial(_shown_groups, groups, base)
    return await asyncio.to_thread(show)


def _shown_users(read: list[user_resources.ReadUser], base: str) -> list[dict[str, Any]]:
    return [user_resources.shown(one, base) for one in read]


def _shown_groups(read: list[group_resources.ReadGroup], base: str) -> list[dict[str, Any]]:
    return [group_resources.shown(one, base) for one in read]


def _source(kind: ResourceKind) -> sa.Join:
    return user_resources.JOINED if kind is USER else group_resources.JOINED


def _visible(kind: ResourceKind) -> tuple[Condition, ...]:
    return user_resources.VISIBLE if kind is USER else ()


def _select(one: Found) -> sa.Select[Any]:
    columns = user_resources.COLUMNS if one.kind is USER else group_resources.COLUMNS
    return sa.select(*columns).select_from(_source(one.kind)).where(*_visible(one.kind), *one.conditions)


def _kind_of(resource: dict[str, Any]) -> ResourceKind:
    return USER if USER.urn in resource["schemas"] else GROUP


def _is_descending(order: str) -> bool:
    if order.casefold() not in ("ascending", "descending"):
        raise InvalidValue(detail=text("field.choice", choices="ascending, descending"))
    return order.casefold() == "descending"
