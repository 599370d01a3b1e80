from itertools import product

import pytest

from gateway.tls.ciphers import DEFAULT_CIPHERS, DEFAULT_SUITES
from gateway.tls.policy import TlsPolicy, server_policy, upstream_policy
from gateway.tls.versions import TlsVersion

TLS1_0, TLS1_1, TLS1_2, TLS1_3 = TlsVersion


def server(minimum=TLS1_2, maximum=TLS1_3, names=()):
    return server_policy(minimum, maximum, names, server_preference=True)


def test_the_default_is_mozillas_intermediate_list_without_a_word():
    assert server() == (
        TlsPolicy(TLS1_2, TLS1_3, DEFAULT_CIPHERS, DEFAULT_SUITES, server_preference=True),
        (),
    )


@pytest.mark.parametrize("preference", [True, False])
def test_whose_preference_counts_is_kept(preference):
    policy, _ = server_policy(TLS1_2, TLS1_3, (), server_preference=preference)
    assert policy.server_preference is preference


@pytest.mark.parametrize(("minimum", "maximum"), [*product(TlsVersion, TlsVersion)])
def test_versions_that_leave_nothing_are_refused_and_the_others_kept(minimum, maximum):
    if minimum > maximum:
        with pytest.raises(ValueError, match=f"minimum TLS version {minimum.label} is above the maximum"):
            server(minimum, maximum)
    else:
        policy, _ = server(minimum, maximum)
        assert (policy.minimum, policy.maximum) == (minimum, maximum)


@pytest.mark.parametrize("minimum", [TLS1_0, TLS1_1])
def test_old_versions_lower_the_security_level_extend_the_default_list_and_are_warned_about(minimum):
    policy, warnings = server(minimum)
    assert policy.security_level == 0
    assert policy.ciphers[: len(DEFAULT_CIPHERS)] == DEFAULT_CIPHERS
    assert "ECDHE-RSA-AES128-SHA" in policy.ciphers
    assert "AES128-SHA" in policy.ciphers
    assert warnings == (f"TLS {minimum.label} is obsolete and weak (RFC 8996); use 1.2 unless old clients need it",)


@pytest.mark.parametrize("minimum", [TLS1_2, TLS1_3])
def test_current_versions_keep_openssls_security_level(minimum):
    assert server(minimum)[0].security_level == 2


def test_chosen_ciphers_are_never_extended_but_warned_about_when_no_old_client_can_use_them():
    policy, warnings = server(TLS1_0, names=["ECDHE-RSA-AES128-GCM-SHA256"])
    assert policy.ciphers == ("ECDHE-RSA-AES128-GCM-SHA256",)
    assert "none of the chosen ciphers works below TLS 1.2; add ECDHE+SHA1 for old clients" in warnings
    assert len(server(TLS1_0, names=["ECDHE+AES"])[1]) == 1


def test_ciphers_without_a_tls_1_3_name_leave_tls_1_3_as_it_is():
    policy, warnings = server(names=["ECDHE-RSA-AES256-GCM-SHA384"])
    assert (policy.ciphers, policy.suites) == (("ECDHE-RSA-AES256-GCM-SHA384",), DEFAULT_SUITES)
    assert warnings == ()


def test_only_tls_1_3_names_leave_the_default_list_for_older_versions():
    policy, warnings = server(names=["TLS_AES_256_GCM_SHA384"])
    assert (policy.ciphers, policy.suites) == (DEFAULT_CIPHERS, ("TLS_AES_256_GCM_SHA384",))
    assert warnings == ()


def test_tls_1_3_names_are_warned_about_when_tls_1_3_cannot_be_reached():
    _, warnings = server(maximum=TLS1_2, names=["TLS_AES_256_GCM_SHA384"])
    assert warnings == ("TLS 1.3 suites are chosen but the maximum TLS version is below 1.3",)


@pytest.mark.parametrize("names", [["junk", "more junk"], [""], ["TLS_RSA_WITH_RC4_128_SHA"]])
def test_when_nothing_is_left_the_default_list_serves_loudly(names):
    policy, warnings = server(names=names)
    assert (policy.ciphers, policy.suites) == (DEFAULT_CIPHERS, DEFAULT_SUITES)
    assert warnings[-1] == "none of the given ciphers can be served; the default ones are"


def test_one_unknown_name_is_warned_about_and_the_others_serve():
    policy, warnings = server(names=["ECDHE-RSA-AES256-GCM-SHA384", "junk"])
    assert policy.ciphers == ("ECDHE-RSA-AES256-GCM-SHA384",)
    assert warnings == ("unknown cipher 'junk'; it is left out",)


def test_a_policy_knows_whether_it_needs_finite_field_groups():
    assert server(names=["ECDHE+AESGCM:DHE+AESGCM"])[0].uses_dhe
    assert not server(names=["ECDHE+AESGCM:kRSA"])[0].uses_dhe


def test_upstreams_are_spoken_to_from_1_2_to_1_3_with_forward_secrecy_by_default():
    policy, warnings = upstream_policy(None, None, ())
    assert (policy.minimum, policy.maximum, policy.suites) == (TLS1_2, TLS1_3, DEFAULT_SUITES)
    assert policy.ciphers[: len(DEFAULT_CIPHERS)] == DEFAULT_CIPHERS
    assert "DHE-RSA-AES128-SHA" in policy.ciphers
    assert "AES128-SHA" not in policy.ciphers
    assert warnings == ()


def test_upstream_versions_and_ciphers_can_be_chosen():
    policy, _ = upstream_policy(TLS1_0, TLS1_2, ["AES128-SHA"])
    assert (policy.minimum, policy.maximum, policy.ciphers) == (TLS1_0, TLS1_2, ("AES128-SHA",))


def test_tls_1_3_suites_cannot_be_chosen_towards_upstreams_and_that_is_told():
    policy, warnings = upstream_policy(None, None, ["TLS_AES_256_GCM_SHA384"])
    assert policy.suites == DEFAULT_SUITES
    assert warnings == ("TLS 1.3 suites cannot be chosen towards upstreams; the default ones are offered",)


def test_upstream_versions_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match=r"minimum TLS version 1\.2 is above the maximum 1\.1"):
        upstream_policy(None, TLS1_1, ())
