"""The tokens of a stream: secrets by which a receiver knows that a record may be meant for it. Pure.

A token is SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) under the key of the
publisher's engine, which discovery brings to both ends. Who does not know the key cannot make one up, and learns
nothing of others from those that it knows. Made twice a stream, so pure Python does.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["Direction", "siphash", "token"]

Direction: TypeAlias = Literal["to subscriber", "to publisher"]

_MASK: Final = (1 << 64) - 1
_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)

_State: TypeAlias = tuple[int, int, int, int]


def siphash(key: bytes, data: bytes) -> int:
    """Returns SipHash-2-4 of data, 64 bits.

    Args:
        key: 16 bytes.
        data: Of any length.

    Raises:
        ValueError: The key is longer or shorter.
    """
    if len(key) != 16:
        raise ValueError(f"a key of {len(key)} bytes; 16 are needed")
    low, high = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state = (_START[0] ^ low, _START[1] ^ high, _START[2] ^ low, _START[3] ^ high)
    # The last word has the rest of the data, and the length in its top byte.
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 0xFF,))
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        a, b, c, d = _round(_round((*state[:3], state[3] ^ word)))
        state = (a ^ word, b, c, d)
    a, b, c, d = state
    state = (a, b, c ^ 0xFF, d)
    for _ in range(4):
        state = _round(state)
    a, b, c, d = state
    return a ^ b ^ c ^ d


def token(key: bytes, direction: Direction, publisher_id: str, subscriber_id: str, *, reliable: bool) -> int:
    """Returns one of the two tokens of a stream, from 1 to 2**64 - 1.

    Args:
        key: Of the publisher's engine, 16 bytes.
        direction: Of the records that carry it.
        publisher_id: The publisher, 32 hex digits.
        subscriber_id: The subscribing process's participant id, 32 hex digits.
        reliable: As of the stream.

    Raises:
        ValueError: The key or an id has another length.
    """
    ids = bytes.fromhex(publisher_id) + bytes.fromhex(subscriber_id)
    if not len(publisher_id) == len(subscriber_id) == 32 or len(ids) != 32:
        raise ValueError("an id that has not 32 hex digits")
    # 0 stands for no stream. All parts but the first have a fixed length, so no two streams hash the same bytes.
    return siphash(key, direction.encode() + ids + (b"R" if reliable else b"B")) or 1


def _round(state: _State) -> _State:
    a, b, c, d = state
    a = (a + b) & _MASK
    b = _rotated(b, 13) ^ a
    a = _rotated(a, 32)
    c = (c + d) & _MASK
    d = _rotated(d, 16) ^ c
    a = (a + d) & _MASK
    d = _rotated(d, 21) ^ a
    c = (c + b) & _MASK
    b = _rotated(b, 17) ^ c
    return a, b, _rotated(c, 32), d


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK
