"""Checks of the bus, policy by policy: what a profile promises holds between hosts too."""

from __future__ import annotations

import asyncio
from typing import Final

from lunar.qos import QoS
from lunar.testing.conformance.bus import Bus, Watch, connect, meet, publish, receive, receive_until
from lunar.testing.conformance.subject import require
from lunar.testing.payload import numbered

__all__ = [
    "a_deadline_that_is_missed_is_told_at_both_ends",
    "a_late_joiner_gets_the_history_that_both_depths_allow",
    "a_manual_publisher_that_goes_quiet_has_lost_its_liveliness",
    "a_message_that_is_too_old_is_not_delivered",
    "a_publisher_that_says_goodbye_has_not_lost_its_liveliness",
    "a_reliable_publisher_serves_who_asks_for_less",
    "a_sign_of_life_without_a_message_counts",
    "best_effort_arrives_in_order_or_is_counted",
    "keep_all_loses_nothing_and_makes_its_publisher_wait",
    "keep_last_keeps_the_newest_and_counts_the_others",
    "profiles_that_do_not_go_together_are_told_at_both_ends",
    "reliable_messages_arrive_once_and_in_order",
    "who_asks_for_no_history_gets_none",
]

_BRIEF_S: Final = 0.05


async def reliable_messages_arrive_once_and_in_order(bus: Bus) -> None:
    """Of all sizes, one after the other."""
    publisher, subscription = await connect(bus, QoS(history="keep_all", depth=64))

    async def send() -> None:
        for number in range(300):
            await publisher.publish(numbered(number, 12 + number * number % 50_000))

    sending = asyncio.create_task(send())
    received = await receive(subscription, 300)
    await sending
    require(received == list(range(300)), "messages came twice or out of order")


async def best_effort_arrives_in_order_or_is_counted(bus: Bus) -> None:
    """What arrives and what is counted make up all that was published."""
    publisher, subscription = await connect(bus, QoS("best_effort", depth=1000))
    receiving = asyncio.create_task(receive_until(subscription, 300))
    number = 0
    while not receiving.done():  # more than these only if the last of them is lost
        number += 1
        await publisher.publish(numbered(number))
        await asyncio.sleep(0 if number < 300 else _BRIEF_S)
    received = receiving.result()
    require(received == sorted(set(received)), "messages came twice or out of order")
    statistics = subscription.statistics()
    lost = statistics.lost_network + statistics.lost_overwritten
    require(
        len(received) + lost >= received[-1],
        f"{len(received)} of {received[-1]} messages arrived and {lost} are counted as lost",
    )


async def a_reliable_publisher_serves_who_asks_for_less(bus: Bus) -> None:
    """A weaker request matches a stronger offer."""
    publisher, subscription = await connect(bus, QoS(depth=100), QoS("best_effort", depth=100))
    await publish(publisher, range(50))
    received = await receive_until(subscription, 49)
    require(received == list(range(50)), "a best-effort subscription of a reliable publisher has missed something")


async def keep_all_loses_nothing_and_makes_its_publisher_wait(bus: Bus) -> None:
    """Five thousand messages through queues of four, of which nobody takes any at first."""
    publisher, subscription = await connect(bus, QoS(history="keep_all", depth=4))
    sending = asyncio.create_task(publish(publisher, range(5_000)))
    while not publisher.statistics().waits and not sending.done():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.002)
    require(not sending.done(), "a publisher of which nobody takes anything never waited")
    received = await receive(subscription, 5_000)
    await sending
    require(received == list(range(5_000)), "messages came twice or out of order")
    lost = publisher.statistics().lost, subscription.statistics().lost
    require(lost == (0, 0), f"the publisher counts {lost[0]} losses, the subscription {lost[1]}")


async def keep_last_keeps_the_newest_and_counts_the_others(bus: Bus) -> None:
    """A publisher never waits for a slow subscription, which is told what it has missed and why."""
    publisher, subscription = await connect(bus, QoS(depth=5))
    await publish(publisher, range(1, 2001))
    received = await receive_until(subscription, 2000)
    require(received == sorted(set(received)), "messages came twice or out of order")
    statistics = subscription.statistics()
    require(
        len(received) + statistics.lost_overwritten == 2000 and statistics.lost == statistics.lost_overwritten,
        f"{len(received)} of 2000 messages arrived, {statistics.lost_overwritten} are counted as overwritten and "
        f"{statistics.lost} as lost",
    )


async def a_late_joiner_gets_the_history_that_both_depths_allow(bus: Bus) -> None:
    """Of each host the first one and others, before what is new."""
    publisher = bus.node("a").create_publisher(bytes, "map", qos=QoS(durability="transient_local", depth=5))
    await publish(publisher, range(20))
    wanted = {"first": ("b", 10, 5), "second": ("b", 3, 3), "third": ("c", 5, 5), "fourth": ("b", 1, 1)}
    joined = []
    for name, (host, depth, expected) in wanted.items():
        qos = QoS(durability="transient_local", depth=depth)
        late = bus.node(host).create_subscription(bytes, "map", qos=qos)
        joined.append(late)
        received = await receive(late, expected)
        require(received == list(range(20 - expected, 20)), f"the {name} late joiner got {received}")
    await publish(publisher, [20])
    for late in joined:
        require(await receive(late, 1) == [20], "what comes after the history is not what was published next")


async def who_asks_for_no_history_gets_none(bus: Bus) -> None:
    """Whether it comes first of its host, or after one that has asked."""
    latched = QoS(durability="transient_local", depth=5)
    publisher = bus.node("a").create_publisher(bytes, "map", qos=latched)
    await publish(publisher, range(5))
    there = bus.node("b")
    volatile = there.create_subscription(bytes, "map")
    await meet(publisher, volatile)
    await publish(publisher, [5])
    require(await receive(volatile, 1) == [5], "a volatile subscription got history")
    late = there.create_subscription(bytes, "map", qos=latched)
    second = there.create_subscription(bytes, "map")
    require(await receive(late, 5) == [1, 2, 3, 4, 5], "a late joiner after a volatile one got no history")
    await second.wait_for_publishers()
    await publish(publisher, [6])
    for subscription in (volatile, second, late):
        require(await receive(subscription, 1) == [6], "history was sent to who did not ask for it, or twice")


async def a_deadline_that_is_missed_is_told_at_both_ends(bus: Bus) -> None:
    """Each end watches for itself."""
    here, there = bus.node("a"), bus.node("b")
    qos = QoS(deadline_s=_BRIEF_S)
    async with Watch(here) as told_here, Watch(there) as told_there:
        publisher = here.create_publisher(bytes, "ticks", qos=qos)
        subscription = there.create_subscription(bytes, "ticks", qos=qos)
        await meet(publisher, subscription)
        await publish(publisher, [1])
        await told_here.wait_for("DeadlineMissed")
        await told_there.wait_for("DeadlineMissed")


async def a_message_that_is_too_old_is_not_delivered(bus: Bus) -> None:
    """It is dropped where it is found to be too old, and counted as expired."""
    publisher, subscription = await connect(bus, QoS(lifespan_s=1.0, depth=100))
    await publish(publisher, range(3))
    await asyncio.sleep(1.2)  # what this waits for is the time itself
    await publish(publisher, range(3, 6))
    received = await receive_until(subscription, 5)
    require(received == [3, 4, 5], f"of 0 to 5, of which 0 to 2 are too old, {received} arrived")
    statistics = subscription.statistics()
    require(statistics.lost_expired == 3, f"3 have expired, {statistics.lost_expired} are counted as that")
    require(statistics.lost == 3, f"3 are lost, {statistics.lost} are counted")


async def a_manual_publisher_that_goes_quiet_has_lost_its_liveliness(bus: Bus) -> None:
    """At both ends; a message brings it back, and silence loses it again."""
    here, there = bus.node("a"), bus.node("b")
    qos = QoS(liveliness="manual_by_topic", lease_s=_BRIEF_S)
    async with Watch(here) as told_here, Watch(there) as told_there:
        publisher = here.create_publisher(bytes, "alive", qos=qos)
        subscription = there.create_subscription(bytes, "alive", qos=qos)
        await meet(publisher, subscription)
        for times in (1, 2):
            await publish(publisher, [times])
            await receive(subscription, 1)
            await told_here.wait_for("LivelinessLost", times)
            await told_there.wait_for("LivelinessLost", times)


async def a_sign_of_life_without_a_message_counts(bus: Bus) -> None:
    """`assert_liveliness` keeps a publisher alive at the other end, as a message does."""
    here, there = bus.node("a"), bus.node("b")
    async with Watch(there) as told:
        qos = QoS(liveliness="manual_by_topic", lease_s=0.5)
        publisher = here.create_publisher(bytes, "alive", qos=qos)
        subscription = there.create_subscription(bytes, "alive", qos=qos)
        await meet(publisher, subscription)
        for _ in range(20):
            publisher.assert_liveliness()
            await asyncio.sleep(0.04)
        require(not told.seen("LivelinessLost"), "a publisher that gives signs of life has lost its liveliness there")


async def a_publisher_that_says_goodbye_has_not_lost_its_liveliness(bus: Bus) -> None:
    """It is unmatched, and that is all."""
    here, there = bus.node("a"), bus.node("b")
    async with Watch(there) as told:
        for close in ("publisher", "node"):
            publisher = here.create_publisher(bytes, close)
            subscription = there.create_subscription(bytes, close)
            await meet(publisher, subscription)
            before = len(told.seen("Unmatched"))
            publisher.close() if close == "publisher" else here.close()
            await told.wait_for("Unmatched", before + 1)
            require(subscription.publisher_count == 0, "a publisher is counted that is gone")
        require(not told.seen("LivelinessLost"), "liveliness was lost of one that said goodbye")


async def profiles_that_do_not_go_together_are_told_at_both_ends(bus: Bus) -> None:
    """And make no match."""
    here, there = bus.node("a"), bus.node("b")
    async with Watch(here) as told_here, Watch(there) as told_there:
        publisher = here.create_publisher(bytes, "careless", qos=QoS("best_effort"))
        subscription = there.create_subscription(bytes, "careless", qos=QoS())
        await told_here.wait_for("IncompatibleQoS")
        await told_there.wait_for("IncompatibleQoS")
        matches = publisher.subscriber_count + subscription.publisher_count
        require(matches == 0, "profiles were matched that do not go together")
