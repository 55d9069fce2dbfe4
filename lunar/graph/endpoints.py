"""This process's endpoints as the graph holds them: the native side, the matches, and who wants to hear of changes.

All of it belongs to the control thread, except what says otherwise.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from lunar import errors

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lunar import abc
    from lunar._native._bus import Reader, ReaderMatch, Writer, WriterMatch
    from lunar.events import Event, LossCause
    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.link import Link
    from lunar.graph.network.remote import RemoteProcess
    from lunar.graph.schemas import Described

__all__ = ["AnyLink", "LocalPublisher", "LocalSubscription", "MatchCount", "PublisherMatch", "SubscriptionMatch"]

AnyLink = Union["Link", "RemoteProcess"]
"""Another process, of this host or of another one."""

_Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]

_WAIT_AT_MOST_S = 0.25


class MatchCount:
    """How many matches an endpoint has, and a way to wait for more. Safe to use from any thread."""

    def __init__(self) -> None:
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []

    @property
    def value(self) -> int:
        """The count now."""
        return self._count

    def set(self, count: int, tell: Callable[[], object] = lambda: None) -> None:
        """Changes it and wakes whoever waits.

        Args:
            count: The count.
            tell: Tells of the change: whoever is told finds this count, and whoever waited goes on after it.
        """
        self._change(count, closed=self._closed, tell=tell)

    def close(self) -> None:
        """The endpoint is closed: there are no matches, and whoever waits for some is told so."""
        self._change(0, closed=True)

    def _change(self, count: int, *, closed: bool, tell: Callable[[], object] = lambda: None) -> None:
        with self._changed:
            self._count, self._closed = count, closed
            tell()
            self._changed.notify_all()
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            try:
                loop.call_soon_threadsafe(_finish, future)
            except RuntimeError:  # that loop is closed
                continue

    async def wait_for(self, count: int, timeout_s: float | None, what: str) -> None:
        """Waits until there are at least `count`; cancelling changes nothing.

        Raises:
            ClosedError: The endpoint is closed.
            TimeoutError: There were not within `timeout_s`.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    with self._changed:
                        if self._is_reached(count, what):
                            return
                        future = loop.create_future()
                        self._waiting.append((loop, future))
                    await future
        except TimeoutError as error:
            raise self._late(count, timeout_s, what) from error

    def wait_for_blocking(self, count: int, timeout_s: float | None, what: str) -> None:
        """The same for threads without a loop."""
        give_up_at = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._is_reached(count, what):
                left_s = give_up_at - time.monotonic()
                if left_s <= 0:
                    raise self._late(count, timeout_s, what)
                # In parts: a Ctrl-C that comes just before the wait begins does not end it, but shows after it.
                self._changed.wait(min(left_s, _WAIT_AT_MOST_S))

    def _is_reached(self, count: int, what: str) -> bool:
        if self._closed:
            raise errors.ClosedError(f"closed while {what} were waited for")
        return self._count >= count

    def _late(self, count: int, timeout_s: float | None, what: str) -> errors.TimeoutError:
        return errors.TimeoutError(f"{self._count} of {count} {what} after {timeout_s} s")


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(eq=False, slots=True)
class PublisherMatch:
    """One match of a local publisher.

    Attributes:
        release: Stops to serve it.
        upstream: What was lost beyond its queue, by cause.
        reported: Losses that an event has told of.
    """

    link: AnyLink
    remote: EndpointInfo
    native: WriterMatch
    release: Callable[[], object]
    upstream: Callable[[], dict[LossCause, int]] = dict
    reported: dict[LossCause, int] = field(default_factory=dict)

    def losses(self) -> dict[LossCause, int]:
        """What was lost so far, by cause."""
        return _losses(self)


@dataclass(eq=False, slots=True)
class SubscriptionMatch:
    """One match of a local subscription.

    Attributes:
        since_ns: When it was made, monotonic.
        asserted_ns: The last sign of life without a message that a publisher on another host is known to have given,
            likewise; 0: none. On this host shared memory tells of it.
        lost_after_ns: The last sign of life before liveliness was last reported lost.
        upstream: What was lost before it came to its queue, by cause.
        reported: Losses that an event has told of.
    """

    link: AnyLink
    remote: EndpointInfo
    native: ReaderMatch
    upstream: Callable[[], dict[LossCause, int]] = dict
    since_ns: int = field(default_factory=time.monotonic_ns)
    asserted_ns: int = 0
    lost_after_ns: int = -1
    reported: dict[LossCause, int] = field(default_factory=dict)

    @property
    def newest_ns(self) -> int:
        """When the newest sample was published, monotonic; 0: never.

        From another host: when it came, since the clock there may be another one.
        """
        return self.native.alive_ns if self.remote.host else self.native.newest_ns

    @property
    def alive_ns(self) -> int:
        """The last sign of life, or the match, whatever was last; monotonic, and written by the peer in part."""
        return max(self.native.alive_ns, self.newest_ns, self.asserted_ns, self.since_ns)

    def losses(self) -> dict[LossCause, int]:
        """What was lost so far, by cause."""
        return _losses(self)


def _losses(found: PublisherMatch | SubscriptionMatch) -> dict[LossCause, int]:
    native = found.native
    counts: dict[LossCause, int] = {
        "overwritten": native.lost_overwritten,
        "held": native.lost_held,
        "expired": native.lost_expired,
    }
    for cause, count in found.upstream().items():
        counts[cause] = counts.get(cause, 0) + count
    return counts


@dataclass(eq=False, slots=True)
class LocalPublisher:
    """A publisher of this process.

    Attributes:
        info: What others are told.
        writer: Its native side.
        end: Its transport's side.
        notify: Takes its events; any thread.
        described: Its message type's schema and root table; None: raw bytes.
        count: Its matches, counted.
        matches: By link and the subscription's id.
        ended_lost: Samples that matches which are over had lost, by cause.
        lock: Held while a match goes over from the one to the other, so that whoever adds them up counts it once.
        lost_after_ns: The last sign of life before liveliness was last reported lost.
    """

    info: EndpointInfo
    writer: Writer[ReadableBuffer]
    end: abc.PublisherEnd
    notify: Callable[[Event], None]
    described: Described | None = None
    count: MatchCount = field(default_factory=MatchCount)
    matches: dict[tuple[AnyLink, str], PublisherMatch] = field(default_factory=dict)
    ended_lost: dict[LossCause, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    deadlines_missed: int = 0
    lost_after_ns: int = -1


@dataclass(eq=False, slots=True)
class LocalSubscription:
    """A subscription of this process; attributes as of `LocalPublisher`, and two more.

    Attributes:
        check: Raises VerificationError for bytes from another host that are no message of its type; None: all are.
        draining: Matches that are over and still have samples, which may yet expire.
    """

    info: EndpointInfo
    reader: Reader[object]
    notify: Callable[[Event], None]
    described: Described | None = None
    check: Callable[[ReadableBuffer], object] | None = None
    count: MatchCount = field(default_factory=MatchCount)
    matches: dict[tuple[AnyLink, str], SubscriptionMatch] = field(default_factory=dict)
    ended_lost: dict[LossCause, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    deadlines_missed: int = 0
    draining: list[SubscriptionMatch] = field(default_factory=list)
