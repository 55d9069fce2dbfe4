"""The control thread: sockets, timers and posted work, one after the other, in a thread of their own."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVarTuple

__all__ = ["ControlThread"]

_log = logging.getLogger("lunar")

Ts = TypeVarTuple("Ts")

# More than the kernel takes in one call (2**31 ms) would be an error.
_LONGEST_SLEEP_S = 3600.0


class ControlThread:
    """Sleeps in epoll, without a time-out unless a timer is set, until there is something to do.

    `post` and `close` may be called from any thread; the rest belongs to the control thread, or to before its start.
    """

    def __init__(self) -> None:
        self._work: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._watched: dict[int, Callable[[int], object]] = {}
        self._closing = False
        self._at_work = threading.RLock()
        self._wake = -1
        self._epoll = select.epoll()
        try:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._epoll.register(self._wake, select.EPOLLIN)
        except BaseException:
            self.close_descriptors()
            raise
        self._thread = threading.Thread(target=self._run, name="lunar-control", daemon=True)
        self._last: Callable[[], object] = int

    def start(self, last: Callable[[], object]) -> None:
        """Starts it; `last` is what it does before it ends."""
        self._last = last
        self._thread.start()

    def post(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Runs a function in the control thread, soon and in order."""
        self._work.append(partial(function, *args))
        try:
            os.eventfd_write(self._wake, 1)
        except (OSError, ValueError):  # full of wake-ups, or closed
            return

    def call_later(self, delay_s: float, function: Callable[[], object]) -> None:
        """Runs a function after a while."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), function))

    def watch(self, fd: int, ready: Callable[[int], object]) -> None:
        """Calls `ready` with epoll's mask whenever the descriptor is readable or at its end."""
        self._epoll.register(fd, select.EPOLLIN)
        self._watched[fd] = ready

    def fileno(self) -> int:
        """The epoll that it sleeps in."""
        return self._epoll.fileno()

    def want(self, fd: int, *, read: bool = True, write: bool = False) -> None:
        """Changes what a watched descriptor is watched for; its end always is."""
        self._epoll.modify(fd, (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0))

    def unwatch(self, fd: int) -> None:
        """The descriptor is about to be closed."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def pause(self, timeout_s: float) -> bool:
        """Waits until the thread is at rest and keeps it there; `resume` if this returned True.

        A fork needs that: what is half done (a socket accepted, in no list yet) the child could not find and close.
        """
        return self._at_work.acquire(timeout=timeout_s)

    def resume(self) -> None:
        """Lets the thread go on."""
        self._at_work.release()

    def close(self) -> None:
        """Lets the thread finish what was posted and waits for its end. Not for the control thread itself."""
        self._closing = True
        self.post(int)
        self._thread.join()

    def close_after_fork(self) -> None:
        """In a child process, where the thread does not exist: close our copies of the descriptors."""
        self._closing = True
        self.close_descriptors()

    def close_descriptors(self) -> None:
        """For a thread that never started; another does so at its end."""
        self._epoll.close()
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)

    def _run(self) -> None:
        try:
            while not self._closing or self._work:
                ready = self._epoll.poll(self._timeout_s())
                with self._at_work:
                    for fd, mask in ready:
                        self._serve(fd, mask)
                    self._run_due()
        finally:
            with self._at_work:
                self._guarded(self._last)
                self.close_descriptors()

    def _timeout_s(self) -> float:
        if self._work:
            return 0
        if self._timers:
            return min(max(0.0, self._timers[0][0] - time.monotonic()), _LONGEST_SLEEP_S)
        return -1

    def _serve(self, fd: int, mask: int) -> None:
        if fd == self._wake:
            os.eventfd_read(fd)
        elif (ready := self._watched.get(fd)) is not None:
            self._guarded(partial(ready, mask))

    def _run_due(self) -> None:
        for _ in range(len(self._work)):
            self._guarded(self._work.popleft())
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._guarded(heapq.heappop(self._timers)[2])

    def _guarded(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:  # noqa: BLE001 - one bad request must not end the thread that everybody depends on
            _log.exception("the control thread failed in %s", function)
