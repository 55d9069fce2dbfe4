"""A subscriber's side of the connection to one process: all streams that come from it. Pure.

The socket makes the connection again by itself, for ever. Each new one begins with the publisher's WELCOME, which gives
it a number; whatever arrives with another number is of an earlier connection and is dropped. The answer is HELLO, an
OPEN for each stream, with how far it got, and READY. So nothing that was lost with a connection is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lunar import abc
from lunar_zmq import wire
from lunar_zmq.receiving import ReceivingEnd

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lunar_zmq.outbox import Outbox

__all__ = ["PublisherLink"]

_NEVER: Final = float("inf")


class PublisherLink:
    """All streams from one process to this one.

    Args:
        me: This process's participant id.
        epoch: Which run of this process's engine it is.
        remote: The other process's participant id.
        remote_epoch: Which run of its engine is meant.
        outbox: Leads to it.
        wake: Called when `tick` is to be called soon.
    """

    __slots__ = (
        "_connection",
        "_epoch",
        "_me",
        "_next_number",
        "_outbox",
        "_remote",
        "_resumed",
        "_streams",
        "_wake",
        "connected",
        "due_s",
        "lost_at_s",
    )

    def __init__(
        self, me: bytes, epoch: int, remote: bytes, remote_epoch: int, outbox: Outbox, wake: Callable[[], None]
    ) -> None:
        self._me = me
        self._epoch = epoch
        self._remote = (remote, remote_epoch)
        self._outbox = outbox
        self._wake = wake
        self._connection = 0
        self._streams: dict[int, ReceivingEnd] = {}
        self._resumed: list[ReceivingEnd] = []
        self._next_number = 0
        # The process that is meant has said WELCOME on the connection that there is.
        self.connected = False
        # When the last connection was lost; None while there is one, and before the first.
        self.lost_at_s: float | None = None
        # When `tick` is to be called at the latest.
        self.due_s = _NEVER

    @property
    def empty(self) -> bool:
        """There are no streams."""
        return not self._streams

    def open(self, stream: abc.Stream, handler: abc.IncomingHandler) -> ReceivingEnd:
        """Opens the receiving end of a stream."""
        end = ReceivingEnd(stream, handler, self)
        if self.connected:
            end.connection_made(self._outbox)
        return end

    # What the ends want

    def number_for(self, end: ReceivingEnd) -> int:
        """Returns a number that no stream had before, by which the stream is known from now on."""
        if self._next_number:
            self._streams.pop(getattr(end, "number", 0), None)
        self._next_number += 1
        self._streams[self._next_number] = end
        return self._next_number

    def resumed(self, end: ReceivingEnd) -> None:
        """`deliver_held` is to be called soon."""
        self._resumed.append(end)
        self.due_s = 0.0
        self._wake()

    def closed(self, end: ReceivingEnd) -> None:
        """The stream was closed by this side."""
        self._streams.pop(end.number, None)

    # What the socket says

    def arrived(self, frame: bytes, payload: ReadableBuffer | None, now_s: float) -> None:
        """A frame came, with the payload that followed it or None.

        Raises:
            Malformed: It breaks the rules; the caller closes the link with `fault`.
        """
        if len(frame) < wire.CONNECTION.size:
            raise wire.Malformed("a frame without the number of its connection")
        (connection,) = wire.CONNECTION.unpack_from(frame)
        at = wire.CONNECTION.size
        if connection != self._connection:
            at = self._new_connection(frame, connection)
        size = len(frame)
        while at < size:
            if frame[at] >= wire.DATA:
                at = self._data(frame, at, payload, now_s)
            else:
                record, at = wire.parse_control(frame, at)
                self._control(record)

    def _data(self, frame: bytes, at: int, payload: ReadableBuffer | None, now_s: float) -> int:
        """Takes DATA records for as long as one follows the other; returns where the next record begins."""
        view = memoryview(frame)
        size = len(frame)
        unpack = wire.DATA_HEADER.unpack_from
        header_size = wire.DATA_HEADER.size
        streams = self._streams
        end: ReceivingEnd | None = None
        last_number = -1
        while at < size and frame[at] >= wire.DATA:
            begin = at + header_size
            if begin > size:
                raise wire.Malformed("a record is cut off")
            kind, number, length, index, sequence, time_ns, dropped = unpack(frame, at)
            if kind == wire.DATA:
                at = begin + length
                content: ReadableBuffer = view[begin:at]
                if at > size:
                    raise wire.Malformed("a payload is cut off")
            else:
                at = begin
                content = _large(kind, length, payload, last=at == size)
            if number != last_number or end is None or end.closed:
                self._mind(end)
                last_number, end = number, streams.get(number)
            if end is not None:
                end.arrived(index, sequence, time_ns, dropped, content, length, now_s)
        self._mind(end)
        return at

    def _mind(self, end: ReceivingEnd | None) -> None:
        if end is not None and end.grant_due_s is not None:
            self.due_s = min(self.due_s, end.grant_due_s)

    def _new_connection(self, frame: bytes, connection: int) -> int:
        """Greets, if that is what the frame is; returns where its other records begin."""
        if connection < self._connection:
            return len(frame)  # of a connection before this one
        record, at = wire.parse_control(frame, wire.CONNECTION.size)
        if not isinstance(record, wire.Welcome):
            # Nothing else is said before HELLO, but for the sake of a refused greeting.
            if isinstance(record, wire.Refusal):
                self._control(record)
            return len(frame)
        if record.version != wire.VERSION:
            raise wire.Malformed(f"it speaks version {record.version} of the protocol, this side {wire.VERSION}")
        if (record.participant, record.epoch) != self._remote:
            return len(frame)  # another process has the port now; the caller tries elsewhere
        self._connection = connection
        self.connected = True
        self.lost_at_s = None
        self._outbox.put(wire.Hello(wire.VERSION, connection, self._me, self._epoch).pack())
        for end in self._streams.values():
            end.connection_made(self._outbox)
        self._outbox.put(wire.READY)
        return at

    def _control(self, record: wire.FromPublisher) -> None:
        match record:
            case wire.Start(stream, last_sequence, newest_sequence):
                if (end := self._streams.get(stream)) is not None:
                    end.started(last_sequence, newest_sequence)
                    self.due_s = 0.0
            case wire.Tally(stream, index):
                if (end := self._streams.get(stream)) is not None:
                    end.tallied(index)
                    self.due_s = 0.0
            case wire.Close(stream, reason):
                if (end := self._streams.get(stream)) is not None:
                    end.other_end_closed(reason)
            case wire.Refusal(reason):
                for end in list(self._streams.values()):
                    end.refused(reason)
            case _:
                pass

    def connection_lost(self, now_s: float) -> None:
        """There is no connection any more; what arrived on it may still come."""
        if self.connected:
            self.connected = False
            self.lost_at_s = now_s
        for end in self._streams.values():
            end.connection_lost(now_s)
        self.due_s = 0.0

    def unreachable(self) -> None:
        """There will be no connection: nobody listens there any more. The bus is to hear of it now."""
        if self.lost_at_s is not None:
            for end in self._streams.values():
                end.give_up_waiting()
            self.due_s = 0.0

    def fault(self, reason: str) -> None:
        """The other side broke the rules: closes all streams."""
        for end in list(self._streams.values()):
            end.fault(reason)

    def gone(self) -> None:
        """The other side is gone for good: closes all streams, which should be closed already."""
        for end in list(self._streams.values()):
            end.close()

    def tick(self, now_s: float) -> None:
        """Does what is due, and says in `due_s` when it is to be called next."""
        self.due_s = _NEVER
        resumed, self._resumed = self._resumed, []
        for end in resumed:
            end.deliver_held(now_s)
        for end in list(self._streams.values()):
            due_s = end.tick(now_s)
            if due_s is not None and due_s < self.due_s:
                self.due_s = due_s


def _large(kind: int, length: int, payload: ReadableBuffer | None, last: bool) -> ReadableBuffer:
    if kind != wire.LARGE:
        raise wire.Malformed(f"there is no record of kind {kind}")
    if payload is None or not last or memoryview(payload).nbytes != length:
        raise wire.Malformed("a large payload does not follow, or has another size")
    return payload
