"""Where a user who comes over SCIM belongs, and the role that it gets there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.people.organizations import root_id
from server.people.scim.protected import is_powerful
from server.people.scim.schema_model import ENTERPRISE_URN
from server.people.tables import organizations, role_grants, roles


def place_of(connection: sa.Connection, resource: dict[str, Any]) -> int:
    """The organization whose code is the extension's `department`, else its `organization`; the root when there is none."""
    extension = resource.get(ENTERPRISE_URN, {})
    for code in (extension.get("department"), extension.get("organization")):
        found = code and connection.execute(sa.select(organizations.c.id).where(organizations.c.code == code.strip())).scalar()
        if found:
            return int(found)
    return root_id(connection)


def grant_first_role(connection: sa.Connection, user_id: int, name: str, organization_id: int) -> None:
    """Grant a new user its role; an unknown one, or one that opens too much, is as none."""
    role = connection.execute(sa.select(roles).where(roles.c.name == name)).one_or_none()
    if role is not None and not is_powerful(role.name, role.scopes):
        connection.execute(role_grants.insert().values(user_id=user_id, role_id=role.id, organization_id=organization_id))
