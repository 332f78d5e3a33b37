"""Organizations, as the other wings ask about them."""

from __future__ import annotations

import sqlalchemy as sa

from server.errors import Invalid
from server.people.tables import organizations, users


def check_organization(connection: sa.Connection, organization_id: int, field: str = "organization_id") -> None:
    """Raise Invalid, naming the field, unless there is such an organization."""
    if connection.execute(sa.select(organizations.c.id).where(organizations.c.id == organization_id)).first() is None:
        raise Invalid.field(field, "people.no_organization", id=organization_id)


def home_of(connection: sa.Connection, user_id: int | None) -> int:
    """The organization that a user belongs to; the root for nobody in particular."""
    if user_id is not None:
        home = connection.execute(sa.select(users.c.organization_id).where(users.c.id == user_id)).scalar()
        if home is not None:
            return int(home)
    return int(
        connection.execute(
            sa.select(organizations.c.id).where(organizations.c.parent_id.is_(None)).order_by(organizations.c.id)
        ).scalar_one()
    )
