"""One writer and one reader joined by hand, without sockets, threads or a node: the native types alone."""

import os
import socket

from lunar._native._bus import Mapping, Peer, Reader, ReaderMatch, SegmentTable, Writer, WriterMatch
from lunar._native.control import create_bell_page, create_memory, queue_bytes, queue_geometry, seal_memory


class Wire:
    """Both ends of one match, in this process. What the hooks were called with is in `faults`, `losses` and `grown`."""

    def __init__(
        self,
        depth: int = 4,
        *,
        waits: bool = False,
        lifespan_ns: int = 0,
        history_depth: int = 0,
        history: int = 0,
        pool_bytes: int = 1 << 28,
        publish_first: int = 0,
    ) -> None:
        self.faults: list[str] = []
        self.losses: list[str] = []
        self.grown: list[int] = []
        self._fds: list[int] = []
        self._sockets: list[socket.socket] = []
        self.pool_bytes = pool_bytes
        self.table = SegmentTable()
        # A publisher sees the bells of the subscription's process, and the other way round.
        self.peer_of_writer, self.ear_of_reader, self.bells_of_reader = self._make_peer()
        self.peer_of_reader, self.ear_of_writer, self.bells_of_writer = self._make_peer()
        self.writer: Writer[object] = Writer(
            None,
            0,
            history_depth,
            pool_bytes,
            lambda _, reason: self.faults.append(f"writer: {reason}"),
            self._grow,
            lambda: self.losses.append("writer"),
        )
        self.reader: Reader[memoryview] = Reader(
            None, 0, lambda _, reason: self.faults.append(f"reader: {reason}"), lambda: self.losses.append("reader")
        )
        for number in range(publish_first):
            self.writer.publish_nowait(b"%d" % number)
        capacity, self.slots = queue_geometry(depth)
        size_bytes = queue_bytes(capacity, self.slots)
        self.queue_fd = create_memory("lunar-queue", size_bytes)
        self._fds.append(self.queue_fd)
        seal_memory(self.queue_fd, read_only=False)
        self.sending = WriterMatch(
            Mapping(self.queue_fd, size_bytes, True, False),
            capacity,
            self.slots,
            depth,
            self.peer_of_writer,
            "the subscription",
            waits,
        )
        last_sequence = self.writer._attach(self.sending, history)
        self.receiving = ReaderMatch(
            Mapping(self.queue_fd, size_bytes, True, True),
            capacity,
            self.slots,
            self.table,
            self.peer_of_reader,
            "the publisher",
            waits,
            lifespan_ns,
            last_sequence,
        )
        self.reader._attach(self.receiving)

    def _make_peer(self) -> tuple[Peer, socket.socket, Mapping]:
        bells_fd, page = create_bell_page()
        ear, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._sockets.append(ear)
        peer = Peer(Mapping(bells_fd, page.size_bytes, False, True), mouth.detach())
        os.close(bells_fd)
        return peer, ear, page

    def _grow(self, size_class: int, chunk_bytes: int) -> None:
        size_bytes = max(self.writer._next_segment_bytes(size_class), chunk_bytes)
        fd = create_memory("lunar-segment", size_bytes)
        index = self.writer._add_segment(fd, size_bytes, size_class)
        seal_memory(fd, read_only=True)
        self.table.add(index, Mapping(fd, size_bytes, False, True))
        os.close(fd)
        self.grown.append(chunk_bytes)

    def take(self, limit: int = 10_000) -> list[bytes]:
        return [bytes(sample.message) for sample in self.reader.take(limit)]

    def close(self) -> None:
        self.writer._close()
        self.reader._close()
        for fd in self._fds:
            os.close(fd)
        for ear in self._sockets:
            ear.close()
