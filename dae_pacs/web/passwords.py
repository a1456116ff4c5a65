"""Passwords: which are taken, and how they are kept (Argon2id, RFC 9106)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dae_pacs.errors import InputError, ServiceError

SHORTEST: Final = 12
LONGEST: Final = 256
"""Characters; more would only cost time to hash."""
_COMMON: Final = (
    "password",
    "passwort",
    "123456",
    "qwert",
    "dicom",
    "daepacs",
    "dae-pacs",
    "letmein",
    "admin",
)
_AT_A_TIME: Final = 2
"""Each check takes 64 MiB and some 50 ms: strangers must not be able to ask for more of them at once."""
_MOST_WAITING: Final = 8
"""Threads that wait for their turn; one more hears that it should come again."""


class Hasher:
    """Hashes and verifies, a few at a time whoever asks."""

    def __init__(self) -> None:
        self._argon2 = PasswordHasher()  # the library's parameters: RFC 9106's second choice, Argon2id
        self._places = threading.BoundedSemaphore(_AT_A_TIME)
        self._waiting = threading.BoundedSemaphore(_AT_A_TIME + _MOST_WAITING)
        self._nobodys = ""

    def hash(self, password: str) -> str:
        """Hash a password, with a salt of its own."""
        with self._turn():
            return self._argon2.hash(password)

    def is_right(self, password: str, hashed: str | None) -> bool:
        """Tell whether a password is the one; without a hash (no such account) it isn't, after as long.

        Raises:
            ServiceError: too many ask at this moment.
        """
        with self._turn():
            try:
                right = self._argon2.verify(hashed or self._hash_of_nobody(), password)
            except (VerificationError, InvalidHashError):
                return False
        return right and hashed is not None

    def _hash_of_nobody(self) -> str:
        self._nobodys = self._nobodys or self._argon2.hash("of nobody")
        return self._nobodys

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._waiting.acquire(blocking=False):
            raise ServiceError("Too many people log in at this moment; try again in a few seconds.")
        try:
            with self._places:
                yield
        finally:
            self._waiting.release()


def refuse_weak(password: str, *, name: str) -> None:
    """Take a password, or say what is wrong with it (NIST SP 800-63B 3.1.1: length counts, rules don't).

    Raises:
        InputError: it is too short, too long, or among the first that anyone would try.
    """
    if len(password) < SHORTEST:
        raise InputError(f"The password has {len(password)} characters; take {SHORTEST} or more.")
    if len(password) > LONGEST:
        raise InputError(f"The password has {len(password)} characters; take {LONGEST} or fewer.")
    lowered = password.lower()
    left = lowered.replace(name.lower(), "")
    for common in _COMMON:
        left = left.replace(common, "")
    if len(left) < SHORTEST // 2 or len(set(left)) < SHORTEST // 3:
        raise InputError(
            "The password is easily guessed: mostly the account's name, a common word or one character. "
            "Take a few words that don't belong together."
        )
