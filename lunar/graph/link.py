"""A link: the control connection to one other process, over a Unix SOCK_SEQPACKET socket.

A packet is a JSON list of operations (objects with an "op"); descriptors ride along and belong to the operations in
their order, each of which says with "fds" how many are its. Sending never blocks: what the socket does not take now
waits in an outbox that the control thread empties. Whatever arrives is checked here for form and in the
participant for meaning.
"""

from __future__ import annotations

import array
import errno
import json
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lunar import abc
from lunar._native._bus import Mapping, Peer
from lunar._native.control import LAYOUT_VERSION
from lunar.errors import LunarError, PeerFault, ResourceExhausted, from_errno
from lunar.graph.disposal import dispose, is_memory
from lunar.graph.schemas import SchemaTexts

if TYPE_CHECKING:
    from lunar.graph.descriptions import EndpointInfo, NodeInfo
    from lunar.graph.waiting import Bells

__all__ = ["NUDGE", "PROTOCOL", "Link", "Operation", "duplicates"]

PROTOCOL: Final = f"lunar-link/1.{LAYOUT_VERSION}"
"""What both sides must say first. The part behind the dot is the layout of shared memory."""

NUDGE: Final = b'[{"op":"nudge"}]'
"""A packet that may come before any greeting: somebody has appeared, look who is there."""

Operation = dict[str, object]

_PACKET_BYTES = 60_000
_MAX_PACKET_BYTES = 1 << 17
_MAX_FDS = 64
_MAX_OUTBOX = 10_000
_MAX_OUTBOX_BYTES = 1 << 24
_MAX_BELL_PAGE_BYTES = 1 << 20
# Limits of ours, or of the kernel's; never a sign that the peer is gone.
_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS})


class Link(abc.Channel):
    """One end of a link.

    Args:
        connection: Connected and non-blocking; the link's from here on.
        bells: This process's bells.
        on_backlog: Called from any thread when packets wait for the socket to take them.
        pid: The other process's id as the kernel states it.
        uid: Its user id, likewise.
        name: File name of its socket, or None where it connected to us and has not told.
        announces: Which kinds of endpoints we tell this peer of; both, but for the link with ourselves.

    Attributes:
        nodes: The peer's nodes by full name.
        endpoints: The peer's endpoints by id.
        schemas: What it has told of message types.
        told: Hashes of the types that we have told it of.
        receivers: Its transports' receiving ends by name.
        introduced: We have said who we are.
        nudged: It has asked us to look who is there.
        greeted: It has said who it is.
        synced: It has told us everything that was there when it greeted.
        inbox: What it sent and we have not handled yet, with the descriptors that came along.
        stalled: A limit of ours keeps us from handling that; it waits for better times.
        complained: That was logged already.
        overflowed: We owe it more than we can keep: it must be hung up on, and met anew.
        congested: The kernel refused to take a packet, though there is room in the socket.
        distrusted: What it has sent and we have not read may be anything.
    """

    def __init__(
        self,
        connection: socket.socket,
        bells: Bells,
        on_backlog: Callable[[Link], None],
        *,
        pid: int,
        uid: int,
        name: str | None = None,
        announces: frozenset[str] = frozenset({"publisher", "subscription"}),
    ) -> None:
        self.socket = connection
        self.pid, self.uid, self.name = pid, uid, name
        self.announces = announces
        self.nodes: dict[str, NodeInfo] = {}
        self.endpoints: dict[str, EndpointInfo] = {}
        self.receivers: dict[str, abc.ReceiverEnd] = {}
        self.schemas = SchemaTexts()
        self.told: set[str] = set()
        self.introduced = self.nudged = self.greeted = self.synced = self.closed = self.said_bye = False
        self._peer: Peer | None = None
        self._bell: list[int] = []  # the socket it passed to be rung on; the peer's object owns it
        self._bells = bells
        self._on_backlog = on_backlog
        self.inbox: deque[tuple[Operation, list[int]]] = deque()
        self.stalled = self.complained = self.overflowed = self.congested = self.distrusted = False
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self._outbox_bytes = self._outbox_fds = 0
        self._lock = threading.Lock()
        # Our ear for this peer's rings; it gets the other end with our greeting.
        self._ear, self._mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        _refuse_descriptors(self._ear)
        try:
            bells.watch(self._ear.fileno())
        except BaseException:
            bells.unwatch(self._ear.fileno())
            self._ear.close()
            self._mouth.close()
            raise

    @property
    def peer(self) -> Peer:
        """The peer's bells; there once it has greeted."""
        if self._peer is None:
            raise PeerFault("it speaks before it has greeted", self.pid)
        return self._peer

    def greet(self, participant_id: str, name: str, domain: int) -> None:
        """Says who we are and passes our bells."""
        hello: Operation = {
            "op": "hello",
            "protocol": PROTOCOL,
            "id": participant_id,
            "name": name,
            "domain": domain,
            "bells_bytes": self._bells.size_bytes,
        }
        self.send_operations([hello], [self._bells.fd, self._mouth.fileno()])
        self._mouth.close()

    def take_greeting(self, hello: Operation, fds: list[int]) -> None:
        """Checks and keeps the peer's bells. `fds` are consumed.

        Raises:
            PeerFault: It is not a greeting of a peer that we can talk to.
        """
        try:
            if self.greeted:
                raise PeerFault("it greets twice", self.pid)
            if hello.get("protocol") != PROTOCOL:
                theirs = str(hello.get("protocol"))[:40]
                raise PeerFault(f"it speaks {theirs!r}, we speak {PROTOCOL!r}: two versions of Lunar", self.pid)
            size_bytes = hello.get("bells_bytes")
            if len(fds) != 2 or not isinstance(size_bytes, int) or not 0 < size_bytes <= _MAX_BELL_PAGE_BYTES:
                raise PeerFault("its greeting does not bring its bells", self.pid)
            page = Mapping(fds[0], size_bytes, False, True)
            if not _is_unix_socket(fds[1]):
                raise PeerFault("the bell that it passed is not a Unix socket", self.pid)
            self._peer = Peer(page, fds[1])
            self._bell.append(fds.pop())
            self.greeted = True
        except ResourceExhausted:
            raise
        except PeerFault:
            raise
        except (LunarError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _LIMITS:
                raise from_errno(-error.errno, f"look at the bells of the peer with pid {self.pid}") from error
            raise PeerFault(f"its bells are not bells: {error}", self.pid) from error
        finally:
            dispose(fds)

    def send(self, body: Operation, fds: Sequence[int] = ()) -> None:
        """See `lunar.abc.Channel`; only shared memory uses it so far."""
        self.send_operations([{"op": "transport", "transport": "shm", "body": body}], fds)

    def send_operations(self, operations: Sequence[Operation], fds: Sequence[int] = ()) -> None:
        """Sends operations in as few packets as they fit in; the descriptors belong to the first. From any thread."""
        chunk: list[bytes] = []
        size_bytes = 0
        for index, operation in enumerate(operations):
            told = {**operation, "fds": len(fds)} if index == 0 and fds else operation
            text = json.dumps(told, separators=(",", ":")).encode()
            if chunk and size_bytes + len(text) > _PACKET_BYTES:
                self._send_packet(chunk, fds)
                chunk, size_bytes, fds = [], 0, ()
            chunk.append(text)
            size_bytes += len(text) + 1
        if chunk:
            self._send_packet(chunk, fds)

    def _send_packet(self, texts: list[bytes], fds: Sequence[int]) -> None:
        packet = b"[" + b",".join(texts) + b"]"
        with self._lock:
            if self.closed:
                return
            if not self._outbox and self._try_send(packet, fds):
                return
            try:
                if self._is_full():
                    raise OSError(errno.ENOBUFS, "the outbox is full")
                self._outbox.append((packet, duplicates(fds)))
                self._outbox_bytes += len(packet)
                self._outbox_fds += len(fds)
            except OSError:
                # What it would miss it could never make up for: the control thread hangs up and meets it anew.
                self.overflowed = True
        self._on_backlog(self)

    def _is_full(self) -> bool:
        # Descriptors that wait here count as ours: a peer that does not read may have half of them, no more.
        return (
            len(self._outbox) >= _MAX_OUTBOX
            or self._outbox_bytes >= _MAX_OUTBOX_BYTES
            or self._outbox_fds >= os.sysconf("SC_OPEN_MAX") // 2
        )

    def _try_send(self, packet: bytes, fds: Sequence[int]) -> bool:
        try:
            socket.send_fds(self.socket, [packet], list(fds), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _LIMITS:
                self.congested = True
                return False
            return True  # the peer is gone: its end of file comes next
        return True

    @property
    def has_backlog(self) -> bool:
        """Whether packets wait for the socket to take them."""
        return bool(self._outbox)

    def flush(self) -> None:
        """Sends of the outbox what the socket takes now."""
        with self._lock:
            self.congested = False
            while self._outbox and not self.closed:
                packet, fds = self._outbox[0]
                if not self._try_send(packet, fds):
                    return
                self._outbox.popleft()
                self._outbox_bytes -= len(packet)
                self._outbox_fds -= len(fds)
                _close_all(fds)

    def receive(self) -> list[tuple[Operation, list[int]]] | None:
        """Reads one packet: operations with their descriptors, the caller's to close; None at the end of file.

        Raises:
            BlockingIOError: There is nothing to read.
            PeerFault: It is not a packet.
            ResourceExhausted: We have no room for its descriptors; the packet stays where it is.
        """
        try:
            # The kernel drops descriptors that we have no room for, so see whether we do before the packet is taken.
            _, fds, state = self._read(1, socket.MSG_PEEK)
            expected = all(is_memory(fd) or _is_unix_socket(fd) for fd in fds)
            _close_all(fds)  # at once, whatever they are: the packet still has them
            if not expected:
                raise PeerFault("it passed a descriptor that is neither memory nor a Unix socket", self.pid)
            self._check_descriptors(fds, state)
            packet, fds, state = self._read(_MAX_PACKET_BYTES, 0)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in _LIMITS:
                raise from_errno(-error.errno, f"receive from the peer with pid {self.pid}") from error
            return None
        try:
            if not packet and not fds:
                if not self._is_hung_up():
                    raise PeerFault("it sent an empty packet", self.pid)
                return None
            if state & socket.MSG_TRUNC:
                raise PeerFault(f"it sent a packet of more than {_MAX_PACKET_BYTES} bytes", self.pid)
            self._check_descriptors(fds, state)
            parsed = self._parse(packet, fds)
        except BaseException:
            dispose(fds)
            raise
        return parsed

    def _read(self, size_bytes: int, flags: int) -> tuple[bytes, list[int], int]:
        flags |= socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        ancillary_bytes = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
        try:
            packet, ancillary, state, _ = self.socket.recvmsg(size_bytes, ancillary_bytes, flags)
        except ConnectionResetError:
            # It is gone and had not read everything. That is told once, ahead of what it has sent us.
            packet, ancillary, state, _ = self.socket.recvmsg(size_bytes, ancillary_bytes, flags)
        return packet, _descriptors(ancillary), state

    def _is_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _check_descriptors(self, fds: list[int], state: int) -> None:
        if not state & socket.MSG_CTRUNC:
            return
        if len(fds) >= _MAX_FDS:
            raise PeerFault(f"it sent more than {_MAX_FDS} descriptors at once", self.pid)
        raise ResourceExhausted(
            f"no room for the descriptors that the peer with pid {self.pid} sent",
            "raise the limit of open files (ulimit -n)",
        )

    def _parse(self, packet: bytes, fds: list[int]) -> list[tuple[Operation, list[int]]]:
        try:
            operations = json.loads(packet)
        except (ValueError, RecursionError) as error:
            raise PeerFault(f"it sent a packet that is not JSON: {error}", self.pid) from error
        if not isinstance(operations, list):
            raise PeerFault("it sent a packet that is not a list", self.pid)
        parsed: list[tuple[Operation, list[int]]] = []
        used = 0
        for operation in operations:
            if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
                raise PeerFault("it sent an operation without a name", self.pid)
            count = operation.get("fds", 0)
            if not isinstance(count, int) or not 0 <= count <= len(fds) - used:
                raise PeerFault("an operation lacks its descriptors", self.pid)
            parsed.append((operation, fds[used : used + count]))
            used += count
        if used != len(fds):
            raise PeerFault("it sent descriptors that belong to no operation", self.pid)
        return parsed

    def close(self) -> None:
        """Closes everything of this link; a second call does nothing."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        self._bells.unwatch(self._ear.fileno())
        self.close_descriptors()

    def close_descriptors(self) -> None:
        """Closes the descriptors alone (a forked child does)."""
        while self._outbox:
            _close_all(self._outbox.popleft()[1])
        while self.inbox:
            dispose(self.inbox.popleft()[1])
        unread: list[int] = []
        if self.distrusted:
            # What it has sent and we have not read goes with the last close of the sockets: see disposal.py.
            with suppress(OSError):  # no descriptor left for copies: then here and now
                unread = duplicates([self.socket.fileno(), *self._bell])
            with suppress(OSError):  # so that it hears of the end whenever that may be
                self.socket.shutdown(socket.SHUT_RDWR)
        for connection in (self._ear, self._mouth, self.socket):
            connection.close()
        if self._peer is not None:
            self._peer.close()
        dispose(unread)


def duplicates(fds: Sequence[int]) -> list[int]:
    """Returns copies of descriptors, all of them or none."""
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))  # noqa: PERF401 - so that those made before a failure are known
    except BaseException:
        _close_all(copies)
        raise
    return copies


def _is_unix_socket(fd: int) -> bool:
    try:
        probe = socket.socket(fileno=fd)  # raises where it is none, and then does not own it
    except OSError:
        return False
    family = probe.family
    probe.detach()
    return family == socket.AF_UNIX


def _refuse_descriptors(ear: socket.socket) -> None:
    """Who rings sends a byte; with a descriptor beside it, whoever waits would have to close that."""
    so_passrights = 83
    with suppress(OSError):  # before Linux 6.16
        ear.setsockopt(socket.SOL_SOCKET, so_passrights, 0)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)
