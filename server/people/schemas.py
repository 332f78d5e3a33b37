"""What the routes of people take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
Captcha = Annotated[str, msgspec.Meta(max_length=8192)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`captcha` is what the captcha's widget gave; it is asked for after failed sign-ins, where a captcha is set up."""

    username: Name
    password: Password
    captcha: Captcha | None = None


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class OrganizationRef(msgspec.Struct):
    id: int
    name: str


class User(msgspec.Struct):
    id: int
    username: str
    name: str
    email: str | None
    kind: str
    state: str
    organization_id: int
    roles: list[str]
    created_at: datetime
    last_login_at: datetime | None


class ViewedBy(msgspec.Struct):
    """The administrator who looks with the user's eyes."""

    id: int
    username: str


class Me(msgspec.Struct):
    """The caller: `scopes` are all that are held anywhere; `viewed_by` is set when it is somebody else who looks."""

    id: int
    username: str
    name: str
    email: str | None
    roles: list[str]
    scopes: list[str]
    organizations: list[OrganizationRef]
    viewed_by: ViewedBy | None = None


class TokenPair(msgspec.Struct):
    """`expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    user: Me


class ApiKeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    scopes: list[str]
    expires_at: datetime | None = None


class ApiKey(msgspec.Struct):
    id: int
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewApiKey(ApiKey):
    """`key` is shown this once."""

    key: str = ""


class Ticket(msgspec.Struct):
    ticket: str
    expires_in: int


class Done(msgspec.Struct):
    done: bool = True
