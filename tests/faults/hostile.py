"""A peer written by hand: it speaks the link protocol over a raw socket, and then breaks every rule it likes.

Nothing of lunar is used here, so a mistake in lunar's own side cannot hide itself: offsets, sizes and magic numbers are
written out once more.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import mmap
import os
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

PROTOCOL = "lunar-link/1.1"
MAGIC = 0x4C554E41525155
BELL_MAGIC = 0x4C554E4152424C
BELLS = 1024
BELL_PAGE_BYTES = 64 + 64 * BELLS
HEADER_BYTES = 640
ENTRY_BYTES = 32
MIN_SLOTS = 1024
CHUNK_ALIGNMENT = 64

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
F_SEAL_FUTURE_WRITE = 0x10

# Words of a queue's header: offset and struct format.
WORDS = {
    "magic": (0, "Q"),
    "version": (8, "I"),
    "capacity": (12, "I"),
    "slots": (16, "I"),
    "tail": (128, "Q"),
    "lost_overwritten": (256, "Q"),
    "lost_held": (264, "Q"),
    "alive_ns": (272, "Q"),
    "publisher_bell": (280, "I"),
    "publisher_waits": (284, "I"),
    "head": (384, "Q"),
    "return_tail": (392, "Q"),
    "lost_expired": (512, "Q"),
    "subscription_bell": (520, "I"),
}

Operation = dict[str, Any]


def make_memory(size_bytes: int, seals: int | None = SEALS, *, name: str = "hostile") -> int:
    """A memfd of `size_bytes` with these seals; None: one that cannot be sealed any more."""
    flags = os.MFD_CLOEXEC | (0 if seals is None else os.MFD_ALLOW_SEALING)
    fd = os.memfd_create(name, flags)
    os.ftruncate(fd, size_bytes)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def queue_bytes(capacity: int, slots: int) -> int:
    """Size of the block that both ends of a match share."""
    return HEADER_BYTES + capacity * ENTRY_BYTES + slots * 4


class Queue:
    """Both ends' words of a match's queue, to be scribbled on. Owns the descriptor."""

    def __init__(self, fd: int, capacity: int, slots: int) -> None:
        self.fd, self.capacity, self.slots = fd, capacity, slots
        self.size_bytes = queue_bytes(capacity, slots)
        self.memory = mmap.mmap(fd, self.size_bytes)

    def read(self, word: str) -> int:
        offset, form = WORDS[word]
        value: int = struct.unpack_from(form, self.memory, offset)[0]
        return value

    def write(self, word: str, value: int) -> None:
        offset, form = WORDS[word]
        struct.pack_into(form, self.memory, offset, value % (1 << 8 * struct.calcsize(form)))

    def entry(self, position: int) -> tuple[int, int, int, int, int]:
        """Sequence, source time, where, size and slot of the entry at a position."""
        where = HEADER_BYTES + position % self.capacity * ENTRY_BYTES
        sequence, time_ns, place, size_bytes, slot = struct.unpack_from("QQQII", self.memory, where)
        return sequence, time_ns, place, size_bytes, slot

    def write_entry(
        self, position: int, sequence: int, *, where: int = 0, size_bytes: int = 0, slot: int = 0, time_ns: int = 1
    ) -> None:
        place = HEADER_BYTES + position % self.capacity * ENTRY_BYTES
        struct.pack_into("QQQII", self.memory, place, sequence, time_ns, where, size_bytes, slot)

    def write_return(self, position: int, slot: int) -> None:
        place = HEADER_BYTES + self.capacity * ENTRY_BYTES + position % self.slots * 4
        struct.pack_into("I", self.memory, place, slot % (1 << 32))

    def initialise(self) -> None:
        """What an honest publisher writes first."""
        for word, value in (("magic", MAGIC), ("version", 1), ("capacity", self.capacity), ("slots", self.slots)):
            self.write(word, value)

    def take(self) -> tuple[int, int, int, int, int] | None:
        """Takes the next sample as an honest subscription would (of a publisher that waits); None: empty."""
        head = self.read("head")
        if head == self.read("tail"):
            return None
        entry = self.entry(head)
        self.write("head", head + 1)
        return entry

    def give_back(self, slot: int) -> None:
        returned = self.read("return_tail")
        self.write_return(returned, slot)
        self.write("return_tail", returned + 1)

    def close(self) -> None:
        self.memory.close()
        os.close(self.fd)


class Hostile:
    """One connection to a victim.

    Args:
        connection: Connected to the victim, or accepted from it.
        name: The socket's name that it claims in its greeting.
    """

    def __init__(self, connection: socket.socket, name: str | None = None) -> None:
        self.socket = connection
        self.name = name or f"{time.monotonic_ns():016x}-{uuid.uuid4().hex}.sock"
        self.id = self.name[17:49]
        self.socket.settimeout(10)
        self.inbox: list[tuple[Operation, list[int]]] = []
        self.bells_fd = make_memory(BELL_PAGE_BYTES)
        self.bells = mmap.mmap(self.bells_fd, BELL_PAGE_BYTES)
        struct.pack_into("QII", self.bells, 0, BELL_MAGIC, 1, BELLS)
        self.ear, self.mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._owned: list[Queue | int] = []

    @classmethod
    def connect(cls, directory: Path, victim: str, **arguments: Any) -> Self:
        """Connects to the socket called `victim` in a domain's directory."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(directory / victim))
        return cls(connection, **arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for _, fds in self.inbox:
            for fd in fds:
                os.close(fd)
        self.inbox.clear()
        for owned in self._owned:
            if isinstance(owned, Queue):
                owned.close()
            else:
                os.close(owned)
        self._owned.clear()
        self.socket.close()
        self.ear.close()
        self.mouth.close()
        self.bells.close()
        if self.bells_fd >= 0:
            os.close(self.bells_fd)
            self.bells_fd = -1

    def owns(self, fd: int) -> int:
        """Closes the descriptor with everything else of this peer."""
        self._owned.append(fd)
        return fd

    # ---- packets ----------------------------------------------------------------------------------------------

    def send_raw(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        """One packet. That the victim disconnects us while we talk is no news."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.socket, [packet], list(fds))

    def send(self, *operations: object, fds: Sequence[int] = ()) -> None:
        """One packet of these operations."""
        self.send_raw(json.dumps(list(operations)).encode(), fds)

    def receive(self) -> bool:
        """Reads one packet into the inbox; False at the end of file."""
        for _ in range(2):  # that we had more to tell it, the kernel says once, ahead of what was sent before
            with contextlib.suppress(ConnectionResetError):
                packet, ancillary, _, _ = self.socket.recvmsg(
                    1 << 17, socket.CMSG_SPACE(256 * 4), socket.MSG_CMSG_CLOEXEC
                )
                break
        else:
            return False
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        if not packet:
            return False
        left = list(fds)
        for operation in json.loads(packet):
            count = operation.get("fds", 0)
            self.inbox.append((operation, left[:count]))
            del left[:count]
        return True

    def expect(self, wanted: Callable[[Operation], bool]) -> tuple[Operation, list[int]]:
        """Waits for an operation and takes it out of the inbox; its descriptors are the caller's."""
        while True:
            for index, (operation, _) in enumerate(self.inbox):
                if wanted(operation):
                    return self.inbox.pop(index)
            if not self.receive():
                raise ConnectionError("the victim has disconnected us")

    def wait_until_disconnected(self) -> None:
        """Returns when the victim has closed the connection; TimeoutError if it does not."""
        while self.receive():
            pass

    # ---- what an honest peer does -----------------------------------------------------------------------------

    def hello(self, **changes: object) -> Operation:
        return {
            "op": "hello",
            "protocol": PROTOCOL,
            "id": self.id,
            "name": self.name,
            "domain": 0,
            "bells_bytes": BELL_PAGE_BYTES,
            "fds": 2,
            **changes,
        }

    def greet(self, bells: int | None = None, mouth: int | None = None) -> None:
        """Greets like an honest peer, and waits until the victim has told everything."""
        fds = [self.bells_fd if bells is None else bells, self.mouth.fileno() if mouth is None else mouth]
        self.send(self.hello(), fds=fds)
        self.send({"op": "synced"})
        _, theirs = self.expect(lambda operation: operation["op"] == "hello")
        self.victim_bells, self.victim_ear = map(self.owns, theirs)
        self.expect(lambda operation: operation["op"] == "synced")

    def announce_node(self, name: str = "hostile") -> None:
        node = {"name": name, "namespace": "/", "pid": 1, "uid": 0, "endpoints": []}
        self.send({"op": "node", "node": node})

    def endpoint(self, kind: str, topic: str, /, **changes: object) -> Operation:
        """An endpoint to announce, of the type that the victim uses on the topic."""
        like = self.remote(topic)
        return {
            "id": uuid.uuid4().hex,
            "kind": kind,
            "topic": topic,
            "type_name": like["type_name"],
            "type_hash": like["type_hash"],
            "qos": like["qos"],
            "node_name": "/hostile",
            "pid": 1,
            **changes,
        }

    def remote(self, topic: str, kind: str | None = None) -> Operation:
        """What the victim has announced on a topic; waits for it."""
        while True:
            for operation, _ in self.inbox:
                if operation["op"] == "endpoint":
                    found: Operation = operation["endpoint"]
                    if found["topic"] == topic and kind in (None, found["kind"]):
                        return found
            if not self.receive():
                raise ConnectionError("the victim has disconnected us")

    def announce(self, kind: str, topic: str, /, **changes: object) -> str:
        endpoint = self.endpoint(kind, topic, **changes)
        self.send({"op": "endpoint", "endpoint": endpoint})
        found: str = endpoint["id"]
        return found

    # ---- as a subscription of the victim's publisher ----------------------------------------------------------

    def subscribe(self, topic: str, /, **changes: object) -> Queue:
        """Announces a subscription and returns the queue that the victim's publisher makes for it."""
        mine = self.announce("subscription", topic, **changes)
        body, fds = self.expect(
            lambda operation: operation["op"] == "transport" and operation["body"].get("subscription") == mine
        )
        queue = Queue(fds[0], body["body"]["capacity"], body["body"]["slots"])
        self._owned.append(queue)
        return queue

    # ---- as a publisher of the victim's subscription ----------------------------------------------------------

    def transport(self, body: object, fds: Sequence[int] = (), **changes: object) -> None:
        self.send({"op": "transport", "transport": "shm", "body": body, "fds": len(fds), **changes}, fds=fds)

    def pass_segment(self, publisher: str, index: int, size_bytes: int, fd: int | None = None) -> int:
        """Passes a segment and returns its descriptor, which this peer owns."""
        if fd is None:
            fd = self.owns(make_memory(size_bytes, name="hostile-segment"))
        self.transport({"op": "segment", "publisher": publisher, "index": index, "size_bytes": size_bytes}, [fd])
        return fd

    def make_queue(self, capacity: int = 16, slots: int = MIN_SLOTS) -> Queue:
        queue = Queue(make_memory(queue_bytes(capacity, slots), name="hostile-queue"), capacity, slots)
        self._owned.append(queue)
        queue.initialise()
        return queue

    def offer(self, publisher: str, topic: str, queue: Queue, /, **changes: object) -> None:
        """Offers a match of our publisher to the victim's subscription on a topic."""
        theirs = self.remote(topic, "subscription")
        qos = theirs["qos"]
        body = {
            "op": "match",
            "publisher": publisher,
            "subscription": theirs["id"],
            "capacity": queue.capacity,
            "slots": queue.slots,
            "size_bytes": queue.size_bytes,
            "waits": qos["history"] == "keep_all" and qos["reliability"] == "reliable",
            "last_sequence": 0,
            **changes,
        }
        self.transport(body, [queue.fd])

    def publish_on(self, topic: str, segment_bytes: int = 4096) -> tuple[str, Queue]:
        """Announces a publisher with one segment and offers its match, all by the rules."""
        mine = self.announce("publisher", topic)
        self.pass_segment(mine, 0, segment_bytes)
        queue = self.make_queue()
        self.offer(mine, topic, queue)
        return mine, queue


@contextlib.contextmanager
def listening(directory: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket in the domain's directory, as old as can be, so that everybody connects to it; with its name."""
    name = f"{0:016x}-{uuid.uuid4().hex}.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(str(directory / f".{name}"))
        listener.listen(8)
        listener.settimeout(10)
        os.rename(directory / f".{name}", directory / name)
        yield listener, name
    finally:
        listener.close()
        (directory / name).unlink(missing_ok=True)
