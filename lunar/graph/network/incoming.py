"""IncomingStream: what a publisher on another host sends to this process."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from lunar._native._bus import INLET_DROPPED, INLET_FULL, Inlet, Writer
from lunar.abc import IncomingHandler, MatchTerms
from lunar.errors import LunarError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from lunar._native._bus import ReaderMatch, WriterMatch
    from lunar.abc import Incoming, Parcel, PublisherEnd, Stream, Transport
    from lunar.events import LossCause
    from lunar.graph.endpoints import LocalSubscription
    from lunar.graph.network.engines import EngineHost
    from lunar.graph.network.loopback import Loopback

__all__ = ["IncomingStream", "Taker"]

_log = logging.getLogger("lunar")

# A subscription that its publisher waits for was full.
_LOOK_AGAIN_S = 0.001


class Taker:
    """A subscription that a stream feeds.

    Args:
        local: The subscription.
        terms: What its queue is like.

    Attributes:
        sending: The stream's end of its queue; None until it is opened.
        receiving: The subscription's end, likewise.
        before: What the stream had lost when it was opened.
    """

    def __init__(self, local: LocalSubscription, terms: MatchTerms) -> None:
        self.local = local
        self.terms = terms
        self.sending: WriterMatch | None = None
        self.receiving: ReaderMatch | None = None
        self.before: dict[LossCause, int] = {}

    def is_draining(self) -> bool:
        """Whether the subscription, which has lost its stream, has still to take what came before."""
        return self.receiving is not None and not self.local.reader._closed and self.receiving.queued > 0


class IncomingStream(IncomingHandler):
    """A writer of this process, fed by an engine.

    Args:
        stream: What both ends agree on.
        host: The engine that carries it.
        loopback: Where queues are made.
        transport: The transport within this host, for the writer's memory.
        pool_bytes: Most bytes that this memory may take.
        post: Runs a function in the control thread.
        call_later: Runs a function in the control thread after so many seconds.
        opened: Called in the control thread when a subscription's queue is there.
        lost_some: Called in the control thread when something was lost on the way.
        faulted: Called in the control thread when the other end broke the rules, with the reason.
        interrupted: Called in the control thread when nothing comes any more.
        before: The stream, by another engine, that this one takes over from as soon as the other end begins to send by
            this one: its writer, and with that its place in what comes, and its subscriptions.
        took_over: Called in the control thread when it has, with both.

    Attributes:
        takers: The subscriptions that it feeds, by id.
        inlet: Where an engine in C lays samples, past `deliver`.
        before: What it is still to take over from, or None.
        down_since_s: Since when nothing comes any more, monotonic; None if something may, or has not begun to.
    """

    def __init__(
        self,
        stream: Stream,
        host: EngineHost,
        loopback: Loopback,
        transport: Transport,
        pool_bytes: int,
        post: Callable[[Callable[[], object]], object],
        call_later: Callable[[float, Callable[[], object]], object],
        opened: Callable[[IncomingStream, Taker], object],
        lost_some: Callable[[IncomingStream], object],
        faulted: Callable[[IncomingStream, str], object],
        interrupted: Callable[[IncomingStream], object],
        before: IncomingStream | None = None,
        took_over: Callable[[IncomingStream, IncomingStream], object] | None = None,
    ) -> None:
        self.stream, self.host = stream, host
        self.takers: dict[str, Taker] = {}
        self._checks: list[Callable[[ReadableBuffer], object]] = []
        self.reason = "the other end has not answered yet"
        self._loopback = loopback
        self._post, self._call_later = post, call_later
        self._opened, self._lost_some, self._faulted = opened, lost_some, faulted
        self._interrupted, self.before, self._took_over = interrupted, before, took_over
        self.down_since_s: float | None = None
        self.is_up = False
        self.inlet = Inlet(self._noted)
        self._started = self._told = False
        self._lost = self._dropped_before = self._invalid = 0
        self._closed = False
        self._transport, self._pool_bytes = transport, pool_bytes
        self._parked = False
        self._left: list[Taker] = []  # when it was parked, and to be drained before anything new comes
        if before is None:
            self._open_writer()
        host.carry()
        try:
            with host.lock:
                self._incoming: Incoming = host.engine.open_incoming(stream, self)
        except LunarError:
            if before is None:
                self._writer._close()
                self._end.close()
            raise

    def _open_writer(self) -> None:
        history = self.stream.qos.depth if self.stream.qos.durability == "transient_local" else 0
        self._writer: Writer[object] = Writer(None, 0, history, self._pool_bytes, _nothing, self._grow, _nothing)
        self._end: PublisherEnd = self._transport.open_publisher(self.stream.publisher_id, self._pool_bytes)
        self._end.bind(self._writer)
        self.inlet.writer = self._writer

    def _close_writer(self) -> None:
        self._writer._close()
        self._end.close()
        self._loopback.forget(self.stream.publisher_id)
        self._forget_takers()

    def _grow(self, size_class: int, chunk_bytes: int) -> None:
        self._end.grow(size_class, chunk_bytes)

    # ---- the engine's ---------------------------------------------------------------------------------------------

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self._post(partial(self._begin, last_sequence, newest_sequence))

    def deliver(self, parcel: Parcel) -> bool:
        """See `lunar.abc.IncomingHandler`."""
        return self.inlet.deliver(parcel)

    def _noted(self, what: int) -> None:
        if what == INLET_FULL:
            self._post(self._wait_for_room)
        elif what == INLET_DROPPED:
            self._tell_losses()
        else:  # the newest of what was published before
            self._post(self._open_takers)

    def _is_valid(self, payload: ReadableBuffer) -> bool:
        try:
            for check in self._checks:
                check(payload)
        except VerificationError as error:
            self._invalid += 1
            self.reason = str(error)
            self._tell_losses()
            return False
        return True

    def stopped(self, reason: str) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self.reason = reason
        self._post(self.interrupt)

    def lost(self, count: int) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self._lost += count
        self._tell_losses()

    def faulty(self, reason: str) -> None:
        """See `lunar.abc.IncomingHandler`."""
        self._post(partial(self._faulted, self, reason))

    def _tell_losses(self) -> None:
        if not self._told:  # until the control thread has looked
            self._told = True
            self._post(self._report)

    # ---- the control thread ---------------------------------------------------------------------------------------

    def losses(self) -> dict[LossCause, int]:
        """What was lost before it came to this process."""
        return {
            "overwritten": self._dropped_before + self.inlet.dropped,
            "network": self._lost,
            "invalid": self._invalid,
        }

    def upstream(self, taker: Taker) -> dict[LossCause, int]:
        """What was lost so since a subscription was opened."""
        return {cause: count - taker.before.get(cause, 0) for cause, count in self.losses().items()}

    def _report(self) -> None:
        self._told = False
        self._lost_some(self)

    @property
    def has_served(self) -> bool:
        """Whether the other end has ever begun to send."""
        return self._started or (self.before is not None and self.before.has_served)

    @property
    def is_left(self) -> bool:
        """Whether its engine is not asked for anything any more."""
        return self._closed

    def interrupt(self) -> None:
        """Nothing comes any more."""
        if self.is_up and not self._closed:
            self.is_up, self.down_since_s = False, time.monotonic()
            self._interrupted(self)

    def _begin(self, last_sequence: int, newest_sequence: int) -> None:
        if self._closed:
            return
        before = self.before
        if before is not None:
            if before._parked:  # its subscriptions have still to take what came before
                self._call_later(_LOOK_AGAIN_S, partial(self._begin, last_sequence, newest_sequence))
                return
            self._take_over(before, last_sequence)
        self.is_up, self.down_since_s = True, None
        with self.host.lock:
            if not self._started:
                self._writer._sequence = last_sequence
                self.inlet.newest = newest_sequence
                self._started = True
            self._open_takers()
            self.inlet.is_open = not self._parked  # not before: an engine in C may deliver at any moment, to nobody
            self._incoming.resume()
        self.host.serve()

    def _take_over(self, before: IncomingStream, last_sequence: int) -> None:
        """Goes on where another stream was: what it has had comes again at most to be dropped."""
        self.before = None
        before.leave()
        with self.host.lock:
            self._writer, self._end = before._writer, before._end
            self.takers, before.takers = before.takers, {}
            self.inlet.writer, self._started = self._writer, before._started
            self._renew_checks()
            self._lost, self._invalid = before._lost, before._invalid
            self.inlet.newest, self.inlet.dropped = before.inlet.newest, before.inlet.dropped
            self._dropped_before = before._dropped_before
            if not self.stream.reliable:
                self._dropped_before += self.inlet.dropped
                self.inlet.dropped = 0
                if self._started:  # what was on its way by the other one
                    self._lost += max(0, last_sequence - self._writer._sequence)
                    self._writer._sequence = max(last_sequence, self._writer._sequence)
        if self._took_over is not None:
            self._took_over(before, self)
        self._tell_losses()

    def leave(self) -> None:
        """Takes nothing more from the engine; the writer and what it feeds live on."""
        if self.is_up:
            self.is_up, self.down_since_s = False, time.monotonic()
        self._closed = True
        with self.host.lock:
            self.inlet.is_open = False
            try:
                self._incoming.close()
            except Exception:  # noqa: BLE001 - an engine that has failed
                _log.exception("the transport %s could not close a stream", self.host.name)

    def add(self, local: LocalSubscription, terms: MatchTerms) -> Taker:
        """Feeds a subscription from now on."""
        taker = self.takers[local.info.id] = Taker(local, terms)
        self._renew_checks()
        self._open_takers()
        return taker

    def _forget_takers(self) -> None:
        self.takers.clear()
        self._renew_checks()

    def _renew_checks(self) -> None:
        # Replaced as a whole: another thread may be delivering.
        self._checks = [taker.local.check for taker in self.takers.values() if taker.local.check is not None]
        self.inlet.check = self._is_valid if self._checks else None

    def _open_takers(self) -> None:
        if not self._started or self._closed or self._parked:
            return
        with self.host.lock:
            history_is_over = self._writer._sequence >= self.inlet.newest
            for taker in self.takers.values():
                # Who asked for no history begins after it.
                if taker.sending is None and (history_is_over or taker.terms.history_depth):
                    self._open(taker)

    def _open(self, taker: Taker) -> None:
        lifespan_s = self.stream.qos.lifespan_s
        lifespan_ns = 0 if lifespan_s is None else int(lifespan_s * 1e9)
        taker.sending, taker.receiving = self._loopback.connect(self._end, taker.terms, lifespan_ns)
        taker.before = self.losses()
        self._opened(self, taker)

    def remove(self, subscription_id: str) -> None:
        """Feeds a subscription no longer."""
        taker = self.takers.pop(subscription_id, None)
        self._renew_checks()
        if taker is not None and taker.sending is not None:
            with self.host.lock:
                self._end.disconnect(taker.sending, self._loopback)

    def _wait_for_room(self) -> None:
        self._call_later(_LOOK_AGAIN_S, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            with self.host.lock:
                self._incoming.resume()
            self.host.serve()

    def park(self) -> None:
        """Ends its subscriptions' queues as `close` does, but not the stream: what comes next is left to the engine."""
        with self.host.lock:
            self._left += self.takers.values()
            if self._parked:  # it came back, but had not yet gone on
                self._forget_takers()
                return
            self._parked = True
            self.inlet.is_open = False
            self._close_writer()

    def unpark(self) -> None:
        """Goes on where it was parked, soon: once all subscriptions were added and have taken what was left to them."""
        self._call_later(_LOOK_AGAIN_S, self._go_on)

    def _go_on(self) -> None:
        if self._closed or not self._parked or not self.takers:
            return
        self._left = [taker for taker in self._left if taker.is_draining()]
        if self._left:
            self._call_later(_LOOK_AGAIN_S, self._go_on)
            return
        with self.host.lock:
            last_sequence = self._writer._sequence
            self._open_writer()
            self._writer._sequence = last_sequence
            self._parked = False
            self._open_takers()
            self.inlet.is_open = self._started
        self._resume()

    def close(self) -> None:
        """Ends the stream; what its subscriptions have queued they can still take."""
        if self._closed:
            return
        self.leave()
        if not self._parked and self.before is None:
            self._close_writer()


def _nothing(*_told: object) -> None:
    """Both ends of the queues are ours: there are no faults, and losses are the subscriptions' to report."""
