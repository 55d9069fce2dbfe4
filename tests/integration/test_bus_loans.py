"""Loans: pieces of the publisher's memory that are filled in place."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

import lunar

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]

MIB = 1 << 20
LOSSLESS = lunar.QoS(history="keep_all", depth=4)
SIZES = (0, 1, 63, 64, 65, 4095, 4096, 4097, 65_536, MIB - 1, MIB, MIB + 1, 64 * MIB)


async def test_leaving_the_block_publishes(connect: Connect) -> None:
    publisher, subscription = await connect()
    with publisher.loan(1000) as buffer:
        assert (buffer.nbytes, buffer.readonly, buffer.format, buffer.contiguous) == (1000, False, "B", True)
        buffer[:5] = b"frame"
        buffer[5:] = bytes(995)
        assert publisher.statistics().published == 0
    assert publisher.statistics().published == 1
    received = await subscription.receive()
    assert bytes(received) == b"frame" + bytes(995)
    with pytest.raises(ValueError, match="released"):
        buffer[0] = 1


async def test_an_exception_discards_it_and_passes_on(connect: Connect) -> None:
    publisher, subscription = await connect()
    with pytest.raises(KeyError, match="mine"), publisher.loan(10):
        raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        async with publisher.loan(10):
            raise KeyError("mine")
    publisher.publish_nowait(b"next")
    received = await subscription.receive_many(1)
    assert [(bytes(message), info.sequence_number) for message, info in received] == [(b"next", 1)]
    assert publisher.statistics().published == 1


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_every_size_from_nothing_to_64_mib(connect: Connect, size_bytes: int) -> None:
    publisher, subscription = await connect()
    edges = sorted({0, size_bytes // 2, size_bytes - 1} - {-1}) if size_bytes else []
    with publisher.loan(size_bytes) as buffer:
        assert buffer.nbytes == size_bytes
        for place in edges:
            buffer[place] = 1 + place % 255
    received = await subscription.receive()
    assert received.nbytes == size_bytes
    assert [received[place] for place in edges] == [1 + place % 255 for place in edges]


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_every_size_copied_in(connect: Connect, size_bytes: int) -> None:
    publisher, subscription = await connect()
    pattern = bytes(range(251))
    message = (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]
    await publisher.publish(message)
    assert (await subscription.receive()) == message  # without copying it once more


async def test_a_loan_is_refused_beyond_what_the_pool_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_POOL_BYTES", "1M")
    async with lunar.Node("small") as node:
        publisher = node.create_publisher(bytes, "chatter")
        subscription = node.create_subscription(bytes, "chatter")
        await publisher.wait_for_subscribers(1, timeout_s=5)
        with pytest.raises(lunar.ResourceExhausted, match="larger than this publisher's pool"):
            publisher.loan(MIB + 1).__enter__()
        with publisher.loan(MIB) as buffer:
            buffer[0] = 7
        message = await subscription.receive()
        with pytest.raises(lunar.ResourceExhausted, match="LUNAR_POOL_BYTES"):
            publisher.loan(MIB).__enter__()
        del message
        with publisher.loan(MIB) as buffer:
            buffer[0] = 8
        assert (await subscription.receive())[0] == 8


async def test_a_negative_size_is_refused(connect: Connect) -> None:
    publisher, _ = await connect()
    with pytest.raises(ValueError, match="must not be negative"):
        publisher.loan(-1)


async def test_with_refuses_and_async_with_waits_where_nothing_may_be_lost(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    publisher.publish_many([b""] * 4)
    with pytest.raises(lunar.WouldBlock, match="async with"):
        publisher.loan(4).__enter__()

    async def lend() -> None:
        async with publisher.loan(4) as buffer:
            buffer[:] = b"lent"

    lending = asyncio.create_task(lend())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not lending.done()
    received = [bytes(await subscription.receive()) for _ in range(5)]
    assert received == [b"", b"", b"", b"", b"lent"]
    await lending


@pytest.mark.every_loop
async def test_async_with_waits_on_leaving_if_the_room_was_taken_meanwhile(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def lend() -> None:
        async with publisher.loan(4) as buffer:
            buffer[:] = b"lent"
            entered.set()
            await leave.wait()

    lending = asyncio.create_task(lend())
    await entered.wait()
    publisher.publish_many([b""] * 4)
    leave.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not lending.done()
    assert [bytes(await subscription.receive()) for _ in range(5)] == [b"", b"", b"", b"", b"lent"]
    await lending


async def test_with_refuses_on_leaving_if_the_room_was_taken_meanwhile(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    with pytest.raises(lunar.WouldBlock), publisher.loan(4):
        publisher.publish_many([b""] * 4)
    assert [bytes(await subscription.receive()) for _ in range(4)] == [b""] * 4
    assert publisher.statistics().published == 4


async def test_loans_are_published_in_the_order_of_leaving(connect: Connect) -> None:
    publisher, subscription = await connect()
    with publisher.loan(5) as outer:
        outer[:] = b"outer"
        with publisher.loan(5) as inner:
            inner[:] = b"inner"
    assert [bytes(await subscription.receive()) for _ in range(2)] == [b"inner", b"outer"]


async def test_a_loan_is_used_once(connect: Connect) -> None:
    publisher, subscription = await connect()
    loan = publisher.loan(3)
    with loan as buffer:
        buffer[:] = b"one"
        with pytest.raises(lunar.LunarError, match="used once"):
            loan.__enter__()
    with pytest.raises(lunar.LunarError, match="used once"):
        loan.__enter__()
    with pytest.raises(lunar.LunarError, match="not open"):
        loan.__exit__(None, None, None)
    with pytest.raises(lunar.LunarError, match="not open"):
        publisher.loan(3).__exit__(None, None, None)
    assert bytes(await subscription.receive()) == b"one"
    assert publisher.statistics().published == 1


async def test_a_view_that_is_kept_keeps_the_memory_from_being_used_again(connect: Connect) -> None:
    publisher, subscription = await connect()
    with publisher.loan(4) as buffer:
        buffer[:] = b"kept"
        kept = buffer[:]  # as a NumPy array would
    assert bytes(await subscription.receive()) == b"kept"
    for _ in range(5000):  # more than the pool has chunks of this size
        publisher.publish_nowait(b"next")
        await subscription.receive()
    assert bytes(kept) == b"kept"
    kept[:] = b"late"
    publisher.publish_nowait(b"last")
    assert bytes(await subscription.receive()) == b"last"
    del kept


async def test_a_loan_that_is_dropped_gives_its_memory_back(connect: Connect) -> None:
    publisher, _ = await connect()
    with publisher.loan(4 * MIB):
        pool_bytes = publisher.statistics().pool_bytes
    for _ in range(20):
        buffer = publisher.loan(4 * MIB).__enter__()
        del buffer
        gc.collect()
    assert publisher.statistics().pool_bytes == pool_bytes
    assert publisher.statistics().published == 1


@pytest.mark.every_loop
async def test_closing_the_publisher_in_the_block_discards_it_safely(connect: Connect) -> None:
    publisher, subscription = await connect()
    publisher.publish_nowait(b"before")

    def close_in_the_block() -> None:
        with publisher.loan(MIB) as buffer:
            publisher.close()
            buffer[:] = bytes(MIB)

    with pytest.raises(lunar.ClosedError):
        close_in_the_block()
    assert bytes(await subscription.receive()) == b"before"


async def test_a_view_outlives_its_publisher(connect: Connect) -> None:
    publisher, _ = await connect()
    with publisher.loan(MIB) as buffer:
        view = buffer[:]
    publisher.close()
    view[:] = bytes(MIB)
    assert view[MIB - 1] == 0


async def test_a_loan_without_a_subscription_is_published_to_nobody(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    with publisher.loan(10) as buffer:
        buffer[:] = bytes(10)
    assert publisher.statistics().published == 1


@pytest.mark.every_loop
async def test_cancelling_a_loan_that_waits_publishes_nothing_and_leaks_nothing(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)

    async def lend(entered: asyncio.Event, leave: asyncio.Event) -> None:
        async with publisher.loan(MIB) as buffer:
            buffer[0] = 1
            entered.set()
            await leave.wait()

    for _ in range(10):
        entered, leave = asyncio.Event(), asyncio.Event()
        on_leaving = asyncio.create_task(lend(entered, leave))
        await entered.wait()
        publisher.publish_many([b"%d" % number for number in range(4)])
        on_entering = asyncio.create_task(lend(asyncio.Event(), leave))
        leave.set()
        for _ in range(3):
            await asyncio.sleep(0)
        for task in (on_leaving, on_entering):
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [bytes(await subscription.receive()) for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    async with publisher.loan(MIB) as buffer:
        buffer[0] = 2
    assert (await subscription.receive())[0] == 2
    assert publisher.statistics().pool_bytes < 4 * MIB
