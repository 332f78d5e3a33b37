"""Which new passwords are refused, and why."""

from __future__ import annotations

import sys

import pytest

from server.errors import Invalid
from server.people.password_rules import PasswordRules, read_common

NAMES = ("WangXiaoming", "xm.wang@bupt.edu.cn", "王小明")


async def refused(password: str, *names: str | None) -> str | None:
    """The key of the sentence that refuses a password; None for one that is taken."""
    try:
        await PasswordRules().check(password, *names, field="secret")
    except Invalid as error:
        ((field, (sentence,)),) = error.fields.items()
        assert field == "secret"
        return sentence.key
    return None


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "password.short"),
        ("1234567", "password.short"),
        ("密码太短了吗七", "password.short"),
        ("x" * 1025, "password.long"),
        ("password", "password.common"),
        ("PassWord", "password.common"),
        ("123456789", "password.common"),
        ("1qaz2wsx3edc", "password.common"),
        ("qwertyuiop", "password.common"),
        ("password123", "password.common"),
        ("88888888", "password.common"),
        ("abcabcabcab", "password.common"),
        ("密码密码密码密码", "password.common"),
        ("23456789", "password.common"),
        ("hgfedcba", "password.common"),
        ("wangxiaoming", "password.name"),
        ("WANGXIAOMING", "password.name"),
        ("wangxiaoming2026!", "password.name"),
        ("123wangxiaoming", "password.name"),
        ("xm.wang@bupt.edu.cn", "password.name"),
        ("xm.wang1999", "password.name"),
        ("王小明19990101", "password.name"),
        ("Zhihui2026", "password.name"),
        ("智汇智汇", "password.short"),
    ],
)
@pytest.mark.gen_test
async def test_a_weak_password_is_refused(password: str, why: str) -> None:
    assert await refused(password, *NAMES) == why


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "nvxqptze",  # eight letters of one case: no rule says which characters there must be
        "二十四史资治通鉴",
        "wangxiaoming likes rivers",
        "1999 was long ago",
        "a" * 1000 + "b" * 24,
        "tree 树 🌳 12",
    ],
)
@pytest.mark.gen_test
async def test_what_is_long_and_rare_is_taken(password: str) -> None:
    assert await refused(password, *NAMES) is None


@pytest.mark.gen_test
async def test_no_name_refuses_nothing() -> None:
    for password in ("nvxqptze", "20260131!", "!!!!????"):
        assert await refused(password, None, "", " ", "@", "12", "!") is None


def test_the_list_is_long_and_read_without_the_estimator() -> None:
    before = set(sys.modules)
    words = read_common()
    assert len(words) > 10_000
    assert min(len(word) for word in words) == 8
    assert all(word == word.casefold() for word in words)
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in ("zxcvbn", "frequency_lists")}


@pytest.mark.gen_test
async def test_the_list_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counted() -> frozenset[str]:
        read.append(1)
        return read_common()

    monkeypatch.setattr("server.people.password_rules.read_common", counted)
    rules = PasswordRules()
    with pytest.raises(Invalid):
        await rules.check("short")
    assert read == []
    await rules.check("nvxqptze")
    with pytest.raises(Invalid):
        await rules.check("password")
    assert read == [1]
