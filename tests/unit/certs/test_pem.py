"""From pasted text to a certificate pair: what is mended, what is refused, and that no key is ever shown."""

from __future__ import annotations

import copy
import functools
import pickle
from datetime import timedelta

import hypothesis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import strategies as st

from gateway.certs import describe
from gateway.certs.dates import check_dates, quiet_period
from gateway.certs.pem import MAX_CERTIFICATES, CertificatePair, check_names, parse_pair
from gateway.certs.self_signed import Authority, self_signed
from gateway.config.problems import Severity
from gateway.errors import CertificateError

PEM = serialization.Encoding.PEM
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


def encrypted(key, form=PKCS8, passphrase=b"open sesame") -> bytes:
    return key.private_bytes(PEM, form, serialization.BestAvailableEncryption(passphrase))


def refused(*args, match: str, **keywords) -> None:
    with pytest.raises(CertificateError, match=match):
        parse_pair(*args, **keywords)


# What may be given, and how


def test_certificate_and_key_may_come_apart_or_together_in_any_order(pair):
    for given in (
        (pair.chain_pem, pair.key_pem),
        (pair.chain_pem + pair.key_pem,),
        (pair.key_pem + pair.chain_pem,),
        (b"text\n" + pair.key_pem + b"more text\n" + pair.chain_pem, None),
        (pair.key_pem + pair.chain_pem, pair.key_pem + pair.chain_pem),  # one bundle named as both files
    ):
        assert parse_pair(*given) == (pair, ())


def test_a_pair_says_what_it_is(pair, rsa_pair):
    assert pair.fingerprint == describe.fingerprint(pair.leaf)
    assert (pair.key_type, rsa_pair.key_type) == ("ec", "rsa")
    assert pair.not_after - pair.not_before == timedelta(days=90)
    assert parse_pair(pair.chain_pem, pair.key_pem)[0].names == (
        "www.example.com",
        "*.example.com",
        "127.0.0.1",
    )


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("collapsed", [False, True])
def test_an_encrypted_key_opens_with_its_passphrase(pair, rsa_pair, form, kind, collapsed):
    which = pair if kind == "ec" else rsa_pair
    text = encrypted(which.key, form)
    text = text.replace(b"\n", b" ") if collapsed else text
    assert parse_pair(which.chain_pem, text, passphrase=b"open sesame") == (which, ())


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_a_missing_and_a_wrong_passphrase_are_told_apart(pair, form):
    text = encrypted(pair.key, form)
    refused(pair.chain_pem, text, match="no passphrase was given")
    refused(pair.chain_pem, text, passphrase=b"", match="no passphrase was given")
    refused(pair.chain_pem, text, passphrase=b"open barley", match="passphrase of the private key is wrong")


def test_a_passphrase_without_need_is_only_warned_about(pair):
    _, warnings = parse_pair(pair.chain_pem, pair.key_pem, passphrase=b"open sesame")
    assert warnings == ("a passphrase was given but the private key is not encrypted",)


def test_the_parameters_that_openssl_puts_before_an_ec_key_are_ignored(pair):
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key = pair.key.private_bytes(PEM, TRADITIONAL, serialization.NoEncryption())
    assert parse_pair(pair.chain_pem, parameters + key) == (pair, ())


# What is missing, superfluous or something else


def test_missing_parts_are_named_and_so_is_what_came_instead(pair, odd):
    request = x509.CertificateSigningRequestBuilder(pair.leaf.subject).sign(pair.key, SHA256()).public_bytes(PEM)
    public = pair.key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    openssh = pair.key.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    refused(b"", match="no certificate was given$")
    refused(pair.key_pem, match="no certificate was given, only a block named PRIVATE KEY")
    refused(request, match="no certificate was given, only a certificate request")
    refused(public, match="no certificate was given, only a public key")
    refused(pair.chain_pem, match="no private key was given")
    refused(pair.chain_pem, openssh, match="no private key was given.*ssh-keygen -p -m PEM")
    refused(pair.leaf.public_bytes(serialization.Encoding.DER), match="openssl x509 -inform der")


def test_two_different_keys_are_refused(pair, rsa_pair):
    refused(pair.chain_pem + pair.key_pem, rsa_pair.key_pem, match="2 private keys")


def test_the_key_of_another_certificate_is_refused_with_the_names_of_this_one(pair, rsa_pair):
    refused(pair.chain_pem, rsa_pair.key_pem, match=r"does not belong to the certificate \(of www\.example\.com")


def test_the_key_of_a_certificate_without_a_name_is_refused_too(odd, rsa_pair):
    refused(odd.issue(common_name="No Host").chain_pem, rsa_pair.key_pem, match=r"\(of CN=No Host\)")


def test_a_damaged_certificate_is_named_by_its_number(pair):
    damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    refused(pair.chain_pem + damaged, pair.key_pem, match="certificate 2 of 2 is damaged")


def test_a_damaged_key_is_refused(pair):
    refused(pair.chain_pem, pair.key_pem.replace(b"MIG", b"AAA"), match="private key is damaged")


def test_an_rsa_key_whose_numbers_do_not_fit_is_refused(rsa_pair):
    """It parses, and belongs to the certificate, but nothing that it signs verifies."""
    n = rsa_pair.key.private_numbers()
    broken = rsa.RSAPrivateNumbers(n.p, n.q, n.d + 2, n.dmp1 + 2, n.dmq1, n.iqmp, n.public_numbers).private_key(
        unsafe_skip_rsa_key_validation=True
    )
    text = broken.private_bytes(PEM, TRADITIONAL, serialization.NoEncryption())
    refused(rsa_pair.chain_pem, text, match="private key is damaged")


def test_too_many_certificates_are_refused(pair):
    many = b"".join(self_signed("localhost").chain_pem for _ in range(MAX_CERTIFICATES))
    refused(pair.chain_pem + many, pair.key_pem, match=f"{MAX_CERTIFICATES + 1} certificates were given")


# The chain


@pytest.fixture(scope="module")
def family(authority, odd) -> list[CertificatePair]:
    """Leaf, its issuer, the issuer's issuer, and the root."""
    upper = odd.intermediate("Upper")
    lower = odd.intermediate("Lower", upper)
    return [odd.issue(names=["leaf.test"], issuer=lower), lower, upper, authority.pair]


def parse_in_order(family, order):
    text = b"".join(family[place].chain_pem for place in order)
    pair, warnings = parse_pair(text, family[0].key_pem)
    return [next(i for i, member in enumerate(family) if member.leaf == entry) for entry in pair.chain], warnings


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 3], [0, 0, 1, 2]])
def test_a_chain_in_order_is_kept_without_its_root_and_without_a_word(family, order):
    assert parse_in_order(family, order) == ([0, 1, 2], ())


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0], [3, 2, 1, 0], [0, 2, 1], [0, 3, 1, 2], [2, 3, 0, 1]])
def test_a_chain_out_of_order_is_put_in_order_with_a_warning(family, order):
    chain, warnings = parse_in_order(family, order)
    assert chain == [0, 1, 2]
    assert len(warnings) == 1
    assert "not in order" in warnings[0]


@pytest.mark.parametrize(
    ("order", "chain", "left_out"), [([0, 2], [0], "CN=Upper"), ([0, 1, 3], [0, 1], "CN=Throw-away CA")]
)
def test_what_does_not_connect_is_left_out_with_a_warning(family, order, chain, left_out):
    assert parse_in_order(family, order) == (
        chain,
        (f"certificates that do not belong to the chain were left out: {left_out}",),
    )


def test_the_chain_may_come_as_a_third_text(family):
    chain = family[2].chain_pem + family[1].chain_pem
    pair, warnings = parse_pair(family[0].chain_pem, family[0].key_pem, chain_pem=chain)
    assert [entry.subject.rfc4514_string() for entry in pair.chain] == ["CN=odd.test", "CN=Lower", "CN=Upper"]
    assert "not in order" in warnings[0]


def test_a_certificate_of_the_same_subject_but_another_key_is_not_the_issuer(family, odd):
    namesake = odd.intermediate("Lower", family[2])
    pair, warnings = parse_pair(family[0].chain_pem + namesake.chain_pem, family[0].key_pem)
    assert len(pair.chain) == 1
    assert "left out: CN=Lower" in warnings[0]


def test_of_a_root_and_its_cross_signed_twin_the_twin_leads_on(odd):
    """As with a new root that an older one vouches for: old clients know only the older."""
    new_root = Authority.create("New Root")
    twin = odd.intermediate("New Root", key=new_root.pair.key)
    leaf = odd.issue(names=["leaf.test"], issuer=new_root.pair)
    for others in ((new_root.pair, twin), (twin, new_root.pair)):
        pair, _ = parse_pair(leaf.chain_pem + b"".join(p.chain_pem for p in others), leaf.key_pem)
        assert pair.chain == (leaf.leaf, twin.leaf)


def test_a_self_signed_certificate_is_served_as_it_is():
    pair = self_signed("localhost")
    assert parse_pair(pair.chain_pem, pair.key_pem)[0].chain == pair.chain


def test_a_leaf_whose_public_issuer_is_missing_is_warned_about(odd, authority):
    address = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS,
                x509.UniformResourceIdentifier("http://ca.test/ca.der"),
            )
        ]
    )
    leaf = odd.issue(address, names=["leaf.test"])
    _, warnings = parse_pair(leaf.chain_pem, leaf.key_pem)
    assert len(warnings) == 1
    assert "issuer's certificate is missing" in warnings[0]
    assert parse_pair(leaf.chain_pem + authority.pair.chain_pem, leaf.key_pem)[1] == ()


# Keys and signatures that are too weak or too new


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_three_curves_of_tls_are_served(odd, curve):
    leaf = odd.issue(names=["a.test"], key=ec.generate_private_key(curve))
    assert parse_pair(leaf.chain_pem, leaf.key_pem)[1] == ()


@pytest.mark.parametrize("make", [lambda: ec.generate_private_key(ec.SECP256K1()), ed448.Ed448PrivateKey.generate])
def test_other_kinds_of_key_are_refused(odd, make):
    leaf = odd.issue(names=["a.test"], key=make())
    refused(leaf.chain_pem, leaf.key_pem, match="not served; use RSA, or EC")


def test_an_ed25519_key_is_served_with_a_warning(odd):
    leaf = odd.issue(names=["a.test"], key=ed25519.Ed25519PrivateKey.generate())
    pair, warnings = parse_pair(leaf.chain_pem, leaf.key_pem)
    assert pair.key_type == "ed25519"
    assert len(warnings) == 1
    assert "browsers do not accept" in warnings[0]


def test_an_rsa_key_under_2048_bits_is_refused(odd):
    leaf = odd.issue(names=["a.test"], key=rsa.generate_private_key(65537, 1024))
    refused(leaf.chain_pem, leaf.key_pem, match="1024 bits; at least 2048")


# Object identifiers with their parameters: of equal length, so that one can stand in the place of another.
ALGORITHMS = ("010500", "0a3000", "050500", "0b0500")
RSA, RSA_PSS, RSA_SHA1, RSA_SHA256 = (bytes.fromhex(f"2a864886f70d0101{end}") for end in ALGORITHMS)


def forged(certificate: x509.Certificate, issuer: rsa.RSAPrivateKey, old: bytes, new: bytes) -> bytes:
    """The same certificate with an algorithm that builders do not offer."""
    body = certificate.tbs_certificate_bytes.replace(old, new)
    signature = issuer.sign(body, padding.PKCS1v15(), SHA1() if new == RSA_SHA1 else SHA256())
    der = certificate.public_bytes(serialization.Encoding.DER).replace(old, new)
    der = der.replace(certificate.signature, signature)
    return x509.load_der_x509_certificate(der).public_bytes(PEM)


def test_a_sha1_signature_is_refused_unless_it_is_the_certificates_own(odd, rsa_pair):
    leaf = odd.issue(names=["a.test"], issuer=rsa_pair)
    sha1 = forged(leaf.leaf, rsa_pair.key, RSA_SHA256, RSA_SHA1)
    refused(sha1, leaf.key_pem, match="signed with SHA-1")
    own = self_signed("localhost", key="rsa2048")
    sha1 = forged(own.leaf, own.key, RSA_SHA256, RSA_SHA1)
    assert parse_pair(sha1, own.key_pem)[1] == ()


def test_an_rsa_pss_key_is_refused(odd, rsa_pair):
    leaf = odd.issue(names=["a.test"], issuer=rsa_pair, key=rsa_pair.key)
    refused(forged(leaf.leaf, rsa_pair.key, RSA, RSA_PSS), rsa_pair.key_pem, match="RSA-PSS")


def test_a_weak_intermediate_is_refused_too(odd, authority):
    weak = odd.intermediate("Weak", key=rsa.generate_private_key(65537, 1024))
    leaf = odd.issue(names=["a.test"], issuer=weak)
    refused(leaf.chain_pem + weak.chain_pem, leaf.key_pem, match="RSA key of CN=Weak has 1024 bits")


# Whether clients will take it


def test_a_certificate_that_is_not_for_servers_is_refused(odd):
    leaf = odd.issue(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), names=["a.test"])
    refused(leaf.chain_pem, leaf.key_pem, match="not for servers")


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
def test_a_certificate_for_servers_or_for_anything_is_served(odd, usage):
    leaf = odd.issue(x509.ExtendedKeyUsage([usage, ExtendedKeyUsageOID.CLIENT_AUTH]), names=["a.test"])
    assert parse_pair(leaf.chain_pem, leaf.key_pem)[1] == ()


@pytest.mark.parametrize(
    ("extensions", "names", "warning"),
    [
        ([x509.BasicConstraints(ca=True, path_length=None)], ["a.test"], "CA's own"),
        ([], [], "names no host"),
        (
            [
                x509.KeyUsage(
                    digital_signature=False, content_commitment=False, key_encipherment=True,
                    data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
                    encipher_only=False, decipher_only=False,
                ),
            ],
            ["a.test"],
            "key usage forbids signatures",
        ),
    ],
)  # fmt: skip
def test_what_some_clients_refuse_is_warned_about(odd, extensions, names, warning):
    leaf = odd.issue(*extensions, names=names, common_name="No Host")
    _, warnings = parse_pair(leaf.chain_pem, leaf.key_pem)
    assert len(warnings) == 1
    assert warning in warnings[0]


def test_a_common_name_in_the_place_of_an_alternative_name_is_warned_about(odd):
    leaf = odd.issue(common_name="a.test")
    pair, warnings = parse_pair(leaf.chain_pem, leaf.key_pem)
    assert pair.names == ("a.test",)
    assert "only a common name" in warnings[0]


def test_a_certificate_with_an_unreadable_extension_is_refused(odd):
    nonsense = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x04\x01\x00")
    leaf = odd.issue(nonsense)
    refused(leaf.chain_pem, leaf.key_pem, match="fields that cannot be read")


# Dates and names


@pytest.mark.parametrize(
    ("moment", "severity", "message"),
    [
        (timedelta(days=-1, seconds=-1), Severity.WARNING, "not valid before"),
        (timedelta(0), None, ""),
        (timedelta(days=60), None, ""),
        (timedelta(days=85), Severity.WARNING, "expires on"),
        (timedelta(days=90, seconds=1), Severity.ERROR, "expired on"),
    ],
)
def test_dates_are_judged_at_a_given_moment(pair, moment, severity, message):
    problems = check_dates(pair.chain, pair.not_before + moment)
    assert [problem.severity for problem in problems] == ([severity] if severity else [])
    assert all(message in problem.message for problem in problems)


@pytest.mark.parametrize(("days", "left", "warned"), [(400, 31, False), (400, 29, True), (8, 3, False), (8, 1, True)])
def test_nearly_over_is_a_month_or_a_quarter_of_a_short_life(days, left, warned):
    pair = self_signed("localhost", days=days)
    assert bool(check_dates(pair.chain, pair.not_after - timedelta(days=left))) == warned


@hypothesis.given(seconds=st.integers(-10, 100 * 86400), days=st.integers(2, 90))
def test_there_is_nothing_to_say_within_the_quiet_period_and_something_outside(seconds, days):
    pair = _of_days(days)
    begin, end = quiet_period(pair.chain)
    moment = pair.not_before + timedelta(seconds=seconds)
    assert (check_dates(pair.chain, moment) == ()) == (begin <= moment <= end)


@functools.cache
def _of_days(days):
    return self_signed("localhost", days=days)


def test_an_expired_issuer_in_the_chain_is_a_warning(odd, now):
    upper = odd.intermediate("Upper")
    leaf = odd.issue(names=["a.test"], issuer=upper, days=800)
    pair, _ = parse_pair(leaf.chain_pem + upper.chain_pem, leaf.key_pem)
    assert check_dates(pair.chain, now) == ()
    (problem,) = check_dates(pair.chain, now + timedelta(days=400))
    assert problem.severity is Severity.WARNING
    assert "CN=Upper in the chain has expired" in problem.message


@pytest.mark.parametrize("domain", ["www.example.com", "any.example.com", "*.example.com", "127.0.0.1"])
def test_a_covered_domain_is_no_problem(pair, domain):
    assert check_names(pair.names, domain) == ()


@pytest.mark.parametrize("domain", ["example.com", "a.b.example.com", "*.b.example.com", "localhost", "10.0.0.1"])
def test_a_domain_that_is_not_covered_is_a_warning(pair, domain):
    (problem,) = check_names(pair.names, domain)
    assert problem.severity is Severity.WARNING
    assert domain in problem.message
    assert "www.example.com" in problem.message


# Keeping the key


def test_a_pair_is_restored_from_its_own_text(pair, rsa_pair):
    for one in (pair, rsa_pair):
        restored = CertificatePair.restore(one.chain_pem, one.key_pem)
        assert (restored, restored.key_pem, restored.key_type) == (one, one.key_pem, one.key_type)


def test_a_pair_is_not_restored_from_anything_else(pair):
    other = ed448.Ed448PrivateKey.generate().private_bytes(PEM, PKCS8, serialization.NoEncryption())
    with pytest.raises(TypeError):
        CertificatePair.restore(pair.chain_pem, other)
    with pytest.raises(CertificateError):
        CertificatePair.restore(b"", pair.key_pem)


def test_a_pair_never_shows_its_key_and_is_never_pickled_or_copied_deeply(pair):
    assert "key" not in repr(pair)
    assert "key" not in str(pair)
    for give_away in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            give_away(pair)


def test_no_error_quotes_what_was_given(pair, rsa_pair):
    secrets = [pair.key_pem.split(b"\n")[1].decode(), "open sesame", "open barley"]
    text = encrypted(pair.key)
    for given, passphrase in [
        ((pair.key_pem,), None),
        ((rsa_pair.chain_pem, pair.key_pem), None),
        ((pair.chain_pem, pair.key_pem[:-20]), None),
        ((pair.chain_pem, pair.key_pem.replace(b"MIG", b"AAA")), None),
        ((pair.chain_pem, text), b"open barley"),
        ((pair.chain_pem, b"open sesame"), None),
    ]:
        with pytest.raises(CertificateError) as caught:
            parse_pair(*given, passphrase=passphrase)
        assert not any(secret in f"{caught.value} {caught.value.__cause__}" for secret in secrets)
