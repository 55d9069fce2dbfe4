"""Passed descriptors that are not what they should be: none is mapped, none can block us, none is kept."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lunar.graph.disposal import wait_for_disposal
from tests.faults.hostile import (
    BELL_MAGIC,
    BELL_PAGE_BYTES,
    BELLS,
    F_SEAL_FUTURE_WRITE,
    MIN_SLOTS,
    SEALS,
    Hostile,
    make_memory,
    queue_bytes,
)
from tests.faults.victim import PATIENCE_S, Victim, attacked, run

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

TOPIC = "/scan"
Make = Callable[[Path, int], int]


def _sealed(_: Path, size_bytes: int) -> int:
    return make_memory(size_bytes)


def _unsealed(_: Path, size_bytes: int) -> int:
    return make_memory(size_bytes, 0)


def _not_sealable(_: Path, size_bytes: int) -> int:
    return make_memory(size_bytes, None)


def _sealed_against_growing_only(_: Path, size_bytes: int) -> int:
    return make_memory(size_bytes, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)


def _truncated(_: Path, size_bytes: int) -> int:
    """Sealed too late: it had been cut before."""
    fd = make_memory(size_bytes, 0)
    os.ftruncate(fd, size_bytes // 2)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def _a_byte_short(_: Path, size_bytes: int) -> int:
    return make_memory(size_bytes - 1)


def _empty(_: Path, size_bytes: int) -> int:
    return make_memory(0)


def _opened(path: str, flags: int) -> Make:
    return lambda _, size_bytes: os.open(path, flags | os.O_CLOEXEC)


def _file(folder: Path, size_bytes: int) -> int:
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC)
    os.ftruncate(fd, size_bytes)
    return fd


def _path_of_memory(_: Path, size_bytes: int) -> int:
    memory = make_memory(size_bytes)
    try:
        return os.open(f"/proc/self/fd/{memory}", os.O_PATH | os.O_CLOEXEC)
    finally:
        os.close(memory)


def _write_only_memory(_: Path, size_bytes: int) -> int:
    memory = make_memory(size_bytes)
    try:
        return os.open(f"/proc/self/fd/{memory}", os.O_WRONLY | os.O_CLOEXEC)
    finally:
        os.close(memory)


def _pipe(_: Path, size_bytes: int) -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _socket(family: socket.AddressFamily, kind: socket.SocketKind) -> Make:
    return lambda _, size_bytes: socket.socket(family, kind).detach()


def _eventfd(_: Path, size_bytes: int) -> int:
    return os.eventfd(0)


BAD_MEMORY: dict[str, Make] = {
    "unsealed memory": _unsealed,
    "memory that cannot be sealed": _not_sealable,
    "memory sealed against growing only": _sealed_against_growing_only,
    "memory that was truncated": _truncated,
    "memory a byte short": _a_byte_short,
    "memory of no bytes": _empty,
    "memory without the right to read it": _write_only_memory,
    "a Unix socket": _socket(socket.AF_UNIX, socket.SOCK_STREAM),
}
FOREIGN: dict[str, Make] = {
    "memory without the right to map it": _path_of_memory,
    "endless zeros": _opened("/dev/zero", os.O_RDWR),
    "nothing": _opened("/dev/null", os.O_RDWR),
    "a folder": _opened("/", os.O_RDONLY | os.O_DIRECTORY),
    "a path": _opened("/", os.O_PATH),
    "a file": _file,
    "a file of the kernel": _opened("/proc/self/maps", os.O_RDONLY),
    "a pipe": _pipe,
    "an internet socket": _socket(socket.AF_INET, socket.SOCK_DGRAM),
    "an eventfd": _eventfd,
}
NEITHER = "neither memory nor a Unix socket"


def _reasons(bad_memory: str, kinds: dict[str, Make] = BAD_MEMORY) -> list[tuple[str, Make, str]]:
    """What is not to be passed as memory, each with the reason why it is refused."""
    return [
        *((name, make, bad_memory) for name, make in kinds.items()),
        *((name, make, NEITHER) for name, make in FOREIGN.items()),
    ]


@contextlib.contextmanager
def _made(make: Make, folder: Path, size_bytes: int) -> Iterator[int]:
    fd = make(folder, size_bytes)
    try:
        yield fd
    finally:
        os.close(fd)


def test_a_segment_must_be_sealed_memory_of_its_size(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            for name, make, reason in _reasons("not sealed memory of 4096 bytes"):
                print(name)
                with victim.hostile() as hostile, _made(make, runtime_dir, 4096) as fd:
                    hostile.greet()
                    hostile.pass_segment(hostile.announce("publisher", TOPIC), 0, 4096, fd)
                    await victim.disconnects(hostile, reason)

    run(attack())


def test_a_queue_must_be_sealed_memory_of_its_size(runtime_dir: Path) -> None:
    kinds = {
        **BAD_MEMORY,
        "memory that nobody may write to": lambda _, size_bytes: make_memory(size_bytes, SEALS | F_SEAL_FUTURE_WRITE),
    }
    size_bytes = queue_bytes(16, MIN_SLOTS)

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC)
            for name, make, reason in _reasons("not sealed memory of 5248 bytes|range", kinds):
                print(name)
                with victim.hostile() as hostile, _made(make, runtime_dir, size_bytes) as fd:
                    hostile.greet()
                    mine = hostile.announce("publisher", TOPIC)
                    body = {
                        "op": "match",
                        "publisher": mine,
                        "subscription": hostile.remote(TOPIC)["id"],
                        "capacity": 16,
                        "slots": MIN_SLOTS,
                        "size_bytes": size_bytes,
                        "waits": False,
                        "last_sequence": 0,
                    }
                    hostile.transport(body, [fd])
                    await victim.disconnects(hostile, reason)
                assert subscription.publisher_count == 0

    run(attack())


def test_bells_must_be_a_sealed_page(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for name, make, reason in _reasons("bells"):
                print(name)
                with victim.hostile() as hostile, _made(make, runtime_dir, BELL_PAGE_BYTES) as fd:
                    hostile.send(hostile.hello(), fds=[fd, hostile.mouth.fileno()])
                    await victim.disconnects(hostile, reason)

    run(attack())


def test_a_page_of_bells_must_say_that_it_is_one(runtime_dir: Path) -> None:
    right = (BELL_MAGIC, 1, BELLS)
    wrong = {
        "no magic": (0, 1, BELLS),
        "another magic": (BELL_MAGIC + 1, 1, BELLS),
        "a version to come": (BELL_MAGIC, 2, BELLS),
    }

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for name, words in wrong.items():
                print(name)
                with victim.hostile() as hostile:
                    struct.pack_into("QII", hostile.bells, 0, *words)
                    hostile.send(hostile.hello(), fds=[hostile.bells_fd, hostile.mouth.fileno()])
                    await victim.disconnects(hostile, "bells|bell page")
            # A sealed page that is too small, or larger than any, by its own account.
            for size_bytes in (64, 4096, BELL_PAGE_BYTES - 64, 1 << 21):
                with (
                    victim.hostile() as hostile,
                    _made(lambda _, size: make_memory(size), runtime_dir, size_bytes) as fd,
                ):
                    os.pwrite(fd, struct.pack("QII", *right), 0)
                    hostile.send(hostile.hello(bells_bytes=size_bytes), fds=[fd, hostile.mouth.fileno()])
                    await victim.disconnects(hostile, "bells|bell page")

    run(attack())


def _listening(_: Path, size_bytes: int) -> int:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("")
    listener.listen()
    return listener.detach()


def _alone(kind: socket.SocketKind) -> Make:
    """One end of a pair whose other end is closed."""

    def make(_: Path, size_bytes: int) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        theirs.close()
        return ours.detach()

    return make


DEAF: dict[str, Make] = {
    "a socket that listens": _listening,
    "a socket without a peer": _socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "a datagram socket without a peer": _socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "a stream without a peer": _socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "a socket whose peer is gone": _alone(socket.SOCK_SEQPACKET),
    "a datagram socket whose peer is gone": _alone(socket.SOCK_DGRAM),
    "a stream whose peer is gone": _alone(socket.SOCK_STREAM),
}


def test_a_bell_must_be_a_unix_socket(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            memory = {name: make for name, make in BAD_MEMORY.items() if name != "a Unix socket"}
            for name, make, reason in _reasons("bell", memory):
                print(name)
                with victim.hostile() as hostile, _made(make, runtime_dir, 4096) as fd:
                    hostile.send(hostile.hello(), fds=[hostile.bells_fd, fd])
                    await victim.disconnects(hostile, reason)

    run(attack())


def _arm(hostile: Hostile, state: int) -> None:
    struct.pack_into("Q", hostile.bells, 64, state)


def test_a_bell_that_nobody_hears_holds_nobody_up(runtime_dir: Path) -> None:
    """Its owner asks to be woken, but there is nobody at the other end. That harms its owner alone."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC)
            for name, make in DEAF.items():
                print(name)
                with victim.hostile() as hostile, _made(make, runtime_dir, 0) as fd:
                    hostile.greet(mouth=fd)
                    queue = hostile.subscribe(TOPIC)
                    for state in range(1, 200, 2):
                        _arm(hostile, state)
                        publisher.publish_nowait(b"ring")
                    assert queue.read("tail") == 100
                    await victim.serves()

    run(attack())


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_full_bell_holds_nobody_up(runtime_dir: Path, kind: socket.SocketKind) -> None:
    """The socket is in blocking mode, and its owner never reads it."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.ear.close()
                hostile.mouth.close()
                hostile.ear, hostile.mouth = socket.socketpair(socket.AF_UNIX, kind)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        hostile.mouth.send(b"full", socket.MSG_DONTWAIT)
                assert hostile.mouth.getblocking()
                hostile.greet()
                queue = hostile.subscribe(TOPIC)
                started = time.monotonic()
                for state in range(1, 2000, 2):
                    _arm(hostile, state)
                    publisher.publish_nowait(b"ring")
                assert queue.read("tail") == 1000
                assert time.monotonic() - started < 10
                await victim.serves()

    run(attack())


def test_our_own_link_is_no_bell(runtime_dir: Path) -> None:
    """A ring that comes back to us over the link is not a packet, and is the fault of who arranged it."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet(mouth=hostile.socket.fileno())
                hostile.subscribe(TOPIC)
                _arm(hostile, 1)
                publisher.publish_nowait(b"ring")
                await victim.disconnects(hostile, "not JSON")

    run(attack())


def test_the_victims_bells_cannot_be_written(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC)
            publisher.publish_nowait(b"to have a segment")
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.subscribe(TOPIC)
                publisher.publish_nowait(b"x")
                _, (segment,) = hostile.expect(
                    lambda operation: operation["op"] == "transport" and operation["body"]["op"] == "segment"
                )
                for fd in (hostile.victim_bells, hostile.owns(segment)):
                    _try_to_write(hostile.owns(os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)))

    run(attack())


def _try_to_write(fd: int) -> None:
    size_bytes = os.fstat(fd).st_size
    libc = ctypes.CDLL(None, use_errno=True)
    with pytest.raises(PermissionError):
        mmap.mmap(fd, size_bytes)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    for other_bytes in (0, 2 * size_bytes):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, other_bytes)
    keep_size, punch_hole = 1, 2
    assert libc.fallocate(fd, keep_size | punch_hole, ctypes.c_long(0), ctypes.c_long(4096)) < 0
    assert ctypes.get_errno() == errno.EPERM


@contextlib.contextmanager
def _lingering() -> Iterator[socket.socket]:
    """A socket whose last close takes minutes: its peer reads nothing of what it has been sent."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sender:
        sender.connect(server.getsockname())
        receiver, _ = server.accept()
        with receiver:
            sender.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.send(bytes(1 << 16))
            sender.setblocking(True)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 300))
            yield sender
    wait_for_disposal(30)  # the receiver is gone, so nothing lingers any more


@contextlib.contextmanager
def _held(victim: Victim) -> Iterator[None]:
    """The victim's control thread does nothing meanwhile: it has nothing under way, and goes on whatever happens."""
    holds, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        holds.set()
        goes_on.wait()

    victim.node._participant.post(hold)
    try:
        assert holds.wait(PATIENCE_S)
        yield
    finally:
        goes_on.set()


def test_a_descriptor_that_is_slow_to_close_holds_nobody_up(runtime_dir: Path) -> None:
    """The victim's is the last close of it."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            with victim.hostile() as hostile, _lingering() as slow:
                hostile.greet()
                with _held(victim):  # or it might be done before we are
                    hostile.send({"op": "bye", "fds": 1}, fds=[slow.fileno()])
                    slow.close()
                await victim.disconnects(hostile, NEITHER)

    run(attack())


def test_nor_does_one_that_nobody_has_read(runtime_dir: Path) -> None:
    """It is in a packet behind the one that ends the link, so it goes with the socket."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            with victim.hostile() as hostile, _lingering() as slow:
                hostile.greet()
                with _held(victim):  # so that both packets are there before either is read
                    hostile.send_raw(b"[")
                    hostile.send({"op": "bye", "fds": 1}, fds=[slow.fileno()])
                    slow.close()
                await victim.disconnects(hostile, "not JSON")

    run(attack())


def test_nor_one_inside_the_bell(runtime_dir: Path) -> None:
    """The socket that the victim is to ring on has it in a message that nobody will read."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            with victim.hostile() as hostile, _lingering() as slow:
                socket.send_fds(hostile.ear, [b"x"], [slow.fileno()])
                slow.close()
                hostile.greet()
                hostile.mouth.close()  # the victim's copy is the last one, and what waits to be read goes with it
                hostile.send_raw(b"[")
                await victim.disconnects(hostile, "not JSON")

    run(attack())
