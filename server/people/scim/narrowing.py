"""What of a filter the database can answer: the whole of simple ones, and for others fewer candidates to look at."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from server.people.scim.filters import Compare, Every, Node, Within
from server.people.scim.group_resources import KEPT as GROUP_KEPT
from server.people.scim.matching import comparable
from server.people.scim.schema_model import Attribute, ResourceKind, find_place
from server.people.scim.schemas import USER
from server.people.scim.user_resources import KEPT as USER_KEPT
from server.people.tables import organizations, users
from server.people.user_schemas import UserState

Condition = sa.ColumnElement[bool]
_KEPT_TEXT = sa.type_coerce(USER_KEPT.attributes, sa.Text)


class Narrowed(NamedTuple):
    """Conditions that every match meets, and whether whatever meets them is a match."""

    conditions: list[Condition]
    exact: bool


def narrow(kind: ResourceKind, node: Node | None) -> Narrowed:
    """Translate as much as can be; the rest is tested resource by resource."""
    if node is None:
        return Narrowed([], True)
    if isinstance(node, Every):
        parts = [narrow(kind, one) for one in node.conditions]
        return Narrowed([condition for part in parts for condition in part.conditions], all(part.exact for part in parts))
    if isinstance(node, Within):
        return Narrowed(_mail(kind, node.path, node.condition), False)
    return _compared(kind, node) if isinstance(node, Compare) else Narrowed([], False)


def _compared(kind: ResourceKind, node: Compare) -> Narrowed:
    place = find_place(kind, node.path)
    if place is None or place.last is None or place.extension:
        return Narrowed([], False)
    name = place.attribute.name if place.attribute else ""
    wanted = comparable(_plain(place.last), node.value)
    if place.sub is None and node.operator == "eq" and wanted is not None:
        exact = _exact(kind, name, wanted)
        if exact is not None:
            return Narrowed([exact], True)
    if name == "emails" and node.operator == "eq" and isinstance(node.value, str) and (place.sub is None or place.sub.name == "value"):
        return Narrowed([_has_mail(node.value)], False)
    if name == "displayName" and node.operator == "eq" and isinstance(node.value, str) and node.value.isascii():
        column = users.c.name if kind is USER else organizations.c.name
        return Narrowed([sa.func.lower(column) == node.value.lower()], False)
    if name == "meta" and place.sub is not None and place.sub.name == "lastModified" and node.operator in ("gt", "ge") and wanted:
        kept, own = (USER_KEPT, users) if kind is USER else (GROUP_KEPT, organizations)
        return Narrowed([sa.or_(own.c.updated_at >= wanted, own.c.created_at >= wanted, kept.updated_at >= wanted)], False)
    return Narrowed([], False)


def _plain(attribute: Attribute) -> Attribute:
    return (attribute.find_sub("value") or attribute) if attribute.type == "complex" else attribute


def _exact(kind: ResourceKind, name: str, wanted: Any) -> Condition | None:
    """The condition that stands for `name eq wanted`, when there is one."""
    own, kept = (users, USER_KEPT) if kind is USER else (organizations, GROUP_KEPT)
    if name == "id":
        is_number = wanted.isascii() and wanted.isdecimal() and len(wanted) <= 15 and str(int(wanted)) == wanted
        return own.c.id == int(wanted) if is_number else sa.false()
    if name == "externalId":
        same: Condition = kept.external_id == wanted
        return same
    if kind is USER and name == "userName":
        named: Condition = users.c.username_key == wanted
        return named
    if kind is USER and name == "active":
        state = UserState.ACTIVE if wanted else UserState.DISABLED
        # Kept first, when a client has unassigned it: then it is neither.
        unassigned = sa.and_(USER_KEPT.attributes.is_not(None), _KEPT_TEXT.like('{"active":%'))
        return sa.and_(users.c.state == state.value, sa.not_(unassigned))
    return None


def _mail(kind: ResourceKind, path: str, condition: Node) -> list[Condition]:
    """For a condition on one mail address, such as emails[type eq "work" and value eq "x"]."""
    place = find_place(kind, path)
    if place is None or place.attribute is None or place.attribute.name != "emails" or place.extension:
        return []
    parts = condition.conditions if isinstance(condition, Every) else (condition,)
    found: list[Condition] = []
    for part in parts:
        if isinstance(part, Every):
            found += _mail(kind, path, part)
        elif isinstance(part, Compare) and part.operator == "eq" and part.path.casefold() == "value" and isinstance(part.value, str):
            found.append(_has_mail(part.value))
    return found


def _has_mail(address: str) -> Condition:
    """Accounts with this primary address, and those that may have it as another one."""
    inner = address.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    own = users.c.email_key == address.casefold()
    if not address.isascii() or '"' in address or "\\" in address:
        return sa.or_(own, USER_KEPT.attributes.is_not(None))
    return sa.or_(own, sa.func.lower(_KEPT_TEXT).like(f'%"{inner}"%', escape="\\"))


def orders(kind: ResourceKind, sort_by: str) -> sa.ColumnElement[Any] | None:
    """The column that sorts as an attribute does; None when there is none."""
    place = find_place(kind, sort_by) if sort_by else None
    if not sort_by:
        return users.c.id if kind is USER else organizations.c.id
    if place is None or place.attribute is None or place.extension:
        return None
    if place.attribute.name == "userName" and kind is USER:
        return users.c.username_key
    if place.attribute.name == "meta" and place.sub is not None and place.sub.name == "created":
        return users.c.created_at if kind is USER else organizations.c.created_at
    return None
