"""Subscriptions with a callback."""

import asyncio
import functools
from collections.abc import Awaitable, Callable

import pytest

import lunar

LOSSLESS = lunar.QoS(history="keep_all")
Callback = Callable[[memoryview], Awaitable[None] | None]


@pytest.fixture
async def publisher(node: lunar.Node) -> lunar.Publisher[object]:
    return node.create_publisher(bytes, "chatter", qos=LOSSLESS)


class Got:
    """What a callback got, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def plain(self, message: memoryview) -> None:
        self.messages.put_nowait(bytes(message))

    async def coroutine(self, message: memoryview) -> None:
        await asyncio.sleep(0)
        self.messages.put_nowait(bytes(message))

    def __call__(self, message: memoryview) -> None:
        self.plain(message)

    async def next(self, count: int) -> list[bytes]:
        async with asyncio.timeout(5):
            return [await self.messages.get() for _ in range(count)]


class AsyncGot(Got):
    async def __call__(self, message: memoryview) -> None:  # type: ignore[override]
        await self.coroutine(message)


def kinds() -> dict[str, Callable[[Got], Callback]]:
    return {
        "plain method": lambda got: got.plain,
        "coroutine method": lambda got: got.coroutine,
        "partial": lambda got: functools.partial(Got.plain, got),
        "partial of a coroutine function": lambda got: functools.partial(Got.coroutine, got),
        "callable object": lambda got: got,
        "function that returns a coroutine": lambda got: lambda message: got.coroutine(message[:]),
        "function that returns something else": lambda got: lambda message: [got.plain(message)],
    }


@pytest.mark.every_loop
@pytest.mark.parametrize("kind", kinds())
async def test_every_kind_of_callback_gets_every_message_in_order(
    node: lunar.Node, publisher: lunar.Publisher[object], kind: str
) -> None:
    got = Got()
    subscription = node.create_subscription(bytes, "chatter", kinds()[kind](got), qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    messages = [b"%d" % number for number in range(300)]
    await publisher.publish_all(messages)
    assert await got.next(300) == messages
    assert subscription.statistics().received == 300


async def test_an_object_that_is_called_asynchronously_is_awaited(
    node: lunar.Node, publisher: lunar.Publisher[object]
) -> None:
    got = AsyncGot()
    node.create_subscription(bytes, "chatter", got)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish(b"one")
    assert await got.next(1) == [b"one"]


@pytest.mark.every_loop
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
async def test_an_exception_goes_to_the_loop_s_handler_and_the_next_message_is_delivered(
    node: lunar.Node, publisher: lunar.Publisher[object], is_async: bool
) -> None:
    got = Got()
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def plain(message: memoryview) -> None:
        if message[0] == ord("x"):
            raise KeyError(bytes(message).decode())
        got.plain(message)

    async def coroutine(message: memoryview) -> None:
        plain(message)

    callback: Callback = coroutine if is_async else plain
    node.create_subscription(bytes, "chatter", callback, qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish_all([b"0", b"x1", b"2", b"x3", b"x4", b"5"])
    assert await got.next(3) == [b"0", b"2", b"5"]
    assert [str(context["exception"]) for context in reported] == ["'x1'", "'x3'", "'x4'"]
    assert "the callback of <Subscription of /chatter> failed" in str(reported[0]["message"])
    assert reported[0]["callback"] is callback


@pytest.mark.parametrize("error", [lunar.ClosedError("another"), asyncio.CancelledError("another")], ids=repr)
async def test_an_error_of_something_else_does_not_end_the_delivery(
    node: lunar.Node, publisher: lunar.Publisher[object], error: BaseException
) -> None:
    got = Got()
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def callback(message: memoryview) -> None:
        if message.nbytes == 0:
            raise error
        got.plain(message)

    node.create_subscription(bytes, "chatter", callback, qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish_all([b"", b"one", b"", b"two"])
    assert await got.next(2) == [b"one", b"two"]
    assert [context["exception"] for context in reported] == [error, error]


async def test_asynchronous_callbacks_run_one_at_a_time(node: lunar.Node, publisher: lunar.Publisher[object]) -> None:
    running = 0
    most = 0
    done = asyncio.Semaphore(0)

    async def callback(_: memoryview) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.release()

    node.create_subscription(bytes, "chatter", callback, qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish_all([b""] * 20)
    for _ in range(20):
        await done.acquire()
    assert most == 1


@pytest.mark.every_loop
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
async def test_a_callback_may_publish_create_and_close(
    node: lunar.Node, publisher: lunar.Publisher[object], is_async: bool
) -> None:
    got = Got()
    answers = node.create_subscription(bytes, "answers", got.plain, qos=LOSSLESS)
    onward = node.create_publisher(bytes, "answers", qos=LOSSLESS)
    await onward.wait_for_subscribers(1, timeout_s=5)

    def plain(message: memoryview) -> None:
        if message == b"close":  # type: ignore[comparison-overlap]
            subscription.close()
        onward.publish_nowait(message)
        node.create_publisher(bytes, "other").close()
        publisher.statistics()

    async def coroutine(message: memoryview) -> None:
        plain(message)
        await onward.publish(message)

    subscription = node.create_subscription(bytes, "chatter", coroutine if is_async else plain, qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish_all([b"one", b"close", b"never delivered"])
    repeat = 2 if is_async else 1
    assert await got.next(2 * repeat) == [b"one"] * repeat + [b"close"] * repeat
    assert answers.statistics().received == 2 * repeat


@pytest.mark.every_loop
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
async def test_the_delivery_ends_with_the_subscription(node: lunar.Node, is_async: bool) -> None:
    got = Got()
    before = asyncio.all_tasks()
    subscription = node.create_subscription(bytes, "chatter", got.coroutine if is_async else got.plain)
    (delivery,) = asyncio.all_tasks() - before
    await asyncio.sleep(0)
    subscription.close()
    async with asyncio.timeout(5):
        await delivery


async def test_a_message_is_given_back_after_its_callback(node: lunar.Node, publisher: lunar.Publisher[object]) -> None:
    got = Got()
    node.create_subscription(bytes, "chatter", got.plain, qos=LOSSLESS)
    node.create_subscription(bytes, "chatter", got.coroutine, qos=LOSSLESS)
    await publisher.wait_for_subscribers(2, timeout_s=5)
    await publisher.publish(b"one")
    await got.next(2)
    await asyncio.sleep(0)
    assert [match.held for match in publisher.statistics().matches] == [0, 0]


async def test_a_callback_may_keep_its_message(node: lunar.Node, publisher: lunar.Publisher[object]) -> None:
    kept: list[memoryview] = []
    got = Got()

    def keep(message: memoryview) -> None:
        kept.append(message)
        got.plain(message)

    node.create_subscription(bytes, "chatter", keep, qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish_all([b"%d" % number for number in range(100)])
    await got.next(100)
    assert [int(bytes(message)) for message in kept] == list(range(100))
    assert publisher.statistics().matches[0].held == 100


def test_a_callback_needs_a_running_loop() -> None:
    with lunar.Node("tested") as node:
        with pytest.raises(RuntimeError, match="no running event loop"):
            node.create_subscription(bytes, "chatter", print)
        assert [len(found.endpoints) for found in lunar.graph_snapshot().nodes] == [0]
