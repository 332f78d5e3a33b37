"""Organizations, as the other wings ask about them."""

from __future__ import annotations

import sqlalchemy as sa

from server.errors import Invalid
from server.people.tables import organizations


def check_organization(connection: sa.Connection, organization_id: int, field: str = "organization_id") -> None:
    """Raise Invalid, naming the field, unless there is such an organization."""
    if connection.execute(sa.select(organizations.c.id).where(organizations.c.id == organization_id)).first() is None:
        raise Invalid.field(field, "people.no_organization", id=organization_id)
