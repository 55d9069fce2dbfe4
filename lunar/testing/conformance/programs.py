"""Checks of the bus as programs use it: many topics and ends, large messages, and ends that are cancelled or closed."""

from __future__ import annotations

import asyncio

from lunar.qos import QoS
from lunar.testing.conformance.bus import Bus, BusPublisher, BusSubscription, Watch, connect, meet, publish, receive
from lunar.testing.conformance.subject import MIB, require
from lunar.testing.payload import numbered, read_number

__all__ = [
    "a_large_message_arrives",
    "a_publisher_that_waits_goes_on_when_its_subscription_is_closed",
    "closing_an_end_and_making_another_matches_again",
    "every_subscription_on_every_host_gets_each_message_once",
    "many_topics_and_ends_are_kept_apart",
    "publishing_can_be_cancelled_at_any_time",
    "receiving_can_be_cancelled_at_any_time",
    "what_was_published_arrives_though_its_publisher_is_closed",
]

_COMPLETE = QoS(history="keep_all", depth=64)


async def a_large_message_arrives(bus: Bus) -> None:
    """Several MiB, and small ones around it."""
    publisher, subscription = await connect(bus, QoS())
    for number, size_bytes in enumerate((12, 5 * MIB + 1, 12)):
        await publisher.publish(numbered(number, size_bytes))
        message = await subscription.receive()
        require(
            (read_number(message), len(message)) == (number, size_bytes),
            f"a message of {len(message)} bytes came for one of {size_bytes}",
        )
        del message


async def every_subscription_on_every_host_gets_each_message_once(bus: Bus) -> None:
    """Two hosts with two subscriptions each, and one beside the publisher."""
    here = bus.node("a")
    publisher = here.create_publisher(bytes, "news", qos=_COMPLETE)
    nodes = (here, bus.node("b"), bus.node("b"), bus.node("c"), bus.node("c"))
    subscriptions = [node.create_subscription(bytes, "news", qos=_COMPLETE) for node in nodes]
    await meet(publisher, *subscriptions)
    sending = asyncio.create_task(publish(publisher, range(200)))
    received = await asyncio.gather(*(receive(each, 200) for each in subscriptions))
    await sending
    require(all(each == list(range(200)) for each in received), "a subscription got messages twice or out of order")


async def many_topics_and_ends_are_kept_apart(bus: Bus) -> None:
    """Eight topics, of each two publishers on one host and two subscriptions on the other."""
    here, there = bus.node("a"), bus.node("b")
    topics: list[tuple[list[BusPublisher], list[BusSubscription]]] = []
    for which in range(8):
        publishers = [here.create_publisher(bytes, f"topic_{which}", qos=_COMPLETE) for _ in range(2)]
        subscriptions = [there.create_subscription(bytes, f"topic_{which}", qos=_COMPLETE) for _ in range(2)]
        topics.append((publishers, subscriptions))
    for publishers, subscriptions in topics:
        for publisher in publishers:
            await publisher.wait_for_subscribers(2)
        for subscription in subscriptions:
            await subscription.wait_for_publishers(2)
    for which, (publishers, _) in enumerate(topics):
        for second, publisher in enumerate(publishers):
            await publish(publisher, (1000 * which + 100 * second + number for number in range(10)))
    for which, (_, subscriptions) in enumerate(topics):
        expected = [1000 * which + 100 * second + number for second in range(2) for number in range(10)]
        for subscription in subscriptions:
            received = await receive(subscription, 20)
            require(sorted(received) == expected, f"a subscription of topic {which} got {received}")
            for second in range(2):
                own = [each for each in received if each % 1000 // 100 == second]
                require(own == sorted(own), "messages of one publisher came out of order")


async def receiving_can_be_cancelled_at_any_time(bus: Bus) -> None:
    """A message that a cancelled call has not returned is for the next one."""
    publisher, subscription = await connect(bus, _COMPLETE)
    sending = asyncio.create_task(publish(publisher, range(200)))
    received: list[int] = []
    turn = 0
    while len(received) < 200:
        turn += 1
        receiving = asyncio.ensure_future(subscription.receive())
        for _ in range(turn % 4):
            await asyncio.sleep(0)
        if turn % 3:
            receiving.cancel()
        await asyncio.wait([receiving])
        if not receiving.cancelled():
            received.append(read_number(receiving.result()))
    await sending
    require(received == list(range(200)), "a cancelled call has taken a message with it")


async def publishing_can_be_cancelled_at_any_time(bus: Bus) -> None:
    """What a cancelled call was to publish is either published or not, never twice or in part."""
    publisher, subscription = await connect(bus, QoS(history="keep_all", depth=2))
    cancelled = 0
    for number in range(10_000):
        task = asyncio.ensure_future(publisher.publish(numbered(number)))
        for _ in range(3):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            cancelled += 1
        await asyncio.wait([task])
        if cancelled >= 5:
            break
    require(cancelled, "a publisher of which nobody takes anything never waited")
    published = publisher.statistics().published
    received = await receive(subscription, published)
    require(received == sorted(set(received)), "messages came twice or out of order")
    await publish(publisher, [20_000])
    require(await receive(subscription, 1) == [20_000], "a message arrived that its publisher does not count")


async def closing_an_end_and_making_another_matches_again(bus: Bus) -> None:
    """Subscriptions come and go while the publisher stays, and the other way round."""
    here, there = bus.node("a"), bus.node("b")
    async with Watch(here) as told_here, Watch(there) as told_there:
        publisher = here.create_publisher(bytes, "again")
        for number in range(1, 5):
            subscription = there.create_subscription(bytes, "again")
            await _carry_one(publisher, subscription, number)
            subscription.close()
            await told_here.wait_for("Unmatched", number)
        publisher.close()
        subscription = there.create_subscription(bytes, "again")
        before = len(told_there.seen("Unmatched"))
        for number in range(1, 5):
            publisher = here.create_publisher(bytes, "again")
            await _carry_one(publisher, subscription, number)
            publisher.close()
            await told_there.wait_for("Unmatched", before + number)


async def _carry_one(publisher: BusPublisher, subscription: BusSubscription, number: int) -> None:
    await meet(publisher, subscription)
    await publish(publisher, [number])
    require(await receive(subscription, 1) == [number], "the first message after a match is not the one published")


async def a_publisher_that_waits_goes_on_when_its_subscription_is_closed(bus: Bus) -> None:
    """Whoever is gone holds nobody up."""
    for close in ("subscription", "node"):
        here, there = bus.node("a"), bus.node("b")
        qos = QoS(history="keep_all", depth=2)
        publisher = here.create_publisher(bytes, close, qos=qos)
        subscription = there.create_subscription(bytes, close, qos=qos)
        await meet(publisher, subscription)
        sending = asyncio.create_task(publish(publisher, range(10_000)))
        while not publisher.statistics().waits:  # noqa: ASYNC110 - no event says that it waits
            await asyncio.sleep(0.002)
        subscription.close() if close == "subscription" else there.close()
        await sending


async def what_was_published_arrives_though_its_publisher_is_closed(bus: Bus) -> None:
    """A program that publishes and ends has published."""
    publisher, subscription = await connect(bus, _COMPLETE)
    await publish(publisher, range(40))
    publisher.close()
    require(await receive(subscription, 40) == list(range(40)), "messages came twice or out of order")
