"""What a server really negotiates, found out by asking: per version suites, groups, compressors and whose order wins.

Each question (`probe.Question`) is a connection of its own. The server is offered everything, says what it likes best,
is offered the rest, and so on until it refuses; so there is one question more than there are answers.

Grades are close to those of nmap's ssl-enum-ciphers, by a simpler rule: the weakest link decides. Of the secret bits of
the cipher's key, the key exchange and the certificate's key the least count: 112 or more are an A, 80 a B, 64 a C, 56 a
D, 40 an E. A C at best are RC4, MD5, ciphers with blocks of 64 bits, and SSL 3.0; an F is what does not encrypt, whose
server need not prove who it is, or that was weakened for export.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from gateway.certs import describe, loading
from gateway.errors import CertificateError
from gateway.tls.probe import COMPRESSORS, DEFLATE, GROUPS, LZS, NULL, SSL3, TLS1_3, Answer, Question
from gateway.tls.suites import BY_CODE, REGISTERED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.tls.suites import RegisteredSuite

VERSIONS = {SSL3: "SSLv3", 0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", TLS1_3: "TLSv1.3"}

# Strong ones first, so that a server that leaves the choice to its clients is shown in an order that makes sense.


def _weakness(suite: RegisteredSuite) -> tuple[object, ...]:
    return suite.is_anonymous or not suite.bits, not suite.is_forward_secret, "CBC" in suite.name, -suite.bits


_OFFERS = sorted(REGISTERED, key=_weakness)
_GRADES = ((112, "A"), (80, "B"), (64, "C"), (56, "D"), (40, "E"))
# Security of RSA and Diffie-Hellman by the size of the modulus: NIST SP 800-57 part 1, table 2.
_MODULUS = ((15360, 256), (7680, 192), (3072, 128), (2048, 112), (1024, 80), (768, 64), (512, 56))


class Cipher(NamedTuple):
    """A suite that the server took; ``exchange`` is what keys are agreed on with, as ``x25519`` or ``rsa 2048``."""

    name: str
    exchange: str
    grade: str


@dataclass(frozen=True, slots=True)
class Version:
    """What is negotiated in one version, in the order in which the server took it.

    ``preference`` is ``server``, ``client``, or ``indeterminate`` where there is nothing to choose.
    """

    name: str
    ciphers: tuple[Cipher, ...]
    groups: tuple[str, ...]
    compressors: tuple[str, ...]
    preference: str
    warnings: tuple[str, ...]

    @property
    def least_strength(self) -> str:
        """The worst grade."""
        return max(cipher.grade for cipher in self.ciphers)


def survey(ask: Callable[[Question], Answer | None], version: int, server_name: str) -> Version | None:
    """Find out what is negotiated in a version; None for nothing. ``ask`` returns None for a refusal."""
    is_new = version == TLS1_3
    offers = tuple(suite.code for suite in _OFFERS if suite.is_tls1_3 == is_new)
    question = Question(version, offers, server_name=server_name)
    answers = _exhaust(ask, question)
    if not answers:
        return None
    chosen = tuple(answer.suite for answer in answers)
    ciphers = tuple(_cipher(answer) for answer in answers)
    compressors = (NULL,) if is_new else _compressors(ask, replace(question, suites=chosen[:1]))
    return Version(
        VERSIONS[version],
        ciphers,
        _groups(ask, replace(question, suites=chosen), answers),
        tuple(COMPRESSORS[one] for one in compressors),
        _preference(ask, replace(question, suites=chosen)),
        tuple(sorted(set(_warnings(version, answers, compressors)))),
    )


def grade(suite: RegisteredSuite, version: int, exchange_bits: int) -> str:
    """Grade a suite from A to F; ``exchange_bits`` is the security of its key exchange, 0 where that is unknown."""
    if suite.is_anonymous or suite.is_export or not suite.bits:
        return "F"
    bits = min(suite.bits, exchange_bits or suite.bits)
    letter = next((letter for least, letter in _GRADES if bits >= least), "F")
    weak = version == SSL3 or suite.narrow_cipher or "RC4" in suite.name or suite.name.endswith("MD5")
    return max(letter, "C") if weak else letter


def _exhaust(ask: Callable[[Question], Answer | None], question: Question) -> list[Answer]:
    """Ask again and again without what was answered, until the server refuses or answers what it was not asked."""
    answers: list[Answer] = []
    while question.suites and (answer := ask(question)) and answer.version == question.version:
        if answer.suite not in question.suites:
            break
        answers.append(answer)
        question = replace(question, suites=tuple(code for code in question.suites if code != answer.suite))
    return answers


def _groups(ask: Callable[[Question], Answer | None], question: Question, answers: list[Answer]) -> tuple[str, ...]:
    """The groups that the server takes, in its order; the first was told already."""
    found = [code for code in (answers[0].group,) if code in GROUPS]
    if not found and question.version != TLS1_3:
        found = [answer.group for answer in answers if answer.group in GROUPS][:1]
    with_groups = tuple(answer.suite for answer in answers if answer.group)
    rest = tuple(code for code in GROUPS if code not in found)
    while found and rest:
        answer = ask(replace(question, suites=with_groups, groups=rest))
        if answer is None and question.version != TLS1_3:
            # Up to TLS 1.2 the curve of an ECDSA certificate must be among them (RFC 8422 section 5.1.1).
            answer = ask(replace(question, suites=with_groups, groups=(*rest, *found)))
        if answer is None or answer.group not in rest:
            break
        found.append(answer.group)
        rest = tuple(code for code in rest if code != answer.group)
    return tuple(GROUPS[code][0] for code in found)


def _compressors(ask: Callable[[Question], Answer | None], question: Question) -> tuple[int, ...]:
    found: list[int] = []
    for offered in ((DEFLATE, LZS, NULL), (LZS, NULL), (NULL,)):
        answer = ask(replace(question, compressors=offered))
        if answer and answer.compressor in offered and answer.compressor not in found:
            found.append(answer.compressor)
        if answer is None or answer.compressor == NULL:
            break
    return tuple(found)


def _preference(ask: Callable[[Question], Answer | None], question: Question) -> str:
    """Whose order decides: the server's, if it takes its favourite although that is offered last."""
    favourite, *others = question.suites
    if not others:
        return "indeterminate"
    # A server may take ChaCha20 from those who put it first, and insist on its order otherwise.
    others.sort(key=lambda code: "CHACHA20" in BY_CODE[code].name)
    answer = ask(replace(question, suites=(*others, favourite)))
    if answer is None:
        return "indeterminate"
    return "server" if answer.suite == favourite else "client"


def _cipher(answer: Answer) -> Cipher:
    suite = BY_CODE[answer.suite]
    label, bits = _exchange(suite, answer)
    return Cipher(suite.name, label, grade(suite, answer.version, bits))


def _exchange(suite: RegisteredSuite, answer: Answer) -> tuple[str, int]:
    """What keys are agreed on with, and its security, not more than the certificate's; 0 for unknown."""
    kind, size = _key(answer.certificate)
    certified = size // 2 if kind == "ec" else _of_modulus(size)
    if answer.group:
        label, bits = GROUPS.get(answer.group, (f"group {answer.group}", 0))
    elif answer.prime_bits:
        label = f"{'rsa' if suite.exchange.startswith('RSA') else 'dh'} {answer.prime_bits}"
        bits = _of_modulus(answer.prime_bits)
    else:
        label, bits = f"{kind} {size}" if size else "", certified
    return label, min(filter(None, (bits, certified)), default=0)


def _key(certificate: bytes) -> tuple[str, int]:
    """The kind and the size of the certificate's key; 0 for none and for other kinds, which are strong enough."""
    try:
        kind, size = describe.key_size(loading.peer_certificate(certificate)) if certificate else ("", 0)
    except CertificateError:
        return "", 0
    return (kind, size) if kind in ("rsa", "ec") else ("", 0)


def _of_modulus(size: int) -> int:
    return next((bits for least, bits in _MODULUS if size >= least), size and 1)


def _warnings(version: int, answers: list[Answer], compressors: tuple[int, ...]) -> Iterator[str]:
    suites = [BY_CODE[answer.suite] for answer in answers]
    for suite, answer in zip(suites, answers, strict=True):
        if suite.is_anonymous:
            yield "anonymous key exchange: anybody can be the server"
        if not suite.bits:
            yield "suites that do not encrypt"
        if suite.is_export:
            yield "export suites, weakened on purpose (FREAK, Logjam)"
        if suite.narrow_cipher:
            yield f"{suite.narrow_cipher} has blocks of 64 bits (SWEET32)"
        if "RC4" in suite.name:
            yield "RC4 is broken (RFC 7465)"
        if suite.name.endswith("MD5"):
            yield "MD5 protects the integrity of messages"
        if version == SSL3 and "CBC" in suite.name:
            yield "CBC in SSL 3.0 (POODLE)"
        if 0 < answer.prime_bits < 2048 and not suite.is_export:
            yield f"Diffie-Hellman with {answer.prime_bits} bits (Logjam)"
    if not any(suite.is_forward_secret for suite in suites):
        yield "no suite with forward secrecy"
    if set(compressors) - {NULL}:
        yield "compression of TLS (CRIME)"
