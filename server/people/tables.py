"""Tables of people: organizations, users, roles and their assignment, sessions, API keys."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import Json, LongText, UtcDateTime, identifier, metadata, serial, short_text

organizations = sa.Table(
    "organizations",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("parent_id", sa.BigInteger),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("code", short_text(64), nullable=False, unique=True),
    sa.Column("kind", identifier(32), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "parent_id"),
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
    sa.Index(None, "organization_id"),
    sa.Index(None, "created_at"),
)

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("name", short_text(64), nullable=False, unique=True),
    sa.Column("system", sa.Boolean, nullable=False),
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
    sa.Column("method", identifier(16), nullable=False),  # password, code, cas
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
