"""Secrets that nobody has set are generated once and kept in DATA_DIR/secrets.json, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from server.config import Settings


class Secrets(msgspec.Struct, frozen=True):
    """The secrets in force: from the settings where set there, else generated."""

    secret_key: str
    module_key: str
    admin_password: str
    admin_password_generated: bool


class _Kept(msgspec.Struct):
    secret_key: str = ""
    module_key: str = ""
    admin_password: str = ""


def path_of(settings: Settings) -> Path:
    return settings.data / "secrets.json"


def open_secrets(settings: Settings) -> Secrets:
    """Read the secrets, generating those that are missing. Blocking; called once at start."""
    path = path_of(settings)
    kept = msgspec.json.decode(path.read_bytes(), type=_Kept) if path.exists() else _Kept()
    fresh = _Kept(
        secret_key=kept.secret_key or secrets.token_urlsafe(48),
        module_key=kept.module_key or f"zm_{secrets.token_urlsafe(24)}",
        admin_password=kept.admin_password or secrets.token_urlsafe(12),
    )
    if fresh != kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
            handle.write(msgspec.json.format(msgspec.json.encode(fresh), indent=2) + b"\n")
        beside.replace(path)
    return Secrets(
        secret_key=settings.secret_key or fresh.secret_key,
        module_key=settings.module_key or fresh.module_key,
        admin_password=settings.admin_password or fresh.admin_password,
        admin_password_generated=not settings.admin_password,
    )
