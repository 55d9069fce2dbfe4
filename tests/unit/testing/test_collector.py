"""The event collector, on a stand-in for a node."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from lunar import errors
from lunar.testing import collect


class Source:
    """Yields what it is given; `listeners` says how many iterate."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[object] = asyncio.Queue()
        self.listeners = 0

    async def events(self) -> AsyncIterator[object]:
        self.listeners += 1
        try:
            while True:
                yield await self.queue.get()
        finally:
            self.listeners -= 1


async def test_it_keeps_the_asked_types_in_order() -> None:
    source = Source()
    async with collect(source, int, str) as seen:
        for event in (1, 2.0, "three", b"four", 5):
            source.queue.put_nowait(event)
        assert await seen.wait_for(3) == [1, "three", 5]
        assert seen.events == [1, "three", 5]


async def test_it_wakes_for_an_event_that_comes_later() -> None:
    source = Source()
    async with collect(source, int) as seen:
        waiting = asyncio.create_task(seen.wait_for(2))
        for event in (1, 2):
            await asyncio.sleep(0)
            source.queue.put_nowait(event)
        assert await waiting == [1, 2]


async def test_it_says_what_it_saw_when_the_time_is_over() -> None:
    source = Source()
    source.queue.put_nowait(7)
    async with collect(source, int, str) as seen:
        await seen.wait_for(1)
        with pytest.raises(errors.TimeoutError, match=r"not 2 of int or str within 0.001 s: 7"):
            await seen.wait_for(2, timeout_s=0.001)


async def test_it_stops_listening_when_the_block_ends() -> None:
    source = Source()
    async with collect(source, int) as seen:
        source.queue.put_nowait(1)
        await seen.wait_for(1)
        assert source.listeners == 1
    assert source.listeners == 0
    assert seen.events == [1]


async def test_it_wants_a_type() -> None:
    with pytest.raises(ValueError, match="at least one type"):
        collect(Source())
