"""Signs of life without a message, as other hosts hear of them: when they count, and what they cost."""

import asyncio
import json
import time

import lunar
from lunar import QoS, events, testing
from tests.integration.memory_hosts import Board, MemoryHosts

LEASE_S = 0.4
MANUAL = QoS(liveliness="manual_by_topic", lease_s=LEASE_S)


def signs(board: Board) -> int:
    return sum(json.loads(body)["kind"] == "sign" for body in board.posts)


async def connect(
    here: lunar.Node, there: lunar.Node, qos: QoS, requested: QoS | None = None, topic: str = "alive"
) -> tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]:
    pub = here.create_publisher(bytes, topic, qos=qos)
    sub = there.create_subscription(bytes, topic, qos=qos if requested is None else requested)
    await pub.wait_for_subscribers(timeout_s=5)
    await sub.wait_for_publishers(timeout_s=5)
    return pub, sub


async def assert_for(pub: lunar.Publisher[object], seconds: float, pause_s: float) -> int:
    end_s, count = time.monotonic() + seconds, 0
    while time.monotonic() < end_s:
        pub.assert_liveliness()
        count += 1
        await asyncio.sleep(pause_s)
    return count


async def test_liveliness_is_lost_a_lease_after_the_last_sign(memory_hosts: MemoryHosts) -> None:
    here, there = memory_hosts.node("a"), memory_hosts.node("b")
    pub, _sub = await connect(here, there, MANUAL)
    async with testing.collect(there, events.LivelinessLost) as lost:
        await assert_for(pub, 2 * LEASE_S, 0.01)
        assert not lost.events
        pub.assert_liveliness()
        last_s = time.monotonic()
        [event] = await lost.wait_for()
        late_s = time.monotonic() - last_s - LEASE_S
        # The record of the last sign was posted up to a quarter of a lease after it, and said so.
        assert -0.01 < late_s < LEASE_S / 4 - 0.02, late_s
        assert event.remote is not None
        assert event.remote.id == pub.id


async def test_signs_that_come_close_together_share_a_record(memory_hosts: MemoryHosts) -> None:
    here, there = memory_hosts.node("a"), memory_hosts.node("b")
    pub, _sub = await connect(here, there, MANUAL)
    count = await assert_for(pub, 2 * LEASE_S, 0.001)
    assert count > 50
    assert 4 <= signs(memory_hosts.boards[0]) <= 10


async def test_a_sign_is_not_lost_to_the_lease_of_one_that_comes_seldom(memory_hosts: MemoryHosts) -> None:
    here, there = memory_hosts.node("a"), memory_hosts.node("b")
    pub, _sub = await connect(here, there, MANUAL)
    async with testing.collect(there, events.LivelinessLost) as lost:
        await assert_for(pub, 4 * LEASE_S, 0.8 * LEASE_S)
        assert not lost.events


async def test_nothing_is_posted_where_nobody_needs_it(memory_hosts: MemoryHosts) -> None:
    here, same_host, there = memory_hosts.node("a"), memory_hosts.node("a"), memory_hosts.node("b")
    within_host = await connect(here, same_host, MANUAL, topic="within_host")
    automatic = await connect(here, there, QoS(lease_s=LEASE_S), topic="automatic")
    unwanted = await connect(here, there, MANUAL, QoS(), topic="unwanted")
    async with asyncio.TaskGroup() as tasks:
        for pub, _sub in (within_host, automatic, unwanted):
            tasks.create_task(assert_for(pub, LEASE_S, 0.01))
    assert signs(memory_hosts.boards[0]) == 0


async def test_the_record_goes_with_its_publisher(memory_hosts: MemoryHosts) -> None:
    here, there = memory_hosts.node("a"), memory_hosts.node("b")
    pub, sub = await connect(here, there, MANUAL)
    pub.assert_liveliness()
    async with testing.collect(there, events.Unmatched) as unmatched:
        pub.close()
        await unmatched.wait_for()
    assert sub.publisher_count == 0
    here.close()  # its control thread has done all that it was asked to
    assert all(json.loads(body)["kind"] != "sign" for body in memory_hosts.boards[0]._posted.values())
