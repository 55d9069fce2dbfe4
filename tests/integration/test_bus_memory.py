"""Zero-copy, and how long a message lives: as long as any view of it, and no longer."""

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

import lunar
from lunar.testing import Child, numbered, read_number

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]
NewThings = Callable[[], list[str]]

MIB = 1 << 20


def held(publisher: lunar.Publisher[object]) -> int:
    """How many samples the one subscription of a publisher holds, as the publisher knows."""
    (match,) = publisher.statistics().matches
    return match.held


async def test_a_message_is_the_publisher_s_memory_and_not_a_copy(connect: Connect) -> None:
    publisher, subscription = await connect()
    with publisher.loan(64) as buffer:
        buffer[:] = b"a" * 64
        still_ours = buffer[:]
    message = await subscription.receive()
    assert bytes(message) == b"a" * 64
    # Not for use: it shows that both sides look at the same bytes, through two mappings.
    still_ours[0] = ord("b")
    assert message[0] == ord("b")
    assert message.readonly
    with pytest.raises(TypeError, match="read-only"):
        message[0] = 1


async def test_all_subscriptions_look_at_one_copy(connect: Connect, node: lunar.Node) -> None:
    publisher, first = await connect()
    others = [node.create_subscription(bytes, "chatter") for _ in range(3)]
    await publisher.wait_for_subscribers(4, timeout_s=5)
    with publisher.loan(64) as buffer:
        buffer[:] = b"a" * 64
        still_ours = buffer[:]
    messages = [await subscription.receive() for subscription in (first, *others)]
    still_ours[0] = ord("b")
    assert [message[0] for message in messages] == [ord("b")] * 4


async def test_holding_a_view_holds_the_sample_and_dropping_the_last_returns_it(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"one sample")
    (sample,) = await subscription.receive_many(1)
    assert held(publisher) == 1
    message = sample.message
    part, cast_view = message[4:], message.cast("c")
    del sample, message
    assert held(publisher) == 1
    del part
    assert held(publisher) == 1
    assert bytes(cast_view[:3]) == b"one"
    del cast_view
    assert held(publisher) == 0


async def test_a_view_that_is_released_returns_the_sample(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"one")
    with await subscription.receive() as message:
        assert held(publisher) == 1
    assert held(publisher) == 0
    with pytest.raises(ValueError, match="released"):
        bytes(message)


async def test_what_is_iterated_is_held_one_at_a_time(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_many([b"0", b"1", b"2"])
    seen = []
    async for message in subscription:
        seen.append((bytes(message), held(publisher)))
        if len(seen) == 3:
            break
    del message
    # While the next one is taken, the variable still has the last.
    assert [message for message, _ in seen] == [b"0", b"1", b"2"]
    assert max(count for _, count in seen) <= 2
    assert held(publisher) == 0


async def test_a_view_in_a_cycle_is_returned_by_the_collector(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"one")
    cycle: list[object] = [await subscription.receive()]
    cycle.append(cycle)
    del cycle
    assert held(publisher) == 1
    gc.collect()
    assert held(publisher) == 0


async def test_views_may_be_dropped_in_any_thread(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_many([b"%d" % number for number in range(10)])
    samples = list(await subscription.receive_many(1))
    while len(samples) < 10:
        samples += await subscription.receive_many(10)
    assert held(publisher) == 10
    threads = [threading.Thread(target=samples.pop) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held(publisher) == 0


@pytest.mark.parametrize("end", ["subscription", "publisher", "node"])
async def test_views_outlive_the_endpoints(node: lunar.Node, connect: Connect, end: str) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(numbered(7, MIB))
    message = await subscription.receive()
    close = {"subscription": subscription.close, "publisher": publisher.close, "node": node.close}
    close[end]()
    assert read_number(message) == 7
    node.close()
    assert read_number(message) == 7


async def test_views_keep_their_segment_and_nothing_else(no_leaks: NewThings, runtime_dir: Path) -> None:
    async def receive_one() -> memoryview:
        async with lunar.Node("tested") as node:
            publisher = node.create_publisher(bytes, "chatter")
            subscription = node.create_subscription(bytes, "chatter")
            await publisher.wait_for_subscribers(1, timeout_s=5)
            publisher.publish_nowait(numbered(7, MIB))
            return (await subscription.receive())[:100]

    await receive_one()  # what the first makes (the domain's directory) stays
    before = no_leaks()
    part = await receive_one()
    kept = Counter(no_leaks()) - Counter(before)
    # With it stays what its return needs: the queue, and the bells to ring.
    assert set(kept) == {f"mapping of lunar-{name} (deleted)" for name in ("segment", "queue", "bells")}
    del part
    assert no_leaks() == before
    (await receive_one()).release()
    (runtime_dir / "0").rmdir()


async def test_views_outlive_the_death_of_the_publisher_s_process(
    node: lunar.Node, start_child: Callable[..., Child]
) -> None:
    child = start_child("other")
    child.call("publisher", topic="chatter", qos={"history": "keep_all"})
    subscription = node.create_subscription(bytes, "chatter", qos=lunar.QoS(history="keep_all"))
    await subscription.wait_for_publishers(1, timeout_s=5)
    child.call("wait_for_subscribers", topic="chatter")
    child.call("publish", topic="chatter", first=0, count=10, size_bytes=100_000)
    first_half = [await subscription.receive() for _ in range(5)]
    child.kill()
    # What was published before can still be received, and what was received still be read.
    second_half = [await subscription.receive() for _ in range(5)]
    assert [read_number(message) for message in first_half + second_half] == list(range(10))


async def test_a_subscription_s_process_that_dies_gives_back_what_it_held(
    node: lunar.Node, start_child: Callable[..., Child]
) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    child = start_child("other")
    child.call("subscription", topic="chatter", qos={})
    await publisher.wait_for_subscribers(1, timeout_s=5)
    publisher.publish_many([numbered(number, MIB) for number in range(4)])
    assert child.call("hold", topic="chatter", count=4) == [0, 1, 2, 3]
    assert held(publisher) == 4
    pool_bytes = publisher.statistics().pool_bytes
    async with lunar.testing.collect(node, lunar.events.Unmatched) as unmatched:
        child.kill()
        await unmatched.wait_for(1)
    assert publisher.statistics().matches == ()
    subscription = node.create_subscription(bytes, "chatter")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    publisher.publish_many([numbered(number, MIB) for number in range(4)])
    assert [read_number(await subscription.receive()) for _ in range(4)] == [0, 1, 2, 3]
    assert publisher.statistics().pool_bytes == pool_bytes


async def test_another_process_holds_what_it_holds(node: lunar.Node, start_child: Callable[..., Child]) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    child = start_child("other")
    child.call("subscription", topic="chatter", qos={})
    await publisher.wait_for_subscribers(1, timeout_s=5)
    publisher.publish_many([numbered(number, 1000) for number in range(3)])
    assert child.call("hold", topic="chatter", count=3) == [0, 1, 2]
    assert held(publisher) == 3
    # Far more than there are chunks of the size at first: what is held is never written again.
    for number in range(3, 2000):
        publisher.publish_nowait(numbered(number, 1000))
    assert child.call("read_held") == [0, 1, 2]
    child.call("drop")
    assert held(publisher) == 0
    statistics = cast("dict[str, object]", child.call("subscription_statistics", topic="chatter"))
    assert statistics["received"] == 3


async def test_memory_is_used_again_so_the_pool_does_not_grow(connect: Connect) -> None:
    publisher, subscription = await connect()
    for size_bytes in (64, 100_000, 2 * MIB):
        publisher.publish_nowait(bytes(size_bytes))
        await subscription.receive()
        pool_bytes = publisher.statistics().pool_bytes
        for _ in range(100):
            publisher.publish_nowait(bytes(size_bytes))
            await subscription.receive()
        assert publisher.statistics().pool_bytes == pool_bytes


async def test_a_message_can_be_published_again_as_it_is(connect: Connect, node: lunar.Node) -> None:
    publisher, subscription = await connect("one")
    onward, receiver = await connect("two")
    publisher.publish_nowait(numbered(3, MIB))
    await onward.publish(await subscription.receive())
    assert read_number(await receiver.receive()) == 3
    await asyncio.sleep(0)
    assert held(publisher) == 0
