"""Whom a command believes to be the gateway's control port when that speaks TLS."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.settings import ControlTls

TRUST_VARIABLE = "GATEWAY_ADMIN_TRUST"

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which the standard library does not name."""


@dataclass(frozen=True, slots=True)
class Trust:
    """``file`` holds the certificates to trust, its own or a CA's. Without one the system's authorities count.

    ``own`` and ``data_dir`` are those of a gateway of this host. Whoever may read its store knows which certificates
    it shows, and believes those and no others, whatever they are named and however old they are: a certificate that
    has expired is what somebody may be about to replace.
    """

    file: Path | None = None
    own: ControlTls | None = None
    data_dir: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what verifies, as of now. Raises OSError when ``file`` holds no certificates."""
        if self.file is None and (shown := self._shown()):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
            context.load_verify_locations(cadata=shown)
            return context
        # What OpenSSL trusts otherwise, SSL_CERT_FILE included.
        context = ssl.create_default_context(cafile=self.file)
        if self.file:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # its own certificate, though a CA signed it
        return context

    def _shown(self) -> bytes:
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


def is_distrust(error: BaseException | None) -> bool:
    """Whether a connection failed because the certificate that was shown is not trusted."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
