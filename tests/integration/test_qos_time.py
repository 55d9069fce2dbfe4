"""Lifespan, deadline and liveliness: promises about time. No test waits for longer than it takes to break one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

import lunar
from lunar import events
from lunar.testing import Child, collect, numbered, read_number

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]
StartChild = Callable[..., Child]

SHORT_S = 0.02
LONG_S = 1000.0


# ---- lifespan -------------------------------------------------------------------------------------------------------


async def test_expired_samples_are_dropped_and_counted_on_both_sides(connect: Connect) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(lifespan_s=1e-9))
    publisher.publish_many([numbered(number) for number in range(7)])
    with pytest.raises(lunar.TimeoutError):
        await asyncio.to_thread(subscription.receive_blocking, 0.05)
    sent, received = publisher.statistics(), subscription.statistics()
    assert (sent.published, sent.lost, received.received, received.lost, received.lost_expired) == (7, 7, 0, 7, 7)
    assert sent.matches[0].lost_expired == received.matches[0].lost_expired == 7
    assert (sent.matches[0].queued, sent.matches[0].held) == (0, 0)


async def test_fresh_samples_are_not_dropped(connect: Connect) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(lifespan_s=LONG_S))
    publisher.publish_nowait(numbered(1))
    assert read_number(await subscription.receive()) == 1
    assert subscription.statistics().lost == 0


async def test_only_what_is_too_old_is_dropped(connect: Connect) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(lifespan_s=5 * SHORT_S))
    publisher.publish_many([numbered(0), numbered(1)])
    await asyncio.sleep(6 * SHORT_S)  # what this waits for is the time itself
    publisher.publish_many([numbered(2), numbered(3)])
    assert [read_number(await subscription.receive()) for _ in range(2)] == [2, 3]
    assert subscription.statistics().lost_expired == publisher.statistics().lost == 2


async def test_the_lifespan_is_the_publisher_s(connect: Connect) -> None:
    publisher, subscription = await connect("chatter", lunar.QoS(), lunar.QoS(lifespan_s=1e-9))
    publisher.publish_nowait(numbered(1))
    assert read_number(await subscription.receive()) == 1


async def test_expired_samples_are_an_event_where_they_expire_and_at_the_publisher_at_the_latest_with_the_match(
    connect: Connect, node: lunar.Node
) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(lifespan_s=1e-9))
    async with collect(node, events.SamplesLost) as lost:
        publisher.publish_many([numbered(number) for number in range(3)])
        receiving = asyncio.create_task(subscription.receive())
        (here,) = await lost.wait_for(1)
        receiving.cancel()
        subscription.close()
        there = (await lost.wait_for(2))[1]
    assert (here.local.id, here.count, here.cause) == (subscription.id, 3, "expired")
    assert (there.local.id, there.count, there.cause) == (publisher.id, 3, "expired")


async def test_expired_samples_make_room_for_a_publisher_that_waits(connect: Connect) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(history="keep_all", depth=2, lifespan_s=1e-9))
    receiving = asyncio.create_task(subscription.receive())
    async with asyncio.timeout(5):
        for number in range(20):
            await publisher.publish(numbered(number))
    receiving.cancel()
    await asyncio.wait([receiving])
    assert publisher.statistics().published == 20


async def test_what_expires_after_its_publisher_has_gone_is_counted(connect: Connect, node: lunar.Node) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(lifespan_s=1e-9))
    publisher.publish_many([numbered(number) for number in range(3)])
    async with collect(node, events.Unmatched, events.SamplesLost) as seen:
        publisher.close()
        await seen.wait_for(1)
        with pytest.raises(lunar.TimeoutError):
            await asyncio.to_thread(subscription.receive_blocking, 0.02)
        lost = (await seen.wait_for(2))[1]
    assert isinstance(lost, events.SamplesLost)
    assert (lost.local.id, lost.count, lost.cause) == (subscription.id, 3, "expired")
    statistics = subscription.statistics()
    assert (statistics.received, statistics.lost, statistics.lost_expired) == (0, 3, 3)


async def test_a_history_that_has_expired_is_not_replayed(node: lunar.Node) -> None:
    qos = lunar.QoS(durability="transient_local", lifespan_s=5 * SHORT_S)
    publisher = node.create_publisher(bytes, "chatter", qos=qos)
    publisher.publish_nowait(numbered(0))
    await asyncio.sleep(6 * SHORT_S)  # what this waits for is the time itself
    publisher.publish_nowait(numbered(1))
    late = node.create_subscription(bytes, "chatter", qos=qos)
    assert read_number(await late.receive()) == 1


# ---- deadline -------------------------------------------------------------------------------------------------------


async def test_a_missed_deadline_is_an_event_on_both_sides_in_both_processes(
    node: lunar.Node, start_child: StartChild
) -> None:
    qos = lunar.QoS(deadline_s=SHORT_S)
    child = start_child("other")
    child.call("subscription", topic="chatter", qos=qos.to_dict())
    publisher = node.create_publisher(bytes, "chatter", qos=qos)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    async with collect(node, events.DeadlineMissed) as missed:
        publisher.publish_nowait(numbered(0))
        here = await missed.wait_for(2)
    assert [event.total_count for event in here[:2]] == [1, 2] or here[1].total_count > here[0].total_count
    assert (here[0].local.id, here[0].topic) == (publisher.id, "/chatter")
    there = cast("list[str]", child.call("wait_for_events", kind="DeadlineMissed", count=2))
    assert there[0].startswith("deadline of 0.02 s missed (")
    assert "publisher of /chatter in node /tested" in there[0]


async def test_a_deadline_that_is_kept_is_no_event(connect: Connect, node: lunar.Node) -> None:
    publisher, _ = await connect(offered=lunar.QoS(deadline_s=LONG_S))
    quick, _ = await connect("other", lunar.QoS(deadline_s=SHORT_S))
    async with collect(node, events.DeadlineMissed) as missed:
        publisher.publish_nowait(b"")
        quick.publish_nowait(b"")
        await missed.wait_for(4)
    assert {event.topic for event in missed.events} == {"/other"}


async def test_a_publisher_that_has_not_begun_promises_nothing(node: lunar.Node) -> None:
    silent = node.create_publisher(bytes, "silent", qos=lunar.QoS(deadline_s=SHORT_S))
    began = node.create_publisher(bytes, "began", qos=lunar.QoS(deadline_s=SHORT_S))
    async with collect(node, events.DeadlineMissed) as missed:
        began.publish_nowait(b"")
        await missed.wait_for(3)
    assert {event.local.id for event in missed.events} == {began.id}
    silent.close()


async def test_no_deadline_is_missed_after_the_close(connect: Connect, node: lunar.Node) -> None:
    publisher, subscription = await connect("chatter", lunar.QoS(deadline_s=SHORT_S))
    other, _ = await connect("other", lunar.QoS(deadline_s=SHORT_S))
    async with collect(node, events.DeadlineMissed) as missed:
        publisher.publish_nowait(b"")
        await missed.wait_for(1)
        publisher.close()
        subscription.close()
        other.publish_nowait(b"")
        before = len(missed.events)
        while [event.topic for event in missed.events[before:]].count("/other") < 4:
            await missed.wait_for(len(missed.events) + 1)
    # One may have been under way.
    assert [event.topic for event in missed.events[before:]].count("/chatter") <= 2


async def test_the_deadlines_missed_are_counted_while_nobody_looked(connect: Connect, node: lunar.Node) -> None:
    publisher, _ = await connect(offered=lunar.QoS(deadline_s=0.002))
    async with collect(node, events.DeadlineMissed) as missed:
        publisher.publish_nowait(b"")
        await missed.wait_for(6)
    for kind in ("publisher", "subscription"):
        counts = [event.total_count for event in missed.events if event.local.kind == kind]
        assert counts == sorted(set(counts))


# ---- liveliness -----------------------------------------------------------------------------------------------------


async def test_a_process_that_is_killed_has_lost_its_liveliness(node: lunar.Node, start_child: StartChild) -> None:
    child = start_child("other")
    child.call("publisher", topic="chatter", qos={})
    subscription = node.create_subscription(bytes, "chatter")
    await subscription.wait_for_publishers(1, timeout_s=5)
    child.call("wait_for_subscribers", topic="chatter")
    async with collect(node, events.LivelinessLost, events.Unmatched) as seen:
        child.kill()
        lost, unmatched = (await seen.wait_for(2))[:2]
    assert isinstance(lost, events.LivelinessLost)
    assert isinstance(unmatched, events.Unmatched)
    assert lost.remote is not None
    assert (lost.local.id, lost.remote.node_name, lost.remote.pid) == (subscription.id, "/other", child.pid)
    assert subscription.publisher_count == 0


@pytest.mark.parametrize("end", ["close_publisher", "close_node", "process"])
async def test_one_that_says_goodbye_has_not(node: lunar.Node, start_child: StartChild, end: str) -> None:
    child = start_child("other")
    child.call("publisher", topic="chatter", qos={})
    subscription = node.create_subscription(bytes, "chatter")
    await subscription.wait_for_publishers(1, timeout_s=5)
    async with collect(node, events.LivelinessLost, events.Unmatched) as seen:
        match end:
            case "close_publisher":
                child.call(end, topic="chatter")
            case "close_node":
                child.call(end)
            case _:
                child.close()
        assert [type(event) for event in await seen.wait_for(1)] == [events.Unmatched]


async def test_a_manual_publisher_that_gives_no_sign_has_lost_it_on_both_sides(
    node: lunar.Node, start_child: StartChild
) -> None:
    qos = lunar.QoS(liveliness="manual_by_topic", lease_s=SHORT_S)
    child = start_child("other")
    child.call("publisher", topic="chatter", qos=qos.to_dict())
    async with collect(node, events.LivelinessLost) as lost:
        subscription = node.create_subscription(bytes, "chatter", qos=qos)
        (event,) = (await lost.wait_for(1))[:1]
    assert event.remote is not None
    assert (event.local.id, event.remote.node_name) == (subscription.id, "/other")
    (text,) = cast("list[str]", child.call("wait_for_events", kind="LivelinessLost"))[:1]
    assert text.startswith("liveliness lost, no sign of life for 0.02 s: publisher of /chatter in node /other")


@pytest.mark.parametrize("sign", ["publish_nowait", "assert_liveliness"])
async def test_a_sign_of_life_brings_it_back_and_silence_loses_it_again(
    connect: Connect, node: lunar.Node, sign: str
) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(liveliness="manual_by_topic", lease_s=SHORT_S))

    def give_sign() -> None:
        if sign == "assert_liveliness":
            publisher.assert_liveliness()
        else:
            publisher.publish_nowait(b"")

    async with collect(node, events.LivelinessLost) as lost:
        for times in (1, 2):
            while [event.local.id for event in lost.events].count(publisher.id) < times or (
                [event.local.id for event in lost.events].count(subscription.id) < times
            ):
                await lost.wait_for(len(lost.events) + 1)
            # Once lost it is not lost again without a sign between: the counts stay equal.
            assert len(lost.events) == 2 * times
            give_sign()


async def test_a_manual_publisher_that_gives_signs_keeps_it(connect: Connect, node: lunar.Node) -> None:
    publisher, _ = await connect("signs", lunar.QoS(liveliness="manual_by_topic", lease_s=1.0))
    silent, _ = await connect("silent", lunar.QoS(liveliness="manual_by_topic", lease_s=SHORT_S))
    async with collect(node, events.LivelinessLost) as lost:
        while len(lost.events) < 2:
            publisher.assert_liveliness()
            await asyncio.sleep(SHORT_S / 4)
    assert {event.topic for event in lost.events} == {"/silent"}
    assert {event.local.id for event in lost.events} >= {silent.id}


async def test_an_automatic_publisher_with_a_lease_needs_no_signs(connect: Connect, node: lunar.Node) -> None:
    _, subscription = await connect("automatic", lunar.QoS(lease_s=SHORT_S))
    await connect("manual", lunar.QoS(liveliness="manual_by_topic", lease_s=SHORT_S))
    async with collect(node, events.LivelinessLost) as lost:
        await lost.wait_for(2)
    assert {event.topic for event in lost.events} == {"/manual"}
    assert subscription.publisher_count == 1
