"""The records of the protocol, and how they look in a frame. Pure.

All numbers are little-endian. A message of a subscriber's DEALER is one frame of records. One of a publisher's ROUTER
is a frame that begins with the number of the connection it was meant for, followed by records; if the last of them is
a LARGE one, a second frame is its payload. What the records mean is written in the package's README.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "ALIVE",
    "CONNECTION",
    "DATA",
    "DATA_HEADER",
    "LARGE",
    "READY",
    "VERSION",
    "Alive",
    "Close",
    "Grant",
    "Hello",
    "Malformed",
    "Open",
    "Ready",
    "Refusal",
    "Start",
    "Tally",
    "Welcome",
    "parse_control",
    "records_of_subscriber",
]

VERSION: Final = 1
_MAGIC: Final = b"LuZ"
_MAX_REASON_BYTES: Final = 400

# Kinds. Those of a subscriber are below 16, those of a publisher above; CLOSE is said by both.
_HELLO, _OPEN, _READY, _GRANT, _CLOSE = 1, 2, 3, 4, 5
_WELCOME, _START, _TALLY, _REFUSAL, _ALIVE = 16, 17, 18, 19, 20
DATA: Final = 24
LARGE: Final = 25

CONNECTION: Final = struct.Struct("<I")
# kind, stream, size of the payload, index, sequence number, source time, dropped
DATA_HEADER: Final = struct.Struct("<B3xIQQQqQ")

_HELLO_FORM: Final = struct.Struct("<B3sB3xI16sQ")
_OPEN_FORM: Final = struct.Struct("<BBB1xI16sQQQQ")
_GRANT_FORM: Final = struct.Struct("<B3xIQQQQ")
_TEXT_FORM: Final = struct.Struct("<BxHI")
_WELCOME_FORM: Final = struct.Struct("<B3sB3x16sQ")
_START_FORM: Final = struct.Struct("<B3xIQQ")
_TALLY_FORM: Final = struct.Struct("<B3xIQ")
_BARE_FORM: Final = struct.Struct("<B3x")

READY: Final = _BARE_FORM.pack(_READY)
ALIVE: Final = _BARE_FORM.pack(_ALIVE)


class Malformed(Exception):
    """What the other side sent breaks the protocol; the text says which rule."""


class Hello(NamedTuple):
    """The first record of a subscriber on a connection: who it is. `connection` is the number it was welcomed with."""

    version: int
    connection: int
    participant: bytes
    epoch: int

    def pack(self) -> bytes:
        """Returns the record."""
        return _HELLO_FORM.pack(_HELLO, _MAGIC, self.version, self.connection, self.participant, self.epoch)


class Open(NamedTuple):
    """A subscriber opens a stream, or goes on with one that it knew on an earlier connection.

    `received` and `received_bytes` say what it has of it, the limits up to where the sender may go.
    """

    reliable: bool
    resumed: bool
    stream: int
    publisher: bytes
    received: int
    received_bytes: int
    limit: int
    limit_bytes: int

    def pack(self) -> bytes:
        """Returns the record."""
        return _OPEN_FORM.pack(_OPEN, *self)


class Ready(NamedTuple):
    """A subscriber has named all streams that it had open: those of earlier connections that it left out are closed."""


class Grant(NamedTuple):
    """What was taken of a stream (acknowledged), up to where its sender may go, and what was lost; since START."""

    stream: int
    taken: int
    limit: int
    limit_bytes: int
    lost: int

    def pack(self) -> bytes:
        """Returns the record."""
        return _GRANT_FORM.pack(_GRANT, *self)


class Close(NamedTuple):
    """Either end closes a stream."""

    stream: int
    reason: str

    def pack(self) -> bytes:
        """Returns the record."""
        return _text(_CLOSE, self.stream, self.reason)


class Welcome(NamedTuple):
    """The first record of a publisher on a connection: who it is. The connection's number leads the frame."""

    version: int
    participant: bytes
    epoch: int

    def pack(self) -> bytes:
        """Returns the record."""
        return _WELCOME_FORM.pack(_WELCOME, _MAGIC, *self)


class Start(NamedTuple):
    """Where a stream begins, or goes on after the connection was made again; up to where it was published before."""

    stream: int
    last_sequence: int
    newest_sequence: int

    def pack(self) -> bytes:
        """Returns the record."""
        return _START_FORM.pack(_START, *self)


class Tally(NamedTuple):
    """So many parcels the sender has taken so far; those that did not come before this were lost."""

    stream: int
    taken: int

    def pack(self) -> bytes:
        """Returns the record."""
        return _TALLY_FORM.pack(_TALLY, *self)


class Refusal(NamedTuple):
    """The publisher will not listen to this connection any more."""

    reason: str

    def pack(self) -> bytes:
        """Returns the record."""
        return _text(_REFUSAL, 0, self.reason)


class Alive(NamedTuple):
    """Says nothing; sending it finds out whether the connection still is one."""


FromSubscriber: TypeAlias = Hello | Open | Ready | Grant | Close
FromPublisher: TypeAlias = Welcome | Start | Tally | Close | Refusal | Alive


def records_of_subscriber(frame: bytes) -> Iterator[FromSubscriber]:
    """Reads a frame of a subscriber.

    Raises:
        Malformed: It is none; what came before the fault has been yielded.
    """
    at = 0
    while at < len(frame):
        record, at = _from_subscriber(frame, at)
        yield record


def parse_control(frame: bytes, at: int) -> tuple[FromPublisher, int]:
    """Reads one record of a publisher that carries no payload.

    Args:
        frame: What arrived.
        at: Where the record begins, within the frame.

    Returns:
        The record, and where the next one begins.

    Raises:
        Malformed: There is none.
    """
    if at >= len(frame):
        raise Malformed("a frame without a record")
    try:
        return _from_publisher(frame, at)
    except struct.error:
        raise Malformed("a record is cut off") from None


def _from_subscriber(frame: bytes, at: int) -> tuple[FromSubscriber, int]:
    try:
        match frame[at]:
            case 4:
                return Grant(*_GRANT_FORM.unpack_from(frame, at)[1:]), at + _GRANT_FORM.size
            case 2:
                _, reliable, resumed, *others = _OPEN_FORM.unpack_from(frame, at)
                return Open(_flag(reliable), _flag(resumed), *others), at + _OPEN_FORM.size
            case 5:
                return _close(frame, at)
            case 1:
                _, magic, *others = _HELLO_FORM.unpack_from(frame, at)
                _check_magic(magic)
                return Hello(*others), at + _HELLO_FORM.size
            case 3:
                _BARE_FORM.unpack_from(frame, at)
                return Ready(), at + _BARE_FORM.size
            case kind:
                raise Malformed(f"a subscriber sends no record of kind {kind}")
    except struct.error:
        raise Malformed("a record is cut off") from None


def _from_publisher(frame: bytes, at: int) -> tuple[FromPublisher, int]:
    match frame[at]:
        case 17:
            return Start(*_START_FORM.unpack_from(frame, at)[1:]), at + _START_FORM.size
        case 18:
            return Tally(*_TALLY_FORM.unpack_from(frame, at)[1:]), at + _TALLY_FORM.size
        case 5:
            return _close(frame, at)
        case 16:
            _, magic, *others = _WELCOME_FORM.unpack_from(frame, at)
            _check_magic(magic)
            return Welcome(*others), at + _WELCOME_FORM.size
        case 19:
            (_, reason), at = _close(frame, at)
            return Refusal(reason), at
        case 20:
            _BARE_FORM.unpack_from(frame, at)
            return Alive(), at + _BARE_FORM.size
        case kind:
            raise Malformed(f"a publisher sends no record of kind {kind}")


def _text(kind: int, stream: int, reason: str) -> bytes:
    # Cut where it may be in the middle of a character: the reader mends that.
    text = reason.encode(errors="replace")[:_MAX_REASON_BYTES]
    return _TEXT_FORM.pack(kind, len(text), stream) + text


def _close(frame: bytes, at: int) -> tuple[Close, int]:
    _, size, stream = _TEXT_FORM.unpack_from(frame, at)
    begin = at + _TEXT_FORM.size
    if size > min(_MAX_REASON_BYTES, len(frame) - begin):
        raise Malformed("a reason is cut off or too long")
    return Close(stream, _printable(frame[begin : begin + size].decode(errors="replace"))), begin + size


def _printable(text: str) -> str:
    # It ends up in logs and on terminals.
    return "".join(c if c.isprintable() else "?" for c in text)


def _flag(number: int) -> bool:
    if number > 1:
        raise Malformed(f"a flag is {number}")
    return number == 1


def _check_magic(magic: bytes) -> None:
    if magic != _MAGIC:
        raise Malformed("this is not Lunar's protocol")
