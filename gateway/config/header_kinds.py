"""Header fields as the configuration writes them: which names a rule may touch, and which values can be sent."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from gateway.config.kinds import refuse

# RFC 9110 sections 5.1 and 5.5. What is sent is ASCII: anything else is read differently by different programs.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e]{0,4096}")
# Tyk replaces these while it serves; sent as they are, an upstream would take the words for the value.
_TYK_VARIABLE = re.compile(r"\$tyk_|\$secret_", re.IGNORECASE)

_FRAMING = """
    connection content-length expect http2-settings keep-alive proxy proxy-authenticate proxy-authorization
    proxy-connection te trailer transfer-encoding upgrade
"""
_FORWARDING = """
    client-cert client-cert-chain forwarded host x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
    x-real-ip x-request-id
"""
FRAMING = frozenset(_FRAMING.split())
"""Fields that end at each hop, or say where a message ends (RFC 9110 section 7.6.1, RFC 9112 section 6)."""
FORWARDING = frozenset(_FORWARDING.split())
"""Fields by which the gateway says who asked, and for what."""


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        refuse(f"{text[:60]!r} is not the name of a header field", "use letters, digits and hyphens")
    alias = text.lower().replace("_", "-").replace(".", "-")
    if alias in FRAMING:
        refuse(f"{text} belongs to a single connection, or frames a message: no rule can touch it", "remove it")
    if alias in FORWARDING:
        refuse(f"{text} is what the gateway itself says about a request: no rule can touch it", "remove it")
    return text


def _lines(fields: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name, value in fields.items():
        if (first := seen.setdefault(_name(name).lower(), name)) != name:
            refuse(f"{name} and {first} are the same field", "keep one of the two")
        if _VALUE.fullmatch(value) is None:
            refuse(f"the value of {name} cannot be sent", "write printable ASCII on one line, at most 4096 characters")
        if value != value.strip():
            refuse(f"the value of {name} begins or ends with white space", "remove it")
        if _TYK_VARIABLE.search(value):
            refuse(f"the value of {name} has a variable of Tyk in it, and values are sent as they are", "write a text")
    return fields


HeaderName = Annotated[str, AfterValidator(_name)]
HeaderLines = Annotated[dict[str, str], AfterValidator(_lines)]
