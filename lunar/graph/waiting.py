"""Who waits in this process: one waiter an event loop, one a thread, and the bells that wake them.

A waiter owns a bell on the process's bell page. Each link brings a socket on which its peer rings; every waiter
watches all of them, because any peer may have a sample for it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from lunar._native._bus import Waiter, set_waiter_finders
from lunar._native.control import BELLS, create_bell_page
from lunar.errors import LunarError, ResourceExhausted, from_errno

if TYPE_CHECKING:
    from lunar._native._bus import Mapping, Pump

__all__ = [
    "Bells",
    "acquire_bells",
    "after_fork_in_child",
    "after_fork_in_parent",
    "before_fork",
    "forget_loop",
    "release_bells",
]


class _ThreadWaiter:
    """Holds a thread's waiter; goes with the thread, and then gives the bell back."""

    def __init__(self, bells: Bells) -> None:
        self.waiter = bells.open_waiter(None)
        self.bells = bells

    def __del__(self) -> None:
        bells: Bells | None = getattr(self, "bells", None)  # None: there never was a waiter
        if bells is not None:
            bells.close_waiter(self.waiter)


class Bells:
    """The bell page of this process and its waiters. Safe to use from any thread.

    Attributes:
        fd: Descriptor of the page, for peers; they can only map it read-only.
        size_bytes: Its size.
    """

    def __init__(self) -> None:
        self.fd, self._mapping = create_bell_page()
        self.size_bytes = self._mapping.size_bytes
        self._lock = threading.RLock()
        self._free = list(range(BELLS - 1, -1, -1))
        self._waiters: set[Waiter] = set()
        self._by_loop: dict[asyncio.AbstractEventLoop, Waiter] = {}
        self._threads = threading.local()
        self._sockets: set[int] = set()
        self._pumps: list[Pump] = []
        self._closed = False

    @property
    def mapping(self) -> Mapping:
        """The page, writable."""
        return self._mapping

    def open_waiter(self, loop: asyncio.AbstractEventLoop | None) -> Waiter:
        """Makes a waiter that watches all links, for a loop or (None) for a thread.

        Raises:
            ResourceExhausted: More loops and threads wait than there are bells, or no descriptor is left.
        """
        with self._lock:
            if self._closed:
                raise LunarError("the last node of this process is closed")
            if not self._free:
                raise ResourceExhausted(f"more than {BELLS} loops and threads of this process wait at once")
            try:
                return self._open_waiter(loop)
            except OSError as error:
                if error.errno == errno.EINVAL:  # the kernel wakes no more than 500 nested epolls for one socket
                    raise ResourceExhausted("more loops of this process wait than the kernel can wake") from error
                raise from_errno(-(error.errno or errno.EIO), "wait for messages") from error

    def _open_waiter(self, loop: asyncio.AbstractEventLoop | None) -> Waiter:
        managed = getattr(loop, "adopt_waiter", None)
        waiter = Waiter(self._mapping, self._free[-1], loop, managed is not None)
        self._free.pop()
        self._waiters.add(waiter)
        try:
            for fd in self._sockets:
                waiter.watch(fd)
            if managed is not None:
                managed(waiter)
                for pump in self._pumps:
                    _adopt(loop, pump)
            elif loop is not None:
                loop.add_reader(waiter.fileno(), _woken, waiter)
            else:
                for pump in self._pumps:
                    waiter.adopt_pump(pump)
        except BaseException:
            self.close_waiter(waiter)
            raise
        return waiter

    def close_waiter(self, waiter: Waiter) -> None:
        """Closes it and frees its bell; again: does nothing."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.discard(waiter)
                self._free.append(waiter.index)
                waiter.close()

    def of_running_loop(self) -> Waiter:
        """Returns the running loop's waiter."""
        loop = asyncio.get_running_loop()
        waiter = self._by_loop.get(loop)
        if waiter is None:
            with self._lock:
                for gone in [other for other in self._by_loop if other.is_closed()]:
                    self.close_waiter(self._by_loop.pop(gone))
                waiter = self._by_loop[loop] = self.open_waiter(loop)
                self._keep_pumps_watched()
        return waiter

    def of_this_thread(self) -> Waiter:
        """Returns the calling thread's waiter."""
        held: _ThreadWaiter | None = getattr(self._threads, "held", None)
        if held is None:
            held = self._threads.held = _ThreadWaiter(self)
        return held.waiter

    def forget_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Closes the waiter of a loop that is about to close."""
        with self._lock:
            waiter = self._by_loop.pop(loop, None)
            if waiter is not None:
                if not loop.is_closed():
                    _leave(loop, waiter)
                self.close_waiter(waiter)
                self._keep_pumps_watched()

    def watch(self, fd: int) -> None:
        """A new link's bell socket wakes every waiter from now on."""
        with self._lock:
            self._sockets.add(fd)
            for waiter in self._waiters:
                waiter.watch(fd)

    def unwatch(self, fd: int) -> None:
        """The link is about to close its bell socket."""
        with self._lock:
            self._sockets.discard(fd)
            for waiter in self._waiters:
                waiter.unwatch(fd)

    def add_pump(self, pump: Pump) -> None:
        """Idle loops of ours, and threads that wait, serve it from now on."""
        with self._lock:
            self._pumps.append(pump)
            for waiter in self._of_threads():
                waiter.adopt_pump(pump)
            for loop in self._by_loop:
                _in_loop(loop, partial(_adopt, loop, pump))
            self._keep_pumps_watched()

    def _keep_pumps_watched(self) -> None:
        """Other loops than ours do not serve pumps: where one waits, the control thread has to."""
        needed = any(not hasattr(loop, "adopt_pump") for loop in self._by_loop)
        for pump in self._pumps:
            pump.keep_watched(needed)

    def remove_pump(self, pump: Pump) -> None:
        """It is about to close."""
        with self._lock:
            self._pumps.remove(pump)
            for waiter in self._of_threads():
                waiter.release_pump(pump)
                waiter.kick()  # it may sleep on the descriptor
            for loop in self._by_loop:
                _in_loop(loop, partial(_release, loop, pump))

    def _of_threads(self) -> set[Waiter]:
        return self._waiters - set(self._by_loop.values())

    def kick_all(self) -> None:
        """Something changed that waiters may wait for: all look again."""
        with self._lock:
            for waiter in self._waiters:
                waiter.kick()

    def close(self) -> None:
        """Closes every waiter and the page. Loops that still run lose nothing but their waiter."""
        with self._lock:
            self._closed = True
            of_loops = set(self._by_loop.values())
            for waiter in self._waiters - of_loops:
                self.close_waiter(waiter)
            for loop, waiter in self._by_loop.items():
                self._part(loop, waiter)
            self._by_loop.clear()
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1

    def _part(self, loop: asyncio.AbstractEventLoop, waiter: Waiter) -> None:
        """Takes a waiter from its loop, in that loop's own thread, and closes it."""

        def part() -> None:
            if not loop.is_closed():
                waiter.dispatch()  # whoever waits on what has just been closed is told so
                _leave(loop, waiter)
            self.close_waiter(waiter)

        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop or loop.is_closed() or not loop.is_running():
            part()
            return
        try:
            loop.call_soon_threadsafe(part)
        except RuntimeError:  # closed meanwhile
            part()

    def close_after_fork(self) -> None:
        """In a child process: close our copies of the descriptors and touch nothing that is shared."""
        self._closed = True
        self._lock = threading.RLock()  # its holder may not exist here
        for waiter in self._waiters:
            waiter.dispatch()  # whoever waits is told that it cannot be here
            waiter.close()
        self._waiters.clear()
        self._by_loop.clear()
        if self.fd >= 0:
            os.close(self.fd)


def _woken(waiter: Waiter) -> None:
    # For loops that do not tell us when they go to sleep: armed as long as anybody waits.
    waiter.disarm()
    waiter.drain()
    waiter.dispatch()
    while waiter.pending and not waiter.arm():
        waiter.dispatch()


def _in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # that loop is closed
        loop.call_soon_threadsafe(function)


def _adopt(loop: asyncio.AbstractEventLoop | None, pump: Pump) -> None:
    adopt = getattr(loop, "adopt_pump", None)
    if adopt is not None:
        adopt(pump)


def _release(loop: asyncio.AbstractEventLoop, pump: Pump) -> None:
    release = getattr(loop, "release_pump", None)
    if release is not None:
        release(pump)


def _leave(loop: asyncio.AbstractEventLoop, waiter: Waiter) -> None:
    release = getattr(loop, "release_waiter", None)
    if release is not None:
        release(waiter)
    else:
        loop.remove_reader(waiter.fileno())


_lock = threading.Lock()
_current: Bells | None = None
_users = 0
_held = False


def _bells() -> Bells:
    if _current is None:
        raise LunarError("there is no open node in this process")
    return _current


def acquire_bells() -> Bells:
    """Returns this process's bells, made on first use; `release_bells` once for each call."""
    global _current, _users
    with _lock:
        if _current is None:
            _current = Bells()
        _users += 1
        return _current


def release_bells() -> None:
    """Closes the bells after the last user."""
    global _current, _users
    with _lock:
        _users -= 1
        if _users == 0 and _current is not None:
            _current.close()
            _current = None


def before_fork(timeout_s: float) -> None:
    """Waits until no other thread opens or closes the bells."""
    global _held
    _held = _lock.acquire(timeout=timeout_s)


def after_fork_in_parent() -> None:
    """Lets other threads go on."""
    global _held
    if _held:
        _held = False
        _lock.release()


def after_fork_in_child() -> None:
    """Forgets the parent's bells."""
    global _current, _users, _lock, _held
    _lock, _held = threading.Lock(), False
    if _current is not None:
        _current.close_after_fork()
    _current, _users = None, 0


def forget_loop(loop: asyncio.AbstractEventLoop) -> None:
    """A loop of ours is about to close."""
    bells = _current
    if bells is not None:
        bells.forget_loop(loop)


set_waiter_finders(lambda: _bells().of_running_loop(), lambda: _bells().of_this_thread())
