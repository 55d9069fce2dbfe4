"""The sending side: one DDS writer a publisher, and its streams.

The streams of a publisher carry the same parcels in the same order, as long as each keeps up. The first that sends one
writes it for all that are at the same point and have room; the others find it written when they send it themselves.
Who is not at that point is named in the sample as not meant, and gets the parcel later, in a sample for it alone. All
go through one writer, so they stay in order.

A reliable stream has a window: parcels that the other end has not acknowledged, which wait in DDS's reader there. They
are kept here as well (the same memory as DDS's own), to be written again if the connection was lost.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from lunar.abc import Outgoing, Parcel
from lunar.errors import LunarError
from lunar.qos import QoS
from lunar_dds import frames
from lunar_dds.endpoints import Writer
from lunar_dds.kinds import PARCEL
from lunar_dds.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import ReadableBuffer

    from lunar._native.control import Doorbell
    from lunar.abc import OutgoingHandler, Stream
    from lunar_dds._cdr import Sample
    from lunar_dds.domains import Participant
    from lunar_dds.links import Link

__all__ = ["WINDOW_BYTES", "WINDOW_PARCELS", "OutgoingEnd", "Spread", "data_terms", "data_topic"]

WINDOW_PARCELS: Final = 256
WINDOW_BYTES: Final = 16 * 2**20


def data_topic(topic: str, *, reliable: bool) -> str:
    """Name of the DDS topic that carries a Lunar topic."""
    return f"lunar/{'reliable' if reliable else 'best_effort'}{topic}"


def data_terms(qos: QoS, *, reliable: bool) -> Terms:
    """What DDS is to do for a profile: history, deadlines and lifespans are the bus's own, at both ends."""
    if reliable:
        return Terms(QoS(history="keep_all", priority=qos.priority), holds_all=True)
    return Terms(QoS("best_effort", depth=1000, priority=qos.priority))


_Kept: TypeAlias = "tuple[int, int, Sample]"
"""A parcel that is not acknowledged: its sequence number, its size, and the sample that carries it."""


class Spread:
    """A publisher's DDS writer, shared by its streams of one class of reliability.

    Args:
        participant: This process's.
        stream: The first of its streams.
        bell: Rung when a reader comes or goes.
        full: Those that DDS had no room for something of; they add themselves.

    Attributes:
        publisher: The publisher, 16 bytes.
        ends: Its streams, by the process at the other end.
        present: The processes that have a reader.
    """

    def __init__(self, participant: Participant, stream: Stream, bell: Doorbell, full: dict[Spread, None]) -> None:
        topic = data_topic(stream.topic, reliable=stream.reliable)
        self._writer = Writer(participant, topic, PARCEL, data_terms(stream.qos, reliable=stream.reliable), bell)
        self.publisher = bytes.fromhex(stream.publisher_id)
        self.ends: dict[bytes, OutgoingEnd] = {}
        self.present: set[str] = set()
        self._backlog: deque[Sample] = deque()
        self._full = full

    def refresh(self) -> None:
        """Looks which processes have a reader."""
        self.present = set(self._writer.present().values())

    def flush(self) -> bool:
        """Writes what DDS had no room for; whether that is all."""
        while self._backlog:
            if not self._writer.write(self._backlog[0], time.time_ns()):
                self._full[self] = None
                return False
            self._backlog.popleft()
        return True

    def say(self, kind: int, end: OutgoingEnd, session: int, *, sequence: int = 0, extra: int = 0) -> None:
        """Writes something for one stream, in its place among the parcels."""
        said = self._writer.frame(
            kind, self.publisher, session=session, sequence=sequence, extra=extra, audience=end.remote
        )
        self._backlog.append(said)
        self.flush()

    def write_again(self, end: OutgoingEnd, sample: Sample, dropped: int) -> None:
        """Writes a parcel for one stream again."""
        frame = frames.parse(sample)
        self._backlog.append(self._directed(end, frame.sequence, frame.time_ns, dropped, frame))
        self.flush()

    def _directed(self, end: OutgoingEnd, sequence: int, time_ns: int, dropped: int, payload: ReadableBuffer) -> Sample:
        return self._writer.frame(
            frames.DIRECTED,
            self.publisher,
            payload,
            sequence=sequence,
            time_ns=time_ns,
            dropped=dropped,
            audience=end.remote,
        )

    def write(self, first: OutgoingEnd, parcel: Parcel, payload: memoryview) -> bool:
        """Writes a parcel for a stream, and for all others that are at the same point; False if DDS has no room."""
        if self._backlog and not self.flush():
            return False
        size_bytes = payload.nbytes
        sharing, left_out = [first], b""
        if len(self.ends) > 1:
            sharing, left_out = self._share(first, parcel, size_bytes)
        if first.has_new_drops or parcel.dropped != first.dropped or (left_out and len(sharing) == 1):
            sharing = [first]
            sample = self._directed(first, parcel.sequence_number, parcel.source_time_ns, parcel.dropped, payload)
        else:
            sample = self._writer.frame(
                frames.SHARED,
                self.publisher,
                payload,
                sequence=parcel.sequence_number,
                time_ns=parcel.source_time_ns,
                audience=left_out,
            )
        if not self._writer.write(sample, time.time_ns()):
            self._full[self] = None
            return False
        for each in sharing:
            each.written(parcel, sample, size_bytes, is_own=each is first)
        return True

    def _share(self, first: OutgoingEnd, parcel: Parcel, size_bytes: int) -> tuple[list[OutgoingEnd], bytes]:
        """Who is at the same point, and the ids of the others."""
        sharing, left_out = [first], b""
        for each in self.ends.values():
            if each is first:
                continue
            if each.joins(first, parcel, size_bytes):
                sharing.append(each)
            else:
                left_out += each.remote
        return sharing, left_out

    def tell_writable(self) -> None:
        """Has the bus try again: DDS has room."""
        for each in list(self.ends.values()):
            each.tell_writable()

    def close(self) -> None:
        """Deletes the writer; what is not written by now is not."""
        self._backlog.clear()
        self._writer.close()


class OutgoingEnd(Outgoing):
    """The sending end of a stream; see `lunar.abc.Outgoing`.

    Args:
        stream: What both ends agree on.
        handler: The bus's.
        spread: The writer.
        link: To the process at the other end.
        closed: Called once when it is closed.

    Attributes:
        remote: The process at the other end, 16 bytes.
        session: Which opening of the other end this is; 0: none.
        dropped: What the other end knows to have been dropped.
        has_new_drops: The other end does not know the count of what was dropped.
        refused: `send` returned False, and the bus has not been told otherwise.
    """

    def __init__(
        self,
        stream: Stream,
        handler: OutgoingHandler,
        spread: Spread,
        link: Link,
        closed: Callable[[OutgoingEnd], None],
    ) -> None:
        self.stream, self.handler = stream, handler
        self.remote = bytes.fromhex(stream.remote_id)
        self.session = 0
        self.dropped = 0
        self.refused = False
        self._spread, self._link, self._closed_told = spread, link, closed
        self._is_up = self._is_started = self._closed = False
        self.has_new_drops = True
        self._last_sequence = 0
        self._received_before: int | None = None
        self._acknowledged = 0
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._left: list[Parcel] = []  # of an other end that is closed: until the bus begins anew it may want it back
        self._written_ahead: deque[int] = deque()
        self._lost = 0
        self._interrupted = 0

    # ---- the engine's ---------------------------------------------------------------------------------------------

    def opened(self, session: int, received: int | None) -> None:
        """The other end listens, and has parcels up to `received`."""
        if session == self.session:
            return
        self._go_down("the other end has opened the stream again")
        self.session, self._received_before = session, received
        self._interrupted = 0
        self.look()

    def look(self) -> None:
        """Looks whether the other end is there."""
        is_there = bool(self.session) and self.stream.remote_id in self._spread.present and self._link.is_ready
        if is_there and not self._is_up:
            self._is_up = True
            self.handler.connected()
        elif self._is_up and not is_there:
            self._go_down("the connection to its process was lost")
            self._interrupted, self.session = self.session, 0
        elif self._interrupted and self.stream.remote_id in self._spread.present:
            # That process may not have noticed: it is to open the stream again, and say what it has.
            self._say_end(self._interrupted)
            self._interrupted = 0

    def _go_down(self, reason: str) -> None:
        if self._is_up:
            self._is_up = self._is_started = False
            self.handler.disconnected(reason)

    def acknowledged(self, session: int, count: int) -> None:
        """The other end has taken so many parcels."""
        if session != self.session or not self._is_started:
            return
        while self._kept and self._acknowledged < count:
            self._acknowledged += 1
            self._kept_bytes -= self._kept.popleft()[1]
        self.tell_writable()

    def tell_writable(self) -> None:
        """Has the bus try again, if it was refused and there is room."""
        if self.refused and self._is_started and self._has_room(0):
            self.refused = False
            self.handler.writable()

    def has_lost(self, count: int) -> None:
        """The other end misses so many parcels."""
        if count > self._lost:
            self._lost = count
            self.handler.losses(count)

    def ended(self) -> None:
        """The other end is closed."""
        self._left += self._taken()
        self._drop_kept()
        self._go_down("the subscriptions there are closed")
        self.session = 0

    # ---- the spread's ---------------------------------------------------------------------------------------------

    def _has_room(self, size_bytes: int) -> bool:
        return not self._kept or (len(self._kept) < WINDOW_PARCELS and self._kept_bytes + size_bytes <= WINDOW_BYTES)

    def joins(self, first: OutgoingEnd, parcel: Parcel, size_bytes: int) -> bool:
        """Whether a parcel may be written for this stream before it sends it itself."""
        return (
            self is not first
            and self._is_started
            and not self.refused
            and not self.has_new_drops
            and self._last_sequence == first._last_sequence
            and parcel.sequence_number > self._last_sequence
            and self._has_room(size_bytes)
        )

    def written(self, parcel: Parcel, sample: Sample, size_bytes: int, *, is_own: bool) -> None:
        """A parcel was written for this stream; by its own call, or ahead of it."""
        self._last_sequence = parcel.sequence_number
        if is_own:
            self.dropped, self.has_new_drops = parcel.dropped, False
        else:
            self._written_ahead.append(parcel.sequence_number)
        if self.stream.reliable:
            self._kept.append((parcel.sequence_number, size_bytes, sample))
            self._kept_bytes += size_bytes

    # ---- the bus's ------------------------------------------------------------------------------------------------

    def start(self, last_sequence: int, newest_sequence: int) -> None:
        """Lets the other end know where the stream begins, and writes what it has not got of what was sent before."""
        if not self._is_up or self._closed:
            return
        if self.stream.reliable:
            self._spread.say(frames.START, self, self.session, sequence=last_sequence, extra=newest_sequence)
        else:
            publisher = self._spread.publisher
            self._link.tell(frames.START, publisher, self.session, sequence=last_sequence, extra=newest_sequence)
        self._is_started = self.has_new_drops = True
        self._left.clear()
        self._acknowledged = 0
        self._written_ahead.clear()
        self._write_again()
        self._last_sequence = max(last_sequence, self._last_sequence if self._kept else 0)

    def _write_again(self) -> None:
        kept, self._kept, self._kept_bytes = self._kept, deque(), 0
        for each in kept:
            sequence, size_bytes, sample = each
            # Who begins anew has closed the stream in between: what was on its way then is over.
            if self._received_before is None or sequence <= self._received_before:
                continue
            self._spread.write_again(self, sample, self.dropped)
            self._kept.append(each)
            self._kept_bytes += size_bytes

    def send(self, parcel: Parcel) -> bool:
        """Takes a parcel over, if there is room."""
        if not self._is_started:
            self.refused = True
            return False
        if self._written_ahead and self._was_written(parcel):
            return True
        with memoryview(parcel.payload) as payload:
            if self._has_room(payload.nbytes) and self._spread.write(self, parcel, payload):
                return True
        self.refused = True
        return False

    def _was_written(self, parcel: Parcel) -> bool:
        ahead = self._written_ahead
        while ahead and ahead[0] < parcel.sequence_number:
            ahead.popleft()  # the bus dropped it for this stream after it was written
        if not ahead or ahead[0] != parcel.sequence_number:
            return False
        ahead.popleft()
        self.has_new_drops = parcel.dropped != self.dropped
        return True

    @property
    def unacknowledged(self) -> int:
        """Parcels that the other end has not been known to have."""
        return max(0, len(self._kept) - len(self._written_ahead))

    def _taken(self) -> list[Parcel]:
        """What the bus has handed over and the other end is not known to have."""
        kept = [frames.parse(sample) for _, _, sample in list(self._kept)[: self.unacknowledged]]
        return [Parcel(frame.sequence, frame.time_ns, self.dropped, frame) for frame in kept]

    def recall(self) -> Sequence[Parcel]:
        """Ends the stream for both ends, and gives back what may not be lost."""
        taken = [*self._left, *self._taken()]
        self.close()
        return taken

    def close(self) -> None:
        """Ends the stream for both ends."""
        if self._closed:
            return
        self._closed = True
        if self._is_up:
            with suppress(LunarError):  # the other end learns of it by discovery as well
                self._say_end(self.session)
        self._is_up = self._is_started = False
        self._left.clear()
        self._drop_kept()
        self._closed_told(self)

    def _say_end(self, session: int) -> None:
        if self.stream.reliable:
            self._spread.say(frames.END, self, session)
        else:
            self._link.tell(frames.END, self._spread.publisher, session)

    def _drop_kept(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0
