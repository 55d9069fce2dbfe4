"""OutgoingStream: what a publisher of this process sends to one process of another host."""

from __future__ import annotations

import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

from lunar._native._bus import Outlet, Reader
from lunar.abc import DirectOutgoing, MatchTerms, OutgoingHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from lunar._native._bus import WriterMatch
    from lunar.abc import Outgoing, Parcel, Stream
    from lunar.events import LossCause
    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.endpoints import LocalPublisher
    from lunar.graph.network.engines import EngineHost
    from lunar.graph.network.loopback import Loopback

__all__ = ["OutgoingStream"]

_log = logging.getLogger("lunar")


class _Resending:
    """What a stream took over comes before what is in its queue; so `OutgoingStream.flush` need not ask for it."""

    def __init__(self, stream: OutgoingStream) -> None:
        self._stream = stream

    def flush(self) -> None:
        self._stream._send_again()


class OutgoingStream(OutgoingHandler):
    """A queue of the publisher, taken from by an engine.

    What the handler's methods do to the graph they post to the control thread; `flush` runs with the engine's lock.

    Args:
        local: The publisher.
        stream: What both ends agree on.
        host: The engine that carries it.
        loopback: Where its queue is made.
        post: Runs a function in the control thread.
        changed: Called in the control thread when the stream was opened or interrupted, or has lost something.
        before: The stream, by another engine, that this one takes over from: its queue, and what may not be lost.

    Attributes:
        remotes: The subscriptions there that it serves, by id.
        native: The sending end of the queue; None until the other end listens.
        connected_now: The other end listens.
        reason: Why it does not.
        down_since_s: Since when it does not any more, monotonic; None if it does, or has not yet.
    """

    def __init__(
        self,
        local: LocalPublisher,
        stream: Stream,
        host: EngineHost,
        loopback: Loopback,
        post: Callable[[Callable[[], object]], object],
        changed: Callable[[OutgoingStream], object],
        before: OutgoingStream | None = None,
    ) -> None:
        self.local, self.stream, self.host = local, stream, host
        self.remotes: dict[str, EndpointInfo] = {}
        self.native: WriterMatch | None = None
        self.connected_now = False
        self.reason = "the other end has not answered yet"
        self._loopback = loopback
        self._post = post
        self._changed = changed
        self._reader: Reader[memoryview] | None = None
        self._outlet: Outlet | None = None
        self._pending: Parcel | None = None
        self._lost = self._lost_before = 0
        self._newest = 0  # the newest that was published before the queue was opened
        self._again: deque[Parcel] = deque()
        self._resending = _Resending(self)
        self.down_since_s: float | None = None
        self._is_up = self._is_refused = self._is_fed = self._recalled = self._closed = False
        if before is not None and before.host is host:
            before.recall()
        host.carry()
        with host.lock:
            self._outgoing: Outgoing = host.engine.open_outgoing(stream, self)
        if before is not None:
            self._take_over(before)

    # ---- the engine's ---------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._post(self._begin)

    def disconnected(self, reason: str) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self.reason = reason
        self._post(self._interrupt)

    def writable(self) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._is_refused = False
        self.host.flush(self._resending if self._again else self)

    def losses(self, lost: int) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._lost = lost
        self._post(self._tell)

    # ---- any thread -----------------------------------------------------------------------------------------------

    def upstream(self) -> dict[LossCause, int]:
        """What was lost beyond the queue."""
        return {"network": self._lost_before + self._lost}

    def flush(self) -> None:
        """Hands the engine what is in the queue, as far as it has room."""
        if self._is_fed:
            cast("DirectOutgoing", self._outgoing)()
            return
        if self._is_refused or not self.connected_now or self._outlet is None:
            return
        take, send = self._outlet.take, self._outgoing.send
        parcel = self._pending
        while True:
            if parcel is None:
                parcel = take()
                if parcel is None:
                    return
            self._pending = parcel
            if not send(parcel):
                self._is_refused = True  # until it says that it has room: each publish would ask in vain
                return
            self._pending = parcel = None

    # ---- the control thread ---------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether the other end listens, as far as is known."""
        return self._is_up

    @property
    def has_served(self) -> bool:
        """Whether the other end has ever listened."""
        return self.native is not None

    @property
    def is_left(self) -> bool:
        """Whether its engine is not asked for anything any more."""
        return self._recalled

    def _begin(self) -> None:
        if self._closed or self._recalled:
            return
        with self.host.lock:
            if self._outlet is None:
                self._outlet, self._newest = self._open_queue()
            last_taken = self._outlet.last_sequence
            # What was taken from the queue, and is still to be sent or to be sent again.
            coming = [*self._again, *([self._pending] if self._pending is not None else [])]
            last = coming[0].sequence_number - 1 if coming else last_taken
            is_to_come = last_taken < self._newest or any(each.sequence_number == self._newest for each in coming)
            self._is_refused = False
            self._outgoing.start(last, self._newest if is_to_come else last)
            self._is_up, self.connected_now = True, not self._again
        self._changed(self)
        self.down_since_s = None
        self.host.flush(self._resending if self._again else self)
        self._feed()

    def _feed(self) -> None:
        """Has an engine in C take what is published from the queue itself, once nothing else comes before that."""
        outgoing = self._outgoing
        if not isinstance(outgoing, DirectOutgoing) or self._outlet is None or self.native is None or self._is_fed:
            return
        with self.host.lock:
            if self._again or self._pending is not None or self._recalled or self._closed:
                return
            outgoing.feed(self._outlet)
            self._is_fed = True
            self.native._on_shown = self.host.direct(outgoing)
        self.host.flush(self)

    def _send_again(self) -> None:
        """Hands the engine what was recalled from another one, and then what is in the queue."""
        if not self._is_up or self._closed:
            return
        while self._again:
            if not self._outgoing.send(self._again[0]):
                return
            self._again.popleft()
        self.connected_now = True
        self.flush()
        self._post(self._feed)

    def recall(self) -> None:
        """Takes from the engine what may not be lost; nothing is sent until another stream takes over from this."""
        with self.host.lock:
            if self._recalled or self._closed:
                return
            self._recalled = True
            self._is_up = self.connected_now = self._is_fed = False
            if self.down_since_s is None:
                self.down_since_s = time.monotonic()
            try:
                taken = self._outgoing.recall()
            except Exception:  # noqa: BLE001 - an engine that has failed
                _log.exception("the transport %s does not give back what it has not delivered", self.host.name)
                return
            self._again.extendleft(reversed(taken))

    def _take_over(self, before: OutgoingStream) -> None:
        before.recall()
        with before.host.lock:
            self.remotes, before.remotes = before.remotes, {}
            self.native, before.native = before.native, None
            self._reader, before._reader = before._reader, None
            self._pending, before._pending = before._pending, None
            self._again, self._newest = before._again, before._newest
            self._outlet, before._outlet = before._outlet, None
            if self._outlet is not None and not self.stream.reliable and self._reader is not None:
                # What is sent again says what it said before; without that, the count begins with the stream.
                self._outlet = Outlet(self._reader, self._outlet.last_sequence)
            self._lost_before = before._lost_before + before._lost
            self.down_since_s = before.down_since_s
            before._closed = True
        if self.native is not None:
            self.native._on_shown = partial(self.host.published, self)

    def _open_queue(self) -> tuple[Outlet, int]:
        """Makes the queue; where it comes out, and the number of the newest sample that was published before."""
        qos = self.stream.qos
        terms = MatchTerms(
            publisher_id=self.stream.publisher_id,
            subscription_id=self.stream.remote_id,
            queue_depth=qos.depth,
            waits=qos.reliability == "reliable" and qos.history == "keep_all",
            history_depth=qos.depth if qos.durability == "transient_local" else 0,
        )
        lifespan_ns = 0 if qos.lifespan_s is None else int(qos.lifespan_s * 1e9)
        self.native, received = self._loopback.connect(self.local.end, terms, lifespan_ns)
        newest = self.local.writer._sequence
        self._reader = Reader(None, 0, _nothing, _nothing)
        self._reader._attach(received)
        # Called by the publisher after each publish: this is the way out without a thread in between.
        self.native._on_shown = partial(self.host.published, self)
        return Outlet(self._reader, received.last_sequence), newest

    def _interrupt(self) -> None:
        if self._is_up:
            self.down_since_s = time.monotonic()
        self._is_up = self.connected_now = False
        self._changed(self)

    def _tell(self) -> None:
        self._changed(self)

    def is_drained(self) -> bool:
        """Whether the other end is known to have all that was published and may not be lost."""
        if self._again and not self._closed:
            return False
        if self._closed or self.native is None or not self.connected_now:
            return True  # nobody there has been promised anything, or nobody can be reached
        with self.host.lock:
            self.flush()
            return self._pending is None and not self._outgoing.unacknowledged

    def close(self) -> None:
        """Ends the stream; what is in its queue is dropped."""
        if self._closed:
            return
        self._closed = True
        self._is_up = self.connected_now = False
        with self.host.lock:
            if not self._recalled:
                self._outgoing.close()
            if self.native is not None:
                self.native._on_shown = None
                self.local.end.disconnect(self.native, self._loopback)
            if self._reader is not None:
                self._reader._close()
            self._pending = None
            self._again.clear()


def _nothing(*_told: object) -> None:
    """Both ends of the queue are ours: there are no faults, and losses are the publisher's to report."""
