"""The sending side: a publisher's segments, and the queues of its matches.

A segment is mapped writable here first and sealed against future writing then, so nobody else can ever map it
writable. Each peer gets every segment once, before the first sample that lies in it (a peer that sees the sample first
leaves it in the queue until the segment arrives).
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from lunar import abc
from lunar._native._bus import Mapping, WriterMatch
from lunar._native.control import create_memory, queue_bytes, queue_geometry, seal_memory
from lunar.errors import ResourceExhausted

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lunar._native._bus import Writer

__all__ = ["ShmPublisherEnd"]


class ShmPublisherEnd(abc.PublisherEnd):
    """See `lunar.abc.PublisherEnd`.

    Args:
        publisher_id: The publisher's id.
        pool_bytes: Most bytes that its segments may have together.
    """

    __slots__ = ("__weakref__", "_channels", "_lock", "_passed", "_pool_bytes", "_publisher_id", "_segments", "_writer")

    def __init__(self, publisher_id: str, pool_bytes: int) -> None:
        self._publisher_id = publisher_id
        self._pool_bytes = pool_bytes
        self._segments: list[tuple[int, int]] = []  # descriptor, size
        self._channels: dict[abc.Channel, int] = {}  # matches served over each
        # How many segments each peer has. It keeps them while it has no match with us, and must not get one twice.
        self._passed: weakref.WeakKeyDictionary[abc.Channel, int] = weakref.WeakKeyDictionary()
        # The control thread connects while the user's thread grows: a new peer must not miss a new segment.
        self._lock = threading.Lock()
        self._writer: Writer[ReadableBuffer] | None = None
        _ends.add(self)

    def bind(self, writer: Writer[ReadableBuffer]) -> None:
        """Names the writer that feeds it."""
        self._writer = writer

    def _bound(self) -> Writer[ReadableBuffer]:
        if self._writer is None:
            raise ResourceExhausted("the publisher is closed")
        return self._writer

    def grow(self, size_class: int, chunk_bytes: int) -> None:
        """Adds a segment for a size class and passes it to every peer."""
        with self._lock:
            writer = self._bound()
            size_bytes = self._affordable(writer, writer._next_segment_bytes(size_class), chunk_bytes)
            fd = create_memory("lunar-segment", size_bytes)
            try:
                writer._add_segment(fd, size_bytes, size_class)
                seal_memory(fd, read_only=True)
            except BaseException:
                os.close(fd)
                raise
            self._segments.append((fd, size_bytes))
            for channel in self._channels:
                self._pass_segments(channel)

    def _affordable(self, writer: Writer[ReadableBuffer], wanted_bytes: int, chunk_bytes: int) -> int:
        left_bytes = self._pool_bytes - writer._pool_bytes
        if wanted_bytes <= left_bytes:
            return wanted_bytes
        if chunk_bytes <= left_bytes:
            return chunk_bytes
        raise ResourceExhausted(
            f"the publisher's pool is full: {writer._pool_bytes} of {self._pool_bytes} bytes are taken, and "
            f"{chunk_bytes} more are needed",
            "release samples earlier, or raise LUNAR_POOL_BYTES",
        )

    def _pass_segments(self, channel: abc.Channel) -> None:
        for index in range(self._passed.get(channel, 0), len(self._segments)):
            fd, size_bytes = self._segments[index]
            body = {"op": "segment", "publisher": self._publisher_id, "index": index, "size_bytes": size_bytes}
            channel.send(body, [fd])
            self._passed[channel] = index + 1

    def connect(self, terms: abc.MatchTerms, channel: abc.Channel) -> WriterMatch:
        """Makes the match's queue and passes it, and the segments, to the peer."""
        capacity, slots = queue_geometry(terms.queue_depth)
        size_bytes = queue_bytes(capacity, slots)
        fd = create_memory("lunar-queue", size_bytes)
        try:
            seal_memory(fd, read_only=False)
            memory = Mapping(fd, size_bytes, True, False)
            match = WriterMatch(
                memory, capacity, slots, terms.queue_depth, channel.peer, terms.subscription_id, terms.waits
            )
            with self._lock:
                writer = self._bound()
                self._pass_segments(channel)
                last_sequence = writer._attach(match, terms.history_depth)
                self._channels[channel] = self._channels.get(channel, 0) + 1
            body: dict[str, object] = {
                "op": "match",
                "publisher": terms.publisher_id,
                "subscription": terms.subscription_id,
                "capacity": capacity,
                "slots": slots,
                "size_bytes": size_bytes,
                "waits": terms.waits,
                "last_sequence": last_sequence,
            }
            channel.send(body, [fd])
        finally:
            os.close(fd)
        return match

    def disconnect(self, match: WriterMatch, channel: abc.Channel) -> None:
        """Takes the match from the writer."""
        with self._lock:
            if self._writer is not None:
                self._writer._detach(match)
            left = self._channels.pop(channel, 1) - 1
            if left > 0:
                self._channels[channel] = left

    def close(self) -> None:
        """Closes the segments' descriptors; who maps them keeps them."""
        with self._lock:
            self._writer = None
            self._channels.clear()
            while self._segments:
                os.close(self._segments.pop()[0])

    def close_after_fork(self) -> None:
        """In a child process: close our copies of the descriptors. Whoever holds the lock does not exist here."""
        self._writer = None
        self._channels = {}
        segments, self._segments = self._segments, []
        for fd, _ in segments:
            os.close(fd)


_ends: weakref.WeakSet[ShmPublisherEnd] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for end in list(_ends):
        end.close_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
