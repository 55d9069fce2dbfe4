"""What our DDS samples hold: parcels of a stream, and what its two ends have to tell each other. Pure.

A sample of the type `lunar::Parcel` is a header, an audience (participant ids of 16 bytes each) and a payload. On a
data topic an audience of a `SHARED` parcel is who is not meant, any other's is who is. On a control topic, which one
process alone reads, it is empty. They are laid out, and taken apart, natively.
"""

from __future__ import annotations

from typing import Final

from lunar_dds._cdr import Frame, head, parse

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
