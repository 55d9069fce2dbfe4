"""Closes what a peer has passed and should not have.

Theory. The last close of a descriptor may take as long as whoever made it likes: a TCP socket lingers until what it has
sent is taken, a file system that is a process of the peer's is asked and need not answer. And a Unix socket may
hold such descriptors in messages that nobody has read. Memory, which is all that an honest peer passes besides the
socket of its bells, closes at once. So everything else is closed by a thread of its own, which may wait.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Iterable

__all__ = ["dispose", "is_memory", "wait_for_disposal"]

# Threads that a peer has made wait; beyond that its descriptors wait for one another.
_MOST_THREADS = 8

_lock = threading.Lock()
_waiting: deque[int] = deque()
_threads: set[threading.Thread] = set()


def is_memory(fd: int) -> bool:
    """Tells whether a descriptor is a memfd, and asks nobody but the kernel."""
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return True


def dispose(fds: Iterable[int]) -> None:
    """Closes descriptors, memory at once and anything else soon; never waits. From any thread."""
    foreign: list[int] = []
    for fd in fds:
        if is_memory(fd):
            os.close(fd)
        else:
            foreign.append(fd)
    if not foreign:
        return
    with _lock:
        _waiting.extend(foreign)
        if len(_threads) >= _MOST_THREADS:
            return
        thread = threading.Thread(target=_close_them, name="lunar-disposal", daemon=True)
        _threads.add(thread)
        try:
            thread.start()
            return
        except RuntimeError:  # this process may have no more threads
            _threads.discard(thread)
            if _threads:
                return  # they will come to it
    _close_them()


def _close_them() -> None:
    while True:
        with _lock:
            if not _waiting:
                _threads.discard(threading.current_thread())
                return
            fd = _waiting.popleft()
        os.close(fd)


def wait_for_disposal(timeout_s: float) -> None:
    """Returns when all is closed that can be, or after a while."""
    deadline = time.monotonic() + timeout_s
    for thread in list(_threads):
        thread.join(max(0.0, deadline - time.monotonic()))


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    copies = list(_waiting)
    _waiting.clear()
    _threads.clear()
    dispose(copies)


os.register_at_fork(after_in_child=_after_fork_in_child)
