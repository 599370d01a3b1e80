"""The TLS versions, by their numbers on the wire and by the spellings people use for them."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class TlsVersion(IntEnum):
    """A protocol version; the value is its number on the wire, which Tyk's configuration takes too."""

    TLS1_0 = 769
    TLS1_1 = 770
    TLS1_2 = 771
    TLS1_3 = 772

    @property
    def label(self) -> str:
        """The version as people write it: ``1.2``."""
        return f"1.{self - 769}"

    @classmethod
    def parse(cls, value: int | str) -> Self:
        """Read ``771``, ``"771"``, ``"1.2"`` or ``"TLSv1.2"``; raises ValueError with the cure."""
        text = str(value).strip().upper().removeprefix("TLS").lstrip(" V")
        for version in cls:
            if text in (str(int(version)), version.label):
                return version
        raise ValueError(f"{value!r} is not a TLS version; use 1.0, 1.1, 1.2 or 1.3 (or 769, 770, 771, 772)")
