"""The sending end of one stream. Pure: the time is passed in, records go into an outbox.

Each parcel that is taken gets an index: 0, 1, 2, and so on since the stream began. The receiver knows from it what is
new, what it has already, and how much was lost, whatever the publisher's sequence numbers do.

A reliable stream keeps what it took until the receiver says that it was taken there too. When a connection is lost and
another is made, the receiver says how far it got, and the sender goes on from there. A best-effort stream never sends
anything twice: what was under way is lost.

Credit is two limits that only grow: how many parcels, and how many bytes, may be sent in all. A parcel may go when
neither limit is reached yet, so the last one may go beyond the limit of bytes: one larger than the window passes
too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from lunar import abc
from lunar_zmq.wire import DATA, DATA_HEADER, LARGE, Close, Grant, Malformed, Open, Start, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer

    from lunar_zmq.outbox import Outbox

__all__ = ["GRACE_S", "SendingEnd"]

# So long a lost connection is nobody else's business: most are made again by then.
GRACE_S: Final = 0.5
# From here on a copy costs more than a frame of its own.
_LARGE_BYTES: Final = 64 * 1024
# However much a receiver grants, no more than this waits for it here.
_MOST_AHEAD: Final = 1 << 16
_MOST_AHEAD_BYTES: Final = 1 << 28

# Sequence number, header with payload or header alone, the payload of a large one, its size.
_Kept: TypeAlias = "tuple[int, bytes, ReadableBuffer | None, int]"


class SendingEnd(abc.Outgoing):
    """One publisher's stream to one process.

    Args:
        stream: What both ends agreed on.
        handler: Told what happens.
    """

    __slots__ = (
        "_announced",
        "_bytes_sent",
        "_epoch",
        "_handler",
        "_index",
        "_last_sequence",
        "_left",
        "_limit",
        "_limit_bytes",
        "_lost",
        "_lost_at_s",
        "_newest_sequence",
        "_number",
        "_outbox",
        "_reliable",
        "_sent",
        "_started",
        "_taken_there",
        "_told",
        "_unacknowledged",
        "_untold_drops",
        "_wanted",
        "closed",
        "publisher",
        "stream",
    )

    def __init__(self, stream: abc.Stream, handler: abc.OutgoingHandler) -> None:
        self.stream = stream
        self.publisher = bytes.fromhex(stream.publisher_id)
        self.closed = False
        self._handler = handler
        self._reliable = stream.reliable
        self._outbox: Outbox | None = None
        # What an other end that is closed had not acknowledged: until the bus begins anew it may want it back.
        self._left: list[_Kept] = []
        self._forget_other_end()

    def _forget_other_end(self) -> None:
        self._number: int | None = None
        self._epoch = 0
        self._told = False
        self._started = False
        self._announced = False
        self._wanted = False
        self._untold_drops = False
        self._lost_at_s: float | None = None
        self._index = 0
        self._sent = 0
        self._bytes_sent = 0
        self._limit = 0
        self._limit_bytes = 0
        self._taken_there = 0
        self._last_sequence = self._newest_sequence = 0
        self._lost = 0
        # What would have to be sent again: header with payload, or a record and None.
        self._unacknowledged: deque[_Kept] = deque()

    @property
    def number(self) -> int | None:
        """The number that the receiver gave the stream, or None while it has not opened it."""
        return self._number

    @property
    def outbox(self) -> Outbox | None:
        """Where its records go, None while there is no connection."""
        return self._outbox

    # What the bus calls

    def start(self, last_sequence: int, newest_sequence: int) -> None:
        """Lets the receiver know where the stream begins."""
        if self.closed or not self._told or self._started:
            return
        self._started = True
        self._left.clear()
        self._last_sequence, self._newest_sequence = last_sequence, newest_sequence
        if self._outbox is not None:
            self._announce(self._outbox, last_sequence)
        self._tell_drops()

    def _announce(self, outbox: Outbox, last_sequence: int) -> None:
        # What is sent again was announced already, with the number before it.
        if not self._announced and self._number is not None:
            self._announced = True
            outbox.put(Start(self._number, last_sequence, self._newest_sequence).pack())

    def send(self, parcel: abc.Parcel) -> bool:
        """Takes a parcel, if there is credit; without credit a best-effort stream drops it."""
        outbox = self._outbox
        if outbox is None or not self._started:
            self._wanted = True
            return False
        if self._sent >= self._limit or self._bytes_sent >= self._limit_bytes:
            if self._reliable:
                self._wanted = True
                return False
            self._index += 1
            self._last_sequence = parcel.sequence_number
            self._untold_drops = True
            return True
        payload = parcel.payload
        size = len(payload) if type(payload) is bytes else memoryview(payload).nbytes
        kind = LARGE if size >= _LARGE_BYTES else DATA
        sequence = parcel.sequence_number
        header = DATA_HEADER.pack(
            kind, self._number, size, self._index, sequence, parcel.source_time_ns, parcel.dropped
        )
        self._index += 1
        self._sent += 1
        self._bytes_sent += size
        self._last_sequence = sequence
        self._untold_drops = False
        if kind == DATA:
            record = header + payload
            if self._reliable:
                self._unacknowledged.append((sequence, record, None, size))
            outbox.put(record)
        else:
            if self._reliable:
                self._unacknowledged.append((sequence, header, payload, size))
            outbox.put_large(header, payload)
        return True

    @property
    def unacknowledged(self) -> int:
        """Parcels taken that the receiver's side is not known to have taken; 0 if best effort."""
        return len(self._unacknowledged)

    def recall(self) -> Sequence[abc.Parcel]:
        """Closes the stream and gives back what the receiver is not known to have taken."""
        taken = [_parcel(header, payload) for _, header, payload, _ in (*self._left, *self._unacknowledged)]
        self.close()
        return taken

    def close(self) -> None:
        """Ends the stream for both ends."""
        if self.closed:
            return
        self.closed = True
        if self._outbox is not None and self._number is not None:
            self._outbox.put(Close(self._number, "the publisher's side closed the stream").pack())
        self._outbox = None
        self._forget_other_end()
        self._left.clear()

    # What the connection says

    def opened(self, record: Open, epoch: int, outbox: Outbox) -> bool:
        """The receiver opened the stream, or goes on with it on a new connection.

        Args:
            record: What it said.
            epoch: Which run of the other process's engine it is.
            outbox: Leads to it.

        Returns:
            False if it wants to go on with what is not known here: it was told to open the stream anew.

        Raises:
            Malformed: It claims to have what was never sent.
        """
        if record.stream == self._number and epoch == self._epoch:
            self._go_on(record, outbox)
        elif not record.resumed:
            self._begin(record, epoch, outbox)
        else:
            outbox.put(Close(record.stream, "the publisher's side does not know the stream any more").pack())
            return False
        return True

    def _begin(self, record: Open, epoch: int, outbox: Outbox) -> None:
        told = self._told
        self._outbox = None
        self._leave_other_end()
        if told:
            self._handler.disconnected("the other end began the stream anew")
        if self.closed:
            return
        self._number = record.stream
        self._epoch = epoch
        self._set_limits(record.limit, record.limit_bytes)
        self._outbox = outbox
        self._told = True
        self._handler.connected()

    def _go_on(self, record: Open, outbox: Outbox) -> None:
        if record.received > self._sent or record.received < self._taken_there:
            raise Malformed("a receiver goes on from where the stream never was")
        # Nothing is kept of a best-effort stream.
        again = list(self._unacknowledged)[record.received - self._taken_there :] if self._reliable else []
        self._outbox = outbox
        self._announced = False
        self._lost_at_s = None
        self._sent = record.received + len(again)
        self._bytes_sent = record.received_bytes + sum(size for _, _, _, size in again)
        self._set_limits(record.limit, record.limit_bytes)
        if self._started or again:
            self._announce(outbox, again[0][0] - 1 if again else self._last_sequence)
        for _, header, payload, _ in again:
            if payload is None:
                outbox.put(header)
            else:
                outbox.put_large(header, payload)
        self._untold_drops = not self._reliable
        if not self._told:
            self._told = True
            self._handler.connected()
        self._use_credit()

    def _set_limits(self, limit: int, limit_bytes: int) -> None:
        self._limit = min(limit, self._sent + _MOST_AHEAD)
        self._limit_bytes = min(limit_bytes, self._bytes_sent + _MOST_AHEAD_BYTES)

    def granted(self, record: Grant) -> None:
        """The receiver acknowledges, and says how far the sender may go.

        Raises:
            Malformed: It acknowledges what was never sent.
        """
        if record.taken > self._sent or record.taken < self._taken_there:
            raise Malformed("a receiver acknowledges what was never sent")
        if self._reliable:
            for _ in range(record.taken - self._taken_there):
                self._unacknowledged.popleft()
        self._taken_there = record.taken
        self._set_limits(max(self._limit, record.limit), max(self._limit_bytes, record.limit_bytes))
        if record.lost > self._lost:
            self._lost = record.lost
            self._handler.losses(record.lost)
        self._use_credit()

    def _use_credit(self) -> None:
        if self._outbox is None or self._number is None or not self._started:
            return
        if self._sent >= self._limit or self._bytes_sent >= self._limit_bytes:
            return
        self._tell_drops()
        if self._wanted:
            self._wanted = False
            self._handler.writable()

    def _tell_drops(self) -> None:
        # If nothing comes any more the receiver would never know what was dropped last.
        if self._untold_drops and self._outbox is not None and self._number is not None:
            self._untold_drops = False
            self._outbox.put(Tally(self._number, self._index).pack())

    def connection_lost(self, now_s: float) -> None:
        """There is no connection any more; the bus hears of it if there is none for `GRACE_S`."""
        if self._outbox is not None:
            self._outbox = None
            self._lost_at_s = now_s

    def other_end_closed(self, reason: str) -> None:
        """The receiver closed the stream, or broke the rules."""
        told = self._told
        self._outbox = None
        self._leave_other_end()
        if told:
            self._handler.disconnected(reason)

    def _leave_other_end(self) -> None:
        self._left += self._unacknowledged
        self._forget_other_end()

    def tick(self, now_s: float) -> float | None:
        """Does what is due.

        Returns:
            When it wants to be called next, or None.
        """
        if self._lost_at_s is None or not self._told:
            return None
        due_s = self._lost_at_s + GRACE_S
        if now_s < due_s:
            return due_s
        self._told = False
        self._started = False
        self._wanted = False
        self._handler.disconnected("the connection was lost")
        return None


def _parcel(header: bytes, payload: ReadableBuffer | None) -> abc.Parcel:
    """What was taken, from what was kept of it: a header and the payload, which stands behind it if it is small."""
    _, _, _, _, sequence, time_ns, dropped = DATA_HEADER.unpack_from(header)
    return abc.Parcel(sequence, time_ns, dropped, header[DATA_HEADER.size :] if payload is None else payload)
