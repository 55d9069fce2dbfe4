"""The receiving end of one stream. Pure: the time is passed in, records go into an outbox.

Indices say what is new. On a reliable stream the next one is always the next: what is older was sent again and is
dropped, what is newer breaks the rules. On a best-effort stream a gap is a loss.

What the bus has no room for is held here, at most a window of it. The sender may go a window beyond what was taken, so
it stops in time by itself. To say so costs a record, so it is said when a quarter of the window was taken (of its
bytes: half), or a little later when nothing more came; a large parcel is acknowledged sooner, because it keeps its
publisher's memory.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from lunar import abc
from lunar_zmq.sending import GRACE_S
from lunar_zmq.wire import Close, Grant, Malformed, Open

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lunar_zmq.outbox import Outbox

__all__ = ["GRANT_WITHIN_S", "WINDOW", "WINDOW_BYTES", "ReceivingEnd"]

WINDOW: Final = 4096
# What is on its way is written and read several times, so it should fit into a cache: more makes a stream no faster but
# slower. 10 Gbit/s for 1 ms are 1.3 MB, and the kernel's own buffers bound longer ways. A few large parcels may be on
# their way even so, or each would wait for the one before it to be taken.
WINDOW_BYTES: Final = 8 * 1024 * 1024
_WINDOW_PARCELS: Final = 4
_LARGEST_WINDOW_BYTES: Final = 64 * 1024 * 1024
GRANT_WITHIN_S: Final = 0.01
_PROMPT_WITHIN_S: Final = 0.005
_PROMPT_BYTES: Final = 64 * 1024


class Owner(Protocol):
    """What a receiving end needs of the link that it belongs to."""

    def number_for(self, end: ReceivingEnd) -> int:
        """Returns a number that no stream had before, by which the stream is known from now on."""

    def resumed(self, end: ReceivingEnd) -> None:
        """`deliver_held` is to be called soon."""

    def closed(self, end: ReceivingEnd) -> None:
        """The stream was closed by this side."""


class ReceivingEnd(abc.Incoming):
    """One remote publisher's stream to this process.

    Args:
        stream: What both ends agreed on.
        handler: Told what happens.
        owner: The link that it belongs to.
    """

    __slots__ = (
        "_again",
        "_closed_by_other",
        "_deliver",
        "_grant_at",
        "_grant_at_bytes",
        "_handler",
        "_held",
        "_held_bytes",
        "_index",
        "_last_sequence",
        "_limit",
        "_limit_bytes",
        "_lost",
        "_lost_at_s",
        "_met",
        "_outbox",
        "_owner",
        "_reliable",
        "_running",
        "_taken",
        "_taken_bytes",
        "_window_bytes",
        "closed",
        "grant_due_s",
        "number",
        "publisher",
        "stream",
    )

    def __init__(self, stream: abc.Stream, handler: abc.IncomingHandler, owner: Owner) -> None:
        self.stream = stream
        self.publisher = bytes.fromhex(stream.publisher_id)
        self.closed = False
        self._handler = handler
        self._deliver = handler.deliver
        self._reliable = stream.reliable
        self._owner = owner
        self._outbox: Outbox | None = None
        self._held: deque[tuple[abc.Parcel, int]] = deque()
        self._begin_anew()

    def _begin_anew(self) -> None:
        # A number of its own for each time: an OPEN may then be repeated, and nothing old is taken for new.
        self.number = self._owner.number_for(self)
        self._met = False
        self._running = False
        self._closed_by_other: str | None = None
        self._lost_at_s: float | None = None
        # When a grant is to be sent at the latest, None if there is nothing to say.
        self.grant_due_s: float | None = None
        self._index = 0
        self._last_sequence = 0
        self._lost = 0
        self._taken = self._taken_bytes = 0
        # What does not wait is dropped instead: for best effort the window is the burst that gets through.
        self._window_bytes = WINDOW_BYTES if self._reliable else _LARGEST_WINDOW_BYTES
        self._extend()
        self._held.clear()
        self._held_bytes = 0

    # What the bus calls

    def resume(self) -> None:
        """There is room again."""
        if not self.closed:
            self._owner.resumed(self)

    def close(self) -> None:
        """Ends the stream for both ends."""
        if self.closed:
            return
        self.closed = True
        if self._outbox is not None:
            self._outbox.put(Close(self.number, "the subscriber's side closed the stream").pack())
        self._outbox = None
        self._held.clear()
        self._owner.closed(self)

    # What the connection says

    def connection_made(self, outbox: Outbox) -> None:
        """There is a connection: opens the stream on it, or goes on."""
        self._outbox = outbox
        self._lost_at_s = None
        if self._closed_by_other is not None:
            return  # what is held comes first
        self._extend()
        outbox.put(
            Open(
                self._reliable,
                self._met,
                self.number,
                self.publisher,
                self._taken + len(self._held),
                self._taken_bytes + self._held_bytes,
                self._limit,
                self._limit_bytes,
            ).pack()
        )

    def connection_lost(self, now_s: float) -> None:
        """There is no connection any more; the bus hears of it if there is none for `GRACE_S`."""
        if self._outbox is not None:
            self._outbox = None
            self.grant_due_s = None
            self._lost_at_s = now_s

    def give_up_waiting(self) -> None:
        """There will be no new connection: the bus hears of it in the next `tick`."""
        if self._lost_at_s is not None:
            self._lost_at_s -= GRACE_S

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        """The publisher's side lets the stream begin, or goes on."""
        self._met = True
        if self._taken:
            self.grant_due_s = 0.0  # what was acknowledged on an earlier connection may not have arrived
        if not self._running:
            self._running = True
            self._last_sequence = max(self._last_sequence, last_sequence)
            self._handler.started(last_sequence, newest_sequence)

    def tallied(self, index: int) -> None:
        """The sender took so many parcels; what is missing of them is lost."""
        if self._reliable or not self._running:
            raise Malformed("a tally of a stream that has none")
        self._skip_to(index)
        self.grant_due_s = 0.0

    def _skip_to(self, index: int) -> None:
        missing = index - self._index
        if missing > 0:
            self._index = index
            self._lost += missing
            self._handler.lost(missing)

    def arrived(
        self, index: int, sequence: int, time_ns: int, dropped: int, payload: ReadableBuffer, size: int, now_s: float
    ) -> None:
        """A parcel came.

        Raises:
            Malformed: It is not the next one, or goes beyond what its sender may send.
        """
        if (index != self._index or sequence <= self._last_sequence or not self._running) and not self._is_new(
            index, sequence
        ):
            return
        self._index = index + 1
        self._last_sequence = sequence
        parcel = abc.Parcel(sequence, time_ns, dropped, payload)
        if self._held or not self._deliver(parcel):
            self._hold(parcel, size)
            return
        self._taken = taken = self._taken + 1
        self._taken_bytes = taken_bytes = self._taken_bytes + size
        if self.grant_due_s is None or size >= _PROMPT_BYTES:
            self.grant_due_s = now_s + (_PROMPT_WITHIN_S if size >= _PROMPT_BYTES else GRANT_WITHIN_S)
        if taken >= self._grant_at or taken_bytes >= self._grant_at_bytes:
            if size * _WINDOW_PARCELS > self._window_bytes:
                self._window_bytes = min(size * _WINDOW_PARCELS, _LARGEST_WINDOW_BYTES)
            self._grant()

    def _is_new(self, index: int, sequence: int) -> bool:
        """Judges a parcel that is not simply the next one; counts what is missing before it."""
        if index < self._index or (self._met and not self._running):
            return False  # it had arrived; or too late, the bus was told of the end, and what is reliable is sent again
        if not self._running or sequence <= self._last_sequence:
            raise Malformed("a parcel before the stream began, or out of order")
        if index > self._index:
            if self._reliable:
                raise Malformed("a reliable stream has a gap")
            self._skip_to(index)
        return True

    def _hold(self, parcel: abc.Parcel, size: int) -> None:
        if self.closed:
            return
        # Only here can a sender go too far: what was taken is granted again in time.
        if self._taken + len(self._held) >= self._limit or self._taken_bytes + self._held_bytes >= self._limit_bytes:
            raise Malformed("a sender went beyond its credit")
        self._held.append((parcel, size))
        self._held_bytes += size

    def deliver_held(self, now_s: float) -> None:
        """Offers what is held again; ends the stream if that was all of it."""
        held = self._held
        while held:
            parcel, size = held[0]
            if not self._deliver(parcel):
                return
            if not held:
                return  # closed meanwhile
            held.popleft()
            self._held_bytes -= size
            self._taken += 1
            self._taken_bytes += size
            self.grant_due_s = now_s
        if self._closed_by_other is not None and not self.closed:
            self._stop(self._closed_by_other)

    def other_end_closed(self, reason: str) -> None:
        """The publisher's side closed the stream: ends it, after what is held, and opens it again for a next time."""
        self._closed_by_other = reason
        if not self._held:
            self._stop(reason)

    def _stop(self, reason: str) -> None:
        running = self._running
        outbox = self._outbox
        self._begin_anew()
        if running:
            self._handler.stopped(reason)
        if outbox is not None and not self.closed:
            self.connection_made(outbox)

    def refused(self, reason: str) -> None:
        """The publisher's side will not have it; held parcels are given up."""
        running = self._running
        self._outbox = None
        self._begin_anew()
        if running:
            self._handler.stopped(reason)

    def fault(self, reason: str) -> None:
        """The other end broke the rules: closes the stream."""
        if not self.closed:
            self.close()
            self._handler.faulty(reason)

    def tick(self, now_s: float) -> float | None:
        """Does what is due.

        Returns:
            When it wants to be called next, or None.
        """
        due_s = self.grant_due_s
        if due_s is not None:
            if now_s < due_s:
                return due_s
            self._grant()
        if self._lost_at_s is None or not self._running or self._held:
            return None
        due_s = self._lost_at_s + GRACE_S
        if now_s < due_s:
            return due_s
        self._running = False
        self._handler.stopped("the connection was lost")
        return None

    def _extend(self) -> None:
        """Moves the limits on to a window beyond what was taken."""
        self._limit, self._limit_bytes = self._taken + WINDOW, self._taken_bytes + self._window_bytes
        self._grant_at, self._grant_at_bytes = self._taken + WINDOW // 4, self._taken_bytes + self._window_bytes // 8

    def _grant(self) -> None:
        self.grant_due_s = None
        if self._outbox is None or self._closed_by_other is not None:
            return
        self._extend()
        self._outbox.put(Grant(self.number, self._taken, self._limit, self._limit_bytes, self._lost).pack())
