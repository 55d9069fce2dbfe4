"""`Node.events()`: what it yields, from when on, to whom, and what the log gets while nobody listens."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable

import pytest

import lunar
from lunar import events
from lunar.testing import Child, collect

StartChild = Callable[..., Child]


@pytest.mark.every_loop
async def test_both_ends_of_a_match_and_of_its_end_are_told(node: lunar.Node) -> None:
    async with collect(node, events.Event) as seen:
        publisher = node.create_publisher(bytes, "chatter")
        subscription = node.create_subscription(bytes, "chatter")
        matched = list(await seen.wait_for(2))
        publisher.close()
        (unmatched,) = (await seen.wait_for(3))[2:]
    assert {type(event) for event in matched} == {events.Matched}
    ends = {
        (event.local.id, event.remote.id) for event in matched if isinstance(event, events.Matched) and event.remote
    }
    assert ends == {(publisher.id, subscription.id), (subscription.id, publisher.id)}
    assert isinstance(unmatched, events.Unmatched)
    assert unmatched.local.id == subscription.id
    assert str(unmatched).startswith("subscription of /chatter in node /tested (pid ")


async def test_another_process_s_coming_and_going_is_told(node: lunar.Node, start_child: StartChild) -> None:
    subscription = node.create_subscription(bytes, "chatter")
    child = start_child("other")
    async with collect(node, events.Matched, events.Unmatched) as seen:
        child.call("publisher", topic="chatter", qos={})
        await seen.wait_for(1)
        child.call("close_publisher", topic="chatter")
        await seen.wait_for(2)
    assert [type(event) for event in seen.events] == [events.Matched, events.Unmatched]
    for event in seen.events:
        assert event.remote is not None
        assert (event.local.id, event.remote.node_name, event.remote.pid) == (subscription.id, "/other", child.pid)
        assert event.topic == "/chatter"


async def test_nothing_is_missed_between_the_call_and_the_first_turn(node: lunar.Node) -> None:
    stream = node.events()
    publisher = node.create_publisher(bytes, "chatter")
    node.create_subscription(bytes, "chatter")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    async with asyncio.timeout(5):
        first = await anext(stream)
    assert type(first) is events.Matched


async def test_what_happened_before_the_call_is_not_told(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "early")
    subscription = node.create_subscription(bytes, "early")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await subscription.wait_for_publishers(1, timeout_s=5)
    async with collect(node, events.Matched) as seen:
        publisher = node.create_publisher(bytes, "late")
        node.create_subscription(bytes, "late")
        await seen.wait_for(2)
    assert {event.topic for event in seen.events} == {"/late"}


async def test_each_of_several_listeners_gets_every_event(node: lunar.Node) -> None:
    async with collect(node, events.Matched) as first, collect(node, events.Matched) as second:
        node.create_publisher(bytes, "chatter")
        node.create_subscription(bytes, "chatter")
        assert await first.wait_for(2) == await second.wait_for(2)


async def test_a_node_hears_of_its_own_endpoints_only(node: lunar.Node) -> None:
    with lunar.Node("other") as other:
        async with collect(node, events.Matched) as here, collect(other, events.Matched) as there:
            publisher = node.create_publisher(bytes, "chatter")
            subscription = other.create_subscription(bytes, "chatter")
            await here.wait_for(1)
            await there.wait_for(1)
    assert [event.local.id for event in here.events] == [publisher.id]
    assert [event.local.id for event in there.events] == [subscription.id]


@pytest.mark.every_loop
async def test_the_iteration_ends_when_the_node_is_closed_and_gives_what_is_there_first(node: lunar.Node) -> None:
    stream = node.events()
    publisher = node.create_publisher(bytes, "chatter")
    subscription = node.create_subscription(bytes, "chatter")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await subscription.wait_for_publishers(1, timeout_s=5)
    node.close()
    kinds = [type(event) async for event in stream]
    # Whether the close itself is still heard of depends on how fast the control thread is.
    assert kinds[:2] == [events.Matched, events.Matched]
    assert set(kinds[2:]) <= {events.Unmatched}


@pytest.mark.every_loop
async def test_whoever_waits_for_an_event_is_told_of_the_close(node: lunar.Node) -> None:
    async def listen() -> list[events.Event]:
        return [event async for event in node.events()]

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    node.close()
    async with asyncio.timeout(5):
        assert await listening == []


def test_events_are_heard_in_a_loop_of_another_thread() -> None:
    heard: list[events.Event] = []
    listens = threading.Event()

    with lunar.Node("tested") as node:

        async def listen() -> None:
            stream = node.events()
            listens.set()
            async for event in stream:
                heard.append(event)
                if len(heard) == 2:
                    return

        thread = threading.Thread(target=lunar.run, args=(listen(),))
        thread.start()
        assert listens.wait(5)
        node.create_publisher(bytes, "chatter")
        node.create_subscription(bytes, "chatter")
        thread.join(5)
    assert [type(event) for event in heard] == [events.Matched, events.Matched]


async def mismatch(node: lunar.Node, topic: str) -> None:
    """Makes two endpoints that do not match, and waits until that has been found out."""
    node.create_publisher(bytes, topic, qos=lunar.QoS(reliability="best_effort"))
    node.create_subscription(bytes, topic)
    # Announcements keep their order: once these two have met, the others have been judged.
    subscription = node.create_subscription(bytes, f"{topic}_done")
    await node.create_publisher(bytes, f"{topic}_done").wait_for_subscribers(1, timeout_s=5)
    await subscription.wait_for_publishers(1, timeout_s=5)


async def test_warnings_are_logged_while_nobody_listens(node: lunar.Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="lunar")

    def warnings() -> list[str]:
        return [record.message for record in caplog.records if record.levelno >= logging.WARNING]

    await mismatch(node, "before")
    assert len(warnings()) == 2
    async with collect(node, events.IncompatibleQoS) as seen:
        await mismatch(node, "meanwhile")
        await seen.wait_for(2)
    assert len(warnings()) == 2
    gc.collect()
    await mismatch(node, "after")
    assert len(warnings()) == 4
    # What is no warning is there for whoever wants to see everything.
    assert any("matched with" in record.message for record in caplog.records if record.levelno == logging.DEBUG)


async def test_a_stream_that_is_dropped_no_longer_listens(node: lunar.Node, caplog: pytest.LogCaptureFixture) -> None:
    node.create_publisher(bytes, "first")
    node.create_subscription(bytes, "first")
    async for _ in node.events():
        break
    stream = node.events()
    del stream
    await mismatch(node, "chatter")
    told = [record.message for record in caplog.records if record.name == "lunar"]
    assert len(told) == 2, caplog.text


async def test_a_listener_that_does_not_keep_up_loses_its_oldest_events_and_nothing_else(node: lunar.Node) -> None:
    stream = node.events()
    publisher = node.create_publisher(bytes, "chatter")
    for _ in range(6000):
        node._listeners.notify(events.Matched(publisher._local.info, None))
        node._listeners.notify(events.Unmatched(publisher._local.info, None))
    node.close()
    assert len([event async for event in stream]) == 10_000


async def test_every_event_says_what_it_is_about(node: lunar.Node) -> None:
    async with collect(node, events.Event) as seen:
        await mismatch(node, "chatter")
        await seen.wait_for(4)
    texts = {type(event).__name__: str(event) for event in seen.events}
    assert "matched with" in texts["Matched"]
    assert texts["IncompatibleQoS"].startswith("incompatible QoS, no match: ")
    assert {event.severity for event in seen.events} == {"info", "warning"}
