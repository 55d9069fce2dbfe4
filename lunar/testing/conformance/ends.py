"""Handlers at both ends of a stream that keep what they are told, and note whatever the contract rules out.

A complaint is noted and not raised: an exception within a call of a handler would go through the engine, which may
swallow it.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from lunar.abc import IncomingHandler, OutgoingHandler, Parcel
from lunar.testing.conformance.subject import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from lunar.abc import Incoming, Outgoing

__all__ = ["Listener", "Talker", "content"]


@lru_cache(maxsize=1)  # both ends ask, and 64 MiB take a while
def content(number: int, size_bytes: int) -> bytes:
    """A payload that depends on its sequence number."""
    pattern = b"%d," % number
    return (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]


class Talker(OutgoingHandler):
    """The bus at the sending end.

    Attributes:
        end: The stream; set by whoever opened it.
        up: The other end listens.
        times_up: How often it began to.
        reasons: Why it no longer did, each time.
        refused: `send` returned False, and `writable` has not been called since.
        lost: What the other end has missed.
        sequence: Of the last parcel that was taken over.
        dropped: What the parcels say of samples that were dropped before.
        newest: The second argument of `start`, if it is not `sequence`.
        on_connected: Called within `connected`, after `start`.
        on_writable: Called within `writable`.
        complaints: What the contract rules out.
    """

    def __init__(self) -> None:
        self.end: Outgoing
        self.up = self.refused = False
        self.times_up = self.lost = self.sequence = self.dropped = 0
        self.newest: int | None = None
        self.reasons: list[str] = []
        self.on_connected: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.complaints: list[str] = []
        self.closed = False

    def connected(self) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._expect(not self.up, "`connected` was called twice with no `disconnected` in between")
        self._expect(not self.closed, "`connected` was called after the stream was closed")
        self.up = True
        self.times_up += 1
        self.end.start(self.sequence, self.sequence if self.newest is None else self.newest)
        if self.on_connected is not None:
            self.on_connected()

    def disconnected(self, reason: str) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._expect(self.up, "`disconnected` was called though the stream was not connected")
        self._expect(not self.closed, "`disconnected` was called after the stream was closed")
        self._expect(reason, "`disconnected` was called without a reason")
        self.up = False
        self.reasons.append(reason)

    def writable(self) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._expect(not self.closed, "`writable` was called after the stream was closed")
        self.refused = False
        if self.on_writable is not None:
            self.on_writable()

    def losses(self, lost: int) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._expect(lost >= self.lost, f"`losses` went back from {self.lost} to {lost}")
        self.lost = lost

    def send(self, payload: bytes | bytearray | memoryview, *, skipping: int = 0) -> bool:
        """Sends the next parcel, or the one after `skipping` samples that were dropped before. Whether it was taken."""
        parcel = Parcel(self.sequence + skipping + 1, time.time_ns(), self.dropped + skipping, payload)
        taken = self.end.send(parcel)
        self._expect(isinstance(taken, bool), f"`send` returned {taken!r} instead of True or False")
        self.refused = not taken
        if taken:
            self.sequence, self.dropped = parcel.sequence_number, parcel.dropped
        return taken

    def send_numbered(self, size_bytes: int = 64, *, skipping: int = 0) -> bool:
        """Sends the next parcel with the content that a `Listener` expects."""
        return self.send(content(self.sequence + skipping + 1, size_bytes), skipping=skipping)

    def close(self) -> None:
        """Closes the stream."""
        self.closed = True
        self.end.close()

    def _expect(self, holds: object, text: str) -> None:
        if not holds:
            self.complaints.append(text)


class Listener(IncomingHandler):
    """The bus at the receiving end.

    Attributes:
        end: The stream; set by whoever opened it.
        running: The other end has started it.
        starts: The arguments of `started`, each time.
        reasons: Why it was stopped, each time.
        numbers: The sequence numbers of what came.
        sizes: How many bytes each had.
        drops: The `dropped` of each.
        times_ns: The source time of each.
        full: Says no to all that is offered.
        lost_count: What was lost.
        on_started: Called within `started`.
        on_deliver: Called within `deliver`, when a parcel was taken.
        complaints: What the contract rules out.
    """

    def __init__(self) -> None:
        self.end: Incoming
        self.running = self.full = False
        self.starts: list[tuple[int, int]] = []
        self.reasons: list[str] = []
        self.numbers: list[int] = []
        self.sizes: list[int] = []
        self.drops: list[int] = []
        self.times_ns: list[int] = []
        self.lost_count = 0
        self.on_started: Callable[[], None] | None = None
        self.on_deliver: Callable[[], None] | None = None
        self.complaints: list[str] = []
        self.closed = False
        self._refused: int | None = None
        self._resumed = False

    @property
    def refused(self) -> bool:
        """A parcel was refused and not offered again yet."""
        return self._refused is not None

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self._expect(not self.running, "`started` was called twice with no `stopped` in between")
        self._expect(not self.closed, "`started` was called after the stream was closed")
        self.running = True
        self.starts.append((last_sequence, newest_sequence))
        if self.on_started is not None:
            self.on_started()

    def deliver(self, parcel: Parcel) -> bool:
        """See `lunar.abc.IncomingHandler`."""
        number = parcel.sequence_number
        self._expect(not self.closed, f"parcel {number} was delivered after the stream was closed")
        self._expect(self.running, f"parcel {number} was delivered though the stream is not started")
        if self._refused is not None:
            self._expect(self._resumed, f"parcel {number} was offered after a refusal, before `resume`")
            self._expect(number == self._refused, f"parcel {self._refused} was refused, and {number} came in its place")
        if self.full:
            self._refused, self._resumed = number, False
            return False
        self._refused = None
        last = self.numbers[-1] if self.numbers else self.starts[-1][0] if self.starts else 0
        self._expect(number > last, f"parcel {number} came after {last}")
        self._keep(parcel)
        if self.on_deliver is not None:
            self.on_deliver()
        return True

    def _keep(self, parcel: Parcel) -> None:
        with memoryview(parcel.payload) as payload:
            self._expect(payload.contiguous, "a payload is not contiguous")
            received = payload.tobytes()
        number = parcel.sequence_number
        self._expect(received == content(number, len(received)), f"parcel {number} has not the content that was sent")
        self.numbers.append(number)
        self.sizes.append(len(received))
        self.drops.append(parcel.dropped)
        self.times_ns.append(parcel.source_time_ns)

    def stopped(self, reason: str) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self._expect(self.running, "`stopped` was called though the stream was not started")
        self._expect(not self.closed, "`stopped` was called after the stream was closed")
        self._expect(reason, "`stopped` was called without a reason")
        self.running = False
        self._refused = None
        self.reasons.append(reason)

    def lost(self, count: int) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self._expect(count > 0, f"`lost` was called with {count}")
        self.lost_count += count

    def faulty(self, reason: str) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self.running = False
        self._expect(False, f"`faulty` was called though the other end keeps to the rules: {reason}")

    def resume(self) -> None:
        """There is room from now on."""
        self.full = False
        self._resumed = True
        self.end.resume()

    def close(self) -> None:
        """Closes the stream."""
        self.closed = True
        self.end.close()

    def received_in_full(self, count: int) -> None:
        """Requires that parcels 1 to `count` came, each once, in order, and nothing else.

        Raises:
            AssertionError: It is not so.
        """
        missing = sorted(set(range(1, count + 1)) - set(self.numbers))
        require(not missing, f"{len(missing)} of {count} parcels never came, the first is number {missing[:1]}")
        require(self.numbers == list(range(1, count + 1)), "parcels came twice, out of order or without being sent")

    def _expect(self, holds: object, text: str) -> None:
        if not holds:
            self.complaints.append(text)
