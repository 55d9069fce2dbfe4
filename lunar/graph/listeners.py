"""Who listens to a node's events; while nobody does, warnings go to the log."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lunar.events import Event

__all__ = ["EventStream", "Listeners"]

_log = logging.getLogger("lunar")

# A listener that does not keep up loses its oldest events rather than fill the memory.
_MAX_EVENTS = 10_000


class EventStream(AsyncIterator["Event"]):
    """The events of one node from the moment this was made; iterated in one event loop."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def put(self, event: Event) -> None:
        """Takes an event, from any thread."""
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """Nothing comes any more: the iteration ends with what is there. From any thread."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._loop is None:
            return  # not yet iterated: the first look will find it
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:  # its loop is closed
            return

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self._loop = asyncio.get_running_loop()
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()


class Listeners:
    """The streams of one node. One that is dropped no longer listens. Safe to use from any thread."""

    def __init__(self) -> None:
        self._streams: list[weakref.ref[EventStream]] = []

    def open(self) -> EventStream:
        """Returns a stream of what happens from now on."""
        stream = EventStream()
        self._streams.append(weakref.ref(stream, self._streams.remove))
        return stream

    def notify(self, event: Event) -> None:
        """Tells everybody, or the log."""
        streams = self._open_streams()
        for stream in streams:
            stream.put(event)
        if not streams:
            _log.log(logging.WARNING if event.severity == "warning" else logging.DEBUG, "%s", event)

    def close(self) -> None:
        """Ends all streams."""
        for stream in self._open_streams():
            stream.close()

    def _open_streams(self) -> list[EventStream]:
        found = [reference() for reference in list(self._streams)]
        return [stream for stream in found if stream is not None]
