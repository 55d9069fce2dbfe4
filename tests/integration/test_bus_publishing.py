"""Every way to publish, on every event loop; loans are in test_bus_loans.py."""

import array
import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

import lunar
from lunar.statistics import PublisherStatistics

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]

DEPTH = 4
# A queue's real capacity is a power of two: with this depth it is exact.
LOSSLESS = lunar.QoS(history="keep_all", depth=DEPTH)


async def receive(subscription: lunar.Subscription[memoryview], count: int) -> list[bytes]:
    return [bytes(await subscription.receive()) for _ in range(count)]


@pytest.mark.every_loop
async def test_publish_does_not_wait_where_there_is_room(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    for number in range(DEPTH):
        # Driven by hand: it lets the loop turn now and then (None), but never asks it to wait for anything.
        assert set(publisher.publish(b"%d" % number).__await__()) <= {None}
    assert await receive(subscription, DEPTH) == [b"0", b"1", b"2", b"3"]


@pytest.mark.every_loop
async def test_publish_waits_where_nothing_may_be_lost(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    assert publisher.publish_many([b"%d" % number for number in range(DEPTH)]) == DEPTH
    waiting = asyncio.create_task(publisher.publish(b"waited"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await receive(subscription, DEPTH + 1) == [b"0", b"1", b"2", b"3", b"waited"]
    await waiting
    assert publisher.statistics().waits == 1


async def test_publish_that_is_never_awaited_says_so_and_publishes_nothing(connect: Connect) -> None:
    publisher, subscription = await connect()

    async def forget_and_publish() -> None:
        publisher.publish(b"forgotten")  # type: ignore[unused-coroutine]
        await publisher.publish(b"next")

    def forget_and_close() -> None:
        publisher.publish_all([b"forgotten"])  # type: ignore[unused-coroutine]
        publisher.close()

    with pytest.warns(RuntimeWarning, match=r"Publisher\.publish was never awaited"):
        await forget_and_publish()
    with pytest.warns(RuntimeWarning, match=r"Publisher\.publish_all was never awaited"):
        forget_and_close()
    assert publisher.statistics().published == 1
    assert await receive(subscription, 1) == [b"next"]


async def test_publish_nowait_refuses_only_where_nothing_may_be_lost(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    for number in range(DEPTH):
        publisher.publish_nowait(b"%d" % number)
    with pytest.raises(lunar.WouldBlock, match="no room"):
        publisher.publish_nowait(b"refused")
    assert await receive(subscription, 1) == [b"0"]
    publisher.publish_nowait(b"4")
    assert await receive(subscription, DEPTH) == [b"1", b"2", b"3", b"4"]
    assert publisher.statistics().published == DEPTH + 1


@pytest.mark.parametrize(
    ("offered", "requested"),
    [
        (lunar.QoS(history="keep_all", depth=DEPTH), lunar.QoS(depth=DEPTH)),
        (lunar.QoS(depth=DEPTH), lunar.QoS(history="keep_all", depth=DEPTH)),
        (LOSSLESS, LOSSLESS.replace(reliability="best_effort", depth=DEPTH)),
        (LOSSLESS.replace(reliability="best_effort"), LOSSLESS.replace(reliability="best_effort")),
    ],
    ids=["subscription keeps last", "publisher keeps last", "subscription is best effort", "both are best effort"],
)
async def test_nobody_waits_unless_both_ends_are_reliable_and_keep_all(
    connect: Connect, offered: lunar.QoS, requested: lunar.QoS
) -> None:
    publisher, subscription = await connect("chatter", offered, requested)
    for number in range(3 * DEPTH):
        publisher.publish_nowait(b"%d" % number)
    await publisher.publish(b"last")
    publisher.publish_blocking(b"very last", timeout_s=0)
    received = await receive(subscription, DEPTH)
    assert received == [b"10", b"11", b"last", b"very last"]
    assert publisher.statistics().waits == 0


async def test_publish_many_accepts_what_there_is_room_for(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    messages = [b"%d" % number for number in range(7)]
    assert publisher.publish_many(messages) == DEPTH
    assert publisher.publish_many(messages[DEPTH:]) == 0
    assert await receive(subscription, 2) == [b"0", b"1"]
    assert publisher.publish_many(tuple(messages[DEPTH:])) == 2
    assert await receive(subscription, DEPTH) == [b"2", b"3", b"4", b"5"]
    assert publisher.publish_many([]) == 0


@pytest.mark.every_loop
async def test_publish_all_waits_until_all_are_accepted(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    messages = [b"%d" % number for number in range(100)]
    publishing = asyncio.create_task(publisher.publish_all(messages))
    assert await receive(subscription, 100) == messages
    await publishing
    await publisher.publish_all([])
    assert publisher.statistics().published == 100


async def test_publish_blocking_waits_in_a_thread_without_a_loop(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)

    def publish() -> None:
        for number in range(100):
            publisher.publish_blocking(b"%d" % number, timeout_s=10)

    publishing = asyncio.create_task(asyncio.to_thread(publish))
    assert await receive(subscription, 100) == [b"%d" % number for number in range(100)]
    await publishing


async def test_publish_blocking_times_out_and_then_nothing_was_sent(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    publisher.publish_many([b""] * DEPTH)
    for timeout_s in (0, 0.001, 0.02):
        began = time.monotonic()
        with pytest.raises(lunar.TimeoutError, match="no room in time"):
            publisher.publish_blocking(b"late", timeout_s=timeout_s)
        assert time.monotonic() - began >= timeout_s
    assert await receive(subscription, DEPTH) == [b""] * DEPTH
    assert subscription.take(1) == []
    assert publisher.statistics().published == DEPTH


@pytest.mark.every_loop
async def test_all_waiters_get_in_when_there_is_room_for_all(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS.replace(resources="greedy"))
    publisher.publish_many([b""] * DEPTH)
    waiting = [asyncio.create_task(publisher.publish(b"%d" % number)) for number in range(DEPTH)]
    await asyncio.sleep(0)
    taken = await asyncio.to_thread(subscription.receive_many_blocking, DEPTH, 10)
    assert len(taken) == DEPTH
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert sorted(await receive(subscription, DEPTH)) == [b"0", b"1", b"2", b"3"]


@pytest.mark.every_loop
async def test_publishers_that_wait_take_turns(connect: Connect) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(history="keep_all", depth=1))

    async def publish(name: bytes) -> None:
        while True:
            await publisher.publish(name)

    tasks = [asyncio.create_task(publish(name)) for name in (b"a", b"b", b"c")]
    received = await receive(subscription, 30)
    for task in tasks:
        task.cancel()
    assert min(received.count(name) for name in (b"a", b"b", b"c")) >= 5


async def test_anything_that_is_bytes_like_is_a_message(connect: Connect) -> None:
    publisher, subscription = await connect()
    floats = array.array("d", [1.5, 2.5])
    for message in (b"bytes", bytearray(b"bytearray"), memoryview(b"view"), memoryview(b"-part-")[1:5], floats):
        publisher.publish_nowait(message)
    assert await receive(subscription, 5) == [b"bytes", b"bytearray", b"view", b"part", floats.tobytes()]


@pytest.mark.parametrize("message", ["text", 7, None, [b"list"], memoryview(b"strided")[::2]], ids=repr)
async def test_anything_else_is_refused_and_changes_nothing(connect: Connect, message: object) -> None:
    publisher, subscription = await connect()
    with pytest.raises(lunar.TypeMismatch):
        publisher.publish_nowait(message)
    with pytest.raises(lunar.TypeMismatch):
        await publisher.publish(message)
    with pytest.raises(lunar.TypeMismatch):
        publisher.publish_blocking(message)
    with pytest.raises(lunar.TypeMismatch):
        await publisher.publish_all([b"right", message])
    with pytest.raises(lunar.TypeMismatch):
        publisher.publish_many([message, b"right"])
    publisher.publish_nowait(b"good")
    assert await receive(subscription, 2) == [b"right", b"good"]


async def test_without_a_subscription_messages_are_counted_and_gone(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=LOSSLESS)
    for _ in range(10):
        await publisher.publish(b"nobody")
    statistics = publisher.statistics()
    assert statistics == PublisherStatistics("/chatter", 10, 60, waits=0, pool_bytes=0, lost=0, matches=())


@pytest.mark.every_loop
@pytest.mark.parametrize("close", ["publisher", "node"])
async def test_whoever_waits_is_told_of_the_close(connect: Connect, node: lunar.Node, close: str) -> None:
    publisher, _ = await connect(offered=LOSSLESS)
    publisher.publish_many([b""] * DEPTH)
    waiting = [asyncio.create_task(publisher.publish(b"")), asyncio.create_task(publisher.publish_all([b""]))]
    await asyncio.sleep(0)
    (publisher if close == "publisher" else node).close()
    for task in waiting:
        with pytest.raises(lunar.ClosedError, match="publisher is closed"):
            await task


async def test_a_blocked_thread_is_told_of_the_close(connect: Connect) -> None:
    publisher, _ = await connect(offered=LOSSLESS)
    publisher.publish_many([b""] * DEPTH)
    blocks = threading.Event()

    def publish() -> None:
        blocks.set()
        publisher.publish_blocking(b"")

    blocked = asyncio.create_task(asyncio.to_thread(publish))
    await asyncio.to_thread(blocks.wait, 5)
    publisher.close()
    with pytest.raises(lunar.ClosedError, match="publisher is closed"):
        await blocked


async def test_after_the_close_every_call_says_so_and_a_second_close_does_nothing(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"before")
    publisher.close()
    publisher.close()
    for call in (
        lambda: publisher.publish_nowait(b""),
        lambda: publisher.publish_blocking(b""),
        lambda: publisher.publish_many([b""]),
        lambda: publisher.loan(1).__enter__(),
    ):
        with pytest.raises(lunar.ClosedError):
            call()
    with pytest.raises(lunar.ClosedError):
        await publisher.publish(b"")
    with pytest.raises(lunar.ClosedError):
        await publisher.publish_all([b""])
    assert "closed" in repr(publisher)
    assert publisher.statistics().published == 1
    # What was published stays receivable.
    assert await receive(subscription, 1) == [b"before"]


async def test_a_closed_node_makes_no_endpoints(node: lunar.Node) -> None:
    node.close()
    node.close()
    with pytest.raises(lunar.ClosedError, match="node /tested is closed"):
        node.create_publisher(bytes, "chatter")
    with pytest.raises(lunar.ClosedError):
        node.create_subscription(bytes, "chatter")
    with pytest.raises(lunar.ClosedError):
        node.events()


@pytest.mark.every_loop
async def test_waiting_for_the_other_side_ends_with_its_coming_or_in_time(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    with pytest.raises(lunar.TimeoutError, match=r"0 of 1 subscriptions of /chatter matched after 0.001 s"):
        await publisher.wait_for_subscribers(1, timeout_s=0.001)
    waiting = asyncio.create_task(publisher.wait_for_subscribers(2))
    await asyncio.sleep(0)
    subscriptions = [node.create_subscription(bytes, "chatter") for _ in range(2)]
    await waiting
    assert publisher.subscriber_count == 2
    await publisher.wait_for_subscribers(1, timeout_s=0)
    with pytest.raises(lunar.TimeoutError, match=r"1 of 2 publishers of /chatter"):
        await subscriptions[0].wait_for_publishers(2, timeout_s=0.2)


async def test_waiting_for_the_other_side_without_a_loop(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    with pytest.raises(lunar.TimeoutError):
        publisher.wait_for_subscribers_blocking(1, timeout_s=0.001)
    waiting = asyncio.create_task(asyncio.to_thread(publisher.wait_for_subscribers_blocking, 1, 10))
    subscription = node.create_subscription(bytes, "chatter")
    await waiting
    subscription.wait_for_publishers_blocking(1, timeout_s=10)


@pytest.mark.every_loop
async def test_whoever_waits_for_the_other_side_is_told_of_the_close(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    subscription = node.create_subscription(bytes, "elsewhere")
    waiting = [
        asyncio.create_task(publisher.wait_for_subscribers()),
        asyncio.create_task(subscription.wait_for_publishers()),
        asyncio.create_task(asyncio.to_thread(publisher.wait_for_subscribers_blocking)),
    ]
    await asyncio.sleep(0)
    node.close()
    async with asyncio.timeout(5):
        for task in waiting:
            with pytest.raises(lunar.ClosedError):
                await task
    with pytest.raises(lunar.ClosedError):
        await publisher.wait_for_subscribers()


async def test_a_publisher_names_itself(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "~/private", qos=lunar.QoS(depth=3))
    assert publisher.topic == "/tested/private"
    assert publisher.qos == lunar.QoS(depth=3)
    assert len(publisher.id) == 32
    assert repr(publisher) == "<Publisher of /tested/private>"


async def test_bad_names_and_types_are_refused_before_anything_is_made(node: lunar.Node) -> None:
    with pytest.raises(lunar.InvalidName):
        node.create_publisher(bytes, "no spaces")
    with pytest.raises(lunar.InvalidName):
        node.create_subscription(bytes, "1chatter")
    with pytest.raises(lunar.TypeMismatch, match="bytes"):
        node.create_publisher(str, "chatter")
    with pytest.raises(lunar.TypeMismatch):
        node.create_subscription(int, "chatter")
    with pytest.raises(lunar.InvalidName):
        lunar.Node("no spaces")
    with pytest.raises(lunar.ConfigError, match="0 to 232"):
        lunar.Node("other", domain=233)
    assert [len(found.endpoints) for found in lunar.graph_snapshot().nodes] == [0]
