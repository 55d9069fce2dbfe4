import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar.cli.payload import encode_payload, hex_dump, parse_hex, printable_text, show_payload


@pytest.mark.parametrize("text", ["", "hello", "two\nlines\tand a tab", "zażółć gęślą jaźń", "日本語"])
def test_printable_text_is_shown_as_it_is(text: str) -> None:
    assert printable_text(text.encode()) == text
    assert show_payload(text.encode()) == text


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x1b[31mred", id="escape sequence"),
        pytest.param(b"bell\x07", id="control character"),
        pytest.param(b"carriage\rreturn", id="carriage return"),
        pytest.param("\u202eright to left".encode(), id="bidirectional override"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param("é".encode()[:1], id="half a character"),
        pytest.param("\ud800".encode("utf-8", "surrogatepass"), id="surrogate"),
    ],
)
def test_what_could_harm_a_terminal_is_dumped(payload: bytes) -> None:
    assert printable_text(payload) is None
    shown = show_payload(payload)
    assert shown.startswith(f"{len(payload):,} bytes\n00000000  ")
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_hex_dump_has_offset_digits_and_characters() -> None:
    assert hex_dump(b"0123456789abcdefXYZ\x00").splitlines() == [
        "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "00000010  58 59 5a 00                                       |XYZ.|",
    ]


@given(st.binary(max_size=100))
def test_hex_dump_can_be_read_back(payload: bytes) -> None:
    columns = [line[10:58] for line in hex_dump(payload).splitlines()]
    assert bytes.fromhex(" ".join(columns)) == payload


def test_a_limit_cuts_and_says_how_much_is_missing() -> None:
    assert show_payload(b"abcdef", limit_bytes=4) == "abcd... (2 more bytes)"
    assert show_payload(b"abcdef", limit_bytes=6) == "abcdef"
    assert show_payload(bytes(100), limit_bytes=16) == f"100 bytes\n{hex_dump(bytes(16))}\n... (84 more bytes)"


def test_a_limit_inside_a_character_leaves_the_character_out() -> None:
    assert show_payload("ab日本".encode(), limit_bytes=4) == "ab... (6 more bytes)"


def test_views_are_shown_like_bytes() -> None:
    assert show_payload(memoryview(b"hello"), limit_bytes=2) == "he... (3 more bytes)"


@given(st.binary(max_size=200))
def test_encoded_payloads_are_whole(payload: bytes) -> None:
    encoding, data = encode_payload(memoryview(payload))
    assert (data.encode() if encoding == "utf-8" else base64.b64decode(data, validate=True)) == payload


@pytest.mark.parametrize("digits", ["deadbeef", "DE AD be ef", "0xdeadbeef", "de:ad:be:ef", "de-ad-be-ef"])
def test_hexadecimal_digits_may_be_grouped(digits: str) -> None:
    assert parse_hex(digits) == b"\xde\xad\xbe\xef"


@pytest.mark.parametrize("digits", ["abc", "xy", "0x0x"])
def test_other_characters_are_no_hexadecimal_digits(digits: str) -> None:
    with pytest.raises(ValueError, match="not hexadecimal bytes"):
        parse_hex(digits)
