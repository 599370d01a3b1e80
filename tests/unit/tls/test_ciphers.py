"""The cipher language, held against OpenSSL's own evaluation of the same strings."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from gateway.tls.ciphers import DEFAULT_CIPHERS, DEFAULT_SUITES, SUITES, select
from gateway.tls.versions import TlsVersion

OLD = [suite.openssl for suite in SUITES if suite.minimum < TlsVersion.TLS1_3]
# What the table leaves out on purpose.
ABSENT = re.compile("PSK|SRP|DSS|ADH|AECDH|NULL|IDEA|SEED|CCM8")


def openssl(text: str) -> list[str]:
    """What OpenSSL makes of a cipher string, in order."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_tls13_ciphersuites(b"")
    try:
        context.set_cipher_list(text.encode())
    except SSL.Error:
        return []
    return SSL.Connection(context).get_cipher_list()


def without_ccm(names) -> list[str]:
    return [name for name in names if "CCM" not in name]


def test_the_table_is_all_that_openssl_can_negotiate_with_rsa_and_ecdsa_certificates_in_its_order():
    assert [name for name in openssl("ALL:COMPLEMENTOFALL") if not ABSENT.search(name)] == OLD


def test_openssl_knows_every_tls_1_3_suite_of_the_table():
    names = [suite.openssl for suite in SUITES if suite.minimum is TlsVersion.TLS1_3]
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_tls13_ciphersuites(":".join(names).encode())
    context.set_cipher_list(b"AES128-SHA")
    assert SSL.Connection(context).get_cipher_list() == [*names, "AES128-SHA"]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.iana)
def test_a_suite_is_selected_alone_by_either_of_its_names_in_any_case(suite):
    for name in (suite.iana, suite.iana.lower(), suite.openssl, suite.openssl.lower()):
        selection = select([name])
        assert (*selection.ciphers, *selection.suites) == (suite.openssl,)
        assert selection.warnings == ()


@pytest.mark.parametrize("suite", [s for s in SUITES if s.openssl in OLD], ids=lambda suite: suite.iana)
def test_openssl_knows_every_suite_by_the_iana_name_of_the_table(suite):
    assert openssl(suite.iana) == [suite.openssl]


# Without the names from before RFC 7905, which OpenSSL never had.
WORDS = sorted(
    word
    for word in {word for suite in SUITES if suite.openssl in OLD for word in suite.words}
    if not re.fullmatch("TLS_.*_POLY1305", word)
)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_selects_what_it_selects_in_openssl(word):
    expected = [name for name in openssl(word) if name in OLD]
    assert list(select([word]).ciphers) == (expected if "CCM" in word else without_ccm(expected))


def commands() -> st.SearchStrategy[str]:
    word = st.sampled_from(WORDS)
    # OpenSSL ignores COMPLEMENTOFDEFAULT beside the name of a suite. Nobody writes that, so the oracle is not asked.
    joined = st.lists(
        st.sampled_from([word for word in WORDS if word != "COMPLEMENTOFDEFAULT"]), min_size=2, max_size=3
    )
    term = st.one_of(word, joined.map("+".join))
    operated = st.tuples(st.sampled_from(["", "", "", "+", "-", "!"]), term).map("".join)
    return st.one_of(operated, operated, operated, operated, st.just("@STRENGTH"))


@settings(deadline=None)
@given(st.lists(commands(), min_size=1, max_size=8), st.sampled_from([":", " ", ",", ";"]), st.booleans())
@example(["EECDH+AESGCM", "EDH+AESGCM", "AES256+EECDH", "AES256+EDH"], ":", False)
@example(["AES128-SHA", "AES256-SHA", "-AES", "AES"], ":", False)
@example(["HIGH", "!aNULL", "!eNULL", "!EXPORT", "!DES", "!RC4", "!MD5", "!PSK", "!aECDH"], ":", False)
def test_a_string_means_what_it_means_in_openssl(parts, separator, default):
    """Suites, order and exclusions alike; only CCM differs, and does not disturb the others."""
    text = separator.join(["DEFAULT", *parts] if default else parts)
    expected = [name for name in openssl(text) if name in OLD]
    ours = select([text]).ciphers
    assert without_ccm(ours) == without_ccm(expected)
    assert set(ours) <= set(expected)


def test_entries_of_a_list_are_one_string():
    parts = ["ECDHE+AES", "!SHA1:+AES128", "DHE-RSA-AES256-GCM-SHA384"]
    assert select(parts) == select([":".join(parts)])


def test_thoughtspots_string_gives_the_eight_suites_of_its_page_with_an_rsa_certificate():
    """https://docs.thoughtspot.com/6.0: a current OpenSSL would add a ninth, DHE-RSA-AES256-CCM."""
    chosen = select(["EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH"])
    names = {s.openssl: s.iana for s in SUITES if s.signature == "RSA"}
    assert {names[name] for name in chosen.ciphers if name in names} == {
        "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
        "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    }
    assert chosen.warnings == ()


def test_ccm_suites_are_taken_when_they_are_asked_for():
    assert select(["ECDHE+AESCCM"]).ciphers == ("ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-AES128-CCM")
    assert select(["AES256-CCM"]).ciphers == ("AES256-CCM",)


# Tyk's names: those of Go's crypto/tls, and two from before RFC 7905.
TYK_NAMES = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    *(
        f"TLS_ECDHE_{signature}_WITH_{cipher}"
        for signature in ("ECDSA", "RSA")
        for cipher in (
            "AES_128_CBC_SHA",
            "AES_256_CBC_SHA",
            "AES_128_CBC_SHA256",
            "AES_128_GCM_SHA256",
            "AES_256_GCM_SHA384",
            "CHACHA20_POLY1305_SHA256",
            "CHACHA20_POLY1305",
        )
    ),
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
]
REMOVED = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
]


@pytest.mark.parametrize("name", TYK_NAMES)
def test_every_name_that_tyk_accepts_and_openssl_still_has_is_taken(name):
    selection = select([name])
    assert len(selection.ciphers + selection.suites) == 1
    assert selection.warnings == ()


@pytest.mark.parametrize("name", REMOVED)
def test_a_name_that_openssl_has_removed_is_told_and_selects_nothing(name):
    selection = select([name])
    assert selection.ciphers == selection.suites == ()
    assert selection.warnings == (f"cipher {name!r} selects nothing: what it stands for cannot be served",)


@pytest.mark.parametrize(
    "word", ["NULL", "eNULL", "aNULL", "COMPLEMENTOFALL", "ADH", "PSK", "EXPORT", "RC4-MD5", "AESCCM8"]
)
def test_nothing_without_encryption_or_identity_can_be_selected(word):
    assert select([word]).ciphers == ()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("AES128-SHA25", "unknown cipher 'AES128-SHA25' (did you mean AES128-SHA256?); it is left out"),
        ("ECDHE+AESGMC", "unknown cipher 'ECDHE+AESGMC' (did you mean AESGCM?); it is left out"),
        ("!CAMELIA", "unknown cipher 'CAMELIA' (did you mean CAMELLIA?); it is left out"),
        ("junk", "unknown cipher 'junk'; it is left out"),
        ("SHA384+AES128", "cipher 'SHA384+AES128' selects nothing: what it stands for cannot be served"),
        ("ALL:DEFAULT", "DEFAULT counts only as the first word; it is left out"),
        ("ALL@SECLEVEL=1", "@SECLEVEL=1 is left out: the security level follows from min_version"),
        ("ALL:@FOO", "unknown cipher command '@FOO'; it is left out"),
        (
            "!TLS_AES_128_GCM_SHA256:-TLS_AES_256_GCM_SHA384:!TLS_CHACHA20_POLY1305_SHA256",
            "no TLS 1.3 suite is left, so the default ones serve; to do without, set max_version to 1.2",
        ),
    ],
)
def test_what_openssl_would_ignore_in_silence_is_told(text, warning):
    assert select([text]).warnings == (warning,)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_survived(text):
    select([text])


def test_naming_a_tls_1_3_suite_leaves_only_the_named_ones_in_their_order():
    names = ["TLS_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"]
    selection = select(names)
    assert selection.suites == ("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
    assert selection.ciphers == ("ECDHE-RSA-AES128-GCM-SHA256",)


def test_a_choice_that_names_no_tls_1_3_suite_says_nothing_about_tls_1_3():
    assert select(["ALL"]).suites == ()


def test_excluding_a_tls_1_3_suite_leaves_the_other_default_ones():
    assert select(["!TLS_AES_128_GCM_SHA256"]).suites == DEFAULT_SUITES[1:]


def test_the_default_list_is_forward_secret_and_authenticated():
    by_name = {suite.openssl: suite for suite in SUITES}
    assert {by_name[name].exchange for name in DEFAULT_CIPHERS} == {"ECDHE"}
    assert not any("CBC" in by_name[name].words for name in DEFAULT_CIPHERS)
