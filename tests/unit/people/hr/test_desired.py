"""What an account should be, from what HR says of its person."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from server.people.hr.desired import Place, desired_hash, desired_of, username_of
from server.people.hr.person_row import PersonRow, Position
from server.people.hr.targets.settings import (
    SECRET_FIELDS,
    TARGET_KINDS,
    LdapSettings,
    LocalSettings,
    ScimSettings,
    WebhookSettings,
    wrong_settings,
)

PLACES = {"D1": Place(11, "Physics"), "D2": Place(12, "Chemistry")}
LDAP = LdapSettings(url="ldap://ldap.example", bind_dn="cn=admin", password="x", base="dc=example")
SCIM = ScimSettings(url="https://scim.example/v2", token="x")
HOOK = WebhookSettings(url="https://hook.example", secret="x")


def person(**more: Any) -> PersonRow:
    given: dict[str, Any] = {"employee_no": "007", "name": "Ada", "email": "ada@bupt.example", "phone": "1", "title": "dean"}
    return PersonRow(**{**given, "department_code": "D1", **more})


def test_only_what_the_target_is_told() -> None:
    assert desired_of(person(), LocalSettings(), PLACES, 1, active=True).fields == {
        "name": "Ada",
        "email": "ada@bupt.example",
        "organization_id": 11,
        "positions": [{"organization_id": 11, "title": "dean"}],
    }
    assert set(desired_of(person(), LDAP, PLACES, 1, active=True).fields) == {"name", "email", "phone", "title", "department_code"}
    assert desired_of(person(), SCIM, PLACES, 1, active=True).department == "Physics"


def test_what_a_target_is_not_told_changes_nothing() -> None:
    local = LocalSettings()
    before, after = (desired_of(person(phone=phone), local, PLACES, 1, active=True) for phone in ("1", "2"))
    assert desired_hash(before) == desired_hash(after)
    hook = (desired_of(person(phone=phone), HOOK, PLACES, 1, active=True) for phone in ("1", "2"))
    assert len({desired_hash(one) for one in hook}) == 2


def test_an_end_is_the_same_whatever_else_hr_says() -> None:
    ends = {desired_hash(desired_of(person(name=name), HOOK, PLACES, 1, active=False)) for name in ("Ada", "Bea")}
    assert len(ends) == 1
    assert ends != {desired_hash(desired_of(person(), HOOK, PLACES, 1, active=True))}


def test_further_positions_and_departments_that_nobody_knows() -> None:
    more = [Position(department_code="D2", title="guest"), Position(department_code="D1", title="other"), Position(department_code="D9")]
    desired = desired_of(person(positions=more), LocalSettings(), PLACES, 1, active=True)
    assert desired.fields["positions"] == [{"organization_id": 11, "title": "dean"}, {"organization_id": 12, "title": "guest"}]
    nowhere = desired_of(person(department_code="D9"), LocalSettings(), PLACES, 1, active=True)
    assert (nowhere.organization_id, nowhere.fields["positions"]) == (1, [])


def test_a_mail_address_that_hr_does_not_know() -> None:
    assert "email" not in desired_of(person(email=None), LocalSettings(), PLACES, 1, active=True).fields
    assert desired_of(person(email=None), LDAP, PLACES, 1, active=True).fields["email"] is None


@pytest.mark.parametrize(
    ("rule", "email", "username"),
    [
        ("{employee_no}", "ada@bupt.example", "007"),
        ("{email_local}", "ada@bupt.example", "ada"),
        ("{email_local}", None, "007"),
        ("t{employee_no}", None, "t007"),
    ],
)
def test_user_names(rule: str, email: str | None, username: str) -> None:
    assert username_of(person(email=email), rule) == username


def test_what_is_derived_survives_the_database() -> None:
    desired = desired_of(person(), HOOK, PLACES, 1, active=True)
    again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(desired)), type(desired))
    assert again == desired
    assert desired_hash(again) == desired_hash(desired)


@pytest.mark.parametrize(
    ("kind", "given", "wrong"),
    [
        ("local", {}, set()),
        ("local", {"username": "everybody"}, {"username"}),
        ("local", {"username": "{name}"}, {"username"}),
        ("ldap", {"url": "http://x", "bind_dn": "cn=a", "base": "dc=b", "password": "x"}, {"url"}),
        ("ldap", {"url": "ldaps://x", "bind_dn": "cn=a", "base": "dc=b", "password": "x", "start_tls": True}, {"start_tls"}),
        ("ldap", {"url": "ldap://x", "bind_dn": "cn=a", "base": "dc=b"}, {"password"}),
        ("ldap", {"url": "ldap://x", "bind_dn": "a", "base": "b", "password": "x", "disable": "move"}, {"disabled_base"}),
        ("scim", {"url": "https://x"}, {"token"}),
        ("scim", {"url": "https://x", "login": "a", "password": "b"}, set()),
        ("webhook", {"url": "https://u:p@x", "secret": "x"}, {"url"}),
        ("webhook", {"url": "https://x"}, {"secret"}),
    ],
)
def test_settings_that_are_wrong(kind: str, given: dict[str, Any], wrong: set[str]) -> None:
    assert set(wrong_settings(msgspec.convert(given, TARGET_KINDS[kind]))) == wrong


def test_a_target_gives_no_role_that_rules() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"role": "administrator"}, LocalSettings)


def test_every_secret_is_a_setting_that_may_be_left_out() -> None:
    assert set(SECRET_FIELDS) == set(TARGET_KINDS)
    for kind, names in SECRET_FIELDS.items():
        fields = {field.name: field for field in msgspec.structs.fields(TARGET_KINDS[kind])}
        assert all(fields[name].default is None for name in names)
