"""What our DDS samples hold: parcels of a stream, and what its two ends have to tell each other. Pure.

A sample of the type `lunar::Parcel` is a header, an audience (participant ids of 16 bytes each) and a payload. On a
data topic an audience of a `SHARED` parcel is who is not meant, any other's is who is. On a control topic, which one
process alone reads, it is empty.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lunar.errors import PeerFault
from lunar_dds.kinds import PARCEL_HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ACK", "CLOSE", "DIRECTED", "END", "LOSSES", "OPEN", "SHARED", "START", "Frame", "head", "parse"]

SHARED: Final = 1
"""A parcel for every started stream but those of the audience; nothing was dropped since the parcel before."""
DIRECTED: Final = 2
"""A parcel for the audience, with the count of what was dropped."""
START: Final = 3
"""A stream begins: after `sequence`, of which up to `extra` is history. `session` is the one of `OPEN`."""
END: Final = 4
"""A stream ends, or has to be opened again."""
OPEN: Final = 5
"""The receiving end listens and has `sequence` - 1 already; 0 if it begins."""
ACK: Final = 6
"""The receiving end has taken `sequence` parcels since `START`."""
LOSSES: Final = 7
"""The receiving end misses `dropped` parcels so far."""
CLOSE: Final = 8
"""The receiving end is closed."""

_ID_BYTES: Final = 16
# Kind, session, publisher id, sequence, source time, dropped, extra.
_HEADER: Final = struct.Struct("<B3xI16sQqQQ")
_LENGTH: Final = struct.Struct("<I")
_HEADER_AND_LENGTH: Final = struct.Struct("<B3xI16sQqQQI")
_AUDIENCE_AT: Final = PARCEL_HEADER_BYTES + _LENGTH.size


@dataclass(slots=True)
class Frame:
    """A sample, taken apart.

    Attributes:
        kind: One of the constants of this module.
        session: Which time this is that the receiving end has opened the stream.
        publisher: Its id, 16 bytes.
        sequence: See the kinds.
        time_ns: When it was published, since the epoch.
        dropped: See the kinds.
        extra: See the kinds.
        audience: Participant ids, one after another.
        payload: Where it begins.
        payload_bytes: How long it is.
    """

    kind: int
    session: int
    publisher: bytes
    sequence: int
    time_ns: int
    dropped: int
    extra: int
    audience: bytes
    payload: int
    payload_bytes: int

    def is_for(self, participant: bytes) -> bool:
        """Whether a process is meant."""
        if not self.audience:
            return self.kind == SHARED
        named = any(self.audience.startswith(participant, at) for at in range(0, len(self.audience), _ID_BYTES))
        return named != (self.kind == SHARED)


def head(
    kind: int,
    publisher: bytes,
    payload_bytes: int = 0,
    *,
    session: int = 0,
    sequence: int = 0,
    time_ns: int = 0,
    dropped: int = 0,
    extra: int = 0,
    audience: Iterable[bytes] = (),
) -> bytes:
    """A sample up to its payload; the arguments are those of `Frame`."""
    named = b"".join(audience)
    fixed = _HEADER_AND_LENGTH.pack(kind, session, publisher, sequence, time_ns, dropped, extra, len(named))
    return fixed + named + _LENGTH.pack(payload_bytes)


def parse(content: memoryview) -> Frame:
    """Takes a sample apart.

    Raises:
        PeerFault: It is none of ours.
    """
    if len(content) < _AUDIENCE_AT + _LENGTH.size:
        raise PeerFault(f"it sent a DDS sample of {len(content)} bytes")
    kind, session, publisher, sequence, time_ns, dropped, extra, named = _HEADER_AND_LENGTH.unpack_from(content)
    payload = _AUDIENCE_AT + named + _LENGTH.size
    if named % _ID_BYTES or payload > len(content) or not SHARED <= kind <= CLOSE:
        raise PeerFault(f"it sent a DDS sample of kind {kind} with an audience of {named} bytes")
    (payload_bytes,) = _LENGTH.unpack_from(content, payload - _LENGTH.size)
    if payload_bytes > len(content) - payload:
        raise PeerFault(f"it sent a DDS sample whose payload of {payload_bytes} bytes is cut off")
    audience = bytes(content[_AUDIENCE_AT : _AUDIENCE_AT + named]) if named else b""
    return Frame(kind, session, publisher, sequence, time_ns, dropped, extra, audience, payload, payload_bytes)
