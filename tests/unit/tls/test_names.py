import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tls.names import candidates, canonical, common_name_matches, covers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("www.example.com", "www.example.com"),
        ("WWW.Example.COM.", "www.example.com"),
        ("localhost", "localhost"),
        ("_dmarc.a_b.test", "_dmarc.a_b.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("XN--BCHER-KVA.test", "xn--bcher-kva.test"),
        ("Bücher.test", "xn--bcher-kva.test"),
        ("bücher。test", "xn--bcher-kva.test"),
        ("straße.test", "xn--strae-oqa.test"),
        ("ﬀ.test", "ff.test"),
        ("_x.bücher.test", "_x.xn--bcher-kva.test"),
        ("*.Example.com", "*.example.com"),
        ("*.bücher.test", "*.xn--bcher-kva.test"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("1e100.net", "1e100.net"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_every_spelling_of_a_name_becomes_one(name, expected):
    assert canonical(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "a..b", ".a", "a.b..", "a b", "a/b", "a\n", "a\x00b", "-a.test", "a-.test", "*",
        "a.*.test", "*a.test", "*.*.test", "256.1.1.1", "1.2.3", "192.0.2.1.", "::g", "[::1", "fe80::1%",
        "a" * 64 + ".test", "a." * 127 + "a",
        "\ud800.test", "xn--\xfc.test", "🤝" * 80, "٣.٣",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_the_cure(name):
    with pytest.raises(ValueError, match="use letters, digits, hyphens and dots, or an IP address"):
        canonical(name)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_canonical_is_a_fixed_point_and_never_fails_in_another_way(name):
    try:
        once = canonical(name)
    except ValueError:
        return
    assert canonical(once) == once
    assert once.isascii()


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("www.example.com", ("www.example.com", "*.example.com")),
        ("a.localhost", ("a.localhost", "*.localhost")),
        ("localhost", ("localhost",)),
        ("192.0.2.1", ("192.0.2.1",)),
        ("2001:db8::1", ("2001:db8::1",)),
    ],
)
def test_an_exact_name_is_looked_up_before_its_wildcard(name, keys):
    assert candidates(name) == keys


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.test", "a.test", True),
        ("a.test", "b.a.test", False),
        ("*.a.test", "b.a.test", True),
        ("*.a.test", "a.test", False),
        ("*.a.test", "c.b.a.test", False),
        ("*.0.2.1", "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.1", True),
    ],
)
def test_a_wildcard_covers_exactly_one_label(pattern, name, expected):
    assert covers(pattern, name) is expected


def certificate(*common_names: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common_names])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(1))
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )


@pytest.mark.parametrize(
    ("common_names", "host", "expected"),
    [
        (["upstream.test"], "upstream.test", True),
        (["Upstream.TEST"], "upstream.test.", True),
        (["192.0.2.1"], "192.0.2.1", True),
        (["other.test"], "upstream.test", False),
        (["*.test"], "upstream.test", False),
        ([], "upstream.test", False),
        (["upstream.test", "upstream.test"], "upstream.test", False),
        (["Some Company Ltd"], "upstream.test", False),
    ],
)
def test_the_common_name_must_be_the_host_itself(common_names, host, expected):
    """Equality, as in Tyk's ssl_force_common_name_check: no wildcard, no alternative."""
    assert common_name_matches(certificate(*common_names), host) is expected
