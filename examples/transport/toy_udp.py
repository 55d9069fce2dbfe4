"""A transport over plain UDP, to show what one is made of. It keeps the best-effort half of the contract.

A stream's receiving end asks for it with HELLO until the sender answers with START; parcels follow, one a datagram. The
receiver says in its signs of life, HELLOs as well, how many parcels it misses. Whoever closes an end says BYE. There is
no encryption, and whoever can send to the port can claim to be anybody: this is a toy. What each method has to do is
said where the contract is, in lunar/abc/network.py.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence

from lunar import abc
from lunar.errors import ConfigError, PeerFault, ResourceExhausted

HELLO, START, PARCEL, BYE_SENDER, BYE_RECEIVER = range(5)
# Kind, the stream's publisher, who sends this, an opening's number, and three numbers that depend on the kind.
HEAD = struct.Struct("<B16s16sIQQQ")
LARGEST_BYTES = 60_000
RETRY_S, ALIVE_S, GONE_S = 0.05, 0.5, 2.0
TURN_S = 0.001

Key = tuple[bytes, bytes]
"""A publisher and the process at the other end."""


class Sending(abc.Outgoing):
    """The sending end of a stream."""

    def __init__(self, engine: "ToyEngine", key: Key, peer: tuple[str, int], handler: abc.OutgoingHandler) -> None:
        self.engine, self.key, self.peer, self.handler = engine, key, peer, handler
        self.session = 0  # which opening of the other end this is for; 0: it does not listen
        self.started = self.closed = self.refused = False
        self.first = (0, 0, 0)
        self.heard_s = 0.0
        self.lost = 0

    def hello(self, session: int, lost: int, now_s: float) -> None:
        self.heard_s = now_s
        if session != self.session:
            self.gone("the other end has opened the stream again")
            self.session, self.lost = session, 0
            self.handler.connected()
        elif self.started:
            if lost == 0:
                self.engine.send(self, START, self.session, self.first)  # perhaps it was lost
            elif lost > self.lost:
                self.lost = lost
                self.handler.losses(lost)
        if self.refused and self.started and not self.closed:
            self.refused = False
            self.handler.writable()

    def gone(self, reason: str) -> None:
        was_up, self.session, self.started = self.session != 0, 0, False
        if was_up and not self.closed:
            self.handler.disconnected(reason)

    def start(self, last_sequence: int, newest_sequence: int) -> None:
        if self.session:
            self.started, self.first = True, (last_sequence, newest_sequence, 0)
            self.engine.send(self, START, self.session, self.first)

    def send(self, parcel: abc.Parcel) -> bool:
        if not self.started:
            self.refused = True
            return False
        told = (parcel.sequence_number, parcel.source_time_ns, parcel.dropped)
        with memoryview(parcel.payload) as payload:
            self.engine.send(self, PARCEL, self.session, told, payload)
        return True  # what the socket had no room for is lost: the receiver sees the gap

    @property
    def unacknowledged(self) -> int:
        return 0

    def recall(self) -> Sequence[abc.Parcel]:
        self.close()
        return ()  # best effort keeps nothing

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.engine.drop(self.engine.sending, self, BYE_SENDER)


class Receiving(abc.Incoming):
    """The receiving end of a stream."""

    def __init__(self, engine: "ToyEngine", key: Key, peer: tuple[str, int], handler: abc.IncomingHandler) -> None:
        self.engine, self.key, self.peer, self.handler = engine, key, peer, handler
        self.running = self.full = self.closed = False
        self.kept: tuple[abc.Parcel, bytes] | None = None
        self.again(time.monotonic())

    def again(self, now_s: float) -> None:
        self.session = self.engine.next_session()
        self.position = self.dropped = self.lost = 0
        self.full, self.kept = False, None
        self.heard_s, self.hello_s = now_s, now_s

    def tick(self, now_s: float) -> float:
        if self.running and now_s - self.heard_s > GONE_S:
            self.stop("its process says nothing any more", now_s)
        if now_s >= self.hello_s and not self.closed:
            self.hello_s = now_s + (ALIVE_S if self.running else RETRY_S)
            self.engine.send(self, HELLO, self.session, (self.lost, 0, 0))
        return self.hello_s

    def start(self, last_sequence: int, newest_sequence: int) -> None:
        if not self.running:
            self.running, self.position = True, last_sequence
            self.handler.started(last_sequence, newest_sequence)

    def arrive(self, parcel: abc.Parcel) -> None:
        """Takes a parcel in; while one is kept for want of room, what comes is lost."""
        if self.running and parcel.sequence_number > self.position and self.kept is None:
            if self.handler.deliver(parcel):
                self.count(parcel)
            else:
                self.kept, self.full = (parcel, bytes(parcel.payload)), True

    def count(self, parcel: abc.Parcel) -> None:
        missing = parcel.sequence_number - self.position - 1 - (parcel.dropped - self.dropped)
        self.position, self.dropped = parcel.sequence_number, max(parcel.dropped, self.dropped)
        if missing > 0 and not self.closed:
            self.lost += missing
            self.hello_s = min(self.hello_s, time.monotonic() + RETRY_S)  # so that the sender soon knows
            self.handler.lost(missing)

    def resume(self) -> None:
        self.full = False
        self.engine.wake()

    def offer_kept(self) -> None:
        if self.kept is not None and not self.full:
            parcel, payload = self.kept
            self.kept = None
            self.arrive(abc.Parcel(parcel.sequence_number, parcel.source_time_ns, parcel.dropped, payload))

    def stop(self, reason: str, now_s: float) -> None:
        was_running, self.running = self.running, False
        self.again(now_s)
        if was_running and not self.closed:
            self.handler.stopped(reason)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.engine.drop(self.engine.receiving, self, BYE_RECEIVER)


class ToyEngine(abc.Engine):
    """One socket for all streams, and a pair of sockets by which it wakes itself; an epoll stands for both."""

    def __init__(self, site: abc.Site) -> None:
        self.id = bytes.fromhex(site.participant_id)
        self.closed = False
        self.sessions = 0
        self.sending: dict[Key, Sending] = {}
        self.receiving: dict[Key, Receiving] = {}
        family = socket.AF_INET6 if ":" in site.addresses[0] else socket.AF_INET
        try:
            self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self.bell, self.ear = socket.socketpair(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self.epoll = select.epoll()
        except OSError as error:
            raise ResourceExhausted(f"no sockets for the transport toy_udp: {error}") from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((site.addresses[0], 0))
        self.epoll.register(self.socket, select.EPOLLIN)
        self.epoll.register(self.ear, select.EPOLLIN)

    @property
    def address(self) -> Mapping[str, object]:
        host, port = self.socket.getsockname()[:2]
        return {"host": host, "port": port}

    def fileno(self) -> int:
        return self.epoll.fileno()

    def next_session(self) -> int:
        self.sessions += 1
        return self.sessions

    # ---- streams ------------------------------------------------------------------------------------------------

    def open_outgoing(self, stream: abc.Stream, handler: abc.OutgoingHandler) -> abc.Outgoing:
        key = (bytes.fromhex(stream.publisher_id), bytes.fromhex(stream.remote_id))
        made = self.sending[key] = Sending(self, key, peer_of(stream.address), handler)
        return made  # its other end says HELLO

    def open_incoming(self, stream: abc.Stream, handler: abc.IncomingHandler) -> abc.Incoming:
        key = (bytes.fromhex(stream.publisher_id), bytes.fromhex(stream.remote_id))
        made = self.receiving[key] = Receiving(self, key, peer_of(stream.address), handler)
        self.wake()
        return made

    def drop(self, ends: "dict[Key, Sending] | dict[Key, Receiving]", end: Sending | Receiving, bye: int) -> None:
        if ends.get(end.key) is end:
            del ends[end.key]
        self.send(end, bye, end.session, (0, 0, 0))

    def forget(self, remote_id: str) -> None:
        """Nothing is kept of a process but its streams."""

    # ---- the wire -------------------------------------------------------------------------------------------------

    def send(
        self,
        end: Sending | Receiving,
        kind: int,
        session: int,
        numbers: tuple[int, int, int],
        payload: memoryview | bytes = b"",
    ) -> None:
        try:
            self.socket.sendmsg([HEAD.pack(kind, end.key[0], self.id, session, *numbers), payload], (), 0, end.peer)
        except OSError:
            return  # no room, too large, or nobody there: all the same to best effort

    def wake(self) -> None:
        try:
            self.bell.send(b"")
        except OSError:
            return  # enough are on their way

    def arrivals(self) -> Iterator[memoryview]:
        end_s = time.monotonic() + TURN_S
        while not self.closed and time.monotonic() < end_s:
            try:
                yield memoryview(self.socket.recv(65_536))
            except BlockingIOError:
                return
            except OSError:
                continue  # a port that an earlier datagram went to is closed

    def work(self) -> float | None:
        if self.closed:
            return None
        try:
            while True:
                self.ear.recv(1)
        except BlockingIOError:
            pass
        for receiving in list(self.receiving.values()):
            receiving.offer_kept()
        for datagram in self.arrivals():
            if len(datagram) >= HEAD.size:
                self.take(datagram)
        return None if self.closed else self.tick(time.monotonic())  # a handler may have closed it

    def tick(self, now_s: float) -> float | None:
        due = [receiving.tick(now_s) for receiving in list(self.receiving.values())]
        for sending in list(self.sending.values()):
            if sending.session:
                if now_s - sending.heard_s > GONE_S:
                    sending.gone("its process says nothing any more")
                due.append(sending.heard_s + GONE_S)
        return max(0.0, min(due) - now_s) if due else None

    def take(self, datagram: memoryview) -> None:
        kind, publisher, remote, session, one, two, three = HEAD.unpack_from(datagram)
        now_s, key = time.monotonic(), (publisher, remote)
        sending, receiving = self.sending.get(key), self.receiving.get(key)
        if sending is not None and kind == HELLO:
            sending.hello(session, one, now_s)
        elif sending is not None and kind == BYE_RECEIVER and sending.session == session:
            sending.gone("the subscriptions there are closed")
        elif receiving is not None and receiving.session == session:
            receiving.heard_s = now_s
            if kind == START:
                receiving.start(one, two)
            elif kind == PARCEL:
                receiving.arrive(abc.Parcel(one, two, three, datagram[HEAD.size :]))
            elif kind == BYE_SENDER:
                receiving.stop("the publisher closed the stream", now_s)

    # ---- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if not self.closed:
            for end in (*list(self.sending.values()), *list(self.receiving.values())):
                end.close()
            self.close_after_fork()

    def close_after_fork(self) -> None:
        self.closed = True
        for each in (self.epoll, self.socket, self.bell, self.ear):
            each.close()


def peer_of(address: Mapping[str, object]) -> tuple[str, int]:
    """Checks what another process has announced: anything may stand there."""
    host, port = address.get("host"), address.get("port")
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65_536:
        raise PeerFault("it announces no host and port for toy_udp")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)  # a name would have to be looked up, which blocks
    except (OSError, ValueError) as error:
        raise PeerFault(f"it announces {host!r:.50}, which is no address") from error
    return host, port


class Transport(abc.NetworkTransport):
    """What the entry point `lunar.network_transports` would name."""

    @property
    def name(self) -> str:
        return "toy_udp"

    @property
    def capabilities(self) -> abc.Capabilities:
        return abc.Capabilities(reach="network", reliable=False, largest_message_bytes=LARGEST_BYTES)

    def probe(self) -> abc.Probe:
        return abc.Probe(True)

    def open(self, site: abc.Site) -> abc.Engine:
        for name, value in site.settings.items():
            raise ConfigError(f"toy_udp.{name}", value, "no such setting; there are none")
        return ToyEngine(site)
