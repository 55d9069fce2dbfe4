"""Payloads that say which one they are, and betray a torn, stale or mixed-up message."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from lunar import errors

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["NUMBERED_BYTES", "numbered", "read_number"]

_HEAD: Final = struct.Struct("<QI")

NUMBERED_BYTES: Final = _HEAD.size
"""The smallest payload that can be numbered."""


def numbered(number: int, size_bytes: int = NUMBERED_BYTES) -> bytes:
    """Makes a payload with a number, a filling that depends on it, and a checksum over both.

    Args:
        number: From 0 to 2^64 - 1.
        size_bytes: At least `NUMBERED_BYTES`.

    Raises:
        ValueError: It is too small.
    """
    if size_bytes < NUMBERED_BYTES:
        raise ValueError(f"{size_bytes} bytes are too few for a number; at least {NUMBERED_BYTES} are needed")
    filling = number.to_bytes(8, "little") * ((size_bytes - NUMBERED_BYTES) // 8 + 1)
    filling = filling[: size_bytes - NUMBERED_BYTES]
    return _HEAD.pack(number, _checksum(number, filling)) + filling


def read_number(message: ReadableBuffer) -> int:
    """Returns the number of a payload that `numbered` made.

    Raises:
        VerificationError: It is not whole: the checksum is not that of its bytes.
    """
    with memoryview(message).cast("B") as view:
        if len(view) < NUMBERED_BYTES:
            raise errors.VerificationError(f"{len(view)} bytes are too few for a numbered payload")
        number, checksum = _HEAD.unpack_from(view)
        with view[NUMBERED_BYTES:] as filling:
            if checksum != _checksum(number, filling):
                raise errors.VerificationError(f"the payload that says it is number {number} is not whole")
    return int(number)


def _checksum(number: int, filling: ReadableBuffer) -> int:
    return zlib.crc32(filling, zlib.crc32(number.to_bytes(8, "little")))
