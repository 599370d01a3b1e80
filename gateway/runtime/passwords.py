"""Passwords as they are kept: Argon2id (RFC 9106), computed one at a time in a thread of its own.

Each takes its memory and a good part of a second, so those who wait are few and the rest is told to come back:
neither the event loop nor the memory of control is anybody's to fill.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from gateway.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable

# More than the least that OWASP's cheat sheet asks for (19 MiB in 2 passes).
_MEMORY_KIB, _PASSES, _LANES = 65536, 2, 1
_WAITING = 8
_NOBODYS = f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p={_LANES}${'A' * 22}${'A' * 43}"
"""What the password of a name that nobody has is checked against, so that it takes as long."""

_Result = TypeVar("_Result")


class Passwords:
    """Hashes and checks passwords. Every method raises OverloadedError when too many wait already."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "passwords")
        self._waiting = 0

    async def hashed(self, password: str) -> str:
        """Return what to keep of a password: a PHC string, salt and cost included."""
        return await self._run(lambda: _hash(_bytes(password)))

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether it is the password of which ``kept`` was kept; never for None, which takes the same time."""
        return await self._run(lambda: _fits(_bytes(password), kept or _NOBODYS)) and kept is not None

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= _WAITING:
            raise OverloadedError("too many log in at this moment; try again in a few seconds")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1


def _bytes(password: str) -> bytes:
    """The same password, however a keyboard composes it (RFC 8265 section 4.2)."""
    return unicodedata.normalize("NFC", password).encode()


def _hash(password: bytes) -> str:
    kdf = Argon2id(salt=os.urandom(16), length=32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return kdf.derive_phc_encoded(password)


def _fits(password: bytes, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, kept)
    except InvalidKey:
        return False
    return True
