"""Mail codes by themselves: what they look like, how long a mailbox waits, what a mailbox is."""

from __future__ import annotations

from typing import Any, cast

import pytest

from server.config import Settings
from server.context import Context
from server.errors import Invalid
from server.people.codes import code_from, mailbox_of, pause_after
from server.secrets_file import Secrets


class _Context:
    """Only what a code is made from."""

    def __init__(self, secret_key: str, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.secrets = Secrets(secret_key=secret_key, module_key="m", admin_password="a", admin_password_generated=False)


def made(seed: str, secret_key: str = "k" * 32, **settings: Any) -> str:
    return code_from(cast(Context, _Context(secret_key, **settings)), seed)


def test_a_code_is_six_digits_that_follow_from_the_seed_and_the_key() -> None:
    codes = [made(str(seed)) for seed in range(2000)]
    assert all(len(code) == 6 and code.isascii() and code.isdigit() for code in codes)
    assert any(code.startswith("0") for code in codes)
    # Of 2000 draws from a million about two pairs are alike; ten would be far beyond chance.
    assert len(set(codes)) > 1990
    assert made("1") == made("1")
    assert made("1") != made("1", "another key")


def test_each_digit_comes_as_often_in_each_place() -> None:
    codes = [made(str(seed)) for seed in range(5000)]
    for place in range(6):
        for digit in "0123456789":
            # 500 expected, with a deviation of 21; six of them either way.
            assert 370 < sum(code[place] == digit for code in codes) < 630


def test_a_fixed_code_is_for_tests_alone() -> None:
    assert made("1", fixed_verification_code="424242", environment="test") == "424242"
    assert made("1", fixed_verification_code="424242") == made("1")


def test_a_mailbox_waits_longer_each_time() -> None:
    assert [pause_after(asked) for asked in (1, 2, 3, 4, 5, 6, 1000)] == [60, 120, 240, 480, 900, 900, 900]


@pytest.mark.parametrize(
    ("email", "mailbox"), [(" Ann@Example.ORG ", "ann@example.org"), ("a+b@x.cn", "a+b@x.cn"), ("用户@例子.中国", "用户@例子.中国")]
)
def test_mailboxes_are_compared_without_case(email: str, mailbox: str) -> None:
    assert mailbox_of(email) == mailbox


@pytest.mark.parametrize(
    "email", ["ann", "@x.org", "ann@", "a@b@c", "a@x.org,b@x.org", "a@x.org\nBcc: b@x.org", "a b@x.org", "<a@x.org>", "a@x.org\x00"]
)
def test_what_is_no_single_mailbox_is_refused(email: str) -> None:
    with pytest.raises(Invalid) as refused:
        mailbox_of(email)
    assert list(refused.value.fields) == ["email"]
