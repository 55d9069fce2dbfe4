"""Hosts that are none: discovery and a transport between processes' parts of one process, for tests without a network.

Two runtime directories make two participants of one process, which do not meet as on one host. With these they meet as
over a network that loses nothing, or what it is told to.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lunar import abc
from lunar.errors import ConfigError, PeerFault

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemoryDiscovery", "MemoryTransport"]


class _Wake:
    """An eventfd: readable while there is something to do."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        if self.fd >= 0:
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


_lock = threading.RLock()
_boards: dict[int, list[MemoryDiscovery]] = {}
_engines: dict[tuple[str, str], _Engine] = {}  # by the transport's name and the participant's id


class MemoryDiscovery(abc.Discovery):
    """A board that the participants of this process share.

    Args:
        site: Whose it is; its domain says which board.
    """

    def __init__(self, site: abc.Site) -> None:
        self._source = site.participant_id
        self._posted: dict[bytes, bytes] = {}
        self._news: deque[abc.News] = deque()
        self._wake = _Wake()
        with _lock:
            self._others = _boards.setdefault(site.domain, [])
            for other in self._others:
                for key, body in other._posted.items():
                    self._hear(abc.News(other._source, key, body))
            self._others.append(self)

    def _hear(self, news: abc.News) -> None:
        self._news.append(news)
        self._wake.set()

    def _tell(self, news: abc.News) -> None:
        for other in self._others:
            if other is not self:
                other._hear(news)

    def post(self, key: bytes, body: bytes) -> None:
        """See `lunar.abc.Discovery`."""
        with _lock:
            self._posted[key] = body
            self._tell(abc.News(self._source, key, body))

    def withdraw(self, key: bytes) -> None:
        """See `lunar.abc.Discovery`."""
        with _lock:
            if self._posted.pop(key, None) is not None:
                self._tell(abc.News(self._source, key, None))

    def fileno(self) -> int:
        """See `lunar.abc.Discovery`."""
        return self._wake.fd

    def take(self) -> list[abc.News]:
        """See `lunar.abc.Discovery`."""
        with _lock:
            self._wake.clear()
            taken = list(self._news)
            self._news.clear()
            return taken

    def close(self) -> None:
        """See `lunar.abc.Discovery`."""
        with _lock:
            if self in self._others:
                self._others.remove(self)
                self._tell(abc.News(self._source, b"", None))
            self._wake.close()

    def close_after_fork(self) -> None:
        """See `lunar.abc.Discovery`."""
        self._wake.close()


class MemoryTransport(abc.NetworkTransport):
    """Carries samples between participants of this process.

    Args:
        lose: See below.
        name: Its name: two with different names are two transports.

    Attributes:
        window: Parcels of a stream that may be on their way.
        lose: Asked for each parcel of a best-effort stream whether it is lost; by its sequence number.
        cut_since_s: When its cable was taken out, monotonic; None: it is in.
    """

    window = 64

    def __init__(self, lose: Callable[[int], bool] | None = None, name: str = "memory") -> None:
        self.lose = lose
        self.cut_since_s: float | None = None
        self._name = name

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def capabilities(self) -> abc.Capabilities:
        """Reliable, with copies; a message is limited by memory alone."""
        return abc.Capabilities(reach="network", reliable=True)

    def probe(self) -> abc.Probe:
        """It needs nothing."""
        return abc.Probe(True)

    def open(self, site: abc.Site) -> abc.Engine:
        """Starts to take part; there are no settings."""
        for name, value in site.settings.items():
            raise ConfigError(f"{self._name}.{name}", value, "no such setting; there are none")
        return _Engine(site.participant_id, self)

    def cut(self) -> None:
        """Takes the cable out: what is on its way is lost, and all ends hear of it."""
        with _lock:
            self.cut_since_s = time.monotonic()
            for engine in self._engines():
                engine.interrupt()

    def mend(self) -> None:
        """Puts the cable in again: all streams connect, and reliable ones go on with what has not arrived."""
        with _lock:
            self.cut_since_s = None
            for engine in self._engines():
                for sending in engine.outgoing.values():
                    sending.pair()

    def _engines(self) -> list[_Engine]:
        return [engine for engine in _engines.values() if engine.transport is self]


class _Engine(abc.Engine):
    def __init__(self, participant_id: str, transport: MemoryTransport) -> None:
        self.id = participant_id
        self.transport = transport
        self.outgoing: dict[tuple[str, str], _Outgoing] = {}
        self.incoming: dict[tuple[str, str], _Incoming] = {}
        self.calls: deque[Callable[[], None]] = deque()
        self.wake = _Wake()
        with _lock:
            _engines[transport.name, participant_id] = self

    def other(self, participant_id: str) -> _Engine | None:
        """The engine of another participant, if it can be reached."""
        cut = self.transport.cut_since_s is not None
        return None if cut else _engines.get((self.transport.name, participant_id))

    def interrupt(self) -> None:
        """The cable is out."""
        for sending in self.outgoing.values():
            if sending.other is not None:
                sending.other.cut()
                sending.part("the cable is out")

    def cut_off_s(self, remote_id: str) -> float:
        since_s = self.transport.cut_since_s
        return 0.0 if since_s is None else max(time.monotonic() - since_s, 1e-9)

    @property
    def address(self) -> Mapping[str, object]:
        return {"participant": self.id}

    def fileno(self) -> int:
        return self.wake.fd

    def call(self, function: Callable[[], None]) -> None:
        """Has the engine do something in its next work."""
        self.calls.append(function)
        self.wake.set()

    def work(self) -> float | None:
        self.wake.clear()
        while True:
            with _lock:
                if not self.calls:
                    return None
                function = self.calls.popleft()
            function()

    def _check(self, stream: abc.Stream) -> None:
        if stream.address.get("participant") != stream.remote_id:
            raise PeerFault("its address is none of the memory transport")

    def open_outgoing(self, stream: abc.Stream, handler: abc.OutgoingHandler) -> abc.Outgoing:
        self._check(stream)
        with _lock:
            made = self.outgoing[stream.publisher_id, stream.remote_id] = _Outgoing(self, stream, handler)
            made.pair()
        return made

    def open_incoming(self, stream: abc.Stream, handler: abc.IncomingHandler) -> abc.Incoming:
        self._check(stream)
        with _lock:
            made = self.incoming[stream.publisher_id, stream.remote_id] = _Incoming(self, stream, handler)
            other = self.other(stream.remote_id)
            sending = None if other is None else other.outgoing.get((stream.publisher_id, self.id))
            if sending is not None:
                sending.pair()
        return made

    def forget(self, remote_id: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        with _lock:
            if _engines.get((self.transport.name, self.id)) is self:
                del _engines[self.transport.name, self.id]
            for sending in list(self.outgoing.values()):
                sending.close()
            for receiving in list(self.incoming.values()):
                receiving.close()
            self.calls.clear()
        self.wake.close()

    def close_after_fork(self) -> None:
        self.wake.close()


class _Outgoing(abc.Outgoing):
    def __init__(self, engine: _Engine, stream: abc.Stream, handler: abc.OutgoingHandler) -> None:
        self.engine, self.stream, self.handler = engine, stream, handler
        self.other: _Incoming | None = None
        self.on_its_way = 0
        # Of a reliable stream: what the other end has not taken. It goes on with that if only the cable was out.
        self.kept: deque[abc.Parcel] = deque()
        self.kept_for: _Incoming | None = None
        # What the handler has been told; what happens to `other` it hears of in the engine's next work.
        self.up = self.started = self.refused = self.closed = False

    def pair(self) -> None:
        other = self.engine.other(self.stream.remote_id)
        incoming = None if other is None else other.incoming.get((self.stream.publisher_id, self.engine.id))
        if self.other is None and incoming is not None:
            self.other, incoming.other = incoming, self
            self.on_its_way = 0
            self.engine.call(lambda: self.connect(incoming))

    def connect(self, incoming: _Incoming) -> None:
        if self.other is incoming and not self.up:
            self.up = True
            self.handler.connected()

    def part(self, reason: str) -> None:
        """The other end is gone."""
        self.other = None
        self.started = False
        self.on_its_way = 0
        self.engine.call(lambda: self.disconnect(reason))

    def disconnect(self, reason: str) -> None:
        if self.up and not self.closed:
            self.up = False
            self.handler.disconnected(reason)

    def start(self, last_sequence: int, newest_sequence: int) -> None:
        with _lock:
            other = self.other
            if other is None:
                return
            if self.kept_for is not other:  # another one at the other end: what was on its way then is over
                self.kept.clear()
                self.kept_for = other
            self.started = True
            self.on_its_way = len(self.kept)
            again = list(self.kept)
            last = again[0].sequence_number - 1 if again else last_sequence
            other.engine.call(lambda: other.begin(last, newest_sequence))
            for parcel in again:
                self._pass_on(other, parcel)

    def _pass_on(self, other: _Incoming, parcel: abc.Parcel) -> None:
        connection = other.connection
        other.engine.call(lambda: other.arrive(parcel, connection))

    def send(self, parcel: abc.Parcel) -> bool:
        with _lock:
            other = self.other
            if other is None or not self.started or self.on_its_way >= self.engine.transport.window:
                self.refused = True
                return False
            lose = self.engine.transport.lose
            if not self.stream.reliable and lose is not None and lose(parcel.sequence_number):
                other.engine.call(lambda: other.count_lost(self))
                return True
            self.on_its_way += 1
            copied = abc.Parcel(parcel.sequence_number, parcel.source_time_ns, parcel.dropped, bytes(parcel.payload))
            if self.stream.reliable:
                self.kept.append(copied)
            self._pass_on(other, copied)
        return True

    def taken(self) -> None:
        with _lock:
            self.on_its_way -= 1
            if self.kept:
                self.kept.popleft()
            refused, self.refused = self.refused, False
        if refused:
            self.engine.call(self.make_writable)

    def make_writable(self) -> None:
        if not self.closed:
            self.handler.writable()

    def count_lost(self, lost: int) -> None:
        if not self.closed:
            self.handler.losses(lost)

    @property
    def unacknowledged(self) -> int:
        return self.on_its_way if self.stream.reliable else 0

    def recall(self) -> Sequence[abc.Parcel]:
        with _lock:
            kept = list(self.kept)
            self.close()
            return kept

    def close(self) -> None:
        with _lock:
            if self.closed:
                return
            self.closed = True
            self.kept.clear()
            key = (self.stream.publisher_id, self.stream.remote_id)
            if self.engine.outgoing.get(key) is self:
                del self.engine.outgoing[key]
            other, self.other = self.other, None
            self.on_its_way = 0
            if other is not None:
                other.part("the publisher closed the stream")


class _Incoming(abc.Incoming):
    def __init__(self, engine: _Engine, stream: abc.Stream, handler: abc.IncomingHandler) -> None:
        self.engine, self.stream, self.handler = engine, stream, handler
        self.other: _Outgoing | None = None
        self.parcels: deque[abc.Parcel] = deque()
        self.running = self.blocked = self.closed = False
        self.lost = 0
        self.connection = 0  # what comes of an earlier one is dropped

    def begin(self, last_sequence: int, newest_sequence: int) -> None:
        if not self.closed:
            self.running = True
            self.handler.started(last_sequence, newest_sequence)

    def arrive(self, parcel: abc.Parcel, connection: int) -> None:
        if not self.closed and connection == self.connection:
            self.parcels.append(parcel)
            self.deliver()

    def deliver(self) -> None:
        while self.parcels and self.running and not self.blocked and not self.closed:
            if not self.handler.deliver(self.parcels[0]):
                self.blocked = True
                return
            with _lock:
                if self.parcels:
                    self.parcels.popleft()
                if self.other is not None:
                    self.other.taken()

    def count_lost(self, sender: _Outgoing) -> None:
        self.lost += 1
        lost = self.lost
        if not self.closed:
            self.handler.lost(1)
            sender.engine.call(lambda: sender.count_lost(lost))

    def resume(self) -> None:
        self.blocked = False
        self.engine.call(self.deliver)

    def part(self, reason: str) -> None:
        """The other end is gone."""
        self.other = None
        self.engine.call(lambda: self.stop(reason))

    def cut(self) -> None:
        """The cable is out: what has not been taken is lost on the way."""
        self.connection += 1
        self.part("the cable is out")

    def stop(self, reason: str) -> None:
        self.parcels.clear()
        self.blocked = False
        if self.running and not self.closed:
            self.running = False
            self.handler.stopped(reason)

    def close(self) -> None:
        with _lock:
            if self.closed:
                return
            self.closed = True
            self.parcels.clear()
            key = (self.stream.publisher_id, self.stream.remote_id)
            if self.engine.incoming.get(key) is self:
                del self.engine.incoming[key]
            other, self.other = self.other, None
            if other is not None:
                other.part("the subscriptions there are closed")
