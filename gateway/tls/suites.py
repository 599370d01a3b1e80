"""Every cipher suite that a server may be found to speak, the dead ones too: for looking at servers, not for serving.

``suites.txt`` has the codes and names of IANA's registry (TLS Cipher Suites), without signals, private codes and what
never was a standard, but with the export suites of 1024 bits, which servers did offer. The rest follows from the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_NAME = re.compile(r"TLS_(?:(?P<exchange>\w+?)_WITH_)?(?P<protection>\w+)")
# The first that is in a name counts. Export ciphers have keys of which only so many bits are secret.
_BITS = (
    ("NULL", 0),
    ("DES40", 40),
    ("_40_", 40),
    ("_56_", 56),
    ("3DES", 112),
    ("DES_", 56),
    ("_128_", 128),
    ("_256_", 256),
    ("SM4", 128),
    ("IDEA", 128),
    ("SEED", 128),
    ("CHACHA20", 256),
    ("28147", 256),
    ("KUZNYECHIK", 256),
    ("MAGMA", 256),
    ("TLS_SHA", 0),  # integrity only (RFC 9150)
)
_NARROW = ("3DES", "IDEA", "DES", "RC2", "MAGMA", "28147")
_TLS1_3 = (0x1301, 0x13FF), (0x00C6, 0x00C7), (0xC0B4, 0xC0B5), (0xC103, 0xC106)


@dataclass(frozen=True)
class RegisteredSuite:
    """A cipher suite by its number on the wire and its name in the registry."""

    code: int
    name: str

    @cached_property
    def exchange(self) -> str:
        """How keys are agreed on and who signs, as the name has it: ``ECDHE_RSA``; "" where TLS 1.3 leaves it open."""
        match = _NAME.fullmatch(self.name)
        return (match["exchange"] or "") if match else ""

    @cached_property
    def bits(self) -> int:
        """The secret bits of the cipher's key."""
        protection = f"{self.name.partition('_WITH_')[2] or self.name}_"
        return next((bits for part, bits in _BITS if part in protection), 0)

    @property
    def is_tls1_3(self) -> bool:
        """Whether it belongs to TLS 1.3 and later only."""
        return any(first <= self.code <= last for first, last in _TLS1_3)

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody proves who he is."""
        return "_anon" in self.exchange

    @property
    def is_export(self) -> bool:
        """Whether it was weakened on purpose."""
        return "EXPORT" in self.exchange

    @property
    def is_forward_secret(self) -> bool:
        """Whether a key that is stolen later opens nothing of today."""
        return self.is_tls1_3 or "DHE" in self.exchange or self.is_anonymous or self.exchange == "ECCPWD"

    @property
    def narrow_cipher(self) -> str:
        """The name of a cipher with blocks of 64 bits, or ""."""
        protection = self.name.partition("_WITH_")[2]
        return next((name for name in _NARROW if name in protection), "")


REGISTERED: tuple[RegisteredSuite, ...] = tuple(
    RegisteredSuite(int(code, 16), f"TLS_{name}")
    for code, name in map(str.split, Path(__file__).with_name("suites.txt").read_text().splitlines())
)
BY_CODE = {suite.code: suite for suite in REGISTERED}
