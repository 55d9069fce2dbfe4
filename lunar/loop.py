"""`lunar.run`, and the event loop whose selector spins briefly on Lunar's queues before it sleeps.

Why a selector: asyncio asks it for events exactly when there is nothing else to do. Spinning there takes nothing from
any task, and a message that arrives meanwhile costs no system call and no wake-up of a sleeping thread. Everything else
is asyncio's own loop; a plain loop or uvloop works as well and is woken through a descriptor.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from lunar.errors import LunarError
from lunar.graph.waiting import forget_loop

if TYPE_CHECKING:
    from lunar._native._bus import Pump, Waiter

__all__ = ["EventLoop", "LoopKind", "new_event_loop", "run"]

T = TypeVar("T")
LoopKind = Literal["auto", "lunar", "asyncio", "uvloop"]

# While messages keep coming, how long other descriptors may go unseen.
_OTHERS_EVERY_S = 200e-6
# A publisher without room looks again by itself; see waiter.c, BLOCKED_RECHECK_NS.
_BLOCKED_RECHECK_S = 10e-3

_Events = list[tuple[selectors.SelectorKey, int]]  # type: ignore[explicit-any]


class _SpinningSelector(selectors.EpollSelector):
    """epoll, preceded by a bounded look at the queues that tasks wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.waiter: Waiter | None = None
        self._others_at = 0.0
        self._pumps: dict[int, Pump] = {}  # by descriptor

    def adopt(self, pump: Pump) -> None:
        """Serves what brings samples from other hosts, while there is nothing else to do."""
        if pump.fileno() not in self._pumps:
            self.register(pump.fileno(), selectors.EVENT_READ)
            self._pumps[pump.fileno()] = pump
            if self.waiter is not None:
                self.waiter.adopt_pump(pump)

    def release(self, pump: Pump) -> None:
        """Serves it no longer."""
        for fd in [fd for fd, known in self._pumps.items() if known is pump]:
            del self._pumps[fd]
            self.unregister(fd)
        if self.waiter is not None:
            self.waiter.release_pump(pump)

    def select(self, timeout: float | None = None) -> _Events:  # type: ignore[explicit-any]
        """As the base class. Ready signals are handed to the loop (call_soon) and need no event."""
        if not self._pumps:
            return self._spin_and_select(timeout)
        if timeout is not None and timeout <= 0:  # there is something to run: not worth the lending
            return self._serve_ready(self._spin_and_select(timeout))
        pumps = list(self._pumps.values())
        for pump in pumps:
            pump.lend()
        try:
            if (self.waiter is None or not self.waiter.pending) and not all(pump.may_sleep() for pump in pumps):
                timeout = 0
            return self._serve_ready(self._spin_and_select(timeout))
        finally:
            for pump in pumps:
                pump.take_back()

    def _serve_ready(self, events: _Events) -> _Events:  # type: ignore[explicit-any]
        # Served here and now: it is a sample that somebody waits for, and the control thread stays asleep.
        ready = {event[0].fd for event in events if event[0].fd in self._pumps}
        due = [pump for fd, pump in self._pumps.items() if fd in ready or pump.has_work()]
        if not due:
            return events
        for pump in due:
            pump.serve()
        if self.waiter is not None:
            self.waiter.dispatch()
        return [event for event in events if event[0].fd not in ready]

    def _spin_and_select(self, timeout: float | None = None) -> _Events:  # type: ignore[explicit-any]
        waiter = self.waiter
        if waiter is None or not waiter.pending:
            return super().select(timeout)
        if waiter.spin(0 if timeout == 0 else timeout, self.fileno()):
            now = time.monotonic()
            if now - self._others_at < _OTHERS_EVERY_S:
                return []
            self._others_at = now
            return super().select(0)
        if timeout == 0:
            return super().select(0)
        if not waiter.arm():
            waiter.dispatch()
            return super().select(0)
        try:
            if waiter.blocked and (timeout is None or timeout > _BLOCKED_RECHECK_S):
                timeout = _BLOCKED_RECHECK_S
            events = super().select(timeout)
        finally:
            waiter.disarm()
        waiter.dispatch()
        return events


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's selector loop with the spinning selector."""

    def __init__(self) -> None:
        self._spinning = _SpinningSelector()
        super().__init__(self._spinning)

    def adopt_waiter(self, waiter: Waiter) -> None:
        """Called by Lunar when something of its is first awaited in this loop."""
        self._spinning.waiter = waiter
        # asyncio has no public way to ask a loop whether it is idle; without these the waiter never spins in a task.
        ready, timers = getattr(self, "_ready", None), getattr(self, "_scheduled", None)
        if ready is not None and isinstance(timers, list):
            waiter.adopt(self._spinning.fileno(), ready, timers)
        self.add_reader(waiter.fileno(), waiter.drain)

    def release_waiter(self, waiter: Waiter) -> None:
        """Called by Lunar when the waiter is about to close."""
        if self._spinning.waiter is waiter:
            self._spinning.waiter = None
            self.remove_reader(waiter.fileno())

    def adopt_pump(self, pump: Pump) -> None:
        """Called by Lunar for what brings samples from other hosts; in this loop's thread, as is the next one."""
        self._spinning.adopt(pump)

    def release_pump(self, pump: Pump) -> None:
        """Called by Lunar when it closes."""
        self._spinning.release(pump)

    def close(self) -> None:
        """Closes the loop and its waiter."""
        if not self.is_closed() and not self.is_running():
            forget_loop(self)
        super().close()


def new_event_loop(loop: LoopKind = "auto") -> asyncio.AbstractEventLoop:
    """Makes an event loop by name; "auto" and "lunar" are the spinning one.

    Raises:
        LunarError: "uvloop" is not installed.
        ValueError: There is no loop of that name.
    """
    match loop:
        case "auto" | "lunar":
            return EventLoop()
        case "asyncio":
            return asyncio.SelectorEventLoop()
        case "uvloop":
            try:
                import uvloop
            except ImportError as error:
                raise LunarError("uvloop is not installed; remedy: pip install 'lunar-mom[uvloop]'") from error
            made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return made
        case _:
            raise ValueError(f"loop={loop!r} is not one of 'auto', 'lunar', 'asyncio', 'uvloop'")


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Lets a Ctrl-C that comes just before asyncio's loop goes to sleep end that sleep.

    Its handler, which cancels the main task, is Python and runs when the call that sleeps returns: something has to
    make it return. uvloop does so by itself.
    """
    if not isinstance(loop, asyncio.SelectorEventLoop) or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        loop.add_reader(reading, os.read, reading, 4096)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reading)
    finally:
        os.close(reading)
        os.close(writing)


def run(main: Coroutine[object, object, T], *, loop: LoopKind = "auto", debug: bool | None = None) -> T:
    """Runs a coroutine to its end, as `asyncio.run` does, on the loop that wakes fastest.

    Args:
        main: The coroutine.
        loop: "auto" or "lunar": spins briefly on what is awaited, as long as the profiles' `resources` say, before
            it sleeps. "asyncio", "uvloop": sleep at once.
        debug: As for `asyncio.run`.

    Returns:
        What the coroutine returned.

    Raises:
        RuntimeError: A loop is running in this thread.
        LunarError: "uvloop" is not installed.
        ValueError: There is no loop of that name.
    """
    try:
        # A runner finds out too late: it cannot close the loop that it has made by then.
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("lunar.run() cannot be called from a running event loop")
        with (
            asyncio.Runner(debug=debug, loop_factory=partial(new_event_loop, loop)) as runner,
            _woken_by_signals(runner.get_loop()),
        ):
            return runner.run(main)
    finally:
        main.close()  # if it never started
