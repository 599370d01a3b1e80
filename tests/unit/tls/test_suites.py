from __future__ import annotations

import pytest

from gateway.tls import ciphers
from gateway.tls.suites import REGISTERED

BY_NAME = {suite.name: suite for suite in REGISTERED}


def test_every_suite_that_can_be_served_is_known_with_the_same_strength():
    for suite in ciphers.SUITES:
        known = BY_NAME[suite.iana]
        assert known.is_tls1_3 == (not suite.exchange)
        assert known.exchange.partition("_")[0] == suite.exchange
        if suite.exchange:
            assert known.bits == suite.strength


def test_codes_and_names_are_there_once():
    assert len({suite.code for suite in REGISTERED}) == len(BY_NAME) == len(REGISTERED) > 340


@pytest.mark.parametrize(
    ("name", "bits", "narrow", "forward"),
    [
        ("TLS_RSA_WITH_NULL_SHA256", 0, "", False),
        ("TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", 40, "DES", False),
        ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", 40, "", False),
        ("TLS_RSA_EXPORT1024_WITH_RC4_56_SHA", 56, "", False),
        ("TLS_DHE_RSA_WITH_DES_CBC_SHA", 56, "DES", True),
        ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", 112, "3DES", False),
        ("TLS_RSA_WITH_RC4_128_SHA", 128, "", False),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", 128, "", True),
        ("TLS_ECDH_RSA_WITH_AES_256_CBC_SHA", 256, "", False),
        ("TLS_CHACHA20_POLY1305_SHA256", 256, "", True),
        ("TLS_SHA256_SHA256", 0, "", True),
    ],
)
def test_the_name_says_the_rest(name, bits, narrow, forward):
    suite = BY_NAME[name]
    assert (suite.bits, suite.narrow_cipher, suite.is_forward_secret) == (bits, narrow, forward)
