"""The operations of PATCH: what RFC 7644 says, and what its clients do."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from server.people.scim.errors import InvalidPath, InvalidValue, NoTarget, NotMutable, ScimRefused
from server.people.scim.patching import patched
from server.people.scim.schema_model import ENTERPRISE_URN
from server.people.scim.schemas import GROUP, USER

WORK, HOME = {"value": "w@x.example", "type": "work", "primary": True}, {"value": "h@x.example", "type": "home"}
BEFORE: dict[str, Any] = {
    "userName": "bob",
    "active": True,
    "name": {"givenName": "Bob", "familyName": "Lee"},
    "emails": [WORK, HOME],
    ENTERPRISE_URN: {"department": "Tours"},
}


def after(*operations: dict[str, Any], before: dict[str, Any] = BEFORE, kind: Any = USER) -> dict[str, Any]:
    given = copy.deepcopy(before)
    result = patched(kind, given, {"Operations": list(operations)})
    assert given == before
    return result


def test_adding_sets_merges_and_appends() -> None:
    new = {"value": "n@x.example", "primary": True}
    result = after(
        {"op": "add", "path": "title", "value": "Dr"},
        {"op": "add", "path": "name", "value": {"middleName": "J"}},
        {"op": "add", "path": "emails", "value": [new, HOME]},
        {"op": "add", "path": ENTERPRISE_URN, "value": {"costCenter": "5"}},
    )
    assert result["title"] == "Dr"
    assert result["name"] == {"givenName": "Bob", "familyName": "Lee", "middleName": "J"}
    assert result["emails"] == [{**WORK, "primary": False}, HOME, new]
    assert result[ENTERPRISE_URN] == {"department": "Tours", "costCenter": "5"}


def test_replacing_takes_the_place() -> None:
    result = after(
        {"op": "replace", "path": "emails", "value": [HOME]},
        {"op": "replace", "path": "name.givenName", "value": "Rob"},
        {"op": "replace", "path": "NICKNAME", "value": "R"},
        {"op": "replace", "path": f"{ENTERPRISE_URN}:department", "value": None},
    )
    assert result["emails"] == [HOME]
    assert result["name"]["givenName"] == "Rob"
    assert result["nickName"] == "R"
    assert ENTERPRISE_URN not in result


def test_removing_unassigns() -> None:
    result = after(
        {"op": "remove", "path": 'emails[type eq "work"]'},
        {"op": "remove", "path": "name.givenName"},
        {"op": "remove", "path": "active"},
        {"op": "remove", "path": ENTERPRISE_URN},
    )
    assert result == {"userName": "bob", "name": {"familyName": "Lee"}, "emails": [HOME]}
    assert "emails" not in after({"op": "remove", "path": "emails[value pr]"})
    assert "name" not in after({"op": "remove", "path": "name"})
    assert after({"op": "remove", "path": 'emails[type eq "work"].primary'})["emails"][0] == {"value": "w@x.example", "type": "work"}


def test_filters_choose_values() -> None:
    result = after({"op": "replace", "path": 'emails[type eq "home"].value', "value": "new@x.example"})
    assert result["emails"] == [WORK, {"value": "new@x.example", "type": "home"}]
    result = after({"op": "replace", "path": 'emails[type eq "home"]', "value": {"value": "n@x.example", "primary": True}})
    assert result["emails"] == [{**WORK, "primary": False}, {"value": "n@x.example", "primary": True}]
    with pytest.raises(NoTarget):
        after({"op": "replace", "path": 'emails[type eq "other"].value', "value": "x@x.example"})


def test_entra_is_understood() -> None:
    result = after(
        {"op": "Add", "path": 'phoneNumbers[type eq "work"].value', "value": "123"},
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "Replace", "value": {"displayName": "B", "name.familyName": "Li", f"{ENTERPRISE_URN}:department": "Sales", "id": "9"}},
        {"op": "Add", "path": f"{ENTERPRISE_URN}:manager", "value": "17"},
    )
    assert result["phoneNumbers"] == [{"type": "work", "value": "123"}]
    assert result["active"] is False
    assert (result["displayName"], result["name"]["familyName"]) == ("B", "Li")
    assert result[ENTERPRISE_URN] == {"department": "Sales", "manager": {"value": "17"}}
    assert "id" not in result


def test_members_are_who_they_are_however_written() -> None:
    before = {"displayName": "G", "members": [{"value": "1"}, {"value": "2"}]}
    add = {"op": "add", "path": "members", "value": [{"value": "2", "type": "User"}, {"$ref": "https://x.example/Users/3"}]}
    result = after(add, before=before, kind=GROUP)
    assert [one["value"] for one in result["members"]] == ["1", "2", "3"]
    removed = after({"op": "remove", "path": "members", "value": [{"value": "1"}]}, before=before, kind=GROUP)
    assert removed["members"] == [{"value": "2"}]


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ({"op": "move", "path": "title"}, ScimRefused),
        ("add", ScimRefused),
        ({"op": "remove"}, NoTarget),
        ({"op": "add", "path": "title"}, InvalidValue),
        ({"op": "add", "value": "text"}, InvalidValue),
        ({"op": "add", "path": "unknown", "value": 1}, InvalidPath),
        ({"op": "add", "path": "name.unknown", "value": 1}, InvalidPath),
        ({"op": "add", "path": 'name[type eq "x"]', "value": {}}, InvalidPath),
        ({"op": "add", "path": 'emails[unknown eq "x"]', "value": {}}, InvalidPath),
        ({"op": "add", "path": ["title"], "value": 1}, InvalidPath),
        ({"op": "replace", "path": "id", "value": "1"}, NotMutable),
        ({"op": "replace", "path": "meta.created", "value": "1"}, NotMutable),
        ({"op": "add", "path": "groups", "value": [{"value": "1"}]}, NotMutable),
        ({"op": "remove", "path": "userName"}, NotMutable),
        ({"op": "replace", "path": "userName", "value": ""}, InvalidValue),
        ({"op": "replace", "path": "active", "value": "perhaps"}, InvalidValue),
        ({"op": "add", "path": "emails", "value": [{"value": "a", "primary": True}, {"value": "b", "primary": True}]}, InvalidValue),
        ({"op": "add", "path": "x509Certificates", "value": [{"value": "not base64!"}]}, InvalidValue),
    ],
)
def test_what_cannot_be_done_is_refused(operation: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        after(operation)
