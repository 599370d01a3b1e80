"""The handshake in memory: which certificates a policy can be served with."""

from __future__ import annotations

import pytest

from gateway.certs.self_signed import Authority
from gateway.errors import CertificateError
from gateway.tls import trial
from gateway.tls.policy import server_policy
from gateway.tls.versions import TlsVersion

AUTHORITY = Authority.create()
MODERN, _ = server_policy(TlsVersion.TLS1_2, TlsVersion.TLS1_3, (), server_preference=True)


@pytest.mark.parametrize("key", ["ec", "rsa2048"])
@pytest.mark.parametrize("domain", ["a.test", "*.a.test", "192.0.2.1"])
def test_a_good_pair_is_accepted(domain: str, key: str) -> None:
    trial.attempt(domain, AUTHORITY.leaf(domain, key=key), MODERN)  # type: ignore[arg-type]


def test_an_old_policy_is_tried_too() -> None:
    old, _ = server_policy(TlsVersion.TLS1_0, TlsVersion.TLS1_0, (), server_preference=True)
    trial.attempt("a.test", AUTHORITY.leaf("a.test", key="rsa2048"), old)


def test_a_key_that_no_allowed_suite_can_use_is_refused_with_the_reason() -> None:
    names = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
    rsa_only, _ = server_policy(TlsVersion.TLS1_2, TlsVersion.TLS1_2, names, server_preference=True)
    trial.attempt("a.test", AUTHORITY.leaf("a.test", key="rsa2048"), rsa_only)
    with pytest.raises(CertificateError, match=r"trial handshake for a\.test failed \(no shared cipher\).*EC keys"):
        trial.attempt("a.test", AUTHORITY.leaf("a.test"), rsa_only)
