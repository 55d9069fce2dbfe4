"""What waits to go out on one connection. Pure.

A record that comes alone goes out alone, at once. Records that come close together share a frame, because a frame costs
several times what a small record does. Who owns the socket decides which is the case: see `Schedule`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Outbox", "Schedule", "Transmit"]

# Beyond this a frame's own cost no longer shows, and what is in it only gets later.
_FULL_BYTES: Final = 32 * 1024

# Sends a frame, and the payload that follows it or None; never blocks, keeps the payload for as long as it needs it.
Transmit: TypeAlias = "Callable[[bytes, ReadableBuffer | None], None]"
# Told that an outbox holds something: flushes it now or soon.
Schedule: TypeAlias = "Callable[[Outbox], None]"


class Outbox:
    """Gathers records into frames for one connection.

    Args:
        transmit: Sends a frame.
        schedule: Called when the outbox is no longer empty.
        prefix: What each frame begins with.
    """

    __slots__ = ("_prefix", "_records", "_schedule", "_size_bytes", "_transmit")

    def __init__(self, transmit: Transmit, schedule: Schedule, prefix: bytes = b"") -> None:
        self._transmit = transmit
        self._schedule = schedule
        self._prefix = prefix
        self._records: list[bytes] = []
        self._size_bytes = 0

    def put(self, record: bytes) -> None:
        """Adds a record."""
        records = self._records
        records.append(record)
        self._size_bytes += len(record)
        if self._size_bytes >= _FULL_BYTES:
            self.flush()
        elif len(records) == 1:
            self._schedule(self)

    def put_large(self, header: bytes, payload: ReadableBuffer) -> None:
        """Sends a record whose payload is a frame of its own, after what waits; the payload is not copied."""
        self._records.append(header)
        frame = self._prefix + b"".join(self._records)
        self._clear()
        self._transmit(frame, payload)

    def flush(self) -> None:
        """Sends what waits."""
        if self._records:
            frame = self._prefix + b"".join(self._records)
            self._clear()
            self._transmit(frame, None)

    def _clear(self) -> None:
        self._records.clear()
        self._size_bytes = 0
