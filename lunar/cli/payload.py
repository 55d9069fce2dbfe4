"""How the bytes of a message are shown, and how they are read from the command line. Pure.

A payload comes from another process and may be anything, so text is shown as text only when every character of it is
printable: an escape sequence must never reach the terminal.
"""

import base64
from typing import Literal, NamedTuple

_BYTES_PER_LINE = 16
_LAYOUT_CHARACTERS = frozenset("\n\t")


class EncodedPayload(NamedTuple):
    """A payload inside a JSON document.

    Attributes:
        encoding: `utf-8` when `data` is the text itself, `base64` otherwise.
        data: The whole payload, never cut.
    """

    encoding: Literal["utf-8", "base64"]
    data: str


def printable_text(payload: bytes) -> str | None:
    """Reads a payload as text.

    Returns:
        The text, or None if the payload is not UTF-8 or has a character that is not printable (newline and tab are).
    """
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if all(character.isprintable() or character in _LAYOUT_CHARACTERS for character in text):
        return text
    return None


def hex_dump(payload: bytes | memoryview) -> str:
    """Dumps bytes as offset, hexadecimal and printable ASCII, 16 to a line, without a newline at the end."""
    return "\n".join(
        _hex_line(offset, bytes(payload[offset : offset + _BYTES_PER_LINE]))
        for offset in range(0, len(payload), _BYTES_PER_LINE)
    )


def _hex_line(offset: int, line: bytes) -> str:
    half = _BYTES_PER_LINE // 2
    digits = f"{line[:half].hex(' ')}  {line[half:].hex(' ')}".ljust(_BYTES_PER_LINE * 3)
    characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
    return f"{offset:08x}  {digits}  |{characters}|"


def show_payload(payload: bytes | memoryview, limit_bytes: int | None = None) -> str:
    """Shows a payload: as text if it is printable, else as its length and a hex dump.

    Args:
        payload: The message.
        limit_bytes: Show at most this many bytes and say how many are left out; None shows all.

    Returns:
        One or more lines without a newline at the end.
    """
    size_bytes = len(payload)
    shown = bytes(payload if limit_bytes is None else payload[:limit_bytes])
    if len(shown) == size_bytes:
        text = printable_text(shown)
        return text if text is not None else f"{size_bytes:,} bytes\n{hex_dump(shown)}".rstrip()
    text = _cut_text(shown)
    if text is not None:
        return f"{text}... ({size_bytes - len(text.encode()):,} more bytes)"
    return f"{size_bytes:,} bytes\n{hex_dump(shown)}\n... ({size_bytes - len(shown):,} more bytes)"


def _cut_text(shown: bytes) -> str | None:
    """Reads a payload's beginning as text: the cut may have split its last character, which is then not shown."""
    for split in range(4):  # a UTF-8 character has at most four bytes
        text = printable_text(shown[: len(shown) - split])
        if text is not None:
            return text
    return None


def encode_payload(payload: bytes | memoryview) -> EncodedPayload:
    """Encodes a whole payload for JSON: as text if it is printable, else as base64."""
    whole = bytes(payload)
    text = printable_text(whole)
    if text is not None:
        return EncodedPayload("utf-8", text)
    return EncodedPayload("base64", base64.b64encode(whole).decode("ascii"))


def parse_hex(digits: str) -> bytes:
    """Reads hexadecimal digits, in any grouping by spaces, colons or dashes, with or without a leading `0x`.

    Raises:
        ValueError: If something else is in it, or the number of digits is odd.
    """
    compact = "".join(digits.removeprefix("0x").split()).replace(":", "").replace("-", "")
    try:
        return bytes.fromhex(compact)
    except ValueError as error:
        raise ValueError(f"not hexadecimal bytes: {digits!r} ({error})") from error
