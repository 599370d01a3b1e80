"""Two thousand files of every kind, shown to each reader: it reads them, or refuses them with our error.

Nothing else comes out of any of them, and what was read can be described, dated and compared.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gateway.certs import describe, loading
from gateway.certs.dates import check_dates, quiet_period
from gateway.certs.pem import parse_pair, remarks
from gateway.certs.revocation import read_crl
from gateway.certs.self_signed import Authority
from gateway.certs.trusted import read_trusted
from gateway.errors import CertificateError
from gateway.store import uploads
from gateway.store.upstream_sources import authorities
from gateway.tls.client_certificates import AllowList, Revocations, Standing, is_for_clients
from gateway.tls.names import common_name_matches
from gateway.tls.upstream import public_key_digest
from tests.support import corpus

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime.now(UTC)
AUTHORITY = Authority.create()
GOOD = AUTHORITY.leaf("good.test")
GOOD_PEM = GOOD.chain_pem + GOOD.key_pem

READERS: dict[str, Callable[[bytes], object]] = {
    "a pair": parse_pair,
    "a pair for upstreams": lambda data: parse_pair(data, for_servers=False),
    "behind a good certificate": lambda data: parse_pair(GOOD_PEM + data),
    "as a key": lambda data: parse_pair(GOOD.chain_pem, data, passphrase=b"password"),
    "an upload": lambda data: uploads.examine("", data, None, NOW),
    "a revocation list": read_crl,
    "a list of clients": lambda data: AllowList([read_trusted(data)], Revocations()).issuers,
    "upstreams' authorities": authorities,
    "a certificate": loading.certificate,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_each_file_is_read_or_refused(reader: Callable[[bytes], object]) -> None:
    taken = refused = 0
    for name, data in corpus.files().items():
        try:
            reader(data)
            taken += 1
        except CertificateError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"{name} brings out {type(error).__name__}") from error
    assert refused > 100
    assert taken or reader in (READERS["a pair"], READERS["a pair for upstreams"], READERS["as a key"])


def test_what_was_read_can_be_described_dated_and_compared() -> None:
    found = []
    for data in corpus.certificates().values():
        try:
            found.append(loading.certificate(data))
        except CertificateError:
            continue
    assert len(found) > 500
    for one in found:
        describe.describe(one, NOW)
        remarks(one)
        check_dates([one], NOW)
        quiet_period([one, found[0]])
        is_for_clients(one)
        describe.common_name(one)


def test_no_certificate_of_a_peer_brings_out_more_than_a_verdict() -> None:
    allowed = AllowList([read_trusted(AUTHORITY.pair.chain_pem)], Revocations())
    judged = 0
    for data in corpus.certificates().values():
        try:
            one = loading.peer_certificate(data)
        except CertificateError:
            continue
        judged += 1
        assert allowed.judge(one, [one], NOW).standing is not Standing.ALLOWED
    assert judged > 500
    for data in corpus.files().values():
        public_key_digest(data)
        common_name_matches(data, "good.test")


def test_the_panic_of_the_library_is_refused_and_an_interrupt_is_not() -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    with pytest.raises(CertificateError):
        with loading.reading("this"):
            raise panic
    with pytest.raises(KeyboardInterrupt):
        with loading.reading("this"):
            raise KeyboardInterrupt
