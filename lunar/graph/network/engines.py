"""EngineHost: an engine of a transport between hosts, served by the control thread and used by any."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from lunar._native._bus import Pump
from lunar.errors import from_errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from lunar.abc import Capabilities, Engine
    from lunar.graph.control import ControlThread
    from lunar.graph.waiting import Bells

__all__ = ["EngineHost", "Flushed"]

# While an engine has more to do at once, so many turns of a millisecond before others have theirs.
_TURNS_MORE = 2

# Timers that are due this close together are one: setting one wakes the control thread.
_CLOSE_TOGETHER_S = 0.0005

_log = logging.getLogger("lunar")


class Flushed(Protocol):
    """Something that has samples for an engine."""

    def flush(self) -> None:
        """Hands over what there is; called with the engine's lock held."""


class _Entrance:
    """A lock whose holder looks around after it has let go of it.

    Args:
        mutex: The lock.
        left: What to do then.
    """

    __slots__ = ("_left", "_mutex")

    def __init__(self, mutex: threading.RLock, left: Callable[[], object]) -> None:
        self._mutex, self._left = mutex, left

    def __enter__(self) -> None:
        self._mutex.acquire()

    def __exit__(self, *_raised: object) -> None:
        self._mutex.release()
        self._left()


class EngineHost:
    """Sees to it that one thread at a time is in an engine, and that it is served when it has something to do.

    Args:
        name: The transport's name.
        capabilities: What the transport can do.
        engine: The engine; it is closed with its host.
        control: The control thread.
        bells: Whose idle loops may serve it.

    Attributes:
        lock: Held by whoever is in the engine; who lets go of it hands over what others could not meanwhile.
        failed: Called once in the control thread, with this and the reason, if the engine cannot go on.
    """

    def __init__(
        self, name: str, capabilities: Capabilities, engine: Engine, control: ControlThread, bells: Bells
    ) -> None:
        self.name = name
        self.capabilities = capabilities
        self.engine = engine
        self._mutex = threading.RLock()
        self.lock = _Entrance(self._mutex, self._left)
        self.failed: Callable[[EngineHost, str], object] = _nothing
        self._control, self._bells = control, bells
        try:
            self._pump = Pump(engine.fileno(), control.fileno(), self.serve, engine.native)
        except OSError as error:
            raise from_errno(-(error.errno or errno.EMFILE), "making a timer") from error
        self._dirty: deque[Flushed] = deque()
        self._due_s = 0.0  # when a timer is set for, monotonic; 0: none
        self._closed = self._retired = self._disposed = False
        self._carries = self._serving = False

    @property
    def is_closed(self) -> bool:
        """Whether it is not served any more."""
        return self._closed

    def start(self) -> None:
        """Serves the engine from now on. Called in the control thread, as `close` is."""
        self._control.watch(self.engine.fileno(), self._ready)
        self._control.watch(self._pump.guard_fileno(), lambda _mask: self._pump.reclaim())
        self.serve()

    def carry(self) -> None:
        """A stream is about to be opened: idle loops serve it from now on. Before, lending it would be for nothing."""
        if not self._carries:
            self._carries = True
            self._bells.add_pump(self._pump)

    def fileno(self) -> int:
        """The engine's descriptor."""
        return self.engine.fileno()

    def _ready(self, _mask: int) -> None:
        self.serve()

    def serve(self) -> None:
        """Lets the engine do what it has to do now."""
        if self._closed:
            return
        try:
            with self._mutex:
                self._serving = True  # and a signal's handler, in the midst of it, that publishes is not to do so again
                try:
                    wait_s = self._work()
                finally:
                    self._serving = False
        except Exception as error:  # noqa: BLE001 - whatever it is: others may go on, and who called is not to blame
            _log.error("the transport %s has failed", self.name, exc_info=error)
            self.fail(str(error) or type(error).__name__)
            return
        if self._dirty:
            self._flush_dirty()
        if wait_s is not None:
            self._serve_by(time.monotonic() + wait_s)

    def _work(self) -> float | None:
        wait_s = self.engine.work()
        for _ in range(_TURNS_MORE):
            if wait_s != 0.0:
                break
            wait_s = self.engine.work()
        return wait_s

    def _serve_by(self, due_s: float) -> None:
        # Set here and not in the control thread: else whoever serves until it has woken would ask for the same again.
        if not 0 < self._due_s <= due_s + _CLOSE_TOGETHER_S:
            self._due_s = due_s
            self._control.post(self._set_timer, due_s)

    def _set_timer(self, due_s: float) -> None:
        if due_s == self._due_s:
            self._control.call_later(max(0.0, due_s - time.monotonic()), partial(self._due, due_s))

    def _due(self, due_s: float) -> None:
        if due_s == self._due_s:
            self._due_s = 0.0
            self.serve()

    def published(self, stream: Flushed) -> None:
        """Lets a stream hand over what was published now, and takes what has come for whoever publishes. Any thread."""
        self.flush(stream)
        if self._pump.attend() and not self._serving:
            self.serve()

    def direct(self, send: Callable[[], object]) -> Callable[[], object]:
        """As `published`, for a stream that an engine in C takes from the queue itself, by `send`."""
        return self._pump.after(send)

    def flush(self, stream: Flushed) -> None:
        """Lets a stream hand over what it has: now, or as soon as whoever is in the engine leaves it. Any thread."""
        # Who finds the lock taken leaves its stream to the holder, who looks again after it has let go.
        if self._mutex.acquire(blocking=False):
            try:
                self._flush_one(stream)
            finally:
                self._mutex.release()
        else:
            self._dirty.append(stream)
        if self._dirty:
            self._flush_dirty()

    def _left(self) -> None:
        if self._dirty and not self._closed:
            self._flush_dirty()

    def _flush_dirty(self) -> None:
        while self._dirty and self._mutex.acquire(blocking=False):
            try:
                while self._dirty:
                    self._flush_one(self._dirty.popleft())
            finally:
                self._mutex.release()

    def _flush_one(self, stream: Flushed) -> None:
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - the others are to be served on
            _log.exception("the transport %s failed to send", self.name)

    def fail(self, reason: str) -> None:
        """Gives the engine up: it is not served any more. What may not be lost can still be recalled. Any thread."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            self._pump.stop()
        self._control.post(lambda: self.failed(self, reason))

    def retire(self) -> None:
        """Has nobody watch its descriptor any more; loops hear of that when they turn next, so it stays open."""
        with self.lock:
            if self._retired:
                return
            self._retired = self._closed = True
            if self._carries:
                self._bells.remove_pump(self._pump)
            self._control.unwatch(self.engine.fileno())
            self._control.unwatch(self._pump.guard_fileno())
            self._pump.close()

    def close(self) -> None:
        """Closes the engine."""
        with self.lock:
            if self._disposed:
                return
            self._disposed, failed = True, self._closed
            self.retire()
            try:
                self.engine.close()
            except Exception:
                if not failed:
                    raise
                _log.exception("the transport %s, which has failed, could not be closed", self.name)

    def discard(self) -> None:
        """Closes the engine of a host that was never started."""
        self._pump.close()
        self.engine.close()

    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors."""
        self._pump.close()
        self.engine.close_after_fork()


def _nothing(_host: EngineHost, _reason: str) -> None:
    """Nobody asked to be told."""
