"""Collects a node's events, so that a test can wait for them instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from lunar import errors

__all__ = ["Collector", "HasEvents", "collect"]

E = TypeVar("E")


class HasEvents(Protocol):
    """What can be watched: a `lunar.Node`, or a stand-in for one."""

    def events(self) -> AsyncIterator[object]:
        """Yields what happens from the call on."""


class Collector(Generic[E]):
    """Keeps the events of certain types; made by `collect`, used as `async with`.

    Attributes:
        events: What has happened since the block was entered, oldest first.
    """

    def __init__(self, source: HasEvents, types: tuple[type[E], ...]) -> None:
        self._source = source
        self._types = types
        self._arrived = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.events: list[E] = []

    async def _read(self, events: AsyncIterator[object]) -> None:
        async for event in events:
            if isinstance(event, self._types):
                self.events.append(event)
                self._arrived.set()

    async def wait_for(self, count: int = 1, timeout_s: float = 5.0) -> list[E]:
        """Waits until `count` events are there, those before the call included.

        Returns:
            `events` as it is then; there may be more than `count`.

        Raises:
            TimeoutError: They were not within `timeout_s` seconds; the text has those that were.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.events) < count:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError as error:
            names = " or ".join(kind.__name__ for kind in self._types)
            seen = "; ".join(str(event) for event in self.events) or "none"
            raise errors.TimeoutError(f"not {count} of {names} within {timeout_s} s: {seen}") from error
        return self.events

    async def __aenter__(self) -> Self:
        events = self._source.events()  # from here on nothing is missed
        self._reading = asyncio.create_task(self._read(events), name="collect events")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        reading, self._reading = self._reading, None  # it would keep the iterator, which would count as a listener
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])


def collect(source: HasEvents, *types: type[E]) -> Collector[E]:
    """Collects a node's events of some types, while the block of `async with` lasts.

    Events that somebody collects count as listened to: they are not logged.

    Args:
        source: The node.
        *types: Classes of `lunar.events`, at least one; `Event` stands for all.

    Raises:
        ValueError: No type is given.
    """
    if not types:
        raise ValueError("collect what? give at least one type of event")
    return Collector(source, types)
