"""The receiving side: one DDS reader a topic and class of reliability, and the streams that it feeds.

Samples are taken from DDS as they come. Those of a stream whose subscriptions have no room wait here, at most as many
as its window allows; its sender stops when it hears of none that was taken.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from lunar.abc import Incoming, Parcel
from lunar.errors import PeerFault
from lunar_dds import frames
from lunar_dds.endpoints import Reader
from lunar_dds.kinds import PARCEL
from lunar_dds.outgoing import WINDOW_BYTES, WINDOW_PARCELS, data_terms, data_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from lunar._native.control import Doorbell
    from lunar.abc import IncomingHandler, Stream
    from lunar_dds._cdr import Sample
    from lunar_dds.domains import Participant
    from lunar_dds.frames import Frame
    from lunar_dds.links import Link

__all__ = ["Collector", "IncomingEnd"]

_FIRST_RETRY_S: Final = 0.02
_LAST_RETRY_S: Final = 1.0
_TELL_AFTER_PARCELS: Final = WINDOW_PARCELS // 4
_TELL_AFTER_BYTES: Final = WINDOW_BYTES // 4
_TELL_AFTER_S: Final = 0.005
# A reliable sender stops at its window; a best-effort one does not, and what it sends beyond this is lost.
_HELD: Final = 2 * WINDOW_PARCELS


class Collector:
    """A DDS reader, shared by the streams of one topic and class.

    Args:
        participant: This process's.
        stream: The first of its streams.
        bell: Its own; rung when samples come, and when a writer comes or goes.

    Attributes:
        ends: Its streams, by their publisher.
        has_work: There may be samples.
        faulty: How many samples were not understood or came from the wrong process, so far.
    """

    def __init__(self, participant: Participant, stream: Stream, bell: Doorbell) -> None:
        self._reader = Reader(
            participant,
            data_topic(stream.topic, reliable=stream.reliable),
            PARCEL,
            data_terms(stream.qos, reliable=stream.reliable),
            bell,
        )
        self._participant = bytes.fromhex(participant.participant_id)
        self.ends: dict[bytes, IncomingEnd] = {}
        self.faulty = 0
        self.has_work = True
        self._writers: dict[int, str] = {}

    def answer_bell(self) -> bool:
        """Looks whether it was rung; says whether a writer has come or gone."""
        has_samples, has_matches = self._reader.bell.answer()
        self.has_work |= has_samples
        return has_matches

    def refresh(self) -> None:
        """Looks which processes have a writer."""
        self._writers = self._reader.present()

    def has(self, remote_id: str) -> bool:
        """Whether a process has a writer."""
        return remote_id in self._writers.values()

    def work(self, most: int) -> bool:
        """Hands on what has come, at most so many samples; whether there may be more."""
        taken = self._reader.take(most)
        for sample in taken:
            if sample.is_data:
                self._hand_on(sample)
        self.has_work = len(taken) == most
        return self.has_work

    def _hand_on(self, sample: Sample) -> None:
        try:
            frame = frames.parse(sample)
        except PeerFault:
            self.faulty += 1
            return
        end = self.ends.get(frame.publisher)
        if end is None or not frame.is_for(self._participant):
            return
        if self._reader.identity(sample.writer) != end.stream.remote_id:
            self.faulty += 1
            return
        end.arrived(frame)

    def close(self) -> None:
        """Deletes the reader."""
        self._reader.close()


class IncomingEnd(Incoming):
    """The receiving end of a stream; see `lunar.abc.Incoming`.

    Args:
        stream: What both ends agree on.
        handler: The bus's.
        collector: The reader.
        link: To the process at the other end.
        sessions: Makes a number that no opening of a stream has had.
        stir: Has the engine call `tell` soon.
        closed: Called once when it is closed.

    Attributes:
        publisher: The publisher, 16 bytes.
    """

    def __init__(
        self,
        stream: Stream,
        handler: IncomingHandler,
        collector: Collector,
        link: Link,
        sessions: Callable[[], int],
        stir: Callable[[IncomingEnd], None],
        closed: Callable[[IncomingEnd], None],
    ) -> None:
        self.stream, self.handler = stream, handler
        self.publisher = bytes.fromhex(stream.publisher_id)
        self._collector, self._link, self._sessions = collector, link, sessions
        self._stir, self._closed_told = stir, closed
        self._session = sessions()
        self._is_started = self._is_blocked = self._may_miss = self._closed = False
        self._position: int | None = None
        self._dropped = self._lost = self._lost_told = 0
        self._taken = self._taken_told = self._bytes_untold = 0
        self._held: deque[Frame] = deque()
        self._held_bytes = 0
        self._retry_s, self._retry_at_s = _FIRST_RETRY_S, 0.0

    # ---- the collector's ------------------------------------------------------------------------------------------

    def arrived(self, frame: Frame) -> None:
        """Takes in what came for this stream."""
        if frame.kind in (frames.START, frames.END):
            self.told(frame)
        elif not self._is_started:
            return  # of an earlier opening: what is missing is sent again
        elif self._is_blocked or self._held:
            self._hold(frame)
        elif not self._offer(frame):
            self._is_blocked = True
            self._hold(frame)

    def _hold(self, frame: Frame) -> None:
        if len(self._held) >= _HELD or (self._held and self._held_bytes > 2 * WINDOW_BYTES):
            if self.stream.reliable:
                self._fault("it sends more than it may before that is taken")
            return  # the gap is counted when the next one is offered
        self._held.append(frame)
        self._held_bytes += frame.payload_bytes

    def told(self, frame: Frame) -> None:
        """The other end begins or ends the stream."""
        if frame.session != self._session:
            return
        if frame.kind == frames.END:
            self._stop("the publisher closed the stream")
        elif not self._is_started:
            self._is_started = True
            if self._position is None:
                self._position, self._dropped = frame.sequence, 0
            self._taken = self._taken_told = self._bytes_untold = 0
            self._may_miss = True  # what cannot be had again
            self.handler.started(frame.sequence, frame.extra)

    def _offer(self, frame: Frame) -> bool:
        position = self._position or 0
        dropped = self._dropped if frame.kind == frames.SHARED else max(frame.dropped, self._dropped)
        if frame.sequence > position:
            missing = frame.sequence - position - 1 - (dropped - self._dropped)
            if missing > 0 and self.stream.reliable and not self._may_miss:
                # DDS has lost the writer and found it again, and nobody has noticed: the sender still has them.
                self._stop("the connection to the publisher's process was interrupted")
                return True
            if not self.handler.deliver(Parcel(frame.sequence, frame.time_ns, dropped, frame)):
                return False
            if self._closed:
                return True
            if missing > 0:
                self._lost += missing
                self.handler.lost(missing)
            self._position, self._dropped, self._may_miss = frame.sequence, dropped, False
        self._taken += 1
        self._bytes_untold += frame.payload_bytes
        self._stir(self)
        return True

    # ---- the engine's ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Looks whether the publisher's process is there."""
        if self._is_started and not self._collector.has(self.stream.remote_id):
            self._stop("the connection to the publisher's process was lost")
        elif not self._is_started:
            self._retry_at_s = 0.0
            self._stir(self)

    def _stop(self, reason: str) -> None:
        was_started, self._is_started = self._is_started, False
        self._drop_held()
        self._session = self._sessions()
        self._retry_s, self._retry_at_s = _FIRST_RETRY_S, 0.0
        self._stir(self)
        if was_started:
            self.handler.stopped(reason)

    def _fault(self, reason: str) -> None:
        self.close()
        self.handler.faulty(reason)

    def tell(self, now_s: float) -> float | None:
        """Says what the other end has to know; seconds after which to call this again, None if only after a change."""
        if self._closed:
            return None
        if not self._is_started:
            return self._open(now_s)
        untold = self._taken - self._taken_told
        if not untold:
            return None
        if not self._is_urgent(untold) and now_s < self._retry_at_s:
            return self._retry_at_s - now_s
        self._retry_at_s = now_s + _TELL_AFTER_S
        if not self._report():
            return _TELL_AFTER_S
        self._taken_told, self._bytes_untold = self._taken, 0
        return None

    def _report(self) -> bool:
        if self.stream.reliable and not self._link.tell(
            frames.ACK, self.publisher, self._session, sequence=self._taken
        ):
            return False
        if self._lost > self._lost_told:
            if not self._link.tell(frames.LOSSES, self.publisher, self._session, dropped=self._lost):
                return False
            self._lost_told = self._lost
        return True

    def _is_urgent(self, untold: int) -> bool:
        return untold >= _TELL_AFTER_PARCELS or self._bytes_untold >= _TELL_AFTER_BYTES

    def _open(self, now_s: float) -> float | None:
        if not self._link.is_ready or not self._collector.has(self.stream.remote_id):
            return None  # a match tells
        if now_s >= self._retry_at_s:
            received = 0 if self._position is None else self._position + 1
            self._link.tell(frames.OPEN, self.publisher, self._session, sequence=received)
            self._retry_at_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
        return self._retry_at_s - now_s

    # ---- the bus's ------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """There is room again."""
        if self._is_blocked:
            self._is_blocked = False
            self._stir(self)

    def offer_held(self) -> None:
        """Offers what waits, as far as there is room."""
        while self._held and not self._is_blocked:
            frame = self._held[0]
            if not self._offer(frame):
                self._is_blocked = True
                return
            if self._held:  # else the handler has closed the stream
                self._held.popleft()
                self._held_bytes -= frame.payload_bytes

    def close(self) -> None:
        """Ends the stream for both ends."""
        if self._closed:
            return
        self._closed = True
        self._drop_held()
        self._link.tell(frames.CLOSE, self.publisher, self._session)
        self._closed_told(self)

    def _drop_held(self) -> None:
        self._held.clear()
        self._held_bytes = 0
        self._is_blocked = False
