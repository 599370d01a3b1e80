from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from gateway.tls.client_hello import LIMIT, ClientHelloError, PlainHttpError, missing, parse
from gateway.tls.names import candidates, canonical

TLS1_2, TLS1_3 = 0x0303, 0x0304


def vector(width: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return len(content).to_bytes(width) + content


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, content)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, *(bytes([kind]) + vector(2, name) for name in names)))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, vector(2, *(vector(1, protocol) for protocol in protocols)))


def versions(*numbers: int) -> bytes:
    return extension(43, vector(1, *(number.to_bytes(2) for number in numbers)))


def message(*extensions: bytes, legacy: int = TLS1_2, tail: bytes | None = None) -> bytes:
    body = legacy.to_bytes(2) + bytes(32) + vector(1, bytes(32)) + vector(2, b"\x13\x01") + vector(1, b"\0")
    return b"\x01" + vector(3, body, vector(2, *extensions) if tail is None else tail)


def records(handshake: bytes, size: int = 16384) -> bytes:
    return b"".join(b"\x16\x03\x01" + vector(2, handshake[at : at + size]) for at in range(0, len(handshake), size))


def hello(*extensions: bytes, **options) -> bytes:
    return records(message(*extensions, **options))


FULL = hello(server_name(b"www.example.com"), alpn(b"h2", b"http/1.1"), versions(0x0A0A, TLS1_3, TLS1_2))


def test_the_name_the_protocols_and_the_versions_are_read():
    found = parse(FULL)
    assert found is not None
    assert found.server_name == "www.example.com"
    assert found.alpn == (b"h2", b"http/1.1")
    assert found.versions == (TLS1_3, TLS1_2)
    assert found.size == len(FULL)


def test_a_client_of_tls_1_0_may_send_no_extensions_at_all():
    found = parse(hello(legacy=0x0301, tail=b""))
    assert found is not None
    assert (found.server_name, found.alpn, found.versions) == (None, (), (0x0301,))


def test_without_supported_versions_the_legacy_version_counts():
    assert parse(hello(server_name(b"a.test"))).versions == (TLS1_2,)


def test_what_follows_the_hello_is_left_alone():
    assert parse(FULL + b"\x14\x03\x03\0\1\1").size == len(FULL)


@settings(deadline=None)
@given(size=st.integers(1, 600), cut=st.integers(0, 4000))
def test_every_prefix_of_a_hello_in_records_of_any_size_asks_for_more(size, cut):
    data = records(FULL[5:], size)
    if cut < len(data):
        assert parse(data[:cut]) is None
    else:
        assert parse(data).server_name == "www.example.com"
        assert parse(data).size == len(data)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_awaited_or_refused(data):
    for bytes_ in (data, b"\x16\x03\x01" + data, records(b"\x01" + vector(3, data)), hello(data)):
        with suppress(ClientHelloError):
            parse(bytes_)


@settings(deadline=None)
@given(st.integers(0, len(FULL) - 1), st.integers(0, 255))
def test_any_damaged_byte_is_survived(position, value):
    damaged = FULL[:position] + bytes([value]) + FULL[position + 1 :]
    with suppress(ClientHelloError):
        parse(damaged)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"WWW.Example.COM", "www.example.com"),
        (b"example.com.", "example.com"),
        (b"xn--bcher-kva.test", "xn--bcher-kva.test"),
        (b"under_score.test", "under_score.test"),
        (b"a." * 126 + b"b", "a." * 126 + "b"),
        ("bücher.test".encode(), '"b\\xc3\\xbccher.test"'),
        (b"192.0.2.1", '"192.0.2.1"'),
        (b"2001:DB8::0:1", '"2001:db8::0:1"'),
        (b"[::1]", '"[::1]"'),
        (b"a..b", '"a..b"'),
        (b".a.test", '".a.test"'),
        (b"a.test..", '"a.test.."'),
        (b".", '"."'),
        (b"*.a.test", '"*.a.test"'),
        (b"*", '"*"'),
        (b"-a.test", '"-a.test"'),
        (b"a b.test", '"a b.test"'),
        (b"A\0.test", '"a\\x00.test"'),
        (b"a\n.test", '"a\\n.test"'),
        (b"\xff.test", '"\\xff.test"'),
        (b'a".test', '"a".test"'),
        (b"x" * 64 + b".a.test", '"' + "x" * 64 + '.a.test"'),
        (b"a." * 127 + b"b", '"' + ("a." * 127)[:253] + '"'),
        (b"x" * 300, '"' + "x" * 253 + '"'),
    ],
)
def test_a_name_is_canonical_and_a_non_name_is_text_that_matches_nothing(sent, expected):
    name = parse(hello(server_name(sent))).server_name
    assert name == expected
    if name.startswith('"'):
        for key in candidates(name):
            with pytest.raises(ValueError, match="not a host name"):
                canonical(key)


@pytest.mark.parametrize(
    "data",
    [
        hello(server_name(b"")),
        hello(server_name()),
        hello(server_name(b"a.test", b"b.test")),
        hello(server_name(b"a.test", kind=1)),
        hello(extension(0, b"")),
        hello(extension(0, vector(2, b"\0" + vector(2, b"a.test")) + b"x")),
        hello(extension(16, b"\0\5\2h2")),
        hello(extension(43, b"\3\3\4\3")),
        hello(extension(43, b"")),
        hello(tail=b"\0"),
        hello(tail=b"\0\0\0"),
        hello(tail=b"\0\4\0\0\0\1"),
        records(b"\x01" + vector(3, b"")),
    ],
)
def test_a_hello_that_contradicts_itself_is_malformed(data):
    with pytest.raises(ClientHelloError, match="malformed") as caught:
        parse(data)
    assert caught.value.alert == 50


@pytest.mark.parametrize(
    ("data", "alert"),
    [
        (b"\x15\x03\x01\0\2", 10),
        (b"\x14\x03\x03\0\1\1", 10),
        (b"\x17\x03\x03\0\1\1", 10),
        (b"\0", 10),
        (b"\x16\x03\x01\0\5\x02", 10),
        (b"\x16\x03\x01\0\0", 10),
        (records(message(), 20)[:25] + b"\x15\x03\x01\0\2\2\0", 10),
        (records(message(), 20)[:25] + b"\x16\x03\x01\0\0", 10),
        (b"\x16\x02", 70),
        (b"\x16\x00\x03", 70),
        (records(message(), 20)[:25] + b"\x16\x04", 70),
        (b"\x16\x03\x01\x40\x01", 22),
        (b"\x16\x03\x03\xff\xff", 22),
        (records(message(), 20)[:25] + b"\x16\x03\x01\x40\x01", 22),
        (b"\x16\x03\x01\x40\x00\x01\xff\xff\xff", 47),
    ],
)
def test_what_is_wrong_with_a_record_is_said_in_the_alert(data, alert):
    """RFC 8446 sections 5.1 and 6.2."""
    with pytest.raises(ClientHelloError) as caught:
        parse(data)
    assert caught.value.alert == alert


def test_an_extension_that_comes_twice_is_refused():
    with pytest.raises(ClientHelloError, match="twice") as caught:
        parse(hello(server_name(b"a.test"), alpn(b"h2"), server_name(b"b.test")))
    assert caught.value.alert == 47


def test_another_handshake_message_is_refused_at_its_first_byte():
    with pytest.raises(ClientHelloError, match="another message"):
        parse(b"\x16\x03\x01\0\x05\x02")


@pytest.mark.parametrize(
    "data", [b"\x80\x2e\x01\x00\x02", b"SSH-2.0-x\r\n", b"\0", b"\x16\x02", b"\x15\x03\x01\0\2", b"get / "]
)
def test_what_is_not_tls_is_refused_at_once(data):
    with pytest.raises(ClientHelloError, match="not TLS"):
        parse(data)


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1", b"PRI * HTTP/2.0\r\n\r\n", b"M-SEARCH * HT"]
)
def test_plain_http_is_told_apart_as_soon_as_its_method_is_whole(request_):
    end = request_.index(b" ") + 1
    for size in range(end):
        assert parse(request_[:size]) is None
    for size in range(end, len(request_) + 1):
        with pytest.raises(PlainHttpError, match="plain HTTP"):
            parse(request_[:size])


def test_a_hello_of_more_than_the_limit_is_refused_as_soon_as_it_says_so():
    with pytest.raises(ClientHelloError, match="longer than one can be"):
        parse(b"\x16\x03\x01\x40\x00\x01" + (131397).to_bytes(3))
    assert parse(b"\x16\x03\x01\x40\x00\x01" + (131396).to_bytes(3)) is None


@pytest.mark.parametrize("size", [200, 4096, 16384])
def test_a_hello_may_be_as_long_as_its_grammar_lets_it(size):
    body = b"\3\3" + bytes(32) + vector(1, bytes(32)) + vector(2, bytes(65534)) + vector(1, bytes(255))
    longest = b"\x01" + vector(3, body, vector(2, server_name(b"a.test"), extension(9, bytes(65535 - 19))))
    data = records(longest, size)
    assert parse(data[:-1]) is None
    assert parse(data).server_name == "a.test"
    assert len(longest) == 4 + 131396
    seen = steps = 0
    while seen < len(data):
        seen += missing(data[:seen])
        steps += 1
    assert steps < 200


def test_record_headers_are_bounded_too():
    endless = records(b"\x01" + vector(3, bytes(16000)), 1)
    assert parse(endless[: 6 * 3000]) is None
    with pytest.raises(ClientHelloError, match="too many"):
        parse(endless)


def python_hello(**settings) -> bytes:
    context = ssl.create_default_context()
    for name, value in settings.items():
        setattr(context, name, value)
    context.set_alpn_protocols(["http/1.1"])
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="bücher.test").do_handshake()
    return outgoing.read()


def test_pythons_own_hello_is_read():
    found = parse(python_hello())
    assert found is not None
    assert (found.server_name, found.alpn) == ("xn--bcher-kva.test", (b"http/1.1",))
    assert set(found.versions) >= {TLS1_3, TLS1_2}  # a distribution may let its clients offer older ones


@given(st.data())
def test_what_is_missing_is_never_more_than_what_comes(data):
    """Waiting for that many bytes more never waits for bytes that the client does not owe."""
    message = python_hello()[5:]
    size = data.draw(st.integers(1, len(message)))
    wire = b"".join(
        b"\x16\x03\x01" + len(piece).to_bytes(2) + piece
        for piece in (message[at : at + size] for at in range(0, len(message), size))
    )
    seen = data.draw(st.integers(0, len(wire) - 1))
    assert 1 <= missing(wire[:seen]) <= len(wire) - seen


def test_a_post_quantum_hello_is_read():
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    connection.set_tlsext_host_name(b"a.test")
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    data = connection.bio_read(LIMIT)
    assert len(data) > 1200
    assert parse(data).server_name == "a.test"
    assert all(parse(data[:size]) is None for size in range(len(data)))
