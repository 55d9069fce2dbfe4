"""Moves: how streams go over from one transport to another. Runs in the control thread.

A stream moves as a whole, when all of its matches choose the same other transport. The sender's end goes at once: it
takes back from the engine what may not be lost, and sends that first by the other one. The receiver's end opens the
other way and goes on taking what still comes by the first; when the sender begins by the other, the receiver leaves
the first. Parcels have the publisher's numbers whatever carries them, so what comes twice is dropped. So neither side
has to know when the other one moves, or why.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from lunar import events
from lunar.errors import LunarError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.endpoints import LocalPublisher, LocalSubscription
    from lunar.graph.network.engines import EngineHost
    from lunar.graph.network.incoming import IncomingStream
    from lunar.graph.network.outgoing import OutgoingStream
    from lunar.graph.network.remote import RemoteProcess

__all__ = ["Change", "Key", "Moves", "Streams"]

_log = logging.getLogger("lunar")

# What a process posts before it closes streams may come after that.
_CONFIRM_S: Final = 0.05

# A transport to which a stream has moved may need so long for its first connection.
_CONNECT_WITHIN_S: Final = 3.0

# Until a stream that could not be opened is tried again.
_TRY_AGAIN_S: Final = 1.0

Key = tuple[str, str, str]
"""A publisher, the process at the other end, and the transport."""


class Change(NamedTuple):
    """How a match came to its transport; see `lunar.graph.routes.Route`."""

    before: str
    reason: str
    gap_s: float
    changed_at_ns: int


class Streams(Protocol):
    """What is moved, and how to make it.

    Attributes:
        outgoing: The streams from this process.
        incoming: Those to it.
        processes: The other end of each.
    """

    outgoing: dict[Key, OutgoingStream]
    incoming: dict[Key, IncomingStream]
    processes: dict[Key, RemoteProcess]

    def choose(self, process: RemoteProcess, publisher: EndpointInfo, subscription: EndpointInfo) -> EngineHost | None:
        """The engine that is to serve a match."""

    def why_not(self, publisher_id: str, subscription_id: str, name: str) -> str:
        """Why a transport does not serve a match."""

    def cut_off_s(self, process: RemoteProcess, name: str) -> float:
        """How long a transport has had no connection with a process."""

    def exclude(self, process: RemoteProcess, name: str, reason: str) -> None:
        """A transport does not reach a process."""

    def make_outgoing(
        self, local: LocalPublisher, process: RemoteProcess, host: EngineHost, before: OutgoingStream
    ) -> OutgoingStream:
        """Opens a stream that takes over from another."""

    def make_incoming(
        self, publisher: EndpointInfo, process: RemoteProcess, host: EngineHost, before: IncomingStream
    ) -> IncomingStream:
        """Opens a stream that will take over from another."""

    def note_routes(self) -> None:
        """What is told of matches' transports has changed."""

    def moved(self, key: Key) -> None:
        """A stream has another key now: its matches are to refer to it."""


class Moves:
    """See above.

    Args:
        streams: What is moved.
        call_later: Runs a function in the control thread after so many seconds.

    Attributes:
        last: Of each match that has changed its transport, the last change; by the publisher's and the subscription's
            id.
    """

    def __init__(self, streams: Streams, call_later: Callable[[float, Callable[[], object]], object]) -> None:
        self._streams, self._call_later = streams, call_later
        self._next: dict[tuple[str, str], IncomingStream] = {}
        # What served a stream when it was last served, and since when nothing does; None: it has been since.
        self._from: dict[OutgoingStream | IncomingStream, tuple[str, float | None]] = {}
        self.last: dict[tuple[str, str], Change] = {}

    def reconsider(self, process: RemoteProcess) -> None:
        """Chooses anew for all streams with a process, and moves those that another transport is to carry."""
        if process.closed:
            return
        for key, outgoing in [item for item in self._streams.outgoing.items() if item[0][1] == process.id]:
            self._tried(process, partial(self._consider_outgoing, key, outgoing, process))
        for key, incoming in [item for item in self._streams.incoming.items() if item[0][1] == process.id]:
            self._tried(process, partial(self._consider_incoming, key, incoming, process))

    def suspect(self, stream: OutgoingStream | IncomingStream) -> None:
        """Nothing is carried: because the stream was closed there, or because there is no connection?"""
        self._call_later(_CONFIRM_S, partial(self._confirm, stream))

    def _confirm(self, stream: OutgoingStream | IncomingStream) -> None:
        name, process = stream.host.name, self._current(stream)
        if process is None:
            return
        if self._streams.cut_off_s(process, name) > 0:
            self._streams.exclude(process, name, stream.reason)
        else:  # the other side may know something that this one had not heard when it chose
            self.reconsider(process)

    def _current(self, stream: OutgoingStream | IncomingStream) -> RemoteProcess | None:
        """The other end of a stream that is to carry something and does not; None if it does, or is not to."""
        process = self._streams.processes.get((stream.stream.publisher_id, stream.stream.remote_id, stream.host.name))
        if process is None or process.closed or stream.is_up or stream.is_left or stream.host.is_closed:
            return None
        return process

    def _tried(self, process: RemoteProcess, move: Callable[[], object]) -> None:
        try:
            move()
        except LunarError as error:
            _log.warning("a stream cannot be moved yet: %s", error)
            self._call_later(_TRY_AGAIN_S, partial(self.reconsider, process))

    def _only_choice(
        self, process: RemoteProcess, pairs: Iterable[tuple[EndpointInfo, EndpointInfo]]
    ) -> EngineHost | None:
        chosen = {self._streams.choose(process, *pair) for pair in pairs}
        return chosen.pop() if len(chosen) == 1 else None

    def _since(self, stream: OutgoingStream | IncomingStream, process: RemoteProcess) -> tuple[str, float | None]:
        """What served last, "" if nothing has, and since when nothing does."""
        name, since_s = self._from.pop(stream, (stream.host.name, None))
        cut_off_s = self._streams.cut_off_s(process, stream.host.name)
        own_s = time.monotonic() - cut_off_s if cut_off_s else None
        known = [since_s, stream.down_since_s, own_s, process.out_since_s.get(stream.host.name)]
        if not stream.has_served:
            return "", None
        return name, min((each for each in known if each is not None), default=None)

    # ---- outgoing -------------------------------------------------------------------------------------------------

    def _consider_outgoing(self, key: Key, stream: OutgoingStream, process: RemoteProcess) -> None:
        pairs = [(stream.local.info, remote) for remote in stream.remotes.values()]
        host = self._only_choice(process, pairs)
        if host is None or _carries(host, stream, process):
            return
        streams = self._streams
        new_key = (key[0], key[1], host.name)
        if new_key != key and new_key in streams.outgoing:
            return  # of two places in what was published none can be both
        before = self._since(stream, process)
        moved = streams.make_outgoing(stream.local, process, host, stream)
        del streams.outgoing[key], streams.processes[key]
        streams.outgoing[new_key], streams.processes[new_key] = moved, process
        self._from[moved] = before if before[1] is not None else (before[0], moved.down_since_s)
        streams.moved(new_key)
        self._call_later(_CONNECT_WITHIN_S, partial(self._confirm_moved, moved))

    def _confirm_moved(self, stream: OutgoingStream) -> None:
        """What had a connection before is not to wait for ever for one that it never had."""
        process = self._current(stream)
        if process is not None:
            self._streams.exclude(process, stream.host.name, f"no connection within {_CONNECT_WITHIN_S:g} s")

    def begun(self, stream: OutgoingStream) -> None:
        """The other end of a stream listens: if that was moved, it is served again."""
        name, since_s = self._from.pop(stream, ("", None))
        if name:
            for remote in stream.remotes.values():
                self._tell(stream.local, remote, stream.local.info.id, remote.id, name, stream.host.name, since_s)

    # ---- incoming -------------------------------------------------------------------------------------------------

    def _consider_incoming(self, key: Key, stream: IncomingStream, process: RemoteProcess) -> None:
        streams, publisher = self._streams, process.endpoints.get(key[0])
        if publisher is None or not stream.takers:
            return
        host = self._only_choice(process, [(publisher, taker.local.info) for taker in stream.takers.values()])
        following = self._next.get(key[:2])
        if following is not None and host is not None and _carries(host, following, process):
            return
        self.drop_next(key)
        if host is None or _carries(host, stream, process):
            return
        new_key = (key[0], key[1], host.name)
        if new_key != key and new_key in streams.incoming:
            return
        before = self._since(stream, process)
        self._next[key[:2]] = made = streams.make_incoming(publisher, process, host, stream)
        self._from[made] = before

    def next_of(self, key: Key) -> IncomingStream | None:
        """The stream that one of this key is about to take over from: new subscriptions are added to that."""
        following = self._next.get(key[:2])
        return None if following is None or following.host.name != key[2] else following.before

    def drop_next(self, key: Key) -> None:
        """A stream is not to be taken over from any more."""
        following = self._next.pop(key[:2], None)
        if following is not None:
            self._from.pop(following, None)
            following.close()

    def took_over(self, before: IncomingStream, now: IncomingStream) -> None:
        """The sender begins by the other transport."""
        streams = self._streams
        key = (now.stream.publisher_id, now.stream.remote_id, before.host.name)
        new_key = (*key[:2], now.host.name)
        self._next.pop(key[:2], None)
        process = streams.processes.pop(key)
        del streams.incoming[key]
        streams.incoming[new_key], streams.processes[new_key] = now, process
        streams.moved(new_key)
        name, since_s = self._from.pop(now, ("", None))
        publisher = process.endpoints.get(key[0])
        if publisher is not None:
            times = [each for each in (since_s, before.down_since_s) if each is not None]
            for taker in now.takers.values():
                ids = (publisher.id, taker.local.info.id)
                self._tell(taker.local, publisher, *ids, name, now.host.name, min(times, default=None))

    # ---- both -----------------------------------------------------------------------------------------------------

    def _tell(
        self,
        local: LocalPublisher | LocalSubscription,
        remote: EndpointInfo,
        publisher_id: str,
        subscription_id: str,
        before: str,
        after: str,
        since_s: float | None,
    ) -> None:
        if before in ("", after):
            return  # it had not begun; or its engine was opened anew, or came back in time
        reason = self._streams.why_not(publisher_id, subscription_id, before)
        gap_s = 0.0 if since_s is None else time.monotonic() - since_s
        self.last[publisher_id, subscription_id] = Change(before, reason, gap_s, time.time_ns())
        local.notify(events.TransportChanged(local.info, remote, before, after, reason, gap_s))
        self._streams.note_routes()

    def forget(self, endpoint_id: str) -> bool:
        """An endpoint is gone; whether a match of it had changed its transport."""
        pairs = [pair for pair in self.last if endpoint_id in pair]
        for pair in pairs:
            del self.last[pair]
        return bool(pairs)

    def closed(self, stream: OutgoingStream | IncomingStream) -> None:
        """A stream is closed."""
        self._from.pop(stream, None)


def _carries(host: EngineHost, stream: OutgoingStream | IncomingStream, process: RemoteProcess) -> bool:
    address = process.addresses.get(host.name)
    return stream.host is host and not stream.is_left and stream.stream.address == address
