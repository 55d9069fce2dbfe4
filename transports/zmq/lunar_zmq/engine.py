"""One process's end of the transport: moves frames between the sockets and what decides (`publishing`, `subscribing`).

Nothing here has a thread; libzmq has two of its own. One epoll descriptor stands for all sockets, and for an eventfd
by which the engine wakes itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import zmq

from lunar import abc
from lunar.errors import ClosedError, PeerFault, from_errno
from lunar_zmq import gate, wire
from lunar_zmq.descriptors import close_sockets_of
from lunar_zmq.frames import open_frames
from lunar_zmq.keys import AllowList, load_keys
from lunar_zmq.outbox import Outbox
from lunar_zmq.publishing import Publishing
from lunar_zmq.settings import Address, Settings, places_of, read_address, seen_from
from lunar_zmq.sockets import (
    Port,
    bind_router,
    change,
    connect,
    connect_dealer,
    failure,
    transmitter,
    watch,
)
from lunar_zmq.subscribing import PublisherLink

if TYPE_CHECKING:
    from lunar_zmq.receiving import ReceivingEnd
    from lunar_zmq.sending import SendingEnd

__all__ = ["ZmqEngine"]

# How long `work` may take before it lets others have their turn.
_TURN_S: Final = 0.001
# Records that come closer together than this share a frame.
_CLOSE_TOGETHER_S: Final = 0.00005
_LINGER_MS: Final = 100
# libzmq aborts the process when it has none left. It needs 9, and 5 for a connection.
_NEEDED_TO_OPEN: Final = 20
_NEEDED_TO_CONNECT: Final = 10
# Payloads that libzmq has sent are let go of whenever there is something else to do, and at the latest after this.
_COLLECT_WITHIN_S: Final = 0.05
# An endpoint that is not reached within this makes room for the next one.
_ENDPOINT_TURN_S: Final = 2.0
_NEVER: Final = float("inf")

_left_by_fork: Final[list[zmq.Socket[bytes]]] = []


class _Link:
    """A dealer, the socket that watches its connection, and the streams that come through it."""

    __slots__ = ("address", "endpoint", "next_endpoint_s", "port", "streams", "watch")

    def __init__(self, port: Port, watch: Port, streams: PublisherLink, address: Address) -> None:
        self.port = port
        self.watch = watch
        self.streams = streams
        self.address = address
        self.endpoint = 0
        self.next_endpoint_s = time.monotonic() + _ENDPOINT_TURN_S


class ZmqEngine(abc.Engine):
    """All streams of one process in one domain.

    Args:
        site: The process and its network.
        settings: What the configuration says.

    Raises:
        TransportUnavailable: There are no keys, or others can read them.
        ConfigError: An address or directory cannot be used.
        ResourceExhausted: A limit was reached; nothing was started.
    """

    def __init__(self, site: abc.Site, settings: Settings) -> None:
        self._settings = settings
        self._keys = load_keys(settings.keys) if settings.curve else None
        self._interfaces = site.interfaces
        self._me = bytes.fromhex(site.participant_id)
        self._epoch = int.from_bytes(secrets.token_bytes(8), "little")
        self._closed = False
        self._working = False
        self._woken = False
        self._last_frame_s = 0.0
        self._ports: dict[int, Port] = {}
        self._dirty: set[Port] = set()
        self._waiting: list[Outbox] = []
        self._links: dict[tuple[str, str], _Link] = {}
        self._frames = open_frames()
        self._make_descriptors()
        try:
            self._bind(site)
        except BaseException:
            self._close_descriptors()
            self._context.destroy(linger=0)
            raise
        self._publishing = Publishing(self._me, self._epoch, self._outbox_for)

    def _make_descriptors(self) -> None:
        abc.require_descriptors(_NEEDED_TO_OPEN, "starting ZeroMQ")
        try:
            self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            self._epoll = select.epoll()
            try:
                self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            except OSError:
                self._epoll.close()
                raise
        except OSError as error:  # ZMQError is no OSError; a context has no descriptors before its first socket
            raise from_errno(-(error.errno or errno.EMFILE), "making the engine's descriptors") from error
        self._epoll.register(self._bell, select.EPOLLIN)

    def _bind(self, site: abc.Site) -> None:
        try:
            if self._keys is not None:
                # Before the router listens: a connection that meets no gate would pass.
                self._allowed = AllowList(self._keys.public, self._settings.allowed, self._settings.keys)
                zap = self._context.socket(zmq.REP)
                zap.bind(gate.ENDPOINT)
                self._add(Port(zap, self._answer_gate, self._frames))
            router, self._endpoints = bind_router(self._context, site, self._settings, self._keys)
        except zmq.ZMQError as error:
            raise failure(error, "making the sockets") from error
        self._router = self._add(Port(router, self._take_from_subscriber, self._frames))

    def _add(self, port: Port) -> Port:
        self._ports[port.fd] = port
        self._epoll.register(port.fd, select.EPOLLIN)
        self._dirty.add(port)
        return port

    # What others see

    @property
    def address(self) -> Mapping[str, object]:
        """Endpoints, public key and epoch."""
        key = "" if self._keys is None else self._keys.public
        return {"version": wire.VERSION, "endpoints": self._endpoints, "key": key, "epoch": f"{self._epoch:016x}"}

    def fileno(self) -> int:
        """The epoll descriptor."""
        return self._epoll.fileno()

    def open_outgoing(self, stream: abc.Stream, handler: abc.OutgoingHandler) -> SendingEnd:
        """Opens the sending end of a stream."""
        address = self._read(stream)
        end = self._publishing.open(stream, handler, address.key)
        self._wake()
        return end

    def open_incoming(self, stream: abc.Stream, handler: abc.IncomingHandler) -> ReceivingEnd:
        """Opens the receiving end of a stream; connects to its process if this is the first."""
        address = self._read(stream)
        which = (stream.remote_id, str(stream.address.get("epoch")))
        link = self._links.get(which)
        if link is None:
            link = self._links[which] = self._connect(stream.remote_id, address)
        end = link.streams.open(stream, handler)
        self._wake()
        return end

    def _read(self, stream: abc.Stream) -> Address:
        if self._closed:
            raise ClosedError("the engine is closed")
        address = seen_from(read_address(stream.address, self._settings), self._interfaces)
        if address.key and not self._allows(address.key):
            key = f"the key of the process at the other end, {address.key}, is not on the allow list"
            raise PeerFault(f"{key}; `lunar keys allow` with it lets it in")
        return address

    def _connect(self, remote_id: str, address: Address) -> _Link:
        abc.require_descriptors(_NEEDED_TO_CONNECT, "connecting over ZeroMQ")
        dealer = connect_dealer(self._context, self._settings, address, self._keys)
        port = Port(dealer, lambda: self._take_from_publisher(link), self._frames)
        outbox = Outbox(transmitter(port, self._frames, None, self._touched, lambda: None), self._schedule)
        streams = PublisherLink(self._me, self._epoch, bytes.fromhex(remote_id), address.epoch, outbox, self._wake)
        try:
            link = _Link(port, Port(watch(dealer), lambda: self._take_change(link), self._frames), streams, address)
            connect(dealer, address.endpoints[0])
        except zmq.ZMQError as error:
            dealer.disable_monitor()
            dealer.close(0)
            raise failure(error, f"connecting to {address.endpoints[0]}") from error
        self._add(port)
        self._add(link.watch)
        return link

    def cut_off_s(self, remote_id: str) -> float:
        """How long a connection that there was is lost, of the two that there may be."""
        lost = [link.streams.lost_at_s for which, link in self._links.items() if which[0] == remote_id][-1:]
        lost.append(self._publishing.lost_at_s(bytes.fromhex(remote_id)))
        now_s = time.monotonic()
        return max((max(now_s - at_s, 1e-9) for at_s in lost if at_s is not None), default=0.0)

    def forget(self, remote_id: str) -> None:
        """Closes the connection to that process."""
        self._publishing.forget(bytes.fromhex(remote_id))
        for which in [which for which in self._links if which[0] == remote_id]:
            link = self._links.pop(which)
            link.streams.gone()
            self._flush()
            self._remove(link, _LINGER_MS)

    def _remove(self, link: _Link, linger_ms: int) -> None:
        link.port.socket.disable_monitor()
        for port in (link.watch, link.port):
            del self._ports[port.fd]
            self._dirty.discard(port)
            self._epoll.unregister(port.fd)
            port.socket.close(linger_ms)

    def listens_at(self, address: Mapping[str, object]) -> list[tuple[str, int]]:
        """The TCP endpoints of such a process."""
        try:
            return places_of(read_address(address, self._settings))
        except PeerFault:
            return []

    # Sending

    def _outbox_for(self, routing_id: bytes, prefix: bytes) -> Outbox:
        def unreachable() -> None:
            self._publishing.connection_lost(routing_id, time.monotonic())
            self._wake()

        return Outbox(
            transmitter(self._router, self._frames, routing_id, self._touched, unreachable), self._schedule, prefix
        )

    def _schedule(self, outbox: Outbox) -> None:
        """Sends what is in an outbox: at once if it comes alone, else with what else comes in this turn."""
        if not self._working:
            now_s = time.monotonic()
            alone = now_s - self._last_frame_s > _CLOSE_TOGETHER_S
            self._last_frame_s = now_s
            if alone:
                outbox.flush()
                return
            self._wake()
        self._waiting.append(outbox)

    def _flush(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for outbox in waiting:
                outbox.flush()

    def _touched(self, port: Port) -> None:
        """Has a socket that was sent to looked at if something waits there: its descriptor may not say so any more."""
        if self._working:
            port.touched = True
        elif port.has_message():
            self._dirty.add(port)
            self._wake()

    def _wake(self) -> None:
        """Makes the descriptor readable, unless a turn is under way: it looks at everything anyway."""
        if not (self._woken or self._working or self._closed):
            self._woken = True
            os.eventfd_write(self._bell, 1)

    # The turn

    def work(self) -> float | None:
        """Takes in what has arrived and sends what can be sent."""
        if self._closed:
            return None
        now_s = time.monotonic()
        self._working = True
        try:
            for fd, _ in self._epoll.poll(0):
                port = self._ports.get(fd)
                if port is not None:
                    self._dirty.add(port)
            if self._woken:
                os.eventfd_read(self._bell)
                self._woken = False
            self._take_all(now_s)
            self._frames.collect()
            self._tick(now_s)
            self._flush()
            if self._look_at_touched():
                # Sending took a while, and what came meanwhile is mostly credit: with it, the sending goes on here.
                self._take_all(time.monotonic())
                self._flush()
        finally:
            self._working = False
        if self._look_at_touched():
            return 0.0
        due_s = self._next_due_s()
        return None if due_s == _NEVER else max(due_s - time.monotonic(), 0.0)

    def _take_all(self, now_s: float) -> None:
        """Takes what has arrived, for a turn at most, a message of each socket in turn; what waits stays dirty."""
        end_s = now_s + _TURN_S
        while self._dirty:
            for port in list(self._dirty):
                if not self._take_some(port):
                    self._dirty.discard(port)
            if time.monotonic() >= end_s:
                return

    def _look_at_touched(self) -> bool:
        """Looks at the sockets whose descriptors may not tell any more; returns whether something waits to be taken."""
        for port in self._ports.values():
            if port.touched and port.has_message():
                self._dirty.add(port)
        return bool(self._dirty)

    def _take_some(self, port: Port) -> bool:
        """Takes a message from a socket, if there is one; returns whether there is another."""
        if self._ports.get(port.fd) is not port:
            return False
        # Not asked for first: it is there nearly always, and asking costs as much as receiving.
        port.touched = False
        try:
            port.take()
        except zmq.Again:
            return False
        return self._ports.get(port.fd) is port and port.has_message()

    def _tick(self, now_s: float) -> None:
        if now_s >= self._publishing.due_s:
            self._publishing.tick(now_s)
        for link in list(self._links.values()):
            if now_s >= link.streams.due_s:
                link.streams.tick(now_s)
            if not link.streams.connected and now_s >= link.next_endpoint_s:
                self._try_next(link, now_s)

    def _next_due_s(self) -> float:
        due_s = self._publishing.due_s
        if self._frames.lent:
            due_s = min(due_s, time.monotonic() + _COLLECT_WITHIN_S)
        for link in self._links.values():
            due_s = min(due_s, link.streams.due_s)
            if not link.streams.connected:
                due_s = min(due_s, link.next_endpoint_s)
        return due_s

    def _try_next(self, link: _Link, now_s: float) -> None:
        """Tries the next endpoint; also if there is but one, for libzmq gives up where it was refused."""
        link.next_endpoint_s = now_s + _ENDPOINT_TURN_S
        endpoints = link.address.endpoints
        with contextlib.suppress(zmq.ZMQError):  # given up already
            link.port.socket.disconnect(endpoints[link.endpoint])
        link.endpoint = (link.endpoint + 1) % len(endpoints)
        connect(link.port.socket, endpoints[link.endpoint])
        link.port.touched = True

    # What arrives

    def _take_from_subscriber(self) -> None:
        frames = self._router.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        if len(frames) != 2:
            return  # a Lunar process says everything in one frame
        key = ""
        if self._keys is not None:
            key = frames[1].get("User-Id")
        self._publishing.arrived(frames[0].bytes, frames[1].bytes, key, time.monotonic())

    def _take_from_publisher(self, link: _Link) -> None:
        came = self._frames.receive(link.port.address)
        if came is None:
            raise zmq.Again
        try:
            link.streams.arrived(*came, time.monotonic())
        except wire.Malformed as fault:
            self._links = {which: other for which, other in self._links.items() if other is not link}
            link.streams.fault(str(fault))
            self._flush()  # that the streams are closed
            self._remove(link, _LINGER_MS)

    def _take_change(self, link: _Link) -> None:
        now_s = time.monotonic()
        happened = change(link.watch.socket)
        if happened == "refused":
            link.streams.unreachable()
        elif happened == "connected":
            # Whatever comes first on a new connection makes the other side say WELCOME.
            link.port.socket.send(b"", zmq.NOBLOCK)
            link.port.touched = True
        else:
            link.streams.connection_lost(now_s)
            link.next_endpoint_s = now_s + _ENDPOINT_TURN_S

    def _answer_gate(self) -> None:
        for port in self._ports.values():
            if port.take == self._answer_gate:
                request = port.socket.recv_multipart(zmq.NOBLOCK)
                port.socket.send_multipart(gate.answer(request, self._allows))
                port.touched = True

    def _allows(self, key: str) -> bool:
        return self._allowed.allows(key, time.monotonic())

    # The end

    def close(self) -> None:
        """Closes everything, after what can be sent within 100 ms was."""
        if self._closed:
            return
        self._publishing.close()
        for link in self._links.values():
            link.streams.gone()
        self._flush()
        self._closed = True
        self._close_descriptors()
        for link in self._links.values():
            link.port.socket.disable_monitor()
        for port in self._ports.values():
            port.socket.close(_LINGER_MS)
        self._ports.clear()
        self._links.clear()
        self._context.term()
        self._frames.collect()
        self._remove_files()

    def _remove_files(self) -> None:
        for endpoint in self._endpoints:
            if endpoint.startswith("ipc://"):
                with contextlib.suppress(OSError):  # somebody tidied up
                    os.unlink(endpoint.removeprefix("ipc://"))

    def _close_descriptors(self) -> None:
        self._epoll.close()
        os.close(self._bell)

    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors, those of libzmq's connections among them."""
        if self._closed:
            return
        self._closed = True
        self._close_descriptors()
        others = [endpoint for link in self._links.values() for endpoint in link.address.endpoints]
        close_sockets_of(self._endpoints, others)
        # pyzmq knows its process, so this only says that the context is closed; but it warns of sockets that are
        # collected open, and may not close them here.
        self._context.term()
        _left_by_fork.extend(port.socket for port in self._ports.values())
