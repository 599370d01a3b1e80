"""First messages of handshakes: what is asked, and what any bytes that come back are taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tls import client_hello, probe
from gateway.tls.probe import SSL3, TLS1_2, TLS1_3, Answer, AnswerError, Question, Refusal
from gateway.tls.suites import BY_CODE, REGISTERED

RANDOM = bytes(range(32))
ECDHE_RSA, DHE_RSA, RSA = 0xC02F, 0x009E, 0x009C


def vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width) + content


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + vector(3, body)


def record(content: bytes, kind: int = 22) -> bytes:
    return bytes((kind, 3, 3)) + vector(2, content)


def hello(suite: int, extensions: bytes = b"", version: int = TLS1_2) -> bytes:
    body = version.to_bytes(2) + bytes(32) + b"\0" + suite.to_bytes(2) + b"\0"
    return message(2, body + (vector(2, extensions) if extensions else b""))


DONE = message(14, b"")


@given(st.sampled_from([0x0301, 0x0302, TLS1_2, TLS1_3]), st.sampled_from(["", "www.example.com"]))
def test_every_question_is_a_client_hello_as_the_gateway_itself_reads_it(version, name):
    question = Question(version, tuple(suite.code for suite in REGISTERED), server_name=name)
    record = probe.client_hello(question, RANDOM)
    found = client_hello.parse(record)
    assert found is not None
    assert (found.server_name, found.versions, found.size) == (name or None, (version,), len(record))


def test_ssl_3_knows_no_extensions():
    record = probe.client_hello(Question(SSL3, (5,), server_name="a.test"), RANDOM)
    assert b"a.test" not in record
    assert record.endswith(b"\0\x02\0\x05\x01\0")


def test_an_answer_of_tls_1_2_is_whole_with_its_last_message():
    curve = message(12, b"\x03\0\x1d" + vector(1, b"point"))
    certificate = message(11, vector(3, vector(3, b"leaf") + vector(3, b"issuer")))
    flight = record(hello(ECDHE_RSA) + certificate) + record(curve + DONE)
    for end in range(len(flight)):
        assert probe.read(flight[:end], ended=False) is None
    assert probe.read(flight, ended=False) == Answer(TLS1_2, ECDHE_RSA, 0, group=29, certificate=b"leaf")


def test_a_server_that_hangs_up_early_has_answered_all_the_same():
    assert probe.read(record(hello(ECDHE_RSA)), ended=True) == Answer(TLS1_2, ECDHE_RSA, 0)
    assert probe.read(b"", ended=True) is None


def test_a_retry_of_tls_1_3_names_suite_and_group_at_once():
    extensions = b"\0\x2b" + vector(2, b"\x03\x04") + b"\0\x33" + vector(2, b"\x11\xec")
    assert probe.read(record(hello(0x1301, extensions)), ended=False) == Answer(TLS1_3, 0x1301, 0, group=4588)


@pytest.mark.parametrize(
    ("suite", "exchange", "expected"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", b"\x03\0\x17", (23, 0)),
        ("TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA", b"\0\x02hi\x03\0\x17", (23, 0)),
        ("TLS_ECDH_anon_WITH_AES_128_CBC_SHA", b"\x01", (0, 0)),
        ("TLS_DHE_RSA_WITH_AES_128_CBC_SHA", vector(2, b"\x80" + bytes(127)), (0, 1024)),
        ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", vector(2, b"\x80" + bytes(63)), (0, 512)),
        ("TLS_SRP_SHA_WITH_AES_128_CBC_SHA", vector(2, b"\x01" + bytes(128)), (0, 1025)),
        ("TLS_PSK_WITH_AES_128_CBC_SHA", b"\0\x02hi", (0, 0)),
    ],
)
def test_the_key_exchange_is_read_as_the_suite_has_it(suite, exchange, expected):
    (found,) = (one for one in REGISTERED if one.name == suite)
    assert probe.group_or_prime(found.exchange, exchange) == expected


def test_an_alert_refuses_and_a_warning_does_not():
    assert probe.read(record(b"\x02\x28", 21), ended=False) == Refusal(40)
    assert probe.read(record(b"\x01\x70", 21), ended=False) is None
    warned = record(b"\x01\x70", 21) + record(hello(RSA) + DONE)
    assert probe.read(warned, ended=False) == Answer(TLS1_2, RSA, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"HT",
        b"\x16\x04\x00\0\x01\0",
        record(b"\x01" + vector(3, b"a hello of a client")),
        record(b"\x02\xff\xff\xff"),
        record(message(2, b"\x03\x03 short")),
        record(b"\x02\x28\0", 21),
    ],
)
def test_what_no_server_says_is_an_error(data):
    with pytest.raises(AnswerError):
        probe.read(data, ended=True)


PIECES = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=40).map(record),
    st.builds(lambda kind, body: record(message(kind, body)), st.sampled_from([2, 11, 12, 14]), st.binary(max_size=80)),
    st.builds(
        lambda suite, extensions: record(hello(suite, extensions)),
        st.sampled_from([*BY_CODE]),
        st.binary(max_size=40),
    ),
)


@given(st.lists(PIECES, max_size=5).map(b"".join), st.booleans())
def test_any_bytes_are_an_answer_a_refusal_a_beginning_or_an_error(data, ended):
    try:
        found = probe.read(data, ended=ended)
    except AnswerError:
        return
    assert found is None or isinstance(found, Answer | Refusal)
