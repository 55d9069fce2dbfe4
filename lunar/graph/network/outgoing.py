"""OutgoingStream: what a publisher of this process sends to one process of another host."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lunar._native._bus import Outlet, Reader
from lunar.abc import MatchTerms, OutgoingHandler

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

    Attributes:
        remotes: The subscriptions there that it serves, by id.
        native: The sending end of the queue; None until the other end listens.
        connected_now: The other end listens.
        reason: Why it does not.
    """

    def __init__(
        self,
        local: LocalPublisher,
        stream: Stream,
        host: EngineHost,
        loopback: Loopback,
        post: Callable[[Callable[[], object]], object],
        changed: Callable[[OutgoingStream], object],
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
        self._lost = 0
        self._closed = False
        host.carry()
        with host.lock:
            self._outgoing: Outgoing = host.engine.open_outgoing(stream, self)

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
        self.host.flush(self)

    def losses(self, lost: int) -> None:
        """See `lunar.abc.OutgoingHandler`."""
        self._lost = lost
        self._post(self._tell)

    # ---- any thread -----------------------------------------------------------------------------------------------

    def upstream(self) -> dict[LossCause, int]:
        """What was lost beyond the queue."""
        return {"network": self._lost}

    def flush(self) -> None:
        """Hands the engine what is in the queue, as far as it has room."""
        if not self.connected_now or self._outlet is None:
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
                return
            self._pending = parcel = None

    # ---- the control thread ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._closed:
            return
        with self.host.lock:
            if self._outlet is None:
                last, newest = self._open_queue()
            elif self._pending is not None:  # it was counted as taken, and is still to be sent
                last = newest = self._pending.sequence_number - 1
            else:
                last = newest = self._outlet.last_sequence
            self._outgoing.start(last, newest)
            self.connected_now = True
        self._changed(self)
        self.host.flush(self)

    def _open_queue(self) -> tuple[int, int]:
        """Makes the queue; where it begins, and the sequence number of the newest sample that was published before."""
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
        self._outlet = Outlet(self._reader, received.last_sequence)
        # Called by the publisher after each publish: this is the way out without a thread in between.
        self.native._on_shown = partial(self.host.flush, self)
        return received.last_sequence, newest

    def _interrupt(self) -> None:
        self.connected_now = False
        self._changed(self)

    def _tell(self) -> None:
        self._changed(self)

    def is_drained(self) -> bool:
        """Whether the other end is known to have all that was published and may not be lost."""
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
        self.connected_now = False
        with self.host.lock:
            self._outgoing.close()
            if self.native is not None:
                self.native._on_shown = None
                self.local.end.disconnect(self.native, self._loopback)
            if self._reader is not None:
                self._reader._close()
            self._pending = None


def _nothing(*_told: object) -> None:
    """Both ends of the queue are ours: there are no faults, and losses are the publisher's to report."""
