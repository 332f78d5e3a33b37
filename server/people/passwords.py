"""Passwords: Argon2id, checked in a thread."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE = 2


class Passwords:
    """Hashes and checks; RFC 9106's low-memory profile (the library's default), about 50 ms a check.

    A check against nothing takes as long as a check against a real hash, so that the time tells nobody whether an account exists.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._nobody: str | None = None
        # Few sign-ins are checked at a time: each takes 64 MiB, and the threads are there for others, too.
        self.turn = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        return await asyncio.to_thread(self._hasher.hash, password)

    async def check(self, hashed: str | None, password: str) -> bool:
        return await asyncio.to_thread(self._check, hashed, password)

    def needs_rehash(self, hashed: str) -> bool:
        return self._hasher.check_needs_rehash(hashed)

    def _check(self, hashed: str | None, password: str) -> bool:
        if self._nobody is None:
            self._nobody = self._hasher.hash("nobody")
        try:
            return self._hasher.verify(hashed or self._nobody, password) and bool(hashed)
        except (VerificationError, InvalidHashError):
            return False
