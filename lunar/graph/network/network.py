"""Network: a process's part in a domain beyond its host. Runs in the control thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from lunar import events
from lunar.abc import Stream
from lunar.errors import LunarError
from lunar.graph.endpoints import PublisherMatch, SubscriptionMatch
from lunar.graph.matchmaker import NetworkMatches, report_losses
from lunar.graph.network.accounts import Accounts
from lunar.graph.network.draining import Draining
from lunar.graph.network.incoming import IncomingStream, Taker
from lunar.graph.network.inquiry import inquire
from lunar.graph.network.moves import Key, Moves, Streams
from lunar.graph.network.outgoing import OutgoingStream
from lunar.graph.network.reach import Reach
from lunar.graph.network.refusals import Refusals
from lunar.selection import Match, Selection, select

if TYPE_CHECKING:
    from lunar.abc import MatchTerms, Transport
    from lunar.graph.control import ControlThread
    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.endpoints import LocalPublisher, LocalSubscription
    from lunar.graph.matchmaker import Matchmaker
    from lunar.graph.network.engines import EngineHost
    from lunar.graph.network.loopback import Loopback
    from lunar.graph.network.remote import RemoteProcess
    from lunar.graph.routes import Route
    from lunar.graph.transports import TransportInfo
    from lunar.qos import QoS

__all__ = ["Network"]

# How long what may not be lost is kept for a process that has vanished: so long its publisher may have to wait.
_PARK_S: Final = 10.0

# Between two questions whether it is dead, in which case nobody has to wait.
_ASK_AGAIN_S: Final = 1.0

# Loops that have watched an engine's descriptor let go of it in their next turn; its number must not be another's then.
_CLOSE_AFTER_S: Final = 0.5


class Network(NetworkMatches, Streams):
    """The streams to and from processes on other hosts. Runs in the control thread.

    Args:
        hosts: The engines of the transports that are used, the preferred ones first; closed with this.
        transports: What this process has announced.
        control: The control thread.
        matchmaker: Who asks for matches and is told of them.
        loopback: Where queues are made; closed with this.
        transport: The transport within this host.
        pool_bytes: Most bytes that the memory of one remote publisher's samples may take.
        faulted: Called when a process broke the rules, with the reason.
        refuse: Tells the others why an endpoint of this process cannot match one of theirs: both ids and the reason,
            which is empty once they can.
        tell_unreachable: Tells the others that a transport does not reach a process: its id, the name, the reason,
            which is empty once it does, and for how many seconds it has not.
        announce_routes: Tells the others of the matches whose transport is not simply the first choice.
        open_if_asked_for: Called with the profiles of both ends of a match: they may ask for what is not open yet.

    Attributes:
        hosts: The engines that are in use, by name.
        transports: What this process announces.
        reach: Which of them do not reach whom.
        moves: How streams go over to another transport.
        refusals: What engines will not serve.
        draining: Streams of publishers that are closed.
        selections: Why each match has its transport, by the publisher's and the subscription's id.
    """

    def __init__(
        self,
        hosts: list[EngineHost],
        transports: tuple[TransportInfo, ...],
        control: ControlThread,
        matchmaker: Matchmaker,
        loopback: Loopback,
        transport: Transport,
        pool_bytes: int,
        faulted: Callable[[str, str], object],
        refuse: Callable[[str, str, str], object],
        tell_unreachable: Callable[[str, str, str, float], object],
        announce_routes: Callable[[tuple[Route, ...]], object],
        open_if_asked_for: Callable[[QoS, QoS], object],
    ) -> None:
        self._open_if_asked_for = open_if_asked_for
        self.hosts = {host.name: host for host in hosts}
        self._retired: list[EngineHost] = []  # they have failed, and are soon closed
        self.transports = transports
        self._control, self._matchmaker = control, matchmaker
        self._loopback, self._transport, self._pool_bytes = loopback, transport, pool_bytes
        self._faulted = faulted
        self.outgoing: dict[Key, OutgoingStream] = {}
        self.draining = Draining(self.hosts, control.call_later, lambda key: self.processes.pop(key, None))
        self.incoming: dict[Key, IncomingStream] = {}
        # Of processes that have vanished: they may come back with the cable.
        self._parked_outgoing: dict[Key, OutgoingStream] = {}
        self._parked_incoming: dict[Key, IncomingStream] = {}
        self._expires_s: dict[Key, float] = {}  # when what is or was parked is given up
        self.processes: dict[Key, RemoteProcess] = {}
        self.selections: dict[tuple[str, str], Selection] = {}
        self._warned: set[str] = set()  # of which processes it was told that what goes there is not encrypted
        self.moves = Moves(self, control.call_later)
        self.reach = Reach(self.hosts, control.call_later, tell_unreachable, self._reconsider)
        self.refusals = Refusals(matchmaker, control.call_later, refuse)
        self._accounts = Accounts(self, self.moves, self.reach, control.call_later, announce_routes)

    def start(self) -> None:
        """Serves the engines from now on."""
        for host in self.hosts.values():
            host.start()

    # ---- the matchmaker's -----------------------------------------------------------------------------------------

    def send(self, local: LocalPublisher, process: RemoteProcess, remote: EndpointInfo) -> None:
        """See `NetworkMatches`."""
        host = self.choose(process, local.info, remote)
        if host is None:
            local.notify(events.NoTransport(local.info, remote, self._why_none(local.info, remote)))
            return
        key = (local.info.id, process.id, host.name)
        stream = self.outgoing.get(key) or self._unpark_outgoing(key, process)
        if stream is None:
            try:
                stream = self.make_outgoing(local, process, host)
            except LunarError as error:
                self.refusals.put_off(local, process, remote, error, lambda: self.send(local, process, remote))
                return
            self.outgoing[key], self.processes[key] = stream, process
        self.refusals.settle(local.info.id, remote.id)
        stream.remotes[remote.id] = remote
        self._changed(stream)
        if self.reach.reasons(process):
            self.note_routes()

    def receive(
        self, local: LocalSubscription, process: RemoteProcess, remote: EndpointInfo, terms: MatchTerms
    ) -> None:
        """See `NetworkMatches`."""
        host = self.choose(process, remote, local.info)
        if host is None:
            local.notify(events.NoTransport(local.info, remote, self._why_none(remote, local.info)))
            return
        key = (remote.id, process.id, host.name)
        stream = self.incoming.get(key) or self.moves.next_of(key) or self._unpark_incoming(key, process)
        if stream is None:
            try:
                stream = self.make_incoming(remote, process, host)
            except LunarError as error:
                self.refusals.put_off(
                    local, process, remote, error, lambda: self.receive(local, process, remote, terms)
                )
                return
            self.incoming[key], self.processes[key] = stream, process
        self.refusals.settle(local.info.id, remote.id)
        stream.add(local, terms)
        if self.reach.reasons(process):
            self.note_routes()

    def local_removed(self, endpoint_id: str) -> None:
        """See `NetworkMatches`."""
        for key in [key for key in self.outgoing if key[0] == endpoint_id]:
            self.draining.streams[key] = self.outgoing.pop(key)
        for key in [key for key in self._parked_outgoing if key[0] == endpoint_id]:
            self._parked_outgoing.pop(key).close()
        for incoming_key, stream in list(self.incoming.items()):
            if endpoint_id in stream.takers:
                self._remove_taker(incoming_key, endpoint_id)
        self._forget_selections(endpoint_id)

    def remote_removed(self, process: RemoteProcess, remote: EndpointInfo) -> None:
        """See `NetworkMatches`."""
        if remote.kind == "publisher":
            for key in [key for key in self.incoming if key[:2] == (remote.id, process.id)]:
                if process.lost and _may_lose_nothing(self.incoming[key].stream):
                    self._park_incoming(key)
                else:
                    self._close_incoming(key)
        else:
            for outgoing_key, stream in list(self.outgoing.items()):
                if outgoing_key[1] == process.id and remote.id in stream.remotes:
                    self._release(outgoing_key, remote.id)
        self._forget_selections(remote.id)

    # ---- choosing -------------------------------------------------------------------------------------------------

    def choose(self, process: RemoteProcess, publisher: EndpointInfo, subscription: EndpointInfo) -> EngineHost | None:
        """See `Streams`."""
        self._open_if_asked_for(publisher.qos, subscription.qos)
        own, theirs = self.transports, process.transports
        sends, receives = (theirs, own) if publisher.host else (own, theirs)
        match = Match(publisher, subscription, same_host=False)
        chosen = select(match, sends, receives, unreachable=self.reach.reasons(process))
        self.selections[publisher.id, subscription.id] = chosen
        self._warn_of_plain_text(process, publisher, subscription)
        return None if chosen.choice is None else self.hosts[chosen.choice]

    def _warn_of_plain_text(self, process: RemoteProcess, publisher: EndpointInfo, subscription: EndpointInfo) -> None:
        """Tells once for each process that somebody has set up encryption, and does not get it."""
        chosen, known = self.selections[publisher.id, subscription.id], self._matchmaker
        if not chosen.not_encrypted or process.id in self._warned:
            return
        local = known.subscriptions.get(subscription.id) if publisher.host else known.publishers.get(publisher.id)
        if local is not None:
            self._warned.add(process.id)
            remote = publisher if publisher.host else subscription
            local.notify(events.NotEncrypted(local.info, remote, chosen.choice or "", chosen.not_encrypted))

    def why_not(self, publisher_id: str, subscription_id: str, name: str) -> str:
        """See `Streams`."""
        chosen = self.selections.get((publisher_id, subscription_id))
        return "" if chosen is None else chosen.reasons.get(name, "it is not there any more")

    def cut_off_s(self, process: RemoteProcess, name: str) -> float:
        """See `Streams`."""
        return self.reach.cut_off_s(process, name)

    def exclude(self, process: RemoteProcess, name: str, reason: str) -> None:
        """See `Streams`."""
        self.reach.exclude(process, name, reason)

    def _why_none(self, publisher: EndpointInfo, subscription: EndpointInfo) -> str:
        return str(self.selections[publisher.id, subscription.id])

    def _reconsider(self, process: RemoteProcess) -> None:
        self.moves.reconsider(process)
        self.note_routes()

    def note_routes(self) -> None:
        """See `Streams`."""
        self._accounts.note()

    def _forget_selections(self, endpoint_id: str) -> None:
        if self.moves.forget(endpoint_id):
            self.note_routes()
        for pair in [pair for pair in self.selections if endpoint_id in pair]:
            del self.selections[pair]
        self.refusals.forget(endpoint_id)

    # ---- failing --------------------------------------------------------------------------------------------------

    def use(self, host: EngineHost) -> None:
        """An engine is open again: it is announced, and used from now on."""
        self.hosts[host.name] = host
        host.start()

    def give_up(self, host: EngineHost) -> None:
        """An engine cannot go on: takes from it what may not be lost, and closes it; it is not announced any more."""
        if self.hosts.get(host.name) is not host:
            return
        del self.hosts[host.name]
        for outgoing in (*self.outgoing.values(), *self.draining.streams.values(), *self._parked_outgoing.values()):
            if outgoing.host is host:
                outgoing.recall()
        for incoming in (*self.incoming.values(), *self._parked_incoming.values()):
            if incoming.host is host:
                incoming.interrupt()
        host.retire()
        self._retired.append(host)
        self._control.call_later(_CLOSE_AFTER_S, partial(self._close_retired, host))

    def _close_retired(self, host: EngineHost) -> None:
        if host in self._retired:
            self._retired.remove(host)
            host.close()

    # ---- outgoing -------------------------------------------------------------------------------------------------

    def make_outgoing(
        self, local: LocalPublisher, process: RemoteProcess, host: EngineHost, before: OutgoingStream | None = None
    ) -> OutgoingStream:
        """See `Streams`."""
        stream = _stream(local.info, process, host)
        return OutgoingStream(local, stream, host, self._loopback, self._control.post, self._changed, before)

    def moved(self, key: Key) -> None:
        """See `Streams`."""
        process = self.processes[key]
        if (outgoing := self.outgoing.get(key)) is not None:
            for remote_id in outgoing.remotes:
                if (sent := outgoing.local.matches.get((process, remote_id))) is not None:
                    sent.release, sent.upstream = partial(self._release, key, remote_id), outgoing.upstream
        if (incoming := self.incoming.get(key)) is not None:
            for taker in incoming.takers.values():
                if (received := taker.local.matches.get((process, key[0]))) is not None:
                    received.upstream = partial(incoming.upstream, taker)

    def _changed(self, stream: OutgoingStream) -> None:
        """The other end of a stream listens now, or something was lost, or a subscription came to it."""
        key = (stream.stream.publisher_id, stream.stream.remote_id, stream.host.name)
        if self.outgoing.get(key) is not stream:
            return
        process = self.processes[key]
        if stream.is_up:
            self.moves.begun(stream)
        elif stream.down_since_s is not None:
            self.moves.suspect(stream)
        if stream.native is not None:
            for remote in list(stream.remotes.values()):
                if (process, remote.id) not in stream.local.matches:
                    self._matched(key, stream, process, remote)
        report_losses(stream.local)

    def _matched(self, key: Key, stream: OutgoingStream, process: RemoteProcess, remote: EndpointInfo) -> None:
        if stream.native is None:
            return
        release = partial(self._release, key, remote.id)
        made = PublisherMatch(process, remote, stream.native, release, stream.upstream)
        self._matchmaker.matched(stream.local, made)

    def _release(self, key: Key, remote_id: str) -> None:
        stream = self.outgoing.get(key)
        if stream is not None:
            stream.remotes.pop(remote_id, None)
            if stream.remotes:
                return
            if self.processes[key].lost and _may_lose_nothing(stream.stream):
                self._parked_outgoing[key] = self.outgoing.pop(key)
                del self.processes[key]
                self._expire_later(key, stream)
            else:
                self._close_outgoing(key)

    def _close_outgoing(self, key: Key) -> None:
        stream = self.outgoing.pop(key)
        self.moves.closed(stream)
        self.processes.pop(key, None)
        stream.close()

    # ---- incoming -------------------------------------------------------------------------------------------------

    def make_incoming(
        self, publisher: EndpointInfo, process: RemoteProcess, host: EngineHost, before: IncomingStream | None = None
    ) -> IncomingStream:
        """See `Streams`."""
        return IncomingStream(
            _stream(publisher, process, host),
            host,
            self._loopback,
            self._transport,
            self._pool_bytes,
            self._control.post,
            self._control.call_later,
            partial(self._opened, (publisher.id, process.id, host.name), publisher),
            self._lost_some,
            partial(self._broken, process),
            self.moves.suspect,
            before,
            self.moves.took_over,
        )

    def _opened(self, key: Key, remote: EndpointInfo, stream: IncomingStream, taker: Taker) -> None:
        process = self.processes.get(key)
        if process is None or taker.receiving is None or taker.local.reader._closed:
            return
        taker.local.reader._attach(taker.receiving)
        made = SubscriptionMatch(process, remote, taker.receiving, partial(stream.upstream, taker))
        self._matchmaker.matched(taker.local, made)

    def _lost_some(self, stream: IncomingStream) -> None:
        for taker in stream.takers.values():
            report_losses(taker.local)

    def _broken(self, process: RemoteProcess, stream: IncomingStream, reason: str) -> None:
        self._faulted(str(process), reason)

    def _remove_taker(self, key: Key, subscription_id: str) -> None:
        stream = self.incoming[key]
        stream.remove(subscription_id)
        if not stream.takers:
            self._close_incoming(key)

    def _close_incoming(self, key: Key) -> None:
        self.moves.drop_next(key)
        stream = self.incoming.pop(key)
        self.processes.pop(key, None)
        stream.close()

    # ---- parking --------------------------------------------------------------------------------------------------

    def _park_incoming(self, key: Key) -> None:
        self.moves.drop_next(key)
        stream = self._parked_incoming[key] = self.incoming.pop(key)
        del self.processes[key]
        stream.park()
        self._expire_later(key, stream)

    def _expire_later(self, key: Key, stream: OutgoingStream | IncomingStream) -> None:
        due_s = self._expires_s[key] = time.monotonic() + _PARK_S
        self._control.call_later(_PARK_S, partial(self._expire, key, stream, due_s))

    def _unpark_outgoing(self, key: Key, process: RemoteProcess) -> OutgoingStream | None:
        parked = _of_any_transport(key, self._parked_outgoing)
        if parked is None:
            return None
        stream = self.outgoing[parked] = self._parked_outgoing.pop(parked)
        self._unparked(parked, process)
        return stream

    def _unpark_incoming(self, key: Key, process: RemoteProcess) -> IncomingStream | None:
        parked = _of_any_transport(key, self._parked_incoming)
        if parked is None:
            return None
        stream = self.incoming[parked] = self._parked_incoming.pop(parked)
        self._unparked(parked, process)
        stream.unpark()
        return stream

    def _unparked(self, key: Key, process: RemoteProcess) -> None:
        """It goes on by the transport that it had; by another if that is chosen now, or has another address."""
        self.processes[key] = process
        self._control.post(self.moves.reconsider, process)

    def _expire(self, key: Key, stream: OutgoingStream | IncomingStream, due_s: float) -> None:
        """Gives up on a process that has vanished, unless it came back, even if it vanished again since."""
        if self._expires_s.get(key) != due_s:
            return
        del self._expires_s[key]
        if self._parked_outgoing.get(key) is stream:
            self._parked_outgoing.pop(key).close()
        elif self._parked_incoming.get(key) is stream:
            self._parked_incoming.pop(key).close()
        else:
            return
        if not any(other[1] == key[1] for other in (*self.outgoing, *self.incoming)):
            self._forget(key[1])

    # ---- the end --------------------------------------------------------------------------------------------------

    def forget(self, process: RemoteProcess) -> None:
        """A process is gone; its endpoints were removed."""
        self.reach.forget(process)
        self._forget(process.id)
        self._ask_whether_dead(process)

    def _ask_whether_dead(self, process: RemoteProcess) -> None:
        """Again and again while something is parked for it: its host may be cut off now, and answer later."""
        if not any(key[1] == process.id for key in (*self._parked_outgoing, *self._parked_incoming)):
            return
        places = [
            place
            for name, host in self.hosts.items()
            if name in process.addresses
            for place in host.engine.listens_at(process.addresses[name])
        ]
        inquire(self._control, places, partial(self._bury, process.id))
        if places:
            self._control.call_later(_ASK_AGAIN_S, partial(self._ask_whether_dead, process))

    def _bury(self, process_id: str) -> None:
        """A process is known to be dead: nothing is kept for it any more."""
        for parked in (self._parked_outgoing, self._parked_incoming):
            for key in [key for key in parked if key[1] == process_id]:
                parked.pop(key).close()
        if not any(key[1] == process_id for key in (*self.outgoing, *self.incoming)):
            self._forget(process_id)

    def _forget(self, process_id: str) -> None:
        if any(key[1] == process_id for key in (*self._parked_outgoing, *self._parked_incoming)):
            return  # until they have expired
        self._warned.discard(process_id)
        for host in self.hosts.values():
            with host.lock:
                host.engine.forget(process_id)

    def close(self) -> None:
        """Closes every stream and engine."""
        for key in list(self.outgoing):
            self._close_outgoing(key)
        for left in (self.draining.streams, self._parked_outgoing, self._parked_incoming):
            while left:
                left.popitem()[1].close()
        for key in list(self.incoming):
            self._close_incoming(key)
        for host in (*self.hosts.values(), *self._retired):
            host.close()
        self._loopback.close()

    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors."""
        for host in (*self.hosts.values(), *self._retired):
            host.close_after_fork()
        self._loopback.close()


def _of_any_transport(key: Key, parked: Iterable[Key]) -> Key | None:
    return next((other for other in parked if other[:2] == key[:2]), None)


def _may_lose_nothing(stream: Stream) -> bool:
    # A sample that expires meanwhile would be counted by two matches.
    qos = stream.qos
    return stream.reliable and qos.history == "keep_all" and qos.lifespan_s is None


def _stream(publisher: EndpointInfo, process: RemoteProcess, host: EngineHost) -> Stream:
    return Stream(
        publisher_id=publisher.id,
        topic=publisher.topic,
        qos=publisher.qos,
        reliable=publisher.qos.reliability == "reliable",
        remote_id=process.id,
        address=process.addresses[host.name],
    )
