"""The first messages of a handshake from the client's side, made to ask one question each; no handshake is finished.

Nothing here is encrypted: up to TLS 1.2 a server says everything of interest before encryption begins, and in TLS 1.3
one that is offered no key share says which suite and group it wants (HelloRetryRequest, RFC 8446 section 4.1.4).

What servers answer is hostile until proven otherwise: every length is checked, and no more than LIMIT bytes are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.tls.octets import Octets
from gateway.tls.suites import BY_CODE

LIMIT = 128 * 1024
"""The most bytes of an answer that are read: a chain of certificates takes some thousands."""

SSL3, TLS1_2, TLS1_3 = 0x0300, 0x0303, 0x0304

NULL, DEFLATE, LZS = 0, 1, 64
COMPRESSORS = {NULL: "NULL", DEFLATE: "DEFLATE", LZS: "LZS"}

# IANA's TLS Supported Groups in the order in which they are offered, with the bits of security (NIST SP 800-57 part 1).
GROUPS: dict[int, tuple[str, int]] = {
    4588: ("X25519MLKEM768", 192), 4587: ("SecP256r1MLKEM768", 192), 4589: ("SecP384r1MLKEM1024", 256),
    4590: ("curveSM2MLKEM768", 192), 512: ("MLKEM512", 128), 513: ("MLKEM768", 192), 514: ("MLKEM1024", 256),
    29: ("x25519", 128), 23: ("secp256r1", 128), 24: ("secp384r1", 192), 25: ("secp521r1", 256), 30: ("x448", 224),
    26: ("brainpoolP256r1", 128), 27: ("brainpoolP384r1", 192), 28: ("brainpoolP512r1", 256),
    31: ("brainpoolP256r1tls13", 128), 32: ("brainpoolP384r1tls13", 192), 33: ("brainpoolP512r1tls13", 256),
    41: ("curveSM2", 128), 22: ("secp256k1", 128), 9: ("sect283k1", 128), 10: ("sect283r1", 128),
    11: ("sect409k1", 192), 12: ("sect409r1", 192), 13: ("sect571k1", 256), 14: ("sect571r1", 256),
    20: ("secp224k1", 112), 21: ("secp224r1", 112), 6: ("sect233k1", 112), 7: ("sect233r1", 112),
    8: ("sect239k1", 112), 18: ("secp192k1", 96), 19: ("secp192r1", 96), 4: ("sect193r1", 96), 5: ("sect193r2", 96),
    1: ("sect163k1", 80), 2: ("sect163r1", 80), 3: ("sect163r2", 80), 15: ("secp160k1", 80), 16: ("secp160r1", 80),
    17: ("secp160r2", 80),
    256: ("ffdhe2048", 112), 257: ("ffdhe3072", 128), 258: ("ffdhe4096", 152), 259: ("ffdhe6144", 176),
    260: ("ffdhe8192", 200),
}  # fmt: skip

# Every way to sign that there is, so that no server lacks one: RFC 8446 section 4.2.3, and those before it.
_SIGNATURES = (
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B, 0x0401, 0x0501, 0x0601,
    0x0904, 0x0905, 0x0906, 0x0303, 0x0301, 0x0203, 0x0201, 0x0402, 0x0302, 0x0202, 0x0101,
)  # fmt: skip
_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE, _DONE = 2, 11, 12, 14
_SERVER_NAME, _SUPPORTED_VERSIONS, _KEY_SHARE = 0, 43, 51
_NAMED_CURVE = 3


class AnswerError(ValueError):
    """The bytes are no answer that a TLS server gives."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a ClientHello offers: one version, and lists of numbers on the wire, the preferred one first."""

    version: int
    suites: tuple[int, ...]
    groups: tuple[int, ...] = tuple(GROUPS)
    compressors: tuple[int, ...] = (NULL,)
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server chose. ``group`` and ``prime_bits`` are 0, ``certificate`` (DER) is empty where it did not say.

    ``prime_bits`` is the size of the Diffie-Hellman prime, or of the RSA modulus of an export suite.
    """

    version: int
    suite: int
    compressor: int
    group: int = 0
    prime_bits: int = 0
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server's alert (RFC 8446 section 6)."""

    alert: int


def client_hello(question: Question, random: bytes) -> bytes:
    """Return the record that asks; ``random`` is 32 bytes."""
    body = min(question.version, TLS1_2).to_bytes(2) + random
    body += _vector(1, random if question.version == TLS1_3 else b"")  # middleboxes expect a session id
    body += _vector(2, _numbers(2, question.suites)) + _vector(1, bytes(question.compressors))
    if question.version > SSL3:
        extensions = b"".join(kind.to_bytes(2) + _vector(2, content) for kind, content in _extensions(question))
        body += _vector(2, extensions)
    message = b"\x01" + _vector(3, body)
    return bytes((_HANDSHAKE,)) + max(SSL3, min(question.version, 0x0301)).to_bytes(2) + _vector(2, message)


def read(data: bytes, *, ended: bool) -> Answer | Refusal | None:
    """Read what has come so far; None when more is needed, and when it ``ended`` and nothing was said.

    Raises AnswerError.
    """
    handshake, alert = _records(data)
    messages: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(handshake):
        kind, length = handshake[position], int.from_bytes(handshake[position + 1 : position + 4])
        if length > LIMIT:
            raise AnswerError(f"a message of {length} bytes")
        if position + 4 + length > len(handshake):
            break
        messages.setdefault(kind, handshake[position + 4 : position + 4 + length])
        position += 4 + length
    if _SERVER_HELLO not in messages:
        if messages:
            raise AnswerError(f"a handshake message {next(iter(messages))} where a ServerHello belongs")
        return None if alert is None else Refusal(alert)
    answer = _server_hello(messages[_SERVER_HELLO])
    if answer.version == TLS1_3:
        return answer
    if _DONE not in messages and alert is None and not ended and len(data) < LIMIT:
        return None
    return _with_key(answer, messages.get(_CERTIFICATE, b""), messages.get(_KEY_EXCHANGE, b""))


def group_or_prime(exchange: str, message: bytes) -> tuple[int, int]:
    """The named group and the size of the prime or modulus that a ServerKeyExchange has; 0 for what it has not.

    ``exchange`` is the suite's, without which the message means nothing. Raises AnswerError.
    """
    reader = _Reader(message)
    if exchange.endswith("PSK") or exchange == "PSK_DHE":
        reader.vector(2)  # the hint which key is meant (RFC 4279 section 2)
    if "ECDH" in exchange:
        return (reader.number(2), 0) if reader.number(1) == _NAMED_CURVE else (0, 0)
    if "DH" in exchange or exchange.startswith(("SRP", "RSA_EXPORT")):
        return 0, int.from_bytes(reader.vector(2)).bit_length()
    return 0, 0


def _extensions(question: Question) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    if question.server_name:
        found.append((_SERVER_NAME, _vector(2, b"\0" + _vector(2, question.server_name.encode("ascii")))))
    found += [
        (10, _vector(2, _numbers(2, question.groups))),
        (11, b"\x01\0"),  # points are not compressed (RFC 8422 section 5.1.2)
        (23, b""),  # extended master secret, which some servers insist on (RFC 7627)
        (0xFF01, b"\0"),  # so is this (RFC 5746)
    ]
    if question.version >= TLS1_2:
        found.append((13, _vector(2, _numbers(2, _SIGNATURES))))
    if question.version == TLS1_3:
        found += [(_SUPPORTED_VERSIONS, b"\x02\x03\x04"), (45, b"\x01\x01"), (_KEY_SHARE, b"\0\0")]
    return found


def _records(data: bytes) -> tuple[bytes, int | None]:
    """The handshake messages of the records that have come, and the alert that ends them."""
    handshake = bytearray()
    position = 0
    while position + 5 <= len(data):
        kind, length = data[position], int.from_bytes(data[position + 3 : position + 5])
        content = data[position + 5 : position + 5 + length]
        if kind not in (_ALERT, _HANDSHAKE, 20) or data[position + 1] != 3:
            raise AnswerError("something that is not TLS")
        if len(content) < length or kind == 20:  # what follows a change of ciphers is encrypted
            break
        if kind == _ALERT:
            if length != 2:
                raise AnswerError("an alert that is none")
            if content[0] == 2 or content[1] == 0:  # a warning, as for an unknown name, is no refusal
                return bytes(handshake), content[1]
        else:
            handshake += content
        position += 5 + length
    if data and data[0] not in (_ALERT, _HANDSHAKE):
        raise AnswerError("something that is not TLS")
    return bytes(handshake), None


def _server_hello(body: bytes) -> Answer:
    reader = _Reader(body)
    version = reader.number(2)
    reader.take(32)
    reader.vector(1)
    suite, compressor, group = reader.number(2), reader.number(1), 0
    if reader:
        extensions = _Reader(reader.vector(2))
        while extensions:
            kind, content = extensions.number(2), _Reader(extensions.vector(2))
            if kind == _SUPPORTED_VERSIONS:
                version = content.number(2)
            elif kind == _KEY_SHARE:
                group = content.number(2)
    return Answer(version, suite, compressor, group)


def _with_key(answer: Answer, certificate: bytes, exchange: bytes) -> Answer:
    leaf = b""
    if certificate and (chain := _Reader(_Reader(certificate).vector(3))):
        leaf = chain.vector(3)
    suite = BY_CODE.get(answer.suite)
    group, prime = group_or_prime(suite.exchange, exchange) if suite and exchange else (0, 0)
    return Answer(answer.version, answer.suite, answer.compressor, group, prime, leaf)


class _Reader(Octets):
    def _beyond(self) -> AnswerError:
        return AnswerError("a message that is shorter than it says")


def _vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width) + content


def _numbers(width: int, values: tuple[int, ...]) -> bytes:
    return b"".join(value.to_bytes(width) for value in values)
