"""Failed handshakes in words that a person understands, and the alert that refuses a client before TLS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from OpenSSL import SSL

from gateway.tls.client_hello import ClientHello, ClientHelloError
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from gateway.tls.policy import TlsPolicy

# RFC 8446 section 6.2 and RFC 6066 section 3: nothing is served under the name that the client asked for.
UNRECOGNIZED_NAME = 112
INTERNAL_ERROR = 80
UNEXPECTED_MESSAGE = 10
NO_APPLICATION_PROTOCOL = 120  # RFC 7301 section 3.2

_CLOSED = "client closed the connection during the handshake"
_CLIENT_ALERT = re.compile(r"\S+ alert (.+)")
_DISTRUST = re.compile(r"unknown ca|(bad|unsupported) certificate|certificate (revoked|expired|unknown)")
# What OpenSSL reports on top of the reason itself.
_CONSEQUENCES = {"cipher operation failed", "record layer failure"}
_REASONS = {
    "unsupported protocol": "no TLS version supported by both client and server",
    "no shared cipher": "no cipher suite supported by both client and server",
    "no shared groups": "no key exchange group supported by both client and server",
    "no suitable key share": "no key exchange group supported by both client and server",
    "no shared signature algorithms": "no signature algorithm supported by both client and server",
    "no suitable signature algorithm": "no signature algorithm supported by both client and server",
    "inappropriate fallback": "client fell back to an older TLS version than both support (RFC 7507)",
    "http request": "client sent plain HTTP to the HTTPS port",
    "https proxy request": "client sent plain HTTP to the HTTPS port",
    "peer did not return a certificate": "client sent no certificate, and all that is served here demands one",
    "unexpected eof while reading": _CLOSED,
}


def refusal(alert: int) -> bytes:
    """Return the record of a fatal ``alert``, to be written where no TLS has been spoken yet."""
    return bytes((21, 3, 3, 0, 2, 2, alert))  # an alert record, TLS 1.2, of two bytes: fatal, and which


def explain(error: BaseException, hello: ClientHello | None = None, policy: TlsPolicy | None = None) -> str:
    """Return why a handshake failed, as a sentence about the client, in lower case and without a full stop.

    ``hello`` and ``policy`` say what was asked for and what was allowed, as far as that was known.
    """
    match error:
        case ClientHelloError():
            return str(error)
        case TimeoutError():
            return "client did not finish the handshake in time" if hello else "client sent no ClientHello in time"
        case SSL.ZeroReturnError() | SSL.SysCallError(args=(-1, _)):
            return _CLOSED
        case SSL.SysCallError() | ConnectionError():
            return "client reset the connection during the handshake"
        case SSL.Error(args=([*queue],)):
            reasons = [_reason(text, hello, policy) for _, _, text in queue if text not in _CONSEQUENCES]
            return ", ".join(dict.fromkeys(reasons)) or "unknown TLS error"
    return str(error) or type(error).__name__


def _reason(text: str, hello: ClientHello | None, policy: TlsPolicy | None) -> str:
    if match := _CLIENT_ALERT.fullmatch(text):
        verb = "does not trust this certificate" if _DISTRUST.fullmatch(match[1]) else "refused the handshake"
        return f"client {verb} (alert {match[1]})"
    if text in ("unsupported protocol", "wrong version number"):
        if hello is None:
            return "client sent something that is not TLS"
        if policy and (mismatch := _mismatch(hello, policy)):
            return mismatch
    return _REASONS.get(text, text)


def _mismatch(hello: ClientHello, policy: TlsPolicy) -> str | None:
    """How the versions that the client offers miss the policy; None when they do not, or are none that exist."""
    offered = sorted(version for version in hello.versions if 0x300 <= version <= TlsVersion.TLS1_3)
    if offered and offered[-1] < policy.minimum:
        return f"client offers {_label(offered[-1])} at most, the minimum here is {policy.minimum.label}"
    if offered and offered[0] > policy.maximum:
        return f"client offers {_label(offered[0])} at least, the maximum here is {policy.maximum.label}"
    return None


def _label(version: int) -> str:
    return f"TLS {TlsVersion(version).label}" if version >= TlsVersion.TLS1_0 else "SSL 3.0"
