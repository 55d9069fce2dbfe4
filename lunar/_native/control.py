"""Thin, checked bindings of the C core's control side. A failed call raises what `errors.from_errno` makes of it."""

from __future__ import annotations

import errno
import os
from typing import Final

from lunar._native._bus import Mapping
from lunar._native._control import ffi, lib
from lunar.errors import from_errno

__all__ = [
    "BELLS",
    "LAYOUT_VERSION",
    "Doorbell",
    "check_memory",
    "create_bell_page",
    "create_memory",
    "peer_groups",
    "queue_bytes",
    "queue_geometry",
    "seal_memory",
]

BELLS: Final[int] = lib.LUNAR_BELLS
"""How many bells a process has: event loops and threads that wait."""

LAYOUT_VERSION: Final[int] = lib.LUNAR_LAYOUT_VERSION
"""Version of what two processes share; both ends must have the same."""


def create_memory(name: str, size_bytes: int) -> int:
    """Makes a memfd of `size_bytes`, zeroed and not yet sealed; the caller owns the descriptor."""
    fd = lib.lunar_memory_create(name.encode(), size_bytes)
    if fd < 0:
        raise from_errno(fd, f"create {size_bytes} bytes of shared memory")
    return int(fd)


def seal_memory(fd: int, *, read_only: bool) -> None:
    """Fixes the size for ever; with `read_only`, mappings made from now on cannot write either."""
    error = lib.lunar_memory_seal(fd, int(read_only))
    if error < 0:
        raise from_errno(error, "seal shared memory")


def check_memory(fd: int, size_bytes: int) -> bool:
    """Tells whether a received descriptor is sealed against shrinking and has the size it should have."""
    return bool(lib.lunar_memory_check(fd, size_bytes) == 0)


def queue_geometry(depth: int) -> tuple[int, int]:
    """Returns the capacity (a power of two, at least `depth`) and the slots of a match's queue."""
    capacity = 1 << max(depth - 1, 0).bit_length()
    return capacity, max(2 * capacity, int(lib.LUNAR_MIN_SLOTS))


def queue_bytes(capacity: int, slots: int) -> int:
    """Returns the size of the block that a match's two ends share."""
    return int(lib.lunar_queue_bytes(capacity, slots))


def create_bell_page() -> tuple[int, Mapping]:
    """Makes this process's bells: a descriptor that peers can only map read-only, and our writable mapping."""
    size_bytes = int(lib.BELL_PAGE_BYTES)
    fd = create_memory("lunar-bells", size_bytes)
    try:
        mapping = Mapping(fd, size_bytes, True, False)
        lib.lunar_bell_page_init(ffi.from_buffer(mapping))
        seal_memory(fd, read_only=True)
    except BaseException:
        os.close(fd)
        raise
    return fd, mapping


_answer = lib.lunar_doorbell_answer


def _open_eventfd() -> int:
    try:
        return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    except OSError as error:
        raise from_errno(-(error.errno or errno.EMFILE), "making a doorbell") from error


class Doorbell:
    """A descriptor that a foreign library's thread makes readable, without Python's lock.

    The library is given one of the two functions, by its address, and the argument to call it with. After the
    descriptor became readable: `clear` it, then ask each doorbell that shares it for its `answer`, then look at what
    there is.

    Args:
        shared: Whose descriptor it rings; None for one of its own.

    Raises:
        ResourceExhausted: There are no more descriptors.

    Attributes:
        fd: Readable since the first ring after the last `clear`.
        argument: Address of the doorbell; valid as long as this object, and nobody may ring after `close`.
        on_data: Address of a `void (*)(int32_t entity, void *argument)`.
        on_match: Address of the same with a DDS match status, by value, in between.
    """

    def __init__(self, shared: Doorbell | None = None) -> None:
        self._owns = shared is None
        self.fd: int = _open_eventfd() if shared is None else shared.fd
        self._bell = ffi.new("lunar_doorbell *", {"fd": self.fd})
        self.argument = int(ffi.cast("uintptr_t", self._bell))
        self.on_data = int(ffi.cast("uintptr_t", lib.lunar_doorbell_ringer(0)))
        self.on_match = int(ffi.cast("uintptr_t", lib.lunar_doorbell_ringer(1)))

    def ring(self) -> None:
        """Makes the descriptor readable, from this process."""
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Makes the descriptor unreadable, for all that share it."""
        try:  # suppress() would cost more than the call
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def answer(self) -> tuple[bool, bool]:
        """Whether it was rung by the library since the last answer, and whether a match came or went."""
        answer = _answer(self._bell)
        if not answer:
            return False, False
        return bool(answer & lib.LUNAR_DOORBELL_RUNG), bool(answer & lib.LUNAR_DOORBELL_MATCHED)

    def close(self) -> None:
        """Closes the descriptor, if it is its own; a second call does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0 and self._owns:
            os.close(fd)


def peer_groups(fd: int) -> list[int]:
    """Returns the supplementary groups of the process at the other end of a Unix socket, when it connected.

    Written with the system call because Python's own `getsockopt` returns 1024 bytes at most, and a user may be in more
    groups than that.
    """
    length = ffi.new("unsigned int *", 0)
    for _ in range(2):  # how many there are; then which (they cannot change)
        groups = ffi.new("unsigned int[]", length[0] // 4)
        if lib.getsockopt(fd, lib.SOL_SOCKET, lib.LUNAR_SO_PEERGROUPS, groups, length) == 0:
            return [int(group) for group in groups[0 : length[0] // 4]]
        if ffi.errno != errno.ERANGE:
            break
    raise from_errno(-ffi.errno, "ask for a peer's groups")
