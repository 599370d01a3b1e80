"""The Huffman code of HPACK (RFC 7541 section 5.2), a byte at a time in both directions.

The code is canonical: among codes of one length, the values follow the symbols. Its lengths are therefore all that
has to be written down here; the codes follow from them.
"""

from __future__ import annotations

from gateway.errors import HpackError

# RFC 7541 appendix B, by length of code. The last code of all, 30 ones, is EOS.
_SYMBOLS_BY_LENGTH = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\0$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: bytes.fromhex("81848586 88929a9c a0a3a4a9 aaadb2b5 b9babbbd bec4c6e4 e8e9"),
    23: bytes.fromhex("0187898a 8b8c8d8f 93959697 989b9d9e a5a6a8ae afb4b6b7 bcbfc5e7 ef"),
    24: b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: bytes.fromhex("02030405 0607080b 0c0e0f10 11121314 15171819 1a1b1c1d 1e1f7fdc f9"),
    30: b"\n\r\x16",
}


def _canonical() -> dict[str, int]:
    """Work out the codes, as text of zeros and ones, and the symbols that they stand for."""
    codes = {}
    code = previous = 0
    for length, symbols in _SYMBOLS_BY_LENGTH.items():
        code <<= length - previous
        for symbol in symbols:
            codes[f"{code:0{length}b}"] = symbol
            code += 1
        previous = length
    return codes


_SYMBOLS = _canonical()
_CODES = [code for code, _ in sorted(_SYMBOLS.items(), key=lambda item: item[1])]
_PREFIXES = {code[:end] for code in _SYMBOLS for end in range(len(code))} | {"1" * end for end in range(30)}


class _State(dict[int, "tuple[_State, bytes]"]):
    """Where a decoder stands between two bytes: bits that are no whole code yet.

    It maps the next byte to the state after it and the symbols that it completed. Entries are made when they are first
    asked for: there are at most 256 states of 256 entries, and what people send needs about a thousand.
    """

    __slots__ = ("_bits", "is_padding")

    def __init__(self, bits: str) -> None:
        super().__init__()
        self._bits = bits
        # RFC 7541 section 5.2: a string is filled up with the first bits of EOS, at most seven.
        self.is_padding = len(bits) < 8 and "0" not in bits

    def __missing__(self, byte: int) -> tuple[_State, bytes]:
        bits = self._bits
        symbols = bytearray()
        for bit in f"{byte:08b}":
            bits += bit
            if bits in _SYMBOLS:
                symbols.append(_SYMBOLS[bits])
                bits = ""
            elif bits not in _PREFIXES:
                raise HpackError("a Huffman-coded string contains EOS")
        entry = self[byte] = _STATES[bits], bytes(symbols)
        return entry


_STATES = {bits: _State(bits) for bits in _PREFIXES}
_START = _STATES[""]


def decode(data: bytes) -> bytes:
    """Decode a string; it grows to eight fifths of what it was at most.

    Raises:
        HpackError: for EOS in the string, and for padding that is too long or not of ones.
    """
    state = _START
    pieces = []
    for byte in data:
        state, symbols = state[byte]
        pieces.append(symbols)
    if not state.is_padding:
        raise HpackError("a Huffman-coded string ends in the middle of a symbol")
    return b"".join(pieces)


def encode(data: bytes) -> bytes:
    """Encode a string."""
    bits = "".join([_CODES[byte] for byte in data])
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")
