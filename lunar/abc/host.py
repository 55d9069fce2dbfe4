"""The contract of a transport within a host: it makes the memory that the bus's queues lie in, and passes it along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lunar._native._bus import Peer, ReaderMatch, Writer, WriterMatch
    from lunar.abc.capabilities import Capabilities, Probe

__all__ = ["Channel", "MatchTerms", "Offer", "PublisherEnd", "ReceiverEnd", "Transport"]


class Transport(ABC):
    """A way to carry samples between two ends.

    An instance belongs to one process and may be used from any of its threads. Creating one is
    cheap and touches nothing outside of the process; whether it works here is for `probe` to say.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The name it is chosen by, the same as that of its entry point ("shm")."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can do; the same each time it is asked."""

    @abstractmethod
    def probe(self) -> Probe:
        """Looks whether this host has what it needs, now.

        May be called at any time and any number of times, before or after anything else. It leaves
        nothing behind: what it had to create to find out, it has removed when it returns. The
        answer may change between two calls. It may make system calls that return at once but never
        waits for another process, and needs no privilege: a lack of one is an answer.

        Returns:
            Yes, or what is missing and what to do about it. Never an exception for what is missing.
        """

    @abstractmethod
    def open_publisher(self, publisher_id: str, pool_bytes: int) -> PublisherEnd:
        """Opens the sending side of one publisher, for all of its matches.

        Args:
            publisher_id: The publisher's id.
            pool_bytes: Most bytes that its memory may take.
        """

    @abstractmethod
    def open_receiver(self, peer: Peer) -> ReceiverEnd:
        """Opens the receiving side for everything that one peer publishes to us."""


@dataclass(frozen=True, slots=True)
class MatchTerms:
    """What the two ends of a match have agreed on; the transport keeps it.

    Attributes:
        publisher_id: One end.
        subscription_id: The other end.
        queue_depth: Samples that may wait to be taken.
        waits: True if the publisher waits for room, else the oldest sample is overwritten and counted.
        history_depth: How many samples of the publisher's history the subscription gets first.
    """

    publisher_id: str
    subscription_id: str
    queue_depth: int
    waits: bool
    history_depth: int


class Channel(ABC):
    """The control connection to one peer, as a transport sees it: small messages that arrive once and in order."""

    __slots__ = ()

    @property
    @abstractmethod
    def peer(self) -> Peer:
        """The peer's bells."""

    @abstractmethod
    def send(self, body: dict[str, object], fds: Sequence[int] = ()) -> None:
        """Sends a message to the transport of the same name at the other side.

        Never blocks and may be called from any thread. A peer that is gone is no error: its matches end
        by themselves.

        Args:
            body: JSON-ready values.
            fds: Descriptors to pass along; they stay the caller's, who may close them at once.
        """


class PublisherEnd(ABC):
    """The sending side of one publisher. Its methods may be called from any thread."""

    __slots__ = ()

    @abstractmethod
    def bind(self, writer: Writer[ReadableBuffer]) -> None:
        """Names the writer that feeds it; called once, before anything else."""

    @abstractmethod
    def grow(self, size_class: int, chunk_bytes: int) -> None:
        """Gives the writer more memory of a size class, and lets every peer know it.

        Raises:
            ResourceExhausted: A limit was reached: the pool's, of descriptors or of memory.
        """

    @abstractmethod
    def connect(self, terms: MatchTerms, channel: Channel) -> WriterMatch:
        """Starts to serve a match: what is published from now on reaches the subscription.

        Raises:
            ResourceExhausted: A limit was reached; nothing was started.
        """

    @abstractmethod
    def disconnect(self, match: WriterMatch, channel: Channel) -> None:
        """Stops to serve a match; what the subscription held comes back. Again: does nothing."""

    @abstractmethod
    def close(self) -> None:
        """Closes its descriptors; the writer is closed already. A second call does nothing."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A match that a peer's publisher has opened and that we may attach to.

    Attributes:
        publisher_id: The peer's publisher.
        subscription_id: Our subscription, as the peer says.
        open: Attaches: called at most once, with the publisher's lifespan in nanoseconds (0: for ever). Raises
            PeerFault or ResourceExhausted.
        refuse: Lets go of what was passed along; called instead of `open`.
    """

    publisher_id: str
    subscription_id: str
    open: Callable[[int], ReaderMatch]
    refuse: Callable[[], None]


class ReceiverEnd(ABC):
    """The receiving side for one peer. Used by one thread."""

    __slots__ = ()

    @abstractmethod
    def receive(self, body: Mapping[str, object], fds: list[int]) -> Offer | None:
        """Takes in a message of the peer's transport.

        Args:
            body: What it sent, unchecked.
            fds: Descriptors that came along; they are this method's to close, whatever happens.

        Returns:
            The match that was offered, if that is what the message was.

        Raises:
            PeerFault: The message, or a descriptor, is not as it should be.
            ResourceExhausted: We reached a limit; the match cannot be served.
        """

    @abstractmethod
    def forget(self, publisher_id: str) -> None:
        """The publisher is gone: keep nothing of it but what samples still need."""
