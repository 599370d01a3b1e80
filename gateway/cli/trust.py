"""Whom a command believes to be the gateway's control port when that speaks TLS, and as whom it shows itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.cli.failures import AbsentError, AdminError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.settings import ControlTls


_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which the standard library does not name."""
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Trust:
    """``file`` holds the certificates to trust, its own or a CA's. Without one the system's authorities count.

    ``own`` and ``data_dir`` are those of a gateway of this host. Whoever may read its store knows which certificates
    it shows, and believes those and no others, whatever they are named and however old they are: a certificate that
    has expired is what somebody may be about to replace. ``pinned`` (DER), if not empty, is the one certificate that
    somebody has looked at and trusts. ``shown`` are the files of the certificate and key that the client shows.
    """

    file: Path | None = None
    own: ControlTls | None = None
    data_dir: Path | None = None
    pinned: bytes = b""
    shown: tuple[Path, Path | None] | None = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """Return what verifies, as of now. Raises OSError when a file does not hold what it should."""
        context = self._verifying()
        if self.shown:
            context.load_cert_chain(*self.shown)
        return context

    def trouble(self, error: OSError) -> str:
        """Say which file `context` could not use."""
        with contextlib.suppress(OSError):
            self._verifying()
            certificate, key = self.shown or (None, None)
            files = f"{certificate} and {key}" if key else f"{certificate}"
            return f"{files}: no client certificate with its key to show: {error.strerror or error}"
        return f"{self.file} holds no certificates to trust: {error.strerror or error}"

    def _verifying(self) -> ssl.SSLContext:
        if believed := self.pinned or (b"" if self.file else self._served()):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
            context.load_verify_locations(cadata=believed)
            return context
        # What OpenSSL trusts otherwise, SSL_CERT_FILE included.
        context = ssl.create_default_context(cafile=self.file)
        if self.file:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # its own certificate, though a CA signed it
        return context

    def _served(self) -> bytes:
        """The certificates (DER) that the store of this host's gateway has for its control port; none is b""."""
        if self.own is None or self.data_dir is None:
            return b""
        from cryptography.hazmat.primitives.serialization import Encoding

        from gateway.errors import StoreError
        from gateway.store import control_certificate
        from gateway.store.sqlite import Store

        with contextlib.suppress(StoreError), contextlib.closing(Store.open(self.data_dir, writable=False)) as store:
            served = control_certificate.served(self.own, store)
            return b"".join(one.leaf.public_bytes(Encoding.DER) for one in served)
        return b""


def certificate_at(url: str, trust: Trust) -> bytes:
    """Return the certificate (DER) that a server shows to anybody, believed by nobody yet. Raises AdminError."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise AdminError(f"{url} shows no certificate; --trust-admin-cert is for https://", exit_code=2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        if trust.shown:
            context.load_cert_chain(*trust.shown)
        with (
            socket.create_connection((parts.hostname, parts.port or 443), _CONNECT_SECONDS) as sock,
            context.wrap_socket(sock, server_hostname=parts.hostname) as tls,
        ):
            return tls.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise AbsentError(f"{url} shows no certificate: {error}; is that the control port, and with TLS?") from error


def fingerprint(certificate: bytes) -> str:
    """The SHA-256 of a certificate (DER), as OpenSSL and browsers show it."""
    return sha256(certificate).digest().hex(":").upper()


def alert(error: BaseException | None) -> str:
    """Return the alert with which the other side ended a TLS connection, "" when it was not that."""
    while error is not None and not (isinstance(error, ssl.SSLError) and "ALERT" in str(error.reason)):
        error = error.__cause__ or error.__context__
    return str(error.reason).partition("ALERT_")[2].replace("_", " ").lower() if isinstance(error, ssl.SSLError) else ""


def is_distrust(error: BaseException | None) -> bool:
    """Whether a connection failed because the certificate that was shown is not trusted."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
