"""Durability: what late joiners get of a transient_local publisher's history, and nobody else."""

import asyncio
from collections.abc import Callable

import pytest

import lunar
from lunar.testing import Child, numbered, read_number

StartChild = Callable[..., Child]


def transient(depth: int, **more: object) -> lunar.QoS:
    return lunar.QoS.from_dict({"durability": "transient_local", "depth": depth, **more})


async def receive(subscription: lunar.Subscription[memoryview], count: int) -> list[int]:
    async with asyncio.timeout(10):
        return [read_number(await subscription.receive()) for _ in range(count)]


def publish(publisher: lunar.Publisher[object], first: int, count: int) -> None:
    assert publisher.publish_many([numbered(number) for number in range(first, first + count)]) == count


@pytest.mark.parametrize(
    ("offered", "requested", "published", "expected"),
    [
        (10, 10, 4, 4),
        (5, 10, 20, 5),
        (10, 3, 20, 3),
        (1, 1, 20, 1),
        (1, 100, 20, 1),
        (1000, 1000, 700, 700),
    ],
)
async def test_a_late_joiner_gets_the_history_limited_by_both_depths(
    node: lunar.Node, offered: int, requested: int, published: int, expected: int
) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=transient(offered))
    publish(publisher, 0, published)
    late = node.create_subscription(bytes, "chatter", qos=transient(requested))
    assert await receive(late, expected) == list(range(published - expected, published))
    publish(publisher, published, 1)
    assert await receive(late, 1) == [published]
    assert late.take(1) == []
    # What is not part of the history was not promised to it: it has lost nothing.
    assert (late.statistics().lost, publisher.statistics().lost) == (0, 0)


async def test_the_history_comes_once_in_order_and_before_what_is_new(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=transient(50, history="keep_all"))
    publish(publisher, 0, 50)
    late = node.create_subscription(bytes, "chatter", qos=transient(500, history="keep_all"))
    for number in range(50, 250):  # while they meet
        await publisher.publish(numbered(number))
        await asyncio.sleep(0)
    received = await receive(late, 1)
    while received[-1] < 249:
        received += await receive(late, 1)
    # It may have joined after more than the first 50; from there on nothing is missing and nothing comes twice.
    assert received == list(range(received[0], 250))
    samples_per_publisher = late.statistics().received
    assert samples_per_publisher == len(received)


async def test_samples_of_the_history_say_when_they_were_published(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=transient(3))
    publish(publisher, 0, 5)
    late = node.create_subscription(bytes, "chatter", qos=transient(3))
    samples: list[lunar.Sample[memoryview]] = []
    while len(samples) < 3:
        samples += await late.receive_many(3)
    infos = [info for _, info in samples]
    assert [info.sequence_number for info in infos] == [3, 4, 5]
    assert all(info.source_time_ns < info.reception_time_ns for info in infos)


@pytest.mark.parametrize(
    ("offered", "requested"),
    [(transient(10), lunar.QoS()), (lunar.QoS(), lunar.QoS())],
    ids=["volatile subscription", "both volatile"],
)
async def test_a_volatile_end_gets_and_gives_no_history(
    node: lunar.Node, offered: lunar.QoS, requested: lunar.QoS
) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=offered)
    publish(publisher, 0, 5)
    late = node.create_subscription(bytes, "chatter", qos=requested)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    publish(publisher, 5, 1)
    assert await receive(late, 1) == [5]
    assert late.statistics().lost == 0


async def test_each_of_several_late_joiners_gets_it(node: lunar.Node, start_child: StartChild) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=transient(5))
    publish(publisher, 0, 8)
    child = start_child("late")
    for topic_depth in (5, 2):
        late = node.create_subscription(bytes, "chatter", qos=transient(topic_depth))
        assert await receive(late, topic_depth) == list(range(8 - topic_depth, 8))
    child.call("subscription", topic="chatter", qos=transient(4).to_dict())
    assert child.call("receive", topic="chatter", count=4) == [4, 5, 6, 7]


async def test_the_history_of_another_process_arrives(node: lunar.Node, start_child: StartChild) -> None:
    child = start_child("early")
    child.call("publisher", topic="chatter", qos=transient(6).to_dict())
    child.call("publish", topic="chatter", first=0, count=10, size_bytes=50_000)
    late = node.create_subscription(bytes, "chatter", qos=transient(10))
    assert await receive(late, 6) == [4, 5, 6, 7, 8, 9]


async def test_loans_are_part_of_the_history(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=transient(2))
    for number in range(3):
        with publisher.loan(1000) as buffer:
            buffer[:] = numbered(number, 1000)
    late = node.create_subscription(bytes, "chatter", qos=transient(2))
    assert await receive(late, 2) == [1, 2]


async def test_the_history_is_gone_with_its_publisher(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=transient(5))
    publish(publisher, 0, 5)
    publisher.close()
    second = node.create_publisher(bytes, "chatter", qos=transient(5))
    publish(second, 10, 1)
    late = node.create_subscription(bytes, "chatter", qos=transient(5))
    assert await receive(late, 1) == [10]
    assert late.take(1) == []


async def test_the_history_s_memory_is_used_again(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=transient(4))
    for _ in range(4):
        publisher.publish_nowait(bytes(1 << 20))
    pool_bytes = publisher.statistics().pool_bytes
    for _ in range(50):
        publisher.publish_nowait(bytes(1 << 20))
    # A sample more than the history may be in use while the oldest makes room.
    assert publisher.statistics().pool_bytes <= 2 * pool_bytes
