"""Passwords: Argon2id, one answer for the unknown and the wrong, and a new hash when the cost has changed."""

from __future__ import annotations

import pytest

from server.people.passwords import Passwords
from tests.embedded import cheap_passwords


@pytest.mark.gen_test
async def test_only_the_right_password_fits() -> None:
    passwords = cheap_passwords()
    hashed = await passwords.hash("a long password")
    assert hashed.startswith("$argon2id$")
    assert await passwords.hash("a long password") != hashed
    assert await passwords.check(hashed, "a long password")
    assert not await passwords.check(hashed, "A long password")
    assert not await passwords.check(hashed, "")
    assert not await passwords.check("no hash at all", "a long password")


@pytest.mark.gen_test
async def test_nobody_has_no_password() -> None:
    passwords = cheap_passwords()
    assert not await passwords.check(None, "nobody")
    assert not await passwords.check(None, "")
    assert not await passwords.check("", "nobody")


@pytest.mark.gen_test
async def test_an_older_hash_is_told_from_todays() -> None:
    old = await cheap_passwords().hash("x")
    assert Passwords().needs_rehash(old)
    assert not cheap_passwords().needs_rehash(old)
