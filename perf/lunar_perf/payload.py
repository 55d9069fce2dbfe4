"""The bytes that are sent, and the proof that they arrived."""

from __future__ import annotations

from lunar_perf.sequence import STAMP


class CorruptPayload(RuntimeError):
    """What came back is not what was sent: the figures of such a run mean nothing."""


def pattern(size_bytes: int) -> bytes:
    """A payload in which every 251-byte shift differs, so that a torn or shifted copy shows."""
    unit = bytes(range(251))
    return (unit * (size_bytes // len(unit) + 1))[:size_bytes]


def stamped(size_bytes: int) -> bytearray:
    """A payload whose first eight bytes take the sequence number.

    Raises:
        ValueError: too small to carry one.
    """
    if size_bytes < STAMP.size:
        raise ValueError(f"size {size_bytes}: a throughput message carries a sequence number of {STAMP.size} bytes")
    return bytearray(pattern(size_bytes))


def check_echo(sent: bytes, echoed: bytes) -> None:
    """Compare the whole payload, once a run, before measuring.

    Raises:
        CorruptPayload: they differ.
    """
    if echoed != sent:
        raise CorruptPayload(f"echo of {len(sent)} bytes came back as {len(echoed)} different bytes")
