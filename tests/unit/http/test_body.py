"""The chunked coding, cut at every place where a network may cut it."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageError
from gateway.http.body import ChunkedDecoder, chunk, last_chunk


def decode(*pieces: bytes) -> tuple[bytes, ChunkedDecoder]:
    decoder = ChunkedDecoder()
    return b"".join(decoder.feed(piece) for piece in pieces), decoder


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.data())
def test_what_is_framed_is_decoded_wherever_it_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(map(chunk, payloads)) + last_chunk([b"X-Sum: 1"]) + b"GET /next"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    decoder = ChunkedDecoder()
    body = rest = b""
    for piece in pieces:
        if decoder.finished:
            rest += piece
        else:
            body += decoder.feed(piece)
            rest = decoder.rest
    assert body == b"".join(payloads)
    assert decoder.finished
    assert rest == b"GET /next"
    assert decoder.trailers == [b"X-Sum: 1"]


def test_extensions_are_dropped() -> None:
    body, decoder = decode(b'3;a=b;c="d; \\"e" ; f\r\nabc\r\n0; x = y\r\n\r\n')
    assert (body, decoder.finished) == (b"abc", True)


@pytest.mark.parametrize(
    "wire",
    [
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n",
        b"0x1\r\n",
        b" 1\r\na\r\n",
        b"\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\na\r\n0\r\n\r\n" + b" " * 300,
        b"1" * 16 + b"\r\n",
        b"1;" + b"x" * 300,
        b"1;\x00\r\n",
        b"1;a\rb\r\na\r\n",
        b"1;a\nb\r\na\r\n",
        b"1 1\r\na\r\n",
        b"1,\r\na\r\n",
        b"1\r\na\n\n0\r\n\r\n",
        b"1\r\na0\r\n\r\n",
        b"0\r\nX: a\nb\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\n X: folded\r\n\r\n",
        b"0\r\n" + b"X: 1\r\n" * 2000,
        b"1 \r\na\r\n",
        b"1\t\r\na\r\n",
        b"1 ;a\r\na\r\n",
        b"1;\r\na\r\n",
        b"1;;a\r\na\r\n",
        b"1;a;\r\na\r\n",
        b"1;a \r\na\r\n",
        b"1;a=\r\na\r\n",
        b"1;=a\r\na\r\n",
        b"1;a[=x\r\na\r\n",
        b'1;"a"\r\na\r\n',
        b'1;a="x\r\na\r\n',
        b'1;a="x"y\r\na\r\n',
        b'1;a="\x7f"\r\na\r\n',
    ],
)
def test_malformed_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(MessageError):
        decode(wire)


@pytest.mark.parametrize(
    "wire",
    [
        b"1\n",
        b"1 ",
        b"1;\n",
        b"1;\r",
        b"1;a\n",
        b"1;a\rb",
        b"1;[",
        b'1;a="\n',
        b"g",
        b"0x",
        b"-",
        b"\n",
        b"\r",
        b"1" * 16,
        b"1\r\na\n",
        b"0\r\n\n",
        b"0\r\nX\n",
        b"0\r\nX ",
        b"0\r\nX: a\n",
        b"0\r\nX: a\rb",
        b"0\r\nX: a\r\n\n",
        b"0\r\nX: a\r\n ",
        b"0\r\nno colon\r\n",
    ],
)
def test_what_no_more_bytes_can_mend_is_refused_at_once(wire: bytes) -> None:
    with pytest.raises(MessageError):
        decode(wire)


@given(
    st.lists(st.binary(min_size=1, max_size=9), max_size=3),
    st.sampled_from([b"", b";a", b';a="b;\\" "', b"; a\t= b ;c=d", b';a=""', b';a="\xe4"']),
    st.sampled_from([b"", b"X-Sum:\t1\r\n", b"X: 1 \r\nY:\r\n"]),
)
def test_what_is_well_formed_is_never_refused_before_it_is_whole(
    payloads: list[bytes], extension: bytes, trailers: bytes
) -> None:
    wire = b"".join(chunk(one).replace(b"\r\n", extension + b"\r\n", 1) for one in payloads)
    wire += b"0" + extension + b"\r\n" + trailers + b"\r\n"
    body, decoder = decode(*[wire[at : at + 1] for at in range(len(wire))])
    assert body == b"".join(payloads)
    assert decoder.finished


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Host: evil",
        b"X-Forwarded-For: 1",
        b"Set-Cookie: a",
        b"Content_Length: 5",
        b"X.Forwarded.For: 1",
        b"Authorization: x",
        b"Connection: x",
    ],
)
def test_trailers_that_could_lead_astray_are_left_out(line: bytes) -> None:
    _, decoder = decode(b"0\r\nX-Kept: 1\r\n" + line + b"\r\n\r\n")
    assert decoder.trailers == [b"X-Kept: 1"]


@given(st.binary(max_size=60))
def test_h11_agrees_on_whatever_is_accepted(wire: bytes) -> None:
    try:
        body, decoder = decode(wire + b"0\r\n\r\n")
    except MessageError:
        return
    if not decoder.finished or decoder.rest:
        return
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire + b"0\r\n\r\n")
    theirs.next_event()
    received = b""
    while not isinstance(event := theirs.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        received += event.data
    assert received == body
