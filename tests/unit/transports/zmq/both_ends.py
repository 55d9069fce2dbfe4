"""A publisher's side and a subscriber's, joined by a network that the test holds in its hands: no socket, no clock."""

from collections import deque
from typing import Any

from lunar_zmq.outbox import Outbox
from lunar_zmq.publishing import Publishing
from lunar_zmq.subscribing import PublisherLink

from lunar import abc
from lunar.qos import QoS

TALKER, LISTENER, PUBLISHER = "a1" * 16, "b2" * 16, "c3" * 16


def stream(reliable: bool, remote_id: str = LISTENER) -> abc.Stream:
    return abc.Stream(PUBLISHER, "/topic", QoS(), reliable, remote_id, {})


class Sender(abc.OutgoingHandler):
    """Keeps what it hears, and checks that it hears it in an order that makes sense."""

    def __init__(self) -> None:
        self.end: abc.Outgoing
        self.up = False
        self.reasons: list[str] = []
        self.writable_calls = 0
        self.lost = 0
        self.start_at_once = True
        self.last_sequence = 0

    def connected(self) -> None:
        assert not self.up
        self.up = True
        if self.start_at_once:
            self.end.start(self.last_sequence, self.last_sequence)

    def disconnected(self, reason: str) -> None:
        assert self.up
        self.up = False
        self.reasons.append(reason)

    def writable(self) -> None:
        assert self.up
        self.writable_calls += 1

    def losses(self, lost: int) -> None:
        assert lost > self.lost
        self.lost = lost


class Receiver(abc.IncomingHandler):
    """Keeps what it hears, and checks that it hears it in an order that makes sense."""

    def __init__(self) -> None:
        self.end: abc.Incoming
        self.running = False
        self.starts: list[int] = []
        self.reasons: list[str] = []
        self.faults: list[str] = []
        self.got: list[int] = []
        self.payloads: list[bytes] = []
        self.parcels: list[abc.Parcel] = []
        self.room = 1 << 60
        self.lost_count = 0

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        assert not self.running
        self.running = True
        self.starts.append(last_sequence)

    def deliver(self, parcel: abc.Parcel) -> bool:
        assert self.running
        if self.room == 0:
            return False
        self.room -= 1
        self.got.append(parcel.sequence_number)
        self.payloads.append(bytes(parcel.payload))
        return True

    def stopped(self, reason: str) -> None:
        assert self.running
        self.running = False
        self.reasons.append(reason)

    def lost(self, count: int) -> None:
        assert self.running
        assert count > 0
        self.lost_count += count

    def faulty(self, reason: str) -> None:
        self.running = False
        self.faults.append(reason)


class BothEnds:
    """The two sides of one stream, and what is on its way between them.

    Args:
        reliable: What both sides open the stream as.
    """

    def __init__(self, reliable: bool) -> None:
        self.now_s = 100.0
        self.reliable = reliable
        self.up = False
        self.woken = False
        self.connections = 0
        self.to_listener: deque[tuple[bytes, Any]] = deque()
        self.to_talker: deque[bytes] = deque()
        self.waiting: list[Outbox] = []
        self.publishing = Publishing(bytes.fromhex(TALKER), 7, self._outbox_for)
        outbox = Outbox(self._from_listener, self.waiting.append)
        self.link = PublisherLink(bytes.fromhex(LISTENER), 8, bytes.fromhex(TALKER), 7, outbox, self._wake)
        self.sender, self.receiver = Sender(), Receiver()
        self.taken: list[int] = []
        self.sequence = 0

    def _wake(self) -> None:
        self.woken = True

    def open_talker(self) -> None:
        self.sender.end = self.publishing.open(stream(self.reliable), self.sender, "")

    def open_listener(self) -> None:
        self.receiver.end = self.link.open(stream(self.reliable, TALKER), self.receiver)

    def _outbox_for(self, routing_id: bytes, prefix: bytes) -> Outbox:
        def transmit(frame: bytes, payload: Any) -> None:
            if self.up and routing_id == self.routing_id:
                self.to_listener.append((frame, payload))
            else:
                self.publishing.connection_lost(routing_id, self.now_s)

        return Outbox(transmit, self.waiting.append, prefix)

    def _from_listener(self, frame: bytes, payload: Any) -> None:
        assert payload is None
        if self.up:
            self.to_talker.append(frame)

    @property
    def routing_id(self) -> bytes:
        return f"connection {self.connections}".encode()

    def connect(self) -> None:
        self.connections += 1
        self.up = True
        self.to_talker.append(b"")

    def cut(self) -> None:
        """The connection breaks: what is on its way is lost, and the listener's side notices."""
        self.up = False
        self.to_listener.clear()
        self.to_talker.clear()
        self.link.connection_lost(self.now_s)

    def flush(self) -> None:
        while self.waiting:
            self.waiting.pop(0).flush()

    def carry_to_listener(self) -> bool:
        self.flush()
        if not self.to_listener:
            return False
        frame, payload = self.to_listener.popleft()
        self.link.arrived(frame, payload, self.now_s)
        return True

    def carry_to_talker(self) -> bool:
        self.flush()
        if not self.to_talker:
            return False
        self.publishing.arrived(self.routing_id, self.to_talker.popleft(), "", self.now_s)
        return True

    def tick(self, passed_s: float = 0.0) -> None:
        self.now_s += passed_s
        self.publishing.tick(self.now_s)
        self.link.tick(self.now_s)
        self.flush()

    def settle(self) -> None:
        """Lets all of it arrive, and what is due be done, until nothing moves."""
        for _ in range(4):
            self.tick(0.02)
            while self.carry_to_talker() or self.carry_to_listener():
                pass

    def send(self, payload: bytes = b"") -> bool:
        """Publishes one; returns whether it was taken."""
        self.sequence += 1
        self.sender.last_sequence = self.sequence
        took = self.sender.end.send(abc.Parcel(self.sequence, self.sequence * 10, 0, payload))
        if took:
            self.taken.append(self.sequence)
        return took
