"""Organizations, as the other wings ask about them."""

from __future__ import annotations

import sqlalchemy as sa

from server.errors import Invalid
from server.people.tables import organizations, users


def check_organization(connection: sa.Connection, organization_id: int, field: str = "organization_id") -> None:
    """Raise Invalid, naming the field, unless there is such an organization."""
    if connection.execute(sa.select(organizations.c.id).where(organizations.c.id == organization_id)).first() is None:
        raise Invalid.field(field, "people.no_organization", id=organization_id)


def root_id(connection: sa.Connection) -> int:
    """The root organization, the default of everything."""
    return int(
        connection.execute(sa.select(organizations.c.id).where(organizations.c.parent_id.is_(None)).order_by(organizations.c.id))
        .scalars()
        .first()
        or 0
    )


def home_of(connection: sa.Connection, user_id: int | None) -> int:
    """The organization that a user belongs to; the root for nobody in particular."""
    home = connection.execute(sa.select(users.c.organization_id).where(users.c.id == (user_id or 0))).scalar()
    return root_id(connection) if home is None else int(home)
