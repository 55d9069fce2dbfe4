"""Reliability and history: what is overwritten, what makes the publisher wait, and that both sides count the same."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

import pytest

import lunar
from lunar import events
from lunar.statistics import MatchStatistics
from lunar.testing import Child, collect, numbered, read_number

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]
StartChild = Callable[..., Child]

LOSSLESS = lunar.QoS(history="keep_all", depth=4)


async def take_all(subscription: lunar.Subscription[memoryview]) -> list[int]:
    """The numbers of all messages that are there; at least one must come."""
    samples = await subscription.receive_many(10_000)
    while more := subscription.take(10_000):
        samples += more
    return [read_number(sample.message) for sample in samples]


def of(publisher: lunar.Publisher[object], subscription_id: str) -> MatchStatistics:
    """A publisher's statistics about one subscription."""
    (match,) = [match for match in publisher.statistics().matches if match.subscription_id == subscription_id]
    return match


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 10, 100])
@pytest.mark.parametrize("reliability", ["reliable", "best_effort"])
async def test_keep_last_keeps_the_last_and_both_sides_count_the_rest(
    connect: Connect, depth: int, reliability: str
) -> None:
    publisher, subscription = await connect(offered=lunar.QoS.from_dict({"reliability": reliability, "depth": depth}))
    count = 3 * depth + 7
    for number in range(count):
        publisher.publish_nowait(numbered(number))
    assert await take_all(subscription) == list(range(count - depth, count))
    lost = count - depth
    sent, received = publisher.statistics(), subscription.statistics()
    assert (sent.published, sent.lost, sent.waits) == (count, lost, 0)
    assert (received.received, received.lost, received.lost_overwritten) == (depth, lost, lost)
    assert sent.matches[0].lost_overwritten == received.matches[0].lost_overwritten == lost
    assert sent.matches[0].lost == received.matches[0].lost == lost


async def test_the_depth_is_the_subscription_s(connect: Connect, node: lunar.Node) -> None:
    publisher, shallow = await connect("chatter", lunar.QoS(depth=1), lunar.QoS(depth=2))
    deep = node.create_subscription(bytes, "chatter", qos=lunar.QoS(depth=8))
    await publisher.wait_for_subscribers(2, timeout_s=5)
    for number in range(8):
        publisher.publish_nowait(numbered(number))
    assert await take_all(shallow) == [6, 7]
    assert await take_all(deep) == list(range(8))


async def test_a_slow_keep_last_subscription_slows_nobody(
    connect: Connect, node: lunar.Node, start_child: StartChild
) -> None:
    publisher, quick = await connect("chatter", LOSSLESS, lunar.QoS(depth=200))
    slow = node.create_subscription(bytes, "chatter", qos=lunar.QoS(depth=3))
    child = start_child("stopped")
    child.call("subscription", topic="chatter", qos=lunar.QoS(depth=3).to_dict())
    await publisher.wait_for_subscribers(3, timeout_s=5)
    child.stop()
    for number in range(200):
        await publisher.publish(numbered(number))
    child.resume()
    assert publisher.statistics().waits == 0
    assert await take_all(quick) == list(range(200))
    assert await take_all(slow) == [197, 198, 199]
    assert child.call("receive", topic="chatter", count=3) == [197, 198, 199]
    assert sorted(match.lost_overwritten for match in publisher.statistics().matches) == [0, 197, 197]


async def test_a_slow_keep_all_subscription_slows_the_publisher_and_the_statistics_name_it(
    connect: Connect, start_child: StartChild
) -> None:
    publisher, quick = await connect("chatter", LOSSLESS, LOSSLESS.replace(depth=100))
    child = start_child("slow")
    slow_id = cast(str, child.call("subscription", topic="chatter", qos=LOSSLESS.to_dict()))
    await publisher.wait_for_subscribers(2, timeout_s=5)
    for number in range(4):
        await publisher.publish(numbered(number))
    blocked = asyncio.create_task(publisher.publish(numbered(4)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not blocked.done()
    slow, other = of(publisher, slow_id), of(publisher, quick.id)
    assert (slow.waits, slow.queued, slow.node_name, slow.pid) == (1, 4, "/slow", child.pid)
    assert (other.waits, publisher.statistics().waits) == (0, 1)
    assert await asyncio.to_thread(child.call, "receive", topic="chatter", count=5) == [0, 1, 2, 3, 4]
    await blocked
    assert await take_all(quick) == [0, 1, 2, 3, 4]
    assert publisher.statistics().lost == quick.statistics().lost == 0


async def test_a_publisher_that_waits_goes_on_when_the_slow_one_dies(connect: Connect, start_child: StartChild) -> None:
    publisher, quick = await connect(offered=LOSSLESS)
    child = start_child("slow")
    child.call("subscription", topic="chatter", qos=LOSSLESS.to_dict())
    await publisher.wait_for_subscribers(2, timeout_s=5)
    for number in range(4):
        await publisher.publish(numbered(number))
    assert await take_all(quick) == [0, 1, 2, 3]
    blocked = asyncio.create_task(publisher.publish(numbered(4)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not blocked.done()
    child.kill()
    async with asyncio.timeout(5):
        await blocked
    assert await take_all(quick) == [4]


async def test_who_holds_too_many_loses_new_ones_and_both_sides_say_so(connect: Connect) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(depth=8))
    held = []
    for number in range(2000):
        publisher.publish_nowait(numbered(number))
        if number == 0:
            held += await subscription.receive_many(1)
        held += subscription.take(10)
    assert [read_number(sample.message) for sample in held] == list(range(len(held)))
    assert len(held) >= 1000
    del held
    publisher.publish_nowait(numbered(9999))
    assert (await take_all(subscription))[-1] == 9999
    sent, received = publisher.statistics(), subscription.statistics()
    (there,), (here,) = sent.matches, received.matches
    assert there.lost_held > 900
    assert (there.lost_held, there.lost_overwritten) == (here.lost_held, here.lost_overwritten)
    assert sent.published == received.received + sent.lost
    assert sent.lost == received.lost


async def test_who_holds_too_many_makes_a_publisher_wait_that_may_lose_nothing(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    publisher.publish_nowait(b"")
    held = await subscription.receive_many(1)  # from now on what is published is there at once
    while True:
        try:
            publisher.publish_nowait(b"")
        except lunar.WouldBlock:
            if not (more := subscription.take(100)):
                break
            held += more
    held += subscription.take(100)
    assert publisher.statistics().lost == 0
    blocked = asyncio.create_task(publisher.publish(b"last"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not blocked.done()
    received = len(held)
    held.clear()
    async with asyncio.timeout(5):
        await blocked
    samples = await subscription.receive_many(10_000)
    assert bytes(samples[-1].message) == b"last"
    assert received + len(samples) == publisher.statistics().published
    assert subscription.statistics().lost == 0


async def test_lost_samples_are_an_event_on_both_sides_with_their_number(
    node: lunar.Node, start_child: StartChild
) -> None:
    child = start_child("other")
    child.call("subscription", topic="chatter", qos=lunar.QoS(depth=4).to_dict())
    publisher = node.create_publisher(bytes, "chatter")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    async with collect(node, events.SamplesLost) as lost:
        for number in range(20):
            publisher.publish_nowait(numbered(number))
        while sum(event.count for event in lost.events) < 16:
            await lost.wait_for(len(lost.events) + 1)
    assert {event.cause for event in lost.events} == {"overwritten"}
    assert {event.remote.node_name for event in lost.events if event.remote} == {"/other"}
    assert child.call("receive", topic="chatter", count=4) == [16, 17, 18, 19]
    texts = cast("list[str]", child.call("wait_for_events", kind="SamplesLost"))
    assert texts[0].startswith(
        "16 samples lost (overwritten before they were taken): subscription of /chatter in node "
    )
    assert "publisher of /chatter in node /tested" in texts[0]


async def test_a_torrent_of_losses_is_a_few_events_and_every_loss_is_in_one(connect: Connect, node: lunar.Node) -> None:
    publisher, _ = await connect(offered=lunar.QoS(depth=1))
    async with collect(node, events.SamplesLost) as lost:
        for _ in range(20_000):
            publisher.publish_nowait(b"")
        while sum(event.count for event in lost.events) < 19_999:
            await lost.wait_for(len(lost.events) + 1)
        assert sum(event.count for event in lost.events) == 19_999
        assert len(lost.events) < 200


@pytest.mark.every_loop
async def test_counts_agree_after_a_race_of_taking_and_overwriting(connect: Connect, node: lunar.Node) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(depth=2))
    count = 20_000

    def publish() -> None:
        for number in range(count):
            publisher.publish_nowait(numbered(number))

    publishing = asyncio.create_task(asyncio.to_thread(publish))
    got: list[int] = []
    while not got or got[-1] < count - 1:
        got += [read_number(sample.message) for sample in await subscription.receive_many(100)]
    await publishing
    assert got == sorted(set(got))
    sent, received = publisher.statistics(), subscription.statistics()
    assert received.received == len(got)
    assert sent.lost == received.lost == received.lost_overwritten == count - len(got)


@pytest.mark.parametrize("end", ["publisher", "subscription", "child"])
async def test_losses_are_remembered_and_reported_when_the_match_ends(
    connect: Connect, node: lunar.Node, start_child: StartChild, end: str
) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(depth=1))
    child = start_child("other")
    child.call("subscription", topic="chatter", qos=lunar.QoS(depth=1).to_dict())
    await publisher.wait_for_subscribers(2, timeout_s=5)
    async with collect(node, events.SamplesLost) as lost:
        for number in range(10):
            publisher.publish_nowait(numbered(number))
        assert await take_all(subscription) == [9]
        assert (publisher.statistics().lost, subscription.statistics().lost) == (18, 9)
        match end:
            case "publisher":
                publisher.close()
            case "subscription":
                subscription.close()
            case _:
                child.kill()
        while sum(event.count for event in lost.events) < 27:
            await lost.wait_for(len(lost.events) + 1)
    node.close()
    assert (publisher.statistics().lost, subscription.statistics().lost) == (18, 9)
    assert sum(event.count for event in lost.events) == 27


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns as often as can be, so that one is seen in the middle of whatever it does."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("hasty_threads")
def test_no_loss_is_forgotten_or_counted_twice_while_a_match_ends(rounds: Callable[[int, int], int]) -> None:
    with lunar.Node("sender") as sender, lunar.Node("taker") as taker:
        steady = sender.create_publisher(bytes, "chatter", qos=lunar.QoS(depth=1))
        for _ in range(rounds(30, 300)):
            publisher = sender.create_publisher(bytes, "chatter", qos=lunar.QoS(depth=1))
            subscription = taker.create_subscription(bytes, "chatter", qos=lunar.QoS(depth=1))
            subscription.wait_for_publishers_blocking(2, timeout_s=5)
            publisher.publish_many([b"lost"] * 8)
            steady.publish_many([b"lost"] * 8)
            publisher.close()
            while subscription.publisher_count > 1:
                assert subscription.statistics().lost == 14
            assert subscription.statistics().lost == 14
            before = steady.statistics().lost
            subscription.close()
            while steady.subscriber_count:
                assert steady.statistics().lost == before
            assert steady.statistics().lost == before
