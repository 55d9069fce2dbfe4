"""How often a sender looks at the clock."""

from __future__ import annotations

_STRIDE_BYTES = 1 << 20
_LONGEST = 256


def stride(size_bytes: int) -> int:
    """Messages between two looks: rarely enough to cost nothing, often enough to end a run in time.

    Args:
        size_bytes: how much of each message the sender touches.
    """
    return max(1, min(_LONGEST, _STRIDE_BYTES // max(1, size_bytes)))
