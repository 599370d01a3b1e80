"""Which TLS policy a host has, and who may ask on a connection that began under another."""

from __future__ import annotations

from typing import Any

import pytest
from support.front import api, configuration

from gateway.routing import snapshot
from gateway.routing.admission import Admission
from gateway.routing.policies import HostPolicies, problems
from gateway.tls.versions import TlsVersion


def strict(domain: str, **more: Any) -> dict[str, Any]:
    return api(domain=domain, gateway={"tls": {"min_version": "1.3", **more}})


def test_a_host_has_its_own_policy_its_wildcards_or_the_default() -> None:
    hosts = HostPolicies.of(
        configuration(strict("A.test."), strict("{sub}.b.test", ciphers=["TLS_AES_128_GCM_SHA256"]))
    )
    floors = {name: hosts.of_host(name).tls.minimum for name in ("a.test", "x.a.test", "x.b.test", "b.test", "")}
    assert floors == {
        "a.test": TlsVersion.TLS1_3,
        "x.a.test": TlsVersion.TLS1_2,
        "x.b.test": TlsVersion.TLS1_3,
        "b.test": TlsVersion.TLS1_2,
        "": TlsVersion.TLS1_2,
    }
    assert hosts.of_host("x.b.test").tls.suites == ("TLS_AES_128_GCM_SHA256",)


def test_a_policy_that_is_the_default_one_divides_nobody() -> None:
    assert not HostPolicies.of(configuration(strict("a.test"), options={"min_version": 772})).differing


def test_odd_ciphers_are_told_with_the_api_that_asks_for_them() -> None:
    definition = strict("a.test", ciphers=["NO-SUCH"])
    told = [problem for problem in problems(configuration(definition)) if "NO-SUCH" in problem.message]
    assert [problem.path for problem in told] == [f"apis[{definition['api_id']}].gateway.tls"]


def test_where_all_hosts_share_a_policy_nobody_is_asked() -> None:
    shared = snapshot.build(configuration(api(domain="a.test"), api(listen_path="/any/")), 1)
    assert shared.decide(b"a.test", b"/")[3] is None


@pytest.mark.parametrize(
    ("server_name", "host", "status"),
    [
        ("a.test", b"A.test:8443", None),
        ("b.test", b"a.test", 421),
        ("", b"a.test", 421),
        ("a.test", b"b.test", 421),
        ("b.test", b"c.test", None),
        ("b.test", b"", None),
        ("a.test", b"[::1]", 421),
    ],
)
def test_a_request_for_a_host_with_another_policy_is_misdirected(
    server_name: str, host: bytes, status: int | None
) -> None:
    built = snapshot.build(configuration(strict("a.test"), api()), 1)
    assert built.hosts is not None
    admission = built.decide(host, b"/")[3]
    assert admission is not None
    refusal = admission.refusal(server_name, built.hosts.of_host(server_name), "127.0.0.1")
    assert (refusal[0] if refusal else None) == status


def test_a_connection_serves_its_own_host_whatever_has_changed_since() -> None:
    before, after = (
        HostPolicies.of(configuration(strict("a.test", ciphers=[c]))) for c in ("", "TLS_AES_128_GCM_SHA256")
    )
    admission = Admission(host="a.test", policy=after.of_host("a.test"))
    assert admission.refusal("a.test", before.of_host("a.test"), "127.0.0.1") is None
    assert admission.refusal("x.test", before.of_host("x.test"), "127.0.0.1") is not None
