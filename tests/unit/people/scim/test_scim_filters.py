"""SCIM filters and paths: what they are read as, what they match, what is no filter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.people.scim.errors import InvalidFilter, InvalidPath
from server.people.scim.filters import Compare, Every, Not, PatchPath, Present, Some, Within, parse_filter, parse_path
from server.people.scim.matching import UnknownAttribute, make_test
from server.people.scim.schema_model import ENTERPRISE_URN
from server.people.scim.schemas import GROUP, USER

BARBARA: dict[str, Any] = {
    "schemas": [USER.urn, ENTERPRISE_URN],
    "id": "7",
    "userName": "bjensen",
    "name": {"familyName": "Jensen"},
    "active": True,
    "emails": [{"value": "b@work.example", "type": "work", "primary": True}, {"value": "b@home.example", "type": "home"}],
    ENTERPRISE_URN: {"department": "Tours", "manager": {"value": "1"}},
    "meta": {"lastModified": "2026-01-02T03:04:05Z"},
}


def meets(source: str) -> bool:
    return make_test(USER, parse_filter(source))(BARBARA)


def test_or_binds_least_and_not_most() -> None:
    a, b, c = Present("a"), Present("b"), Present("c")
    assert parse_filter("a pr or b pr and c pr") == Some((a, Every((b, c))))
    assert parse_filter("(a pr or b pr) and not (c pr)") == Every((Some((a, b)), Not(c)))
    assert parse_filter('a[b pr and c eq "]"]') == Within("a", Every((b, Compare("c", "eq", "]"))))
    assert parse_filter("not pr") == Present("not")


@pytest.mark.parametrize(
    ("literal", "value"),
    [('"x y"', "x y"), ('"\\u5f20\\""', '张"'), ("true", True), ("False", False), ("null", None), ("5", 5), ("-1.5", -1.5)],
)
def test_values_are_json(literal: str, value: Any) -> None:
    assert parse_filter(f"a eq {literal}") == Compare("a", "eq", value)


@pytest.mark.parametrize(
    "source",
    [
        'username EQ "BJENSEN"',
        'id eq "7"',
        'name.familyName co "ens"',
        'emails co "HOME"',
        'emails[type eq "work" and value sw "b@work"]',
        'emails[type eq "work"].value ew ".example"',
        'emails.type eq "home"',
        "emails.primary eq true",
        f'{ENTERPRISE_URN}:manager eq "1"',
        f"{ENTERPRISE_URN.upper()}:department pr",
        'meta.lastModified gt "2026-01-02T03:04:04Z"',
        'meta.lastModified eq "2026-01-02T11:04:05+08:00"',
        'meta.lastModified le "2026-01-02T03:04:05"',
        'userName gt "a" and userName lt "c" and userName ge "bjensen"',
        'title ne "x" and title eq null',
        f'schemas eq "{ENTERPRISE_URN}"',
    ],
)
def test_what_is_so_matches(source: str) -> None:
    assert meets(source)


@pytest.mark.parametrize(
    "source",
    [
        'emails[type eq "home" and value sw "b@work"]',
        'userName ne "BJENSEN"',
        "title pr",
        'title gt "a"',
        "active eq false",
        'emails ne "b@home.example"',
        "groups pr",
        "userName eq null",
    ],
)
def test_what_is_not_so_does_not_match(source: str) -> None:
    assert not meets(source)


def test_what_another_kind_has_counts_as_unassigned() -> None:
    node = parse_filter('members pr or members[value eq "1"] or active gt true or members eq "1"')
    with pytest.raises(UnknownAttribute):
        make_test(USER, node)
    assert not make_test(GROUP, parse_filter('userName eq "x" or active eq true'), among_others=True)({})
    assert make_test(GROUP, parse_filter('userName ne "x" and title eq null'), among_others=True)({})


def is_read(source: str) -> bool:
    try:
        return isinstance(parse_filter(source), Compare | Present | Within | Not | Every | Some)
    except InvalidFilter:
        return False


@given(st.text(max_size=60) | st.from_regex(r'([a-z.\[\]() "]|eq|and|or|not|pr|true){0,25}', fullmatch=True))
def test_any_text_is_a_filter_or_is_refused(source: str) -> None:
    assert is_read(source) == is_read(f"({source})")


def test_paths_are_read() -> None:
    assert parse_path("name.givenName") == PatchPath("name.givenName")
    assert parse_path(f"{ENTERPRISE_URN}:manager.value") == PatchPath(f"{ENTERPRISE_URN}:manager.value")
    assert parse_path(ENTERPRISE_URN) == PatchPath(ENTERPRISE_URN)
    assert parse_path('emails[type eq "work"].value') == PatchPath("emails", Compare("type", "eq", "work"), "value")
    assert parse_path('members[value eq "2"]') == PatchPath("members", Compare("value", "eq", "2"))


@pytest.mark.parametrize(
    "source", ["", "a b", "a.b.c", "emails[", "emails[type]", 'emails[type eq "x"]value', 'emails[type eq "x"].a.b', "[a pr]"]
)
def test_other_paths_are_refused(source: str) -> None:
    with pytest.raises(InvalidPath):
        parse_path(source)
