"""Streams of events: who gets what, and when the log does."""

import asyncio
import gc
import logging

import pytest

from lunar.events import Event
from lunar.graph.listeners import Listeners


class Grave(Event):
    def __str__(self) -> str:
        return "something grave"


class Light(Event):
    severity = "info"

    def __str__(self) -> str:
        return "something light"


@pytest.fixture
def listeners() -> Listeners:
    return Listeners()


async def test_a_stream_gives_what_happened_since_it_was_opened_in_order(listeners: Listeners) -> None:
    happened = [Grave(), Light(), Grave()]
    listeners.notify(happened[0])
    stream = listeners.open()
    for event in happened[1:]:
        listeners.notify(event)
    listeners.close()
    assert [event async for event in stream] == happened[1:]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stream_that_waits_is_woken_from_any_thread(listeners: Listeners) -> None:
    stream = listeners.open()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    event = Grave()
    await asyncio.to_thread(listeners.notify, event)
    assert await waiting is event
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await asyncio.to_thread(listeners.close)
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_cancelled_wait_takes_nothing(listeners: Listeners) -> None:
    stream = listeners.open()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    listeners.notify(Grave())
    waiting.cancel()
    await asyncio.wait([waiting])
    assert type(await anext(stream)) is Grave


def test_while_nobody_listens_the_log_gets_it_by_its_severity(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="lunar")
    listeners.notify(Grave())
    listeners.notify(Light())
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "something grave"),
        ("DEBUG", "something light"),
    ]


def test_a_stream_keeps_the_log_quiet_as_long_as_somebody_holds_it(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    stream = listeners.open()
    listeners.notify(Grave())
    assert caplog.records == []
    del stream
    gc.collect()
    listeners.notify(Grave())
    assert len(caplog.records) == 1


def test_a_stream_whose_loop_is_closed_disturbs_nobody(listeners: Listeners) -> None:
    stream = listeners.open()

    async def begin() -> None:
        listeners.notify(Light())
        await anext(stream)

    asyncio.run(begin())
    listeners.notify(Grave())
    listeners.close()
