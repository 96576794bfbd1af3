"""Check passwords with Argon2id, away from the event loop, in the same time for users there are and are not."""

from __future__ import annotations

import secrets

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

CONCURRENT_CHECKS = 2  # each takes 64 MiB and a core for about 50 ms


class PasswordChecker:
    """Verify passwords, at most two at a time."""

    def __init__(self, hasher: PasswordHasher, decoy: str) -> None:
        self._hasher = hasher
        self._decoy = decoy
        self._limiter = anyio.CapacityLimiter(CONCURRENT_CHECKS)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Say whether the password is the one hashed; without a hash a decoy is checked, and the answer is False."""
        known = await anyio.to_thread.run_sync(
            self._verify, password_hash or self._decoy, password, limiter=self._limiter
        )
        return known and password_hash is not None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def create_password_checker() -> PasswordChecker:
    """Make a checker; its decoy is the hash of a password that nobody knows, with today's parameters."""
    hasher = PasswordHasher()
    return PasswordChecker(hasher, hasher.hash(secrets.token_urlsafe(24)))
