"""Tables of people: organizations, users, roles and their assignment, sessions, API keys."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import GOES_WITH_ORGANIZATION, Json, LongText, UtcDateTime, identifier, metadata, serial, short_text

organizations = sa.Table(
    "organizations",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("parent_id", sa.BigInteger),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("code", short_text(64), nullable=False, unique=True),
    sa.Column("kind", identifier(32), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime),
    sa.Index(None, "parent_id"),
)

# Every organization with each one above it and with itself (depth 0): who may in one may below it.
organization_closure = sa.Table(
    "organization_closure",
    metadata,
    sa.Column("ancestor_id", sa.BigInteger, primary_key=True),
    sa.Column("descendant_id", sa.BigInteger, primary_key=True),
    sa.Column("depth", sa.Integer, nullable=False),
    sa.Index(None, "descendant_id", "depth"),
)

organization_members = sa.Table(
    "organization_members",
    metadata,
    sa.Column("organization_id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("position", short_text(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id"),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("username", short_text(150), nullable=False),
    sa.Column("username_key", short_text(150), nullable=False, unique=True),  # case folded
    sa.Column("email", short_text(254)),
    sa.Column("email_key", short_text(254), unique=True),  # case folded
    sa.Column("name", short_text(), nullable=False),
    sa.Column("kind", identifier(16), nullable=False),  # person or service
    sa.Column("state", identifier(16), nullable=False),  # active or disabled
    sa.Column("password_hash", LongText),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("last_login_at", UtcDateTime),
    sa.Column("password_changed_at", UtcDateTime),
    sa.Column("disabled_at", UtcDateTime),
    sa.Column("merged_into", sa.BigInteger),  # the account that took this one's place
    sa.Index(None, "organization_id"),
    sa.Index(None, "created_at"),
)

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("name", short_text(64), nullable=False, unique=True),
    sa.Column("system", sa.Boolean, nullable=False),
    sa.Column("description", short_text(500)),
    sa.Column("scopes", Json, nullable=False),
)

role_grants = sa.Table(
    "role_grants",
    metadata,
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("role_id", sa.BigInteger, primary_key=True),
    sa.Column("organization_id", sa.BigInteger, primary_key=True),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("method", identifier(16), nullable=False),  # password, code, cas, view
    sa.Column("viewer_id", sa.BigInteger),  # who looks with this user's eyes
    sa.Column("viewer_session_id", identifier()),  # by which session of theirs; this one ends with it
    sa.Column("view_reason", short_text(500)),
    sa.Column("address", identifier(64), nullable=False),
    sa.Column("agent", short_text(300), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("end_reason", identifier(24)),
    sa.Index(None, "user_id", "ended_at"),
    sa.Index(None, "expires_at"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("prefix", identifier(16), nullable=False, unique=True),
    sa.Column("secret_hash", identifier(64), nullable=False),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("last_used_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Index(None, "user_id"),
)

# Accounts at a single sign-on server: who somebody is there never changes, a name may.
cas_links = sa.Table(
    "cas_links",
    metadata,
    sa.Column("server", short_text(), primary_key=True),
    sa.Column("cas_id", short_text(), primary_key=True),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("attributes", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("last_login_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id"),
)

# Which of our sessions a ticket of theirs opened: their logout names the ticket.
cas_sessions = sa.Table(
    "cas_sessions",
    metadata,
    sa.Column("ticket_hash", identifier(64), primary_key=True),
    sa.Column("session_id", identifier()),  # NULL until the browser has fetched its tokens
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "session_id"),
    sa.Index(None, "created_at"),
)

user_imports = sa.Table(
    "user_imports",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("user_id", sa.BigInteger),  # who imported
    sa.Column("filename", short_text(255), nullable=False),
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("counts", Json, nullable=False),
    sa.Column("rows", Json, nullable=False),  # what was done, row by row, so that it can be undone
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("undone_at", UtcDateTime),
    sa.Index(None, "created_at"),
)

# Who in an organization is told of what happens there.
organization_notifications = sa.Table(
    "organization_notifications",
    metadata,
    sa.Column("organization_id", sa.BigInteger, primary_key=True),
    sa.Column("kind", identifier(60), primary_key=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("roles", Json, nullable=False),  # names of roles that are held in the organization
    sa.Column("positions", Json, nullable=False),  # positions of its members
    sa.Column("updated_at", UtcDateTime, nullable=False),
    info=GOES_WITH_ORGANIZATION,
)
