"""A publisher's pool is used up: who is told what, who waits, and what becomes of it."""

import asyncio
import gc
import mmap
import os
from collections.abc import Callable
from typing import Any

import pytest

import lunar

Subscription = lunar.Subscription[memoryview]
pytestmark = pytest.mark.faults

MIB = 1 << 20
CHUNK = 100_000  # takes 128 KiB, so eight of them fill the pool
LAST = lunar.QoS(depth=100)
ALL = lunar.QoS(history="keep_all", depth=100)


@pytest.fixture
def node(monkeypatch):
    monkeypatch.setenv("LUNAR_POOL_BYTES", str(MIB))
    with lunar.Node("tested", namespace="/robot") as node:
        yield node


async def take(subscription: Subscription, count: int) -> list[lunar.Sample[memoryview]]:
    held: list[lunar.Sample[memoryview]] = []
    async with asyncio.timeout(20):
        while len(held) < count:
            held += await subscription.receive_many(count - len(held))
    return held


async def matched(node: lunar.Node, qos: lunar.QoS) -> tuple[lunar.Publisher[Any], Subscription]:
    publisher = node.create_publisher(bytes, "topic", qos=qos)
    subscription = node.create_subscription(bytes, "topic", qos=qos)
    await publisher.wait_for_subscribers(1, timeout_s=20)
    return publisher, subscription


async def test_under_keep_last_the_error_names_who_holds_the_pool(node):
    publisher, subscription = await matched(node, LAST)
    for number in range(8):
        await publisher.publish(bytes([number]) * CHUNK)
    held = await take(subscription, 8)
    operations: dict[str, Callable[[], object]] = {
        "publish_nowait": lambda: publisher.publish_nowait(bytes(CHUNK)),
        "publish_blocking": lambda: publisher.publish_blocking(bytes(CHUNK), timeout_s=20),
        "publish_many": lambda: publisher.publish_many([bytes(CHUNK)]),
        "loan": lambda: publisher.loan(CHUNK).__enter__(),
    }
    for name, operation in operations.items():
        with pytest.raises(lunar.ResourceExhausted, match="LUNAR_POOL_BYTES") as caught:
            operation()
        assert "/robot/tested" in str(caught.value), name
        assert "holds 8" in str(caught.value), name
    with pytest.raises(lunar.ResourceExhausted, match="/robot/tested"):
        await publisher.publish(bytes(CHUNK))
    with pytest.raises(lunar.ResourceExhausted, match="/robot/tested"):
        await publisher.publish_all([bytes(CHUNK)])
    with pytest.raises(lunar.ResourceExhausted, match="/robot/tested"):
        async with publisher.loan(CHUNK):
            pytest.fail("there is no memory to lend")
    assert publisher.statistics().published == 8
    assert publisher.statistics().pool_bytes == MIB
    del held[0]
    await publisher.publish(b"\x08" * CHUNK)
    held += await take(subscription, 1)
    # What failed took no number and left no gap.
    assert [sample.info.sequence_number for sample in held] == list(range(2, 10))
    assert [bytes(sample.message) for sample in held] == [bytes([number]) * CHUNK for number in range(1, 9)]
    assert subscription.statistics().lost == 0


async def test_a_burst_reports_how_many_were_accepted_before_the_pool_was_full(node):
    publisher, subscription = await matched(node, LAST)
    with pytest.raises(lunar.ResourceExhausted):
        publisher.publish_many([bytes([number]) * CHUNK for number in range(10)])
    assert publisher.statistics().published == 8
    assert [sample.message[0] for sample in await take(subscription, 8)] == list(range(8))


@pytest.mark.parametrize("loop", ["lunar", "asyncio", "uvloop"])
def test_under_keep_all_the_publisher_waits_until_memory_comes_back(node, loop):
    async def main() -> None:
        publisher, subscription = await matched(node, ALL)
        await publisher.publish_all([bytes([number]) * CHUNK for number in range(8)])
        held = await take(subscription, 8)
        with pytest.raises(lunar.WouldBlock):
            publisher.publish_nowait(b"x" * CHUNK)
        assert publisher.publish_many([b"x" * CHUNK]) == 0
        with pytest.raises(lunar.WouldBlock):
            publisher.loan(CHUNK).__enter__()
        waiting = asyncio.ensure_future(publisher.publish(b"waited" + bytes(CHUNK)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.05)
        (match,) = publisher.statistics().matches
        assert (match.held, match.queued) == (8, 0)
        del held[3]
        await asyncio.wait_for(waiting, 20)
        (sample,) = await take(subscription, 1)
        assert bytes(sample.message[:6]) == b"waited"
        assert sample.info.sequence_number == 9

    lunar.run(main(), loop=loop)


async def test_cancelling_a_publish_that_waits_for_memory_publishes_nothing(node):
    publisher, subscription = await matched(node, ALL)
    await publisher.publish_all([bytes(CHUNK)] * 8)
    held = await take(subscription, 8)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(publisher.publish(b"cancelled" + bytes(CHUNK)), 0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(publisher.publish_all([b"cancelled" + bytes(CHUNK)]), 0.05)
    del held
    await publisher.publish(b"next" + bytes(CHUNK - 4))
    (sample,) = await take(subscription, 1)
    assert (bytes(sample.message[:4]), sample.info.sequence_number) == (b"next", 9)


def test_a_thread_waits_until_memory_comes_back_or_its_time_is_over(node):
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    subscription = node.create_subscription(bytes, "topic", qos=ALL)
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)
    for _ in range(8):
        publisher.publish_blocking(bytes(CHUNK), timeout_s=20)
    held: list[lunar.Sample[memoryview]] = []
    while len(held) < 8:
        held += subscription.receive_many_blocking(8, timeout_s=20)
    with pytest.raises(lunar.TimeoutError):
        publisher.publish_blocking(bytes(CHUNK), timeout_s=0.05)
    held.clear()
    publisher.publish_blocking(bytes(CHUNK), timeout_s=20)
    assert subscription.receive_many_blocking(1, timeout_s=20)[0].info.sequence_number == 9


async def test_one_slow_holder_is_named_among_several(node, start):
    publisher = node.create_publisher(bytes, "topic", qos=LAST)
    quick = node.create_subscription(bytes, "topic", qos=LAST)
    holder = start("""
        node = lunar.Node("hoarder")
        subscription = node.create_subscription(bytes, "/robot/topic", qos=lunar.QoS(depth=100))
        held = []
        while len(held) < 8:
            held += subscription.receive_many_blocking(8, timeout_s=20)
        say("held")
        heard()
        held.clear()
        say("released")
        heard()
    """)
    await publisher.wait_for_subscribers(2, timeout_s=20)
    for _ in range(8):
        await publisher.publish(bytes(CHUNK))
    await take(quick, 8)
    assert holder.hear() == "held"
    with pytest.raises(lunar.ResourceExhausted) as caught:
        await publisher.publish(bytes(CHUNK))
    assert "/hoarder" in str(caught.value)
    assert "/robot/tested" not in str(caught.value)
    holder.tell("release")
    assert holder.hear() == "released"
    await publisher.publish(bytes(CHUNK))
    assert len(await take(quick, 1)) == 1


async def test_a_message_that_could_never_fit_is_refused_at_once(node):
    publisher, subscription = await matched(node, ALL)
    too_large = bytes(MIB + 1)
    operations: list[Callable[[], object]] = [
        lambda: publisher.publish_nowait(too_large),
        lambda: publisher.publish_blocking(too_large, timeout_s=20),
        lambda: publisher.publish_many([bytes(MIB), too_large, b"never comes to this"]),
        lambda: publisher.loan(MIB + 1).__enter__(),
    ]
    for operation in operations:
        with pytest.raises(lunar.ResourceExhausted, match=str(MIB)):
            operation()
    for awaitable in (publisher.publish(too_large), publisher.publish_all([too_large])):
        with pytest.raises(lunar.ResourceExhausted, match=str(MIB)):
            await asyncio.wait_for(awaitable, 20)
    assert [len(message) for message, _ in await take(subscription, 1)] == [MIB]
    await publisher.publish(b"x" + bytes(MIB - 1))
    assert [message[0] for message, _ in await take(subscription, 1)] == [ord("x")]


@pytest.mark.skipif("LUNAR_SANITIZED" in os.environ, reason="a sanitizer does not lend so much address space")
async def test_a_message_beyond_what_the_format_can_say_is_refused(monkeypatch):
    """Sizes have 32 bits. The memory here is never touched, so it costs nothing."""
    monkeypatch.setenv("LUNAR_POOL_BYTES", str(1 << 40))
    with lunar.Node("tested") as node, mmap.mmap(-1, (1 << 32) + 64, prot=mmap.PROT_READ) as huge:
        publisher, subscription = await matched(node, ALL)
        for operation in (lambda: publisher.publish_nowait(huge), lambda: publisher.loan(1 << 32).__enter__()):
            with pytest.raises(lunar.ResourceExhausted, match="4294967295 bytes"):
                operation()
        await publisher.publish(b"next")
        assert [bytes(message) for message, _ in await take(subscription, 1)] == [b"next"]
        assert publisher.statistics().pool_bytes < MIB


async def test_messages_that_are_no_bytes_are_refused_and_nothing_is_published(node):
    publisher, subscription = await matched(node, ALL)
    for message in ("text", 7, None, [b"x"]):
        with pytest.raises(TypeError):
            publisher.publish_nowait(message)
        with pytest.raises(TypeError):
            await publisher.publish(message)
    with pytest.raises(TypeError):
        publisher.publish_many([b"accepted", "refused"])
    with pytest.raises(ValueError, match="negative"):
        publisher.loan(-1)
    await publisher.publish(b"next")
    assert [bytes(message) for message, _ in await take(subscription, 2)] == [b"accepted", b"next"]


async def test_loans_that_are_out_leave_less_for_others_and_come_back(node):
    publisher, subscription = await matched(node, LAST)
    loans = [publisher.loan(CHUNK) for _ in range(8)]
    buffers = [loan.__enter__() for loan in loans]
    with pytest.raises(lunar.ResourceExhausted):
        publisher.publish_nowait(bytes(CHUNK))
    for buffer in buffers:
        buffer[:4] = b"loan"
    loans[0].__exit__(None, None, None)
    loans[1].__exit__(ValueError, ValueError("discard it"), None)
    publisher.publish_nowait(b"in the discarded one's place" + bytes(CHUNK - 100))
    assert [bytes(message[:4]) for message, _ in await take(subscription, 2)] == [b"loan", b"in t"]
    del loans, buffers, buffer
    gc.collect()  # nobody ever left these blocks
    for _ in range(6):
        publisher.publish_nowait(bytes(CHUNK))
    assert len(await take(subscription, 6)) == 6


async def test_cancelling_the_end_of_a_loan_gives_its_memory_back(node):
    publisher, subscription = await matched(node, lunar.QoS(history="keep_all", depth=4))

    async def lend() -> None:
        async with publisher.loan(CHUNK) as buffer:
            buffer[:4] = b"loan"
            for _ in range(4):
                publisher.publish_nowait(b"takes its room")
            # Leaving waits for room, and is cancelled.

    for _ in range(20):  # far more than there is memory for
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lend(), 0.01)
        assert [bytes(message) for message, _ in await take(subscription, 4)] == [b"takes its room"] * 4
    await publisher.publish(bytes(CHUNK))
