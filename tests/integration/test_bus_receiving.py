"""Every way to receive, on every event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

import lunar
from lunar.testing import Child

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]

LOSSLESS = lunar.QoS(history="keep_all")


async def take(subscription: lunar.Subscription[memoryview], count: int) -> list[lunar.Sample[memoryview]]:
    samples: list[lunar.Sample[memoryview]] = []
    while len(samples) < count:
        samples += await subscription.receive_many(count - len(samples))
    return samples


@pytest.mark.every_loop
async def test_receive_gives_what_is_there_and_waits_for_what_is_not(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"there")
    assert bytes(await subscription.receive()) == b"there"
    waiting = asyncio.create_task(subscription.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    publisher.publish_nowait(b"later")
    assert bytes(await waiting) == b"later"


@pytest.mark.every_loop
async def test_a_message_of_another_process_wakes_whoever_waits(
    connect: Connect, node: lunar.Node, start_child: Callable[..., Child]
) -> None:
    child = start_child("other")
    pong = node.create_subscription(bytes, "pong", qos=LOSSLESS)
    ping = node.create_publisher(bytes, "ping", qos=LOSSLESS)
    child.call("subscription", topic="ping", qos=LOSSLESS.to_dict())
    child.call("publisher", topic="pong", qos=LOSSLESS.to_dict())
    child.start("echo", ping="ping", pong="pong", count=200)
    await ping.wait_for_subscribers(1, timeout_s=5)
    await pong.wait_for_publishers(1, timeout_s=5)
    for number in range(200):
        await ping.publish(b"%d" % number)
        assert bytes(await pong.receive()) == b"%d" % number
    child.answer()


async def test_receive_nowait_gives_or_raises(connect: Connect) -> None:
    publisher, subscription = await connect()
    with pytest.raises(lunar.WouldBlock, match="nothing to receive"):
        subscription.receive_nowait()
    publisher.publish_many([b"zero", b"one"])
    assert bytes(await subscription.receive()) == b"zero"
    assert bytes(subscription.receive_nowait()) == b"one"
    with pytest.raises(lunar.WouldBlock):
        subscription.receive_nowait()


async def test_receive_blocking_gives_or_times_out(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"one")
    assert bytes(subscription.receive_blocking()) == b"one"
    publisher.publish_nowait(b"two")
    assert bytes(subscription.receive_blocking(timeout_s=0)) == b"two"
    for timeout_s in (0, 0.001, 0.02):
        began = time.monotonic()
        with pytest.raises(lunar.TimeoutError, match="nothing was received in time"):
            subscription.receive_blocking(timeout_s=timeout_s)
        assert time.monotonic() - began >= timeout_s
    with pytest.raises(ValueError, match="must not be negative"):
        subscription.receive_blocking(timeout_s=-1)


async def test_a_blocking_receiver_is_woken_by_a_message(connect: Connect) -> None:
    publisher, subscription = await connect()
    receiving = asyncio.create_task(asyncio.to_thread(subscription.receive_blocking, 10))
    publisher.publish_nowait(b"woken")
    assert bytes(await receiving) == b"woken"


async def test_take_gives_what_is_there_and_never_waits(connect: Connect) -> None:
    publisher, subscription = await connect()
    assert subscription.take(3) == []
    publisher.publish_many([b"", b"0", b"1", b"2", b"3", b"4"])
    await subscription.receive()
    assert [bytes(sample.message) for sample in subscription.take(3)] == [b"0", b"1", b"2"]
    assert subscription.take(0) == []
    assert [bytes(sample.message) for sample in subscription.take(3)] == [b"3", b"4"]


@pytest.mark.every_loop
async def test_receive_many_waits_for_the_first_and_takes_what_is_there(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_many([b"0", b"1", b"2"])
    assert [bytes(sample.message) for sample in await subscription.receive_many(2)] == [b"0", b"1"]
    assert [bytes(sample.message) for sample in await subscription.receive_many(2)] == [b"2"]
    waiting = asyncio.create_task(subscription.receive_many(2))
    await asyncio.sleep(0)
    assert not waiting.done()
    publisher.publish_nowait(b"3")
    assert [bytes(sample.message) for sample in await waiting] == [b"3"]
    with pytest.raises(ValueError, match="at least 1"):
        await subscription.receive_many(0)


async def test_receive_many_blocking(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_many([b"0", b"1", b"2"])
    assert len(subscription.receive_many_blocking(10)) == 3
    with pytest.raises(lunar.TimeoutError):
        subscription.receive_many_blocking(10, timeout_s=0.001)
    with pytest.raises(ValueError, match="at least 1"):
        subscription.receive_many_blocking(0)
    receiving = asyncio.create_task(asyncio.to_thread(subscription.receive_many_blocking, 10, 10))
    publisher.publish_nowait(b"3")
    assert [bytes(sample.message) for sample in await receiving] == [b"3"]


@pytest.mark.every_loop
async def test_iteration_ends_when_the_subscription_is_closed(connect: Connect) -> None:
    publisher, subscription = await connect()
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def iterate() -> None:
        async for message in subscription:
            got.put_nowait(bytes(message))

    iterating = asyncio.create_task(iterate())
    publisher.publish_many([b"0", b"1"])
    assert [await got.get(), await got.get()] == [b"0", b"1"]
    subscription.close()
    await iterating
    assert [message async for message in subscription] == []


@pytest.mark.every_loop
@pytest.mark.parametrize("close", ["subscription", "node"])
async def test_whoever_waits_is_told_of_the_close(connect: Connect, node: lunar.Node, close: str) -> None:
    _, subscription = await connect()
    waiting = [asyncio.create_task(subscription.receive()), asyncio.create_task(subscription.receive_many(3))]
    in_a_thread = asyncio.create_task(asyncio.to_thread(_other(node, "elsewhere").receive_blocking, 10))
    await asyncio.sleep(0)
    (subscription if close == "subscription" else node).close()
    for task in waiting:
        with pytest.raises(lunar.ClosedError, match="subscription is closed"):
            await task
    node.close()
    with pytest.raises(lunar.ClosedError, match=r"closed"):
        await in_a_thread


def _other(node: lunar.Node, topic: str) -> lunar.Subscription[memoryview]:
    return node.create_subscription(bytes, topic)


async def test_after_the_close_every_call_says_so_and_a_second_close_does_nothing(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"too late")
    subscription.close()
    subscription.close()
    with pytest.raises(lunar.ClosedError):
        await subscription.receive()
    with pytest.raises(lunar.ClosedError):
        await subscription.receive_many(1)
    for call in (
        subscription.receive_nowait,
        subscription.receive_blocking,
        lambda: subscription.take(1),
        lambda: subscription.receive_many_blocking(1),
    ):
        with pytest.raises(lunar.ClosedError):
            call()
    assert "closed" in repr(subscription)


async def test_a_sample_unpacks_into_its_message_and_its_info(connect: Connect) -> None:
    publisher, subscription = await connect()
    before_ns = time.time_ns()
    publisher.publish_many([b"one", b"two"])
    published_ns = time.time_ns()
    first, second = await take(subscription, 2)
    after_ns = time.time_ns()
    message, info = first
    assert (bytes(message), message.readonly, first.size_bytes) == (b"one", True, 3)
    assert (first.message, first.info.sequence_number) == (message, info.sequence_number)
    assert [len(first), bytes(first[0]), first[1].sequence_number] == [2, b"one", 1]
    assert [info.sequence_number, second.info.sequence_number, second.sequence_number] == [1, 2, 2]
    assert info.publisher_id == publisher.id
    # The wall clock may be adjusted meanwhile; these two are of one moment of the test.
    slack_ns = 1_000_000
    assert before_ns - slack_ns <= info.source_time_ns <= published_ns + slack_ns
    assert info.source_time_ns <= info.reception_time_ns <= after_ns + slack_ns
    with pytest.raises(IndexError):
        first[2]


async def test_an_info_that_is_asked_for_twice_says_the_same(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"one")
    (sample,) = await subscription.receive_many(1)
    infos = {(sample.info.source_time_ns, sample.info.reception_time_ns) for _ in range(100)}
    assert len(infos) == 1


async def test_sequence_numbers_count_each_publisher_by_itself(connect: Connect, node: lunar.Node) -> None:
    first, subscription = await connect(offered=LOSSLESS)
    second = node.create_publisher(bytes, "chatter", qos=LOSSLESS)
    await second.wait_for_subscribers(1, timeout_s=5)
    await subscription.wait_for_publishers(2, timeout_s=5)
    for _ in range(3):
        first.publish_nowait(b"first")
        second.publish_nowait(b"second")
    seen: dict[str, list[int]] = {first.id: [], second.id: []}
    for _, info in await take(subscription, 6):
        seen[info.publisher_id].append(info.sequence_number)
    assert list(seen.values()) == [[1, 2, 3], [1, 2, 3]]


async def test_what_awaits_can_be_made_a_task_gathered_shielded_and_timed(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_many([b"0", b"1", b"2", b"3", b"4"])
    assert bytes(await asyncio.create_task(subscription.receive())) == b"0"
    both = await asyncio.gather(subscription.receive(), subscription.receive())
    assert sorted(bytes(message) for message in both) == [b"1", b"2"]
    assert bytes(await asyncio.shield(subscription.receive())) == b"3"
    assert bytes(await asyncio.wait_for(subscription.receive(), 5)) == b"4"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(subscription.receive(), 0.001)
    async with asyncio.TaskGroup() as group:
        received = group.create_task(subscription.receive())
        group.create_task(publisher.publish(b"5"))
    assert bytes(received.result()) == b"5"


async def test_an_operation_is_awaited_once(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_many([b"0", b"1"])
    operation = subscription.receive()
    assert bytes(await operation) == b"0"
    with pytest.raises(RuntimeError, match="already awaited"):
        await operation
    assert bytes(subscription.receive_nowait()) == b"1"


async def test_an_operation_that_is_never_awaited_takes_nothing_and_says_so(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"0")

    async def forget_and_receive() -> bytes:
        subscription.receive()  # type: ignore[unused-coroutine]
        return bytes(await subscription.receive())

    with pytest.warns(RuntimeWarning, match=r"Subscription\.receive was never awaited"):
        assert await forget_and_receive() == b"0"


async def test_a_subscription_names_itself(connect: Connect, node: lunar.Node) -> None:
    publisher, subscription = await connect("~/private", lunar.QoS(depth=3))
    assert subscription.topic == "/tested/private"
    assert subscription.qos == lunar.QoS(depth=3)
    assert (subscription.publisher_count, publisher.subscriber_count) == (1, 1)
    assert len(subscription.id) == 32
    assert subscription.id != publisher.id
    assert repr(subscription) == "<Subscription of /tested/private>"
    publisher.close()
    other = node.create_publisher(bytes, "~/private")
    await subscription.wait_for_publishers(1, timeout_s=5)
    assert other.topic == "/tested/private"


@pytest.mark.every_loop
async def test_two_receivers_of_one_subscription_take_turns(connect: Connect) -> None:
    publisher, subscription = await connect()
    took: asyncio.Queue[str] = asyncio.Queue()

    async def receive(name: str) -> None:
        while True:
            await subscription.receive()
            took.put_nowait(name)

    publisher.publish_nowait(b"")
    await subscription.receive()
    receivers = [asyncio.create_task(receive(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    order = []
    for _ in range(6):
        publisher.publish_nowait(b"")
        order.append(await took.get())
    for receiver in receivers:
        receiver.cancel()
    assert order == ["first", "second"] * 3
