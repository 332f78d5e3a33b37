"""Tables of our SCIM server: what it keeps of users and groups beyond our own columns."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import Json, UtcDateTime, identifier, metadata, short_text

# One row a user or organization that a SCIM client made or changed.
scim_resources = sa.Table(
    "scim_resources",
    metadata,
    sa.Column("kind", identifier(8), primary_key=True),  # user, group
    sa.Column("resource_id", sa.BigInteger, primary_key=True),
    sa.Column("external_id", short_text()),
    sa.Column("attributes", Json, nullable=False),  # what has no column of ours
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("deleted_at", UtcDateTime),  # deleted over SCIM: disabled here, and not found there
    sa.Index(None, "kind", "external_id"),
)
