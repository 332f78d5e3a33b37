"""What the routes of users take and answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from server.paging import PageQuery
from server.people.schemas import Name, Password, User

UserName = Annotated[str, msgspec.Meta(min_length=1, max_length=150)]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
OrganizationId = Annotated[int, msgspec.Meta(ge=1, le=10**15)]
Kind = Literal["person", "service"]
Word = Annotated[str, msgspec.Meta(max_length=64)]


class UserState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"  # on every path: password, code, single sign-on, key, open sockets


class UserFilter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which users: of an organization and those below it, in a state, with a role, of a kind; `q` searches names and mail addresses."""

    organization_id: OrganizationId | None = None
    state: Word = ""
    role: Word = ""
    kind: Word = ""
    q: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")] = ""


class UserQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """A page of users, narrowed as in UserFilter."""

    organization_id: OrganizationId | None = None
    state: Word = ""
    role: Word = ""
    kind: Word = ""


class UserDetail(User):
    """One user; `merged_into` is the account that took this one's place."""

    updated_at: datetime
    disabled_at: datetime | None
    merged_into: int | None


class UserDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new user; `roles` are granted in its organization. Without a password one signs in by a mailed code or by single sign-on."""

    username: UserName
    name: Annotated[str, msgspec.Meta(max_length=190)] = ""
    email: Email | None = None
    password: Password | None = None
    organization_id: OrganizationId | None = None
    roles: Annotated[list[Word], msgspec.Meta(max_length=20)] = []
    kind: Kind = "person"


class UserPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may be changed of a user; what is left out stays."""

    username: UserName | msgspec.UnsetType = msgspec.UNSET
    name: Name | msgspec.UnsetType = msgspec.UNSET
    email: Email | msgspec.UnsetType | None = msgspec.UNSET
    organization_id: OrganizationId | msgspec.UnsetType = msgspec.UNSET


class MePatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a user may change of itself; the mail address is changed by a code alone."""

    name: Name


class PasswordSetting(msgspec.Struct, forbid_unknown_fields=True):
    password: Password


class MergeRequest(msgspec.Struct, forbid_unknown_fields=True):
    into: OrganizationId
