"""What the settings of each kind of target are, and which of them are secret."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from server.errors import Fields
from server.messages import text

# What a target may be told of a person, beside the user name, the employee number and whether the account is active.
Field = Literal["name", "email", "phone", "title", "department_code", "department", "positions"]
LdapField = Literal["name", "email", "phone", "title", "department_code", "department"]
ScimField = Literal["name", "email", "phone", "title", "department"]
Line = Annotated[str, msgspec.Meta(max_length=500)]
Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=120)]
Side = Annotated[int, msgspec.Meta(ge=1, le=16)]
# {employee_no}, or {email_local}: what stands before the @.
_PLACES = re.compile(r"\{([^{}]*)\}")
_KNOWN_PLACES = frozenset({"employee_no", "email_local"})
_PERSON = ("top", "person", "organizationalPerson", "inetOrgPerson")
_ATTRIBUTES: dict[LdapField, str] = {
    "name": "cn",
    "email": "mail",
    "phone": "telephoneNumber",
    "title": "title",
    "department_code": "departmentNumber",
}


class TargetSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every kind has: how the user name is made; it is given once and never changed afterwards."""

    username: Line = "{employee_no}"


class LocalSettings(TargetSettings, forbid_unknown_fields=True, kw_only=True):
    """Our own users; `role` is granted in the person's organization, none when it is empty.

    Only roles that rule over nobody: whoever may change a target must not gain rights by it.
    """

    role: Literal["teacher", "student", "reviewer", ""] = "teacher"


class RemoteSettings(TargetSettings, forbid_unknown_fields=True, kw_only=True):
    """`concurrency`: how many accounts are worked on at a time; `timeout_s`: of one request."""

    url: Line
    timeout_s: Seconds = 10.0
    concurrency: Side = 4


class LdapSettings(RemoteSettings, forbid_unknown_fields=True, kw_only=True):
    """A directory. `base`: where accounts are made, and looked for; `attributes`: our field → its attribute.

    `disable` says what ends an account: `lock` sets pwdAccountLockedTime, `attribute` sets `disable_attribute` to `disabled_value`
    (and back to `enabled_value`), `move` moves it below `disabled_base`. `prove`: after a disable a bind is tried, for which the
    password is replaced by one that nobody knows; by default only for `lock`.
    """

    bind_dn: Line
    password: Line | None = None
    base: Line
    start_tls: bool = False
    verify: bool = True
    ca_file: Line | None = None
    user_attribute: Line = "uid"
    id_attribute: Line = "employeeNumber"
    object_classes: list[Line] = msgspec.field(default_factory=lambda: list(_PERSON))
    attributes: dict[LdapField, Line] = msgspec.field(default_factory=lambda: dict(_ATTRIBUTES))
    disable: Literal["lock", "attribute", "move"] = "lock"
    disable_attribute: Line | None = None
    disabled_value: Line | None = None
    enabled_value: Line | None = None
    disabled_base: Line | None = None
    prove: bool | None = None

    @property
    def proves(self) -> bool:
        return self.disable == "lock" if self.prove is None else self.prove


class ScimSettings(RemoteSettings, forbid_unknown_fields=True, kw_only=True):
    """A SCIM 2.0 service; `url` is what stands before /Users. A bearer `token`, or a user name and a password."""

    token: Line | None = None
    login: Line | None = None
    password: Line | None = None
    verify: bool = True
    update: Literal["patch", "put"] = "patch"
    fields: list[ScimField] = msgspec.field(default_factory=lambda: list(get_args(ScimField)))


class WebhookSettings(RemoteSettings, forbid_unknown_fields=True, kw_only=True):
    """An address that is told of each change by POST, signed with `secret`."""

    secret: Line | None = None
    verify: bool = True
    fields: list[Field] = msgspec.field(default_factory=lambda: list(get_args(Field)))


TARGET_KINDS: dict[str, type[TargetSettings]] = {
    "local": LocalSettings,
    "ldap": LdapSettings,
    "scim": ScimSettings,
    "webhook": WebhookSettings,
}
# Kept sealed, never shown.
SECRET_FIELDS: dict[str, tuple[str, ...]] = {
    "local": (),
    "ldap": ("password",),
    "scim": ("token", "password"),
    "webhook": ("secret",),
}


def fields_of(settings: TargetSettings) -> frozenset[str]:
    """Which fields of a person the target is told."""
    if isinstance(settings, LdapSettings):
        return frozenset(settings.attributes)
    if isinstance(settings, ScimSettings | WebhookSettings):
        return frozenset(settings.fields)
    return frozenset({"name", "email", "organization_id", "positions"})


def wrong_settings(settings: TargetSettings) -> Fields:
    """The reasons by field; empty when all is well. The secrets must be among the settings."""
    wrong: dict[str, Any] = {}
    places = _PLACES.findall(settings.username)
    if not places or set(places) - _KNOWN_PLACES or "{" in _PLACES.sub("", settings.username):
        wrong["username"] = text("account.username_rule", choices="{employee_no}, {email_local}")
    if isinstance(settings, RemoteSettings):
        schemes = ("ldap", "ldaps") if isinstance(settings, LdapSettings) else ("http", "https")
        if not _is_address(settings.url, schemes):
            wrong["url"] = text("account.target_url", schemes=", ".join(schemes))
    for name in _needed(settings):
        if not getattr(settings, name):
            wrong[name] = text("field.required")
    if isinstance(settings, LdapSettings) and settings.start_tls and settings.url.startswith("ldaps:"):
        wrong["start_tls"] = text("account.start_tls_twice")
    return {name: [why] for name, why in wrong.items()}


def _needed(settings: TargetSettings) -> tuple[str, ...]:
    if isinstance(settings, LdapSettings):
        more = {"attribute": ("disable_attribute", "disabled_value"), "move": ("disabled_base",), "lock": ()}[settings.disable]
        return ("bind_dn", "password", "base", "user_attribute", "id_attribute", *more)
    if isinstance(settings, WebhookSettings):
        return ("secret",)
    if isinstance(settings, ScimSettings):
        return ("password",) if settings.login else ("token",)
    return ()


def _is_address(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return False
