"""The receiving side: a peer's segments, mapped read-only, and the queues of its matches with us.

Everything that is read here comes from another process and is checked: values for type and range, descriptors for
being memfds sealed against shrinking with the size that was stated (a mapping that the other side can truncate is a
SIGBUS in ours).
"""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingType
from typing import TYPE_CHECKING

from lunar import abc
from lunar._native._bus import Mapping, ReaderMatch, SegmentTable
from lunar._native.control import queue_bytes
from lunar.errors import LunarError, PeerFault, ResourceExhausted

if TYPE_CHECKING:
    from lunar._native._bus import Peer

__all__ = ["ShmReceiverEnd"]

_MAX_SEGMENT_BYTES = 1 << 32  # one chunk of the largest class
# Of one peer, at once: each is a mapping in our address space, whether its owner has paid for it or not.
_MAX_SEGMENTS = 4096
_MAX_BYTES = 1 << 42


class ShmReceiverEnd(abc.ReceiverEnd):
    """See `lunar.abc.ReceiverEnd`.

    Args:
        peer: The bells of the process that publishes.
    """

    __slots__ = ("_bytes", "_count", "_peer", "_sizes", "_tables")

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._tables: dict[str, SegmentTable] = {}
        self._sizes: dict[str, list[int]] = {}  # of the segments, in bytes
        self._count = self._bytes = 0

    def receive(self, body: MappingType[str, object], fds: list[int]) -> abc.Offer | None:
        """Takes in a segment or a match."""
        try:
            if len(fds) != 1:
                raise PeerFault(f"{len(fds)} descriptors came with a message of the shm transport, not 1")
            match body.get("op"):
                case "segment":
                    self._add_segment(body, fds[0])
                    return None
                case "match":
                    return self._offer(body, os.dup(fds[0]))
                case op:
                    raise PeerFault(f"the shm transport has no message {str(op)[:40]!r}")
        except OSError as error:
            raise ResourceExhausted(f"cannot keep a descriptor: {error}") from error
        finally:
            for fd in fds:
                os.close(fd)

    def _table(self, publisher_id: str) -> SegmentTable:
        return self._tables.setdefault(publisher_id, SegmentTable())

    def _add_segment(self, body: MappingType[str, object], fd: int) -> None:
        publisher_id = _text(body, "publisher")
        size_bytes = _integer(body, "size_bytes", 1, _MAX_SEGMENT_BYTES)
        index = _integer(body, "index", 0, 1 << 24)
        if self._count >= _MAX_SEGMENTS:
            raise PeerFault(f"it passed more than {_MAX_SEGMENTS} segments")
        if self._bytes + size_bytes > _MAX_BYTES:
            raise PeerFault(f"it passed segments of more than {_MAX_BYTES} bytes")
        self._table(publisher_id).add(index, _map(fd, size_bytes, writable=False))
        self._sizes.setdefault(publisher_id, []).append(size_bytes)
        self._count += 1
        self._bytes += size_bytes

    def _offer(self, body: MappingType[str, object], fd: int) -> abc.Offer:
        try:
            publisher_id = _text(body, "publisher")
            subscription_id = _text(body, "subscription")
            capacity = _integer(body, "capacity", 1, 1 << 20)
            slots = _integer(body, "slots", 1, 1 << 21)
            size_bytes = _integer(body, "size_bytes", queue_bytes(capacity, slots), queue_bytes(capacity, slots))
            last_sequence = _integer(body, "last_sequence", 0, (1 << 64) - 1)
            waits = body.get("waits")
            if not isinstance(waits, bool):
                raise PeerFault("a match does not say whether its publisher waits")
        except BaseException:
            os.close(fd)
            raise

        def open_match(lifespan_ns: int) -> ReaderMatch:
            try:
                memory = _map(fd, size_bytes, writable=True)
            finally:
                os.close(fd)
            table = self._table(publisher_id)
            return ReaderMatch(
                memory, capacity, slots, table, self._peer, publisher_id, waits, lifespan_ns, last_sequence
            )

        return abc.Offer(publisher_id, subscription_id, open_match, lambda: os.close(fd))

    def forget(self, publisher_id: str) -> None:
        """Drops the table; matches and samples that need it keep it."""
        self._tables.pop(publisher_id, None)
        sizes = self._sizes.pop(publisher_id, [])
        self._count -= len(sizes)
        self._bytes -= sum(sizes)


def _map(fd: int, size_bytes: int, *, writable: bool) -> Mapping:
    try:
        return Mapping(fd, size_bytes, writable, True)
    except ResourceExhausted:
        raise
    except LunarError as error:
        raise PeerFault(f"a descriptor it passed is not sealed memory of {size_bytes} bytes: {error}") from error


def _integer(body: MappingType[str, object], key: str, low: int, high: int) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise PeerFault(f"{key!r} in a message of the shm transport is not a whole number from {low} to {high}")
    return value


def _text(body: MappingType[str, object], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise PeerFault(f"{key!r} in a message of the shm transport is not an id")
    return value
