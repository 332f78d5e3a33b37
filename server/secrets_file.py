"""Secrets that nobody has set are generated once and kept in DATA_DIR/secrets.json, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from server.config import Settings, SettingsError


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
    """Read the secrets, generating those that are missing. Blocking; called once at start. Raises SettingsError for a broken file."""
    path = path_of(settings)
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept) if path.exists() else _Kept()
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path} cannot be read ({error}): restore it, or remove it to have new secrets made.") from None
    fresh = _Kept(
        secret_key=kept.secret_key or secrets.token_urlsafe(48),
        module_key=kept.module_key or f"zm_{secrets.token_urlsafe(24)}",
        admin_password=kept.admin_password or secrets.token_urlsafe(12),
    )
    if fresh != kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
            os.fchmod(handle.fileno(), 0o600)  # also when an earlier start left the file behind
            handle.write(msgspec.json.format(msgspec.json.encode(fresh), indent=2) + b"\n")
        beside.replace(path)
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return Secrets(
        secret_key=settings.secret_key or fresh.secret_key,
        module_key=settings.module_key or fresh.module_key,
        admin_password=settings.admin_password or fresh.admin_password,
        admin_password_generated=not settings.admin_password,
    )
