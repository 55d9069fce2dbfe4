"""Across processes: everything arrives, whole, once and in order, for many topics, ends and sizes."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

import lunar
from lunar.testing import NUMBERED_BYTES, Child, numbered, read_number

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]
StartChild = Callable[..., Child]

MIB = 1 << 20
LOSSLESS = lunar.QoS(history="keep_all")
DESCRIBED = LOSSLESS.to_dict()


async def receive(subscription: lunar.Subscription[memoryview], count: int) -> list[int]:
    async with asyncio.timeout(30):
        return [read_number(await subscription.receive()) for _ in range(count)]


@pytest.mark.every_loop
async def test_ten_thousand_small_messages_arrive_in_order(node: lunar.Node, start_child: StartChild) -> None:
    child = start_child("other")
    child.call("publisher", topic="chatter", qos=DESCRIBED)
    subscription = node.create_subscription(bytes, "chatter", qos=LOSSLESS)
    child.call("wait_for_subscribers", topic="chatter")
    child.start("publish", topic="chatter", first=0, count=10_000)
    assert await receive(subscription, 10_000) == list(range(10_000))
    child.answer()
    assert subscription.take(1) == []
    assert subscription.statistics().lost == 0


@pytest.mark.parametrize("size_bytes", [NUMBERED_BYTES, 64, 4096, 65_536, MIB, 64 * MIB])
async def test_every_size_arrives_whole(node: lunar.Node, start_child: StartChild, size_bytes: int) -> None:
    child = start_child("other")
    child.call("publisher", topic="there", qos=DESCRIBED)
    child.call("subscription", topic="back", qos=DESCRIBED)
    there = node.create_subscription(bytes, "there", qos=LOSSLESS)
    back = node.create_publisher(bytes, "back", qos=LOSSLESS)
    child.call("wait_for_subscribers", topic="there")
    await back.wait_for_subscribers(1, timeout_s=5)
    count = 3
    child.start("publish", topic="there", first=0, count=count, size_bytes=size_bytes)
    for number in range(count):
        message = await there.receive()
        assert (message.nbytes, read_number(message)) == (size_bytes, number)
        await back.publish(message)
        del message
    child.answer()
    assert child.call("receive", topic="back", count=count) == list(range(count))


async def test_many_topics_do_not_mix(node: lunar.Node, start_child: StartChild) -> None:
    child = start_child("other")
    topics = [f"topic_{index}" for index in range(20)]
    subscriptions = {topic: node.create_subscription(bytes, topic, qos=LOSSLESS) for topic in topics}
    for topic in topics:
        child.call("publisher", topic=topic, qos=DESCRIBED)
    for index, topic in enumerate(topics):
        child.call("wait_for_subscribers", topic=topic)
        child.call("publish", topic=topic, first=1000 * index, count=50)
    for index, topic in enumerate(topics):
        assert await receive(subscriptions[topic], 50) == list(range(1000 * index, 1000 * index + 50))
        assert subscriptions[topic].take(1) == []


async def test_many_publishers_and_many_subscriptions_of_one_topic(node: lunar.Node, start_child: StartChild) -> None:
    children = [start_child(f"other_{index}") for index in range(3)]
    subscriptions = [node.create_subscription(bytes, "chatter", qos=LOSSLESS) for _ in range(3)]
    for child in children:
        child.call("publisher", topic="chatter", qos=DESCRIBED)
        child.call("subscription", topic="chatter", qos=DESCRIBED)
    for child in children:
        child.call("wait_for_subscribers", topic="chatter", count=6)
    for index, child in enumerate(children):
        child.start("publish", topic="chatter", first=1000 * index, count=200)
    expected = sorted(1000 * index + number for index in range(3) for number in range(200))
    for subscription in subscriptions:
        got = await receive(subscription, 600)
        assert sorted(got) == expected
        for index in range(3):  # each publisher's in its order
            assert [number for number in got if number // 1000 == index] == expected[200 * index : 200 * (index + 1)]
    for child in children:
        child.answer()
        there = child.call("receive", topic="chatter", count=600)
        assert isinstance(there, list)
        assert sorted(there) == expected


async def test_both_ends_in_one_node_and_in_another_process_get_the_same(
    connect: Connect, start_child: StartChild
) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    child = start_child("other")
    child.call("subscription", topic="chatter", qos=DESCRIBED)
    await publisher.wait_for_subscribers(2, timeout_s=5)
    for number in range(500):
        await publisher.publish(numbered(number))
    assert await receive(subscription, 500) == list(range(500))
    assert child.call("receive", topic="chatter", count=500) == list(range(500))


async def test_several_threads_publish_with_one_publisher(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    count, threads = 500, 4

    def publish(index: int) -> None:
        for number in range(count):
            while True:
                try:
                    publisher.publish_nowait(numbered(1000 * index + number, 3000))
                except lunar.WouldBlock:
                    continue
                break

    running = [threading.Thread(target=publish, args=(index,)) for index in range(threads)]
    for thread in running:
        thread.start()
    got = await receive(subscription, count * threads)
    for thread in running:
        thread.join()
    for index in range(threads):
        own = [number - 1000 * index for number in got if number // 1000 == index]
        assert own == list(range(count))


async def test_several_threads_receive_with_subscriptions_of_their_own(connect: Connect, node: lunar.Node) -> None:
    publisher, _ = await connect(offered=LOSSLESS)
    subscriptions = [node.create_subscription(bytes, "chatter", qos=LOSSLESS) for _ in range(3)]
    await publisher.wait_for_subscribers(4, timeout_s=5)
    results: dict[int, list[int]] = {}

    def take(index: int) -> None:
        results[index] = [read_number(subscriptions[index].receive_blocking(timeout_s=10)) for _ in range(500)]

    running = [threading.Thread(target=take, args=(index,)) for index in range(3)]
    for thread in running:
        thread.start()
    await asyncio.to_thread(publisher.publish_many, [numbered(number) for number in range(500)])
    for thread in running:
        await asyncio.to_thread(thread.join, 10)
    assert results == {index: list(range(500)) for index in range(3)}


async def test_endpoints_that_come_and_go_disturb_nobody(connect: Connect, node: lunar.Node) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    for number in range(300):
        await publisher.publish(numbered(number))
        if number % 3 == 0:
            node.create_subscription(bytes, "chatter", qos=LOSSLESS).close()
        if number % 5 == 0:
            other = node.create_publisher(bytes, "chatter", qos=LOSSLESS)
            if number % 2:
                await other.wait_for_subscribers(1, timeout_s=5)
            other.close()
    assert await receive(subscription, 300) == list(range(300))


async def test_what_was_published_just_before_the_end_arrives(node: lunar.Node, start_child: StartChild) -> None:
    subscription = node.create_subscription(bytes, "chatter", qos=LOSSLESS)
    for end in ("close_publisher", "close_node", "process"):
        child = start_child("other")
        child.call("publisher", topic="chatter", qos=DESCRIBED)
        child.call("wait_for_subscribers", topic="chatter")
        child.call("publish", topic="chatter", first=0, count=20, size_bytes=100_000)
        match end:
            case "close_publisher":
                child.call(end, topic="chatter")
            case "close_node":
                child.call(end)
        child.close()
        assert await receive(subscription, 20) == list(range(20))
    assert subscription.statistics().received == 60
    assert subscription.publisher_count == 0


async def test_statistics_count_messages_and_bytes_on_both_sides(connect: Connect, node: lunar.Node) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    for size_bytes in (0, 1, 1000):
        await publisher.publish(bytes(size_bytes))
        await subscription.receive()
    sent, received = publisher.statistics(), subscription.statistics()
    assert (sent.topic, sent.published, sent.published_bytes, sent.waits, sent.lost) == ("/chatter", 3, 1001, 0, 0)
    assert (received.topic, received.received, received.received_bytes, received.lost) == ("/chatter", 3, 1001, 0)
    (match,) = sent.matches
    assert (match.subscription_id, match.node_name, match.queued, match.held) == (subscription.id, "/tested", 0, 0)
    (other,) = received.matches
    assert (other.publisher_id, other.node_name, other.received) == (publisher.id, "/tested", 3)
    publisher.publish_nowait(b"")
    assert publisher.statistics().matches[0].queued == 1
    publisher.close()
    await subscription.receive()
    async with lunar.testing.collect(node, lunar.events.Unmatched):
        subscription.close()
    # They can still be asked for afterwards.
    assert publisher.statistics().published == 4
    assert subscription.statistics().received == 4
