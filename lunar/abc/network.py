"""The contract of a transport between hosts.

It knows nothing of queues and memory. On the publisher's side the bus hands it samples, taken from a queue like any
subscription's, whose depth and history are the profile's; on the other side it hands samples to the bus, which lays
them into the queues of that process's subscriptions. In between it carries *streams*: all that one publisher sends to
one process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lunar._native._bus import Parcel

if TYPE_CHECKING:
    from lunar._native._bus import Outlet
    from lunar.abc.capabilities import Capabilities, Probe
    from lunar.qos import QoS

__all__ = [
    "DirectOutgoing",
    "Engine",
    "Incoming",
    "IncomingHandler",
    "NetworkTransport",
    "Outgoing",
    "OutgoingHandler",
    "Parcel",
    "Site",
    "Stream",
]


@dataclass(frozen=True, slots=True)
class Site:
    """The process that an engine is opened for, and what its settings say of the network.

    Attributes:
        participant_id: Identity of the process in its domain, 32 lower-case hex digits, new each time it joins.
        domain: 0 to 232.
        addresses: The addresses (IPv4 or IPv6, without a prefix length) of the interfaces to be used, the preferred
            one first; never empty.
        interfaces: The names of these interfaces, in the same order.
        settings: What the configuration says for this transport; unknown keys raise ConfigError in `open`.
    """

    participant_id: str
    domain: int
    addresses: tuple[str, ...]
    interfaces: tuple[str, ...]
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Stream:
    """All that one publisher sends to one process by one transport. Both ends open it, with equal values.

    Attributes:
        publisher_id: The publisher, 32 lower-case hex digits.
        topic: Absolute name of its topic.
        qos: The profile that the publisher offers.
        reliable: Some subscription of that process asks for reliable delivery: what `Outgoing.send` has taken arrives
            once and in order, as long as both processes live, even if the connection is lost and made again meanwhile.
            Else what is lost is lost, and what arrives does so at most once and in order.
        remote_id: The participant id of the process at the other end.
        address: What the engine of that process announced as its `Engine.address`; unchecked.
    """

    publisher_id: str
    topic: str
    qos: QoS
    reliable: bool
    remote_id: str
    address: Mapping[str, object]


class NetworkTransport(ABC):
    """A way to carry samples between hosts.

    An instance belongs to one process and may be used from any of its threads. Creating one is cheap and touches
    nothing outside of the process.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The name it is chosen by, the same as that of its entry point ("zmq")."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can do by default; the same each time it is asked."""

    def capabilities_under(self, settings: Mapping[str, object]) -> Capabilities:
        """What it can do as the configuration has it: this is what a process announces, so it must hold.

        Args:
            settings: What the configuration says for this transport.

        Raises:
            ConfigError: A setting is unknown or has a value that cannot be used.
        """
        return self.capabilities

    @abstractmethod
    def probe(self) -> Probe:
        """Looks whether this host has what it needs, now; as `Transport.probe`."""

    @abstractmethod
    def open(self, site: Site) -> Engine:
        """Starts to take part, for one process in one domain.

        Raises:
            TransportUnavailable: It cannot run here, with the reason and a remedy.
            ConfigError: A setting is unknown or has a value that cannot be used.
            ResourceExhausted: A limit was reached; nothing was started.
        """


class OutgoingHandler(ABC):
    """What the bus wants to hear of an outgoing stream. Called within `Engine.work` or a call on the stream itself."""

    __slots__ = ()

    @abstractmethod
    def connected(self) -> None:
        """The other end has opened the stream and listens: `start` is next. Again after each `disconnected`."""

    @abstractmethod
    def disconnected(self, reason: str) -> None:
        """The other end is gone, has closed the stream or cannot be reached; nothing can be sent until `connected`.

        A connection that the engine makes again by itself, with nothing lost, is reported only if that takes longer
        than half a second: another transport may carry the stream meanwhile.
        """

    @abstractmethod
    def writable(self) -> None:
        """`Outgoing.send` returned False before and would now take a parcel."""

    @abstractmethod
    def losses(self, lost: int) -> None:
        """The other end says how many parcels of this stream have never reached it so far, over all its starts."""


class Outgoing(ABC):
    """The sending end of a stream."""

    __slots__ = ()

    @abstractmethod
    def start(self, last_sequence: int, newest_sequence: int) -> None:
        """Lets the other end know where the stream begins; called once after each `connected`, before any `send`.

        Args:
            last_sequence: What comes has higher sequence numbers than this.
            newest_sequence: What comes has been published before, for late joiners, up to this number.
        """

    @abstractmethod
    def send(self, parcel: Parcel) -> bool:
        """Takes a parcel over, to be sent at once if it can be. Never blocks.

        Returns:
            False if there is no room: then it was not taken, and `OutgoingHandler.writable` will say when to try again.
            Not connected counts as no room.
        """

    @property
    @abstractmethod
    def unacknowledged(self) -> int:
        """Parcels of a reliable stream that were taken and that the other end has not been known to have; else 0."""

    @abstractmethod
    def recall(self) -> Sequence[Parcel]:
        """Ends the stream as `close` does, and gives back what may not be lost: another transport is to carry it.

        Returns:
            Of a reliable stream the parcels that were taken and that the other end has not been known to have, oldest
            first; else none. That the other end has closed the stream or cannot be reached any more changes nothing
            about them until the next `start`. The payloads are the caller's.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the stream for both ends; what was taken and is not acknowledged may be lost. Again: does nothing."""


class IncomingHandler(ABC):
    """What the bus wants to hear of an incoming stream. Called within `Engine.work`."""

    __slots__ = ()

    @abstractmethod
    def started(self, last_sequence: int, newest_sequence: int) -> None:
        """The publisher's side has called `Outgoing.start`; again after each `stopped`."""

    @abstractmethod
    def deliver(self, parcel: Parcel) -> bool:
        """Takes a parcel. Its payload is the engine's again when this returns: it is copied or not taken.

        Returns:
            False if there is no room: the engine keeps it, offers nothing else of this stream, makes its sender stop
            in time, and offers it again after `Incoming.resume`.
        """

    @abstractmethod
    def stopped(self, reason: str) -> None:
        """The publisher's side is gone, has closed the stream or cannot be reached any more."""

    @abstractmethod
    def lost(self, count: int) -> None:
        """So many parcels more were lost on the way (best effort); gaps that their sender made do not count."""

    @abstractmethod
    def faulty(self, reason: str) -> None:
        """The other end broke the rules of the transport's protocol; the engine has closed the stream."""


@runtime_checkable
class DirectOutgoing(Protocol):
    """What the sending end of an engine written in C can do besides: take samples from the queue by itself."""

    def feed(self, outlet: Outlet | None, /) -> None:
        """Takes from there from now on whenever it is called and has room; `writable` is not called any more."""

    def __call__(self) -> None:
        """Something may be in the queue. Any thread; another may be in the engine."""


class Incoming(ABC):
    """The receiving end of a stream."""

    __slots__ = ()

    @abstractmethod
    def resume(self) -> None:
        """There is room again after `IncomingHandler.deliver` returned False."""

    @abstractmethod
    def close(self) -> None:
        """Ends the stream for both ends. Again: does nothing."""


class Engine(ABC):
    """One process's end of a transport between hosts, for all of its streams in one domain.

    All calls on it and on its streams come from one thread at a time, whichever it is, and never from within one of
    its own calls of a handler, but for `Outgoing.start`, `Outgoing.send` and any `close`, which may come from there.
    It may have threads of its own, which touch no handler and nothing of the bus: they only make `fileno` readable.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def address(self) -> Mapping[str, object]:
        """What other processes must know to reach it, JSON-ready, less than 4 KiB; announced to all of the domain."""

    @abstractmethod
    def fileno(self) -> int:
        """A descriptor that can be polled and is readable whenever `work` has something to do; the same each time."""

    @abstractmethod
    def work(self) -> float | None:
        """Takes in what has arrived and sends what can be sent, for about a millisecond at most. Never blocks.

        Returns:
            Seconds after which it wants to be called again though `fileno` is not readable; 0 if there is more to do
            at once, None if there is nothing to wait for but `fileno`.

        Raises:
            Exception: Whatever it is, the engine cannot go on: it is asked for what may not be lost, by
                `Outgoing.recall`, closed, and opened anew after a while. What concerns one stream is for its handler.
        """

    @abstractmethod
    def open_outgoing(self, stream: Stream, handler: OutgoingHandler) -> Outgoing:
        """Opens the sending end of a stream.

        Raises:
            PeerFault: The other side's address cannot be understood.
            ResourceExhausted: A limit was reached; nothing was opened.
        """

    @abstractmethod
    def open_incoming(self, stream: Stream, handler: IncomingHandler) -> Incoming:
        """Opens the receiving end of a stream; raises as `open_outgoing`."""

    @property
    def native(self) -> object | None:
        """Of an engine written in C, a capsule by which who waits works it without Python; else None, as by default.

        What it holds is declared in `lunar/_native/bus/engine_api.h`, and lives as long as the capsule does.
        """
        return None

    @property
    def remark(self) -> str:
        """What there is to know though it serves: how it is less than was asked for, and why, and what to do.

        One line, which ends without a full stop; "" if there is nothing.
        """
        return ""

    def listens_at(self, address: Mapping[str, object]) -> Sequence[tuple[str, int]]:
        """Where a process with such an address accepts TCP connections as long as it lives: IP addresses and ports.

        A process that has vanished and is refused at all of them is taken for dead, and nothing is kept for it.

        Args:
            address: What the process announced; unchecked.

        Returns:
            All such places; empty if there are none, or if the address cannot be understood.
        """
        return ()

    def cut_off_s(self, remote_id: str) -> float:
        """How long the connection with a process has been lost, in seconds; 0.0 if there is one.

        It is asked after `disconnected` or `stopped`. If it is not 0 another transport that serves, if there is one,
        carries the streams with that process until this is 0 again; so the engine has to go on trying to connect, even
        without streams, until `forget`. 0.0 as well if there was no connection yet. An engine that always says 0.0,
        as this default, waits until it has a connection again.
        """
        return 0.0

    @abstractmethod
    def forget(self, remote_id: str) -> None:
        """That process is gone for good: its streams are closed already, keep nothing of it."""

    @abstractmethod
    def close(self) -> None:
        """Closes everything, after what can be sent within 100 ms was. Again: does nothing."""

    @abstractmethod
    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors and touches nothing that is shared."""
