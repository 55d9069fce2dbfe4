"""Loopback: both ends of a queue in this process, for what goes to other hosts or comes from there."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lunar import abc
from lunar._native._bus import Peer

if TYPE_CHECKING:
    from lunar._native._bus import ReaderMatch, WriterMatch
    from lunar.graph.waiting import Bells

__all__ = ["Loopback"]


class Loopback(abc.Channel):
    """The control connection of this process with itself, without a socket. Any thread.

    Args:
        transport: The transport within this host.
        bells: This process's bells.
    """

    def __init__(self, transport: abc.Transport, bells: Bells) -> None:
        self._bells = bells
        self._offers: dict[tuple[str, str], abc.Offer] = {}
        # A publisher that grows passes its segments here from its user's thread.
        self._lock = threading.Lock()
        self._ear, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            bells.watch(self._ear.fileno())
            self._peer = Peer(bells.mapping, mouth.detach())
        except BaseException:
            bells.unwatch(self._ear.fileno())
            self._ear.close()
            mouth.close()
            raise
        self._receiver = transport.open_receiver(self._peer)

    @property
    def peer(self) -> Peer:
        """Our own bells."""
        return self._peer

    def send(self, body: dict[str, object], fds: Sequence[int] = ()) -> None:
        """Takes it in at once."""
        with self._lock:
            offer = self._receiver.receive(body, [os.dup(fd) for fd in fds])
            if offer is not None:
                self._offers[offer.publisher_id, offer.subscription_id] = offer

    def connect(
        self, end: abc.PublisherEnd, terms: abc.MatchTerms, lifespan_ns: int = 0
    ) -> tuple[WriterMatch, ReaderMatch]:
        """Makes a queue between a publisher's end and whoever attaches to the second of what is returned.

        Args:
            end: The sending side.
            terms: What the queue is like.
            lifespan_ns: Older samples are not taken any more; 0: for ever.

        Raises:
            ResourceExhausted: A limit was reached; nothing was started.
        """
        sending = end.connect(terms, self)
        with self._lock:
            offer = self._offers.pop((terms.publisher_id, terms.subscription_id))
        try:
            return sending, offer.open(lifespan_ns)
        except BaseException:
            end.disconnect(sending, self)
            raise

    def forget(self, publisher_id: str) -> None:
        """A publisher, ours or a remote one, has no queue here any more."""
        with self._lock:
            self._receiver.forget(publisher_id)

    def close(self) -> None:
        """Closes its descriptors."""
        self._bells.unwatch(self._ear.fileno())
        self._ear.close()
        self._peer.close()
