"""Cancelling an await, at whatever moment, loses nothing and repeats nothing.

Everywhere a publisher counts up, a subscription takes it all, and somebody cancels. What has arrived in the end must be
each number exactly once, in order.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lunar
from lunar.loop import LoopKind
from lunar.testing import Child, read_number

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]

LOSSLESS = lunar.QoS(history="keep_all", depth=4)


def number_of(message: memoryview) -> int:
    return int.from_bytes(message, "little")


def message_of(number: int) -> bytes:
    return number.to_bytes(4, "little")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Receiver:
    """Receives in a way of its own until it is cancelled; keeps what it got."""

    def __init__(self, subscription: lunar.Subscription[memoryview], got: list[int]) -> None:
        self._subscription = subscription
        self._got = got

    async def receive(self) -> None:
        while True:
            self._got.append(number_of(await self._subscription.receive()))

    async def receive_many(self) -> None:
        while True:
            self._got += [number_of(sample.message) for sample in await self._subscription.receive_many(3)]

    async def iterate(self) -> None:
        async for message in self._subscription:
            self._got.append(number_of(message))

    async def time_out(self) -> None:
        while True:
            try:
                async with asyncio.timeout(0):
                    self._got.append(number_of(await self._subscription.receive()))
            except TimeoutError:
                await asyncio.sleep(0)


RECEIVERS = ("receive", "receive_many", "iterate", "time_out")


@pytest.mark.every_loop
@pytest.mark.parametrize("kind", RECEIVERS)
@pytest.mark.parametrize("seed", range(3))
async def test_receivers_that_are_cancelled_at_random_lose_nothing(connect: Connect, kind: str, seed: int) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    chance = random.Random(seed)
    count = 300
    got: list[int] = []
    publishing = asyncio.create_task(publisher.publish_all([message_of(number) for number in range(count)]))
    async with asyncio.timeout(20):
        while len(got) < count:
            task = asyncio.create_task(getattr(Receiver(subscription, got), kind)())
            await turns(chance.randrange(4))
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
    await publishing
    assert got == list(range(count))


@pytest.mark.every_loop
@pytest.mark.parametrize("seed", range(3))
async def test_publishers_that_are_cancelled_at_random_send_all_or_nothing(connect: Connect, seed: int) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    chance = random.Random(seed)
    count = 300

    async def receive() -> list[int]:
        return [number_of(await subscription.receive()) for _ in range(count)]

    receiving = asyncio.create_task(receive())
    number = 0
    while number < count:
        task = asyncio.create_task(publisher.publish(message_of(number)))
        await turns(chance.randrange(4))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            number += 1  # else it was not published, and is tried again
    assert await receiving == list(range(count))
    assert publisher.statistics().published == count


@pytest.mark.every_loop
async def test_publish_all_that_is_cancelled_has_sent_a_beginning(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    task = asyncio.create_task(publisher.publish_all([message_of(number) for number in range(100)]))
    await turns(3)
    got = [number_of(await subscription.receive()) for _ in range(2)]
    await turns(3)
    task.cancel()
    await asyncio.wait([task])
    published = publisher.statistics().published
    got += [number_of(await subscription.receive()) for _ in range(published - 2)]
    assert got == list(range(published))
    assert 4 <= published < 100
    assert subscription.take(1) == []


@pytest.mark.every_loop
async def test_a_wake_up_that_goes_to_a_cancelled_waiter_reaches_the_next(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    first = asyncio.create_task(subscription.receive())
    second = asyncio.create_task(subscription.receive())
    await turns(2)
    publisher.publish_nowait(message_of(7))
    first.cancel()
    assert number_of(await second) == 7
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.every_loop
async def test_room_that_goes_to_a_cancelled_publisher_reaches_the_next(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    publisher.publish_many([message_of(number) for number in range(4)])
    first = asyncio.create_task(publisher.publish(message_of(8)))
    second = asyncio.create_task(publisher.publish(message_of(9)))
    await turns(2)
    assert number_of(await subscription.receive()) == 0
    first.cancel()
    await second
    assert [number_of(await subscription.receive()) for _ in range(4)] == [1, 2, 3, 9]


@pytest.mark.every_loop
async def test_waiting_for_the_other_side_can_be_cancelled(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    for _ in range(10):
        task = asyncio.create_task(publisher.wait_for_subscribers(1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    node.create_subscription(bytes, "chatter")
    await publisher.wait_for_subscribers(1, timeout_s=5)


@pytest.mark.every_loop
async def test_waiting_for_an_event_can_be_cancelled(node: lunar.Node) -> None:
    events = node.events()
    for _ in range(3):
        task = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    node.create_subscription(bytes, "chatter")
    node.create_publisher(bytes, "chatter")
    async with asyncio.timeout(5):
        kinds = {type(await anext(events)) for _ in range(2)}
    assert kinds == {lunar.events.Matched}


async def test_messages_of_another_process_arrive_once_however_often_the_receiver_is_cancelled(
    node: lunar.Node, start_child: Callable[..., Child]
) -> None:
    child = start_child("other")
    child.call("publisher", topic="chatter", qos=LOSSLESS.to_dict())
    subscription = node.create_subscription(bytes, "chatter", qos=LOSSLESS)
    child.call("wait_for_subscribers", topic="chatter")
    count = 2000
    child.start("publish", topic="chatter", first=0, count=count)
    chance = random.Random(4)
    got: list[int] = []
    async with asyncio.timeout(20):
        while len(got) < count:
            task = asyncio.create_task(_receive_numbered(subscription, got))
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 1e-4)
            else:
                await turns(chance.randrange(4))
            task.cancel()
            await asyncio.wait([task])
    child.answer()
    assert got == list(range(count))


async def _receive_numbered(subscription: lunar.Subscription[memoryview], got: list[int]) -> None:
    while True:
        got.append(read_number(await subscription.receive()))


Action = tuple[str, int]

# What may happen next, and how many turns of the loop to let pass after it.
actions = st.lists(
    st.tuples(
        st.sampled_from(
            [*RECEIVERS, "cancel receiver", "publish", "publish_all", "cancel publisher", "lend", "take", "nothing"]
        ),
        st.integers(0, 3),
    ),
    max_size=40,
)


class Run:
    """One run of a list of actions, and what must be true at its end."""

    def __init__(self, publisher: lunar.Publisher[object], subscription: lunar.Subscription[memoryview]) -> None:
        self._publisher = publisher
        self._subscription = subscription
        self._got: list[int] = []
        self._receivers: list[asyncio.Task[None]] = []
        self._publishers: list[asyncio.Task[None]] = []
        self._published = 0

    async def act(self, action: str) -> None:
        match action:
            case "receive" | "receive_many" | "iterate" | "time_out":
                receive = getattr(Receiver(self._subscription, self._got), action)
                self._receivers.append(asyncio.create_task(receive()))
            case "publish" | "publish_all" | "lend" if not self._publishers:
                # One at a time: the numbers have an order.
                self._publishers.append(asyncio.create_task(getattr(self, f"_{action}")()))
            case "cancel receiver" if self._receivers:
                self._receivers.pop(0).cancel()
            case "cancel publisher" if self._publishers:
                await self._end(self._publishers.pop(), cancel=True)
            case "take":
                self._got += [number_of(sample.message) for sample in self._subscription.take(2)]
        for task in [task for task in self._publishers if task.done()]:
            self._publishers.remove(task)

    async def _end(self, task: "asyncio.Task[None]", *, cancel: bool) -> None:
        if cancel:
            task.cancel()
        await asyncio.wait([task])

    def _numbers(self, count: int) -> list[bytes]:
        first = self._publisher.statistics().published
        return [message_of(number) for number in range(first, first + count)]

    async def _publish(self) -> None:
        await self._publisher.publish(*self._numbers(1))

    async def _publish_all(self) -> None:
        await self._publisher.publish_all(self._numbers(7))

    async def _lend(self) -> None:
        async with self._publisher.loan(4) as buffer:
            buffer[:] = self._numbers(1)[0]

    async def finish(self) -> None:
        for task in self._publishers:
            await self._end(task, cancel=True)
        for task in self._receivers:
            task.cancel()
        if self._receivers:
            await asyncio.wait(self._receivers)
        published = self._publisher.statistics().published
        while len(self._got) < published:
            self._got.append(number_of(await self._subscription.receive()))
        assert self._got == list(range(published))
        assert self._subscription.take(1) == []
        assert self._publisher.statistics().lost == self._subscription.statistics().lost == 0


@pytest.mark.parametrize("kind", ["lunar", "asyncio", "uvloop"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=actions)
def test_whatever_happens_each_number_arrives_once_and_in_order(kind: LoopKind, script: list[Action]) -> None:
    async def main() -> None:
        async with lunar.Node("tested") as node:
            publisher = node.create_publisher(bytes, "chatter", qos=LOSSLESS)
            subscription = node.create_subscription(bytes, "chatter", qos=LOSSLESS)
            await publisher.wait_for_subscribers(1, timeout_s=5)
            await subscription.wait_for_publishers(1, timeout_s=5)
            run = Run(publisher, subscription)
            async with asyncio.timeout(20):
                for action, count in script:
                    await run.act(action)
                    await turns(count)
                await run.finish()

    lunar.run(main(), loop=kind)
