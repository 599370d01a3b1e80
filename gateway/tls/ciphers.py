"""Cipher suites: one table, and the language in which people choose from it.

A choice may mix three vocabularies: IANA names, as Go and Tyk write them; OpenSSL names; and OpenSSL cipher
strings such as ``ECDHE+AESGCM:!aRSA``. All three are one language, that of openssl-ciphers(1): a word that is
a name selects one suite, a word that is a keyword selects every suite that bears it. OpenSSL's own rules
decide the order, so a string that is known from another server means here what it means there, with three
deviations:

* CCM suites are taken only by words that say CCM. They are slow, nobody prefers them, and the strings that
  people copy (``AES256+EECDH``) were written before OpenSSL had them.
* A TLS 1.3 suite can be named, and then the named ones are the only ones; OpenSSL has a second list for
  those.
* What OpenSSL ignores in silence is told: unknown words, and words that select nothing.

Not in the table, so nothing can select them: suites without identity or encryption, with pre-shared keys or
DSS, those that OpenSSL has removed (RC4, 3DES) or keeps for museums (IDEA, SEED), and CCM8, whose short tags
its security level forbids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What a server with RSA or ECDSA certificates can negotiate with OpenSSL 4.0, in OpenSSL's order of
# preference (that of ``openssl ciphers ALL``), by IANA name and OpenSSL name. The properties follow from the
# IANA name.
_TABLE = """
TLS_AES_256_GCM_SHA384                        TLS_AES_256_GCM_SHA384
TLS_CHACHA20_POLY1305_SHA256                  TLS_CHACHA20_POLY1305_SHA256
TLS_AES_128_GCM_SHA256                        TLS_AES_128_GCM_SHA256
TLS_AES_128_CCM_SHA256                        TLS_AES_128_CCM_SHA256
TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384       ECDHE-ECDSA-AES256-GCM-SHA384
TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384         ECDHE-RSA-AES256-GCM-SHA384
TLS_DHE_RSA_WITH_AES_256_GCM_SHA384           DHE-RSA-AES256-GCM-SHA384
TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ECDHE-ECDSA-CHACHA20-POLY1305
TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256   ECDHE-RSA-CHACHA20-POLY1305
TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256     DHE-RSA-CHACHA20-POLY1305
TLS_ECDHE_ECDSA_WITH_AES_256_CCM              ECDHE-ECDSA-AES256-CCM
TLS_DHE_RSA_WITH_AES_256_CCM                  DHE-RSA-AES256-CCM
TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384      ECDHE-ECDSA-ARIA256-GCM-SHA384
TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384        ECDHE-ARIA256-GCM-SHA384
TLS_DHE_RSA_WITH_ARIA_256_GCM_SHA384          DHE-RSA-ARIA256-GCM-SHA384
TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256       ECDHE-ECDSA-AES128-GCM-SHA256
TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256         ECDHE-RSA-AES128-GCM-SHA256
TLS_DHE_RSA_WITH_AES_128_GCM_SHA256           DHE-RSA-AES128-GCM-SHA256
TLS_ECDHE_ECDSA_WITH_AES_128_CCM              ECDHE-ECDSA-AES128-CCM
TLS_DHE_RSA_WITH_AES_128_CCM                  DHE-RSA-AES128-CCM
TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256      ECDHE-ECDSA-ARIA128-GCM-SHA256
TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256        ECDHE-ARIA128-GCM-SHA256
TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256          DHE-RSA-ARIA128-GCM-SHA256
TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384       ECDHE-ECDSA-AES256-SHA384
TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384         ECDHE-RSA-AES256-SHA384
TLS_DHE_RSA_WITH_AES_256_CBC_SHA256           DHE-RSA-AES256-SHA256
TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384  ECDHE-ECDSA-CAMELLIA256-SHA384
TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384    ECDHE-RSA-CAMELLIA256-SHA384
TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256      DHE-RSA-CAMELLIA256-SHA256
TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256       ECDHE-ECDSA-AES128-SHA256
TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256         ECDHE-RSA-AES128-SHA256
TLS_DHE_RSA_WITH_AES_128_CBC_SHA256           DHE-RSA-AES128-SHA256
TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256  ECDHE-ECDSA-CAMELLIA128-SHA256
TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256    ECDHE-RSA-CAMELLIA128-SHA256
TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256      DHE-RSA-CAMELLIA128-SHA256
TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA          ECDHE-ECDSA-AES256-SHA
TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA            ECDHE-RSA-AES256-SHA
TLS_DHE_RSA_WITH_AES_256_CBC_SHA              DHE-RSA-AES256-SHA
TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA         DHE-RSA-CAMELLIA256-SHA
TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA          ECDHE-ECDSA-AES128-SHA
TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA            ECDHE-RSA-AES128-SHA
TLS_DHE_RSA_WITH_AES_128_CBC_SHA              DHE-RSA-AES128-SHA
TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA         DHE-RSA-CAMELLIA128-SHA
TLS_RSA_WITH_AES_256_GCM_SHA384               AES256-GCM-SHA384
TLS_RSA_WITH_AES_256_CCM                      AES256-CCM
TLS_RSA_WITH_ARIA_256_GCM_SHA384              ARIA256-GCM-SHA384
TLS_RSA_WITH_AES_128_GCM_SHA256               AES128-GCM-SHA256
TLS_RSA_WITH_AES_128_CCM                      AES128-CCM
TLS_RSA_WITH_ARIA_128_GCM_SHA256              ARIA128-GCM-SHA256
TLS_RSA_WITH_AES_256_CBC_SHA256               AES256-SHA256
TLS_RSA_WITH_CAMELLIA_256_CBC_SHA256          CAMELLIA256-SHA256
TLS_RSA_WITH_AES_128_CBC_SHA256               AES128-SHA256
TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256          CAMELLIA128-SHA256
TLS_RSA_WITH_AES_256_CBC_SHA                  AES256-SHA
TLS_RSA_WITH_CAMELLIA_256_CBC_SHA             CAMELLIA256-SHA
TLS_RSA_WITH_AES_128_CBC_SHA                  AES128-SHA
TLS_RSA_WITH_CAMELLIA_128_CBC_SHA             CAMELLIA128-SHA
"""

_IANA_NAME = re.compile(
    r"TLS_(?:(?P<exchange>ECDHE|DHE|RSA)(?:_(?P<signature>ECDSA|RSA))?_WITH_)?"
    r"(?P<cipher>[A-Z]+(?:20)?)(?:_(?P<bits>128|256))?_(?P<mode>GCM|CCM|POLY1305|CBC)(?:_(?P<hash>SHA\d*))?"
)
_EXCHANGE_KEYWORDS = {
    "ECDHE": ("ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH"),
    "DHE": ("DHE", "EDH", "kDHE", "kEDH", "DH"),
    "RSA": ("RSA", "kRSA"),
}
_SIGNATURE_KEYWORDS = {"ECDSA": ("ECDSA", "aECDSA"), "RSA": ("aRSA",)}


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite.

    ``exchange`` is ``ECDHE``, ``DHE`` or ``RSA`` (the last without forward secrecy) and ``signature`` the
    kind of key that the certificate needs, ``ECDSA`` or ``RSA``; TLS 1.3 suites leave both open, as empty
    strings. ``strength`` is the bits of its key. ``words`` are the upper-case words that select the suite.
    """

    iana: str
    openssl: str
    minimum: TlsVersion
    exchange: str
    signature: str
    strength: int
    words: frozenset[str]

    @property
    def fits_http2(self) -> bool:
        """Whether HTTP/2 allows it: it is not of the kinds that RFC 9113 appendix A lists."""
        return self.exchange != "RSA" and "CBC" not in self.words


def _suite(iana: str, openssl: str) -> Suite:
    match = _IANA_NAME.fullmatch(iana)
    if match is None:
        raise AssertionError(iana)
    part = match.groupdict(default="")
    cipher, bits, mode, mac = part["cipher"], part["bits"], part["mode"], part["hash"]
    words = {iana, openssl}
    if not part["exchange"]:
        return Suite(iana, openssl, TlsVersion.TLS1_3, "", "", 0, frozenset(words))
    signature = part["signature"] or "RSA"
    old = mode == "CBC" and mac == "SHA"
    words |= {"ALL", "HIGH", cipher, cipher + bits}
    words |= {*_EXCHANGE_KEYWORDS[part["exchange"]], *_SIGNATURE_KEYWORDS[signature]}
    if mode == "CBC":
        words |= {"CBC", "SHA", "SHA1"} if old else {"CBC", mac}
    if mode in ("GCM", "CCM"):
        words.add(cipher + mode)
    if cipher not in ("AES", "CHACHA20") or mode == "CCM":
        words.add("COMPLEMENTOFDEFAULT")
    if not old:
        words.add("TLSv1.2")
    elif part["exchange"] == "ECDHE":  # the others were born with SSL 3.0, which has no keyword any more
        words |= {"TLSv1", "TLSv1.0"}
    if cipher == "CHACHA20":
        words.add(iana.removesuffix("_SHA256"))  # its name before RFC 7905, still current in Go and Tyk
    minimum = TlsVersion.TLS1_0 if old else TlsVersion.TLS1_2
    return Suite(
        iana, openssl, minimum, part["exchange"], signature, int(bits or 256), frozenset(map(str.upper, words))
    )


SUITES: tuple[Suite, ...] = tuple(_suite(*line.split()) for line in _TABLE.strip().splitlines())
BY_OPENSSL_NAME = {suite.openssl: suite for suite in SUITES}
TLS1_3_NAMES = frozenset(suite.openssl for suite in SUITES if suite.minimum is TlsVersion.TLS1_3)

# Mozilla's "intermediate" list, version 5.8: forward secret, authenticated encryption, in its order.
DEFAULT_CIPHERS: tuple[str, ...] = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
DEFAULT_SUITES: tuple[str, ...] = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)

_WORDS = frozenset[str]().union(*(suite.words for suite in SUITES))
# Words and names for what is not in the table on purpose; excluding such things is an idiom.
_NOT_SERVED = re.compile(
    r".*(NULL|ANON|RC[24]|DES|EXP|MD5|PSK|SRP|DSS|GOST|KRB5|IDEA|SEED|CCM_?8).*"
    r"|LOW|MEDIUM|FIPS|SSLV[23]|A(EC)?DH(-.*)?|[AK]E?C?DH[ERD]?|COMPLEMENTOFALL"
)
_COMMAND = re.compile(r"[-+!@]?[\w.=-]+(?:\+[\w.=-]+)*|[^\s:;,]+?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a choice comes to: OpenSSL names for TLS 1.2 and below, names for TLS 1.3, each in order.

    ``ciphers`` is empty when nothing is left, ``suites`` when the choice says nothing about TLS 1.3.
    """

    ciphers: tuple[str, ...]
    suites: tuple[str, ...]
    warnings: tuple[str, ...]


def select(choice: Iterable[str]) -> Selection:
    """Evaluate ``choice``: names and cipher strings, taken together as one string joined by colons."""
    commands = [command for text in choice for command in _COMMAND.findall(text)]
    if commands and commands[0].upper() == "DEFAULT":
        commands[:1] = ["ALL", "!COMPLEMENTOFDEFAULT"]
    named = not TLS1_3_NAMES.isdisjoint(command.upper() for command in commands)
    mentioned = not TLS1_3_NAMES.isdisjoint(command.lstrip("-+!").upper() for command in commands)
    preference = _Preference(DEFAULT_SUITES if mentioned and not named else ())
    warnings = [warning for command in commands if (warning := preference.obey(command))]
    chosen = preference.chosen()
    suites = tuple(name for name in chosen if name in TLS1_3_NAMES)
    if mentioned and not suites:
        warnings.append("no TLS 1.3 suite is left, so the default ones serve; to do without, set max_version to 1.2")
    ciphers = tuple(name for name in chosen if name not in TLS1_3_NAMES)
    return Selection(ciphers, suites, tuple(dict.fromkeys(warnings)))


class _Preference:
    """OpenSSL's list while a string is evaluated: every suite has a place, chosen or not (ssl_ciph.c)."""

    def __init__(self, suites: Sequence[str]) -> None:
        self._active = {BY_OPENSSL_NAME[name] for name in suites}
        first = [BY_OPENSSL_NAME[name] for name in suites]
        self._order = first + [suite for suite in SUITES if suite not in self._active]

    def chosen(self) -> list[str]:
        """The OpenSSL names of what is chosen, the preferred one first."""
        return [suite.openssl for suite in self._order if suite in self._active]

    def obey(self, command: str) -> str | None:
        """Carry one command out; returns a warning when it does not do what its writer must have hoped."""
        operator, word = (command[0], command[1:]) if command[0] in "-+!@" else ("", command)
        if operator == "@":
            return self._special(word.upper())
        if word.upper() == "DEFAULT":
            return "DEFAULT counts only as the first word; it is left out"
        terms = word.upper().split("+")
        for term in terms:
            if term not in _WORDS and not _NOT_SERVED.fullmatch(term):
                return f"unknown cipher {word!r}{_nearest(term)}; it is left out"
        matches = {suite for suite in self._order if suite.words.issuperset(terms)}
        if operator == "":
            matches = {suite for suite in matches if "CCM" not in suite.openssl or "CCM" in word.upper()}
            if not matches:
                return f"cipher {word!r} selects nothing: what it stands for cannot be served"
            self._move(matches - self._active, to_end=True)
            self._active |= matches
        elif operator == "+":
            self._move(matches & self._active, to_end=True)
        else:
            self._move(matches & self._active, to_end=False)
            self._active -= matches
            if operator == "!":
                self._order = [suite for suite in self._order if suite not in matches]
        return None

    def _special(self, word: str) -> str | None:
        if word == "STRENGTH":
            self._order.sort(key=lambda suite: (suite in self._active) * (1000 - suite.strength))
            return None
        if word.startswith("SECLEVEL="):
            return f"@{word} is left out: the security level follows from min_version"
        return f"unknown cipher command '@{word}'; it is left out"

    def _move(self, suites: set[Suite], *, to_end: bool) -> None:
        moved = [suite for suite in self._order if suite in suites]
        others = [suite for suite in self._order if suite not in suites]
        self._order = others + moved if to_end else moved + others


def _nearest(term: str) -> str:
    matches = get_close_matches(term, _WORDS, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
