"""The part of a handshake in which a client shows a certificate: how it is asked, and who is refused right there.

OpenSSL checks that the client holds the key, and that its certificate and chain are strong enough; who it may be is
decided by `client_certificates`, in OpenSSL's verify callback: what comes back from there decides the alert.

Where certificates are asked for no session is ever resumed, for a ticket would let in whoever holds it: on a host that
asks for others, after a revocation, and after the list has changed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from gateway.certs.describe import fingerprint
from gateway.certs.loading import reading
from gateway.errors import CertificateError
from gateway.tls.client_certificates import AllowList, ClientCertificate, Standing, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

# More would not fit beside everything else into one extension (RFC 8446 section 4.2.4); then no issuer is named.
_ANNOUNCED_BYTES = 16384

# X509_V_ERR_*_TOO_SMALL and _TOO_WEAK, which pyOpenSSL does not name: keys and signatures below the security level.
_TOO_WEAK = frozenset({66, 67, 68})
_CODES = {
    Standing.REVOKED: lib.X509_V_ERR_CERT_REVOKED,
    Standing.UNSURE: lib.X509_V_ERR_UNABLE_TO_GET_CRL,
    Standing.UNLISTED: lib.X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
}
_WHAT = "the client's certificate"
_UNREADABLE = 1  # X509_V_ERR_UNSPECIFIED, which the client reads as `certificate unknown`
_REASONS = {
    Standing.REVOKED: "has been revoked",
    Standing.UNSURE: "cannot be checked: the revocation list of its issuer is past its nextUpdate",
    Standing.UNLISTED: "is not allowed here",
}


@dataclass(frozen=True, slots=True)
class ClientAuthentication:
    """What a host asks of its clients: a certificate that is ``allowed`` or, where not all need one, just any.

    One that was revoked is refused in both cases. Who has ``announced`` issuers' certificates only may leave it.
    """

    allowed: AllowList
    required: bool
    announced: bool

    def prepare(self, context: SSL.Context) -> None:
        """Have the context of a site know the authorities, and announce them."""
        self.allowed.trust(context.get_cert_store())  # type: ignore[arg-type]  # a new context has one
        issuers = [name.public_bytes() for name in self.allowed.issuers] if self.announced else []
        if 0 < sum(len(name) + 2 for name in issuers) <= _ANNOUNCED_BYTES:
            _announce(context, issuers)

    def ask(self, connection: SSL.Connection) -> None:
        """Have a connection, which is about to shake hands, ask for a certificate and judge it."""
        mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if self.required else 0)
        connection.set_app_data(_Check(self))
        connection.set_options(SSL.OP_NO_TICKET)
        lib.SSL_set_verify(connection._ssl, mode, _verify)  # noqa: SLF001 - pyOpenSSL's callback cannot say why not


class _Check:
    """What was decided in the handshake of one connection."""

    __slots__ = ("asked", "code", "reason", "verdict")

    def __init__(self, asked: ClientAuthentication) -> None:
        self.asked = asked
        self.code: int | None = None
        self.reason = ""
        self.verdict: Verdict | None = None

    def judge(self, context: Any, error: int) -> int:
        """Return OpenSSL's code for what becomes of the certificate; called for each thing that OpenSSL finds."""
        if error in _TOO_WEAK:
            self.code = error
            self.reason = "the client's certificate has a key or a signature that is too weak"
        elif self.code is None:
            try:
                self.code = self._decide(*_built(context))
            except CertificateError as odd:  # to hosts that do not insist on one, it is none
                self.reason = str(odd) if self.asked.required else ""
                self.code = _UNREADABLE if self.asked.required else lib.X509_V_OK
        return self.code

    def _decide(self, leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> int:
        self.verdict = self.asked.allowed.judge(leaf, others, datetime.now(UTC))
        standing = self.verdict.standing
        if standing is not Standing.REVOKED and not (self.asked.required and standing in _CODES):
            return int(lib.X509_V_OK)
        self.reason = f"the client's certificate (SHA256 {fingerprint(leaf)}) {_REASONS[standing]}"
        return int(_CODES[standing])


def shown(connection: SSL.Connection) -> ClientCertificate | None:
    """Return the certificate that a client has shown in a handshake that is over; None also when it is unreadable."""
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return None
    try:
        certificate = ClientCertificate(*_readable([leaf, *(connection.get_peer_cert_chain() or ())]))
    except CertificateError:
        return None
    check = connection.get_app_data()
    if isinstance(check, _Check) and check.verdict is not None:
        certificate.remember(check.asked.allowed, check.verdict)  # often the list of the API that is asked for
    return certificate


def refusal(connection: SSL.Connection) -> str:
    """Return why a certificate was refused in a handshake that has failed; "" when that is not why."""
    check = connection.get_app_data()
    return check.reason if isinstance(check, _Check) else ""


def _built(context: Any) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """Return the leaf, and the chain above it as far as OpenSSL could build it. Raises CertificateError."""
    stack = lib.X509_STORE_CTX_get1_chain(context)
    found = [
        crypto.X509._from_raw_x509_ptr(lib.sk_X509_value(stack, at))  # noqa: SLF001 - it takes the reference over
        for at in range(lib.sk_X509_num(stack))
    ]
    lib.sk_X509_free(stack)
    return _readable(found)


def _readable(chain: Sequence[crypto.X509]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """Return the leaf of a chain and the readable rest: the others vouch for nobody. Raises CertificateError."""
    with reading(_WHAT):
        leaf = chain[0].to_cryptography()
    others = []
    for one in chain[1:]:
        with suppress(CertificateError), reading(_WHAT):
            others.append(one.to_cryptography())
    return leaf, others


def _answer(_: int, context: Any) -> int:
    """Answer OpenSSL's question about a certificate. If anything goes wrong here, the answer is no."""
    try:
        return _answered(context)
    except Exception as error:  # noqa: BLE001 - nothing above this is Python
        return _denied(context, error)


def _answered(context: Any) -> int:
    code = _check_of(context).judge(context, lib.X509_STORE_CTX_get_error(context))
    lib.X509_STORE_CTX_set_error(context, code)
    return int(code == lib.X509_V_OK)


def _check_of(context: Any) -> _Check:
    ssl = lib.X509_STORE_CTX_get_ex_data(context, lib.SSL_get_ex_data_X509_STORE_CTX_idx())
    check = SSL.Connection._reverse_mapping[ssl].get_app_data()  # noqa: SLF001 - how pyOpenSSL's own callback does it
    assert isinstance(check, _Check)
    return check


def _denied(context: Any, error: Exception) -> int:
    """Have the handshake fail, and what went wrong stand in the line about that."""
    with suppress(Exception):
        lib.X509_STORE_CTX_set_error(context, _UNREADABLE)
        _check_of(context).reason = f"the client's certificate could not be judged: {type(error).__name__}: {error}"
    return 0


# One for all connections. A BaseException that is no Exception, such as the end of the process, is not reported here.
_verify = ffi.callback("int (*)(int, X509_STORE_CTX *)", _answer, error=0, onerror=lambda *_: 0)


def _announce(context: SSL.Context, names: Sequence[bytes]) -> None:
    """Name the issuers (DER) whose certificates are wanted."""
    stack = lib.sk_X509_NAME_new_null()
    for name in names:
        data = ffi.new("unsigned char[]", name)
        parsed = lib.d2i_X509_NAME(ffi.NULL, ffi.new("unsigned char **", data), len(name))
        if parsed != ffi.NULL:  # a null among them would be followed when they are sent
            lib.sk_X509_NAME_push(stack, parsed)
    lib.SSL_CTX_set_client_CA_list(context._context, stack)  # noqa: SLF001 - pyOpenSSL wants names of its own making
