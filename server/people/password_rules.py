"""What a new password must be: long enough, none of those that everybody takes, and not the user's own name."""

from __future__ import annotations

import asyncio
import importlib.util
from importlib.machinery import PathFinder
from itertools import pairwise

from server.errors import Invalid

SHORTEST = 8
# Also what LoginRequest takes; longer ones would only cost time to hash.
LONGEST = 1024
# A password such as abcabcabc is as weak as what it repeats.
LONGEST_REPEATED = 4
# The system's own names are the first that somebody tries.
OUR_NAMES = ("zhihui", "智汇")


class PasswordRules:
    """The rules of OWASP ASVS 5.0, 6.2: a least length, no common password, nothing about which characters there must be.

    The common ones are the list of leaked passwords, by frequency, that the package zxcvbn keeps; read at first use, in a thread.
    """

    def __init__(self) -> None:
        self._common: frozenset[str] = frozenset()

    async def check(self, password: str, *names: str | None, field: str = "password") -> None:
        """Raise Invalid, naming `field`, for a password that must not be; `names` are the user's: user name, mail address, own name."""
        if len(password) < SHORTEST:
            raise Invalid.field(field, "password.short", least=SHORTEST)
        if len(password) > LONGEST:
            raise Invalid.field(field, "password.long", most=LONGEST)
        if is_a_name(password, (*names, *OUR_NAMES)):
            raise Invalid.field(field, "password.name")
        if not self._common:
            self._common = await asyncio.to_thread(read_common)
        if password.casefold() in self._common or is_a_row(password) or is_repeated(password):
            raise Invalid.field(field, "password.common")


def read_common() -> frozenset[str]:
    """The common passwords of at least SHORTEST characters, in small letters.

    Only the file of the lists is run: importing the package itself would build all the tables of its estimator and keep them.
    """
    package = importlib.util.find_spec("zxcvbn")
    found = PathFinder.find_spec("frequency_lists", list((package and package.submodule_search_locations) or ()))
    if found is None or found.loader is None:
        raise ModuleNotFoundError("the lists of the package zxcvbn are not there")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return frozenset(word.casefold() for word in module.FREQUENCY_LISTS["passwords"] if len(word) >= SHORTEST)


def is_a_name(password: str, names: tuple[str | None, ...]) -> bool:
    """Whether a password is one of the names, also with digits and signs around it; a mail address counts with and without its domain."""
    given = password.casefold()
    bare = _letters_within(given)
    for name in names:
        whole = (name or "").strip().casefold()
        for part in {whole, whole.partition("@")[0]}:
            if part and (given == part or (bare and bare == _letters_within(part))):
                return True
    return False


def is_a_row(password: str) -> bool:
    """Whether each character is the one after the last, or the one before it: 23456789, hgfedcba."""
    steps = {ord(after) - ord(before) for before, after in pairwise(password)}
    return steps in ({1}, {-1})


def is_repeated(password: str) -> bool:
    """Whether a password is a few characters over and over: 88888888, abababab."""
    return any(password == (password[:unit] * len(password))[: len(password)] for unit in range(1, LONGEST_REPEATED + 1))


def _letters_within(text: str) -> str:
    """The text from its first letter to its last."""
    letters = [place for place, character in enumerate(text) if character.isalpha()]
    return text[letters[0] : letters[-1] + 1] if letters else ""
