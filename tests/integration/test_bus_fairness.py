"""Nobody starves: not the loop, not a timer, not a socket, not a quiet publisher.

No test asserts that something is fast: turns are counted, and asked for far fewer than are promised.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

import lunar
from lunar.testing import Child

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]

LOSSLESS = lunar.QoS(history="keep_all")
BUSY_S = 0.1


class Turns:
    """Another task of the loop: how often it ran, and how long it was kept waiting at most."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.longest_s = max(self.longest_s, now - before)
            before = now
            self.count += 1

    def end(self) -> None:
        self._task.cancel()


async def busy(step: Callable[[], Awaitable[object]]) -> None:
    """Repeats a step that never has to wait, for so much of its own thread's time: others may run, too."""
    until = time.thread_time() + BUSY_S
    while time.thread_time() < until:
        for _ in range(10):
            await step()


Step = Callable[[], Awaitable[None]]


def steps(publisher: lunar.Publisher[object], subscription: lunar.Subscription[memoryview]) -> dict[str, Step]:
    async def receive() -> None:
        publisher.publish_nowait(b"")
        await subscription.receive()

    async def receive_many() -> None:
        publisher.publish_nowait(b"")
        await subscription.receive_many(5)

    async def publish() -> None:
        await publisher.publish(b"")
        subscription.take(100)

    async def publish_all() -> None:
        await publisher.publish_all([b"", b""])
        subscription.take(100)

    async def lend() -> None:
        async with publisher.loan(10):
            pass
        subscription.take(100)

    return {
        "receive": receive,
        "receive_many": receive_many,
        "publish": publish,
        "publish_all": publish_all,
        "loan": lend,
    }


@pytest.mark.every_loop
@pytest.mark.parametrize("kind", ["receive", "receive_many", "publish", "publish_all", "loan"])
async def test_a_coroutine_that_never_has_to_wait_lets_others_run(connect: Connect, kind: str) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    publisher.publish_nowait(b"")
    await subscription.receive()  # its memory has arrived, so that what is published from now on is there at once
    step = steps(publisher, subscription)[kind]
    turns = Turns()
    await busy(step)
    turns.end()
    # One turn in 0.5 ms is what is promised.
    assert turns.count >= BUSY_S / 0.005


@pytest.mark.every_loop
async def test_iterating_over_a_torrent_lets_others_run(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            publisher.publish_many([b""] * 100)

    thread = threading.Thread(target=flood)
    thread.start()
    turns = Turns()
    until = time.perf_counter() + BUSY_S
    async for _ in subscription:
        if time.perf_counter() > until:
            break
    turns.end()
    stop.set()
    thread.join()
    assert turns.count >= 5


@pytest.mark.every_loop
async def test_slow_callbacks_let_others_run_between_them(connect: Connect, node: lunar.Node) -> None:
    ran: list[str] = []
    done = asyncio.Event()

    def slow(message: memoryview) -> None:
        until = time.perf_counter() + 0.002
        while time.perf_counter() < until:
            pass
        ran.append("message")
        if bytes(message) == b"last":
            done.set()

    node.create_subscription(bytes, "slow", slow, qos=LOSSLESS)
    publisher = node.create_publisher(bytes, "slow", qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)

    async def other() -> None:
        while True:
            ran.append("other")
            await asyncio.sleep(0)

    publisher.publish_many([b""] * 20 + [b"last"])
    task = asyncio.create_task(other())
    await done.wait()
    task.cancel()
    # Never two messages after one another without a turn of the other.
    first = ran.index("message")
    assert "message message" not in " ".join(ran[first:])


@pytest.mark.every_loop
async def test_timers_fire_while_messages_keep_coming(connect: Connect) -> None:
    publisher, subscription = await connect(offered=LOSSLESS)
    ticks = 0
    loop = asyncio.get_running_loop()

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        loop.call_later(0.001, tick)

    tick()
    step = steps(publisher, subscription)["receive"]
    await busy(step)
    assert ticks >= 10


@pytest.mark.every_loop
async def test_a_socket_is_seen_while_a_ping_pong_goes_on(node: lunar.Node, start_child: Callable[..., Child]) -> None:
    rounds = 5000
    child = start_child("other")
    ping = node.create_publisher(bytes, "ping", qos=LOSSLESS)
    pong = node.create_subscription(bytes, "pong", qos=LOSSLESS)
    child.call("subscription", topic="ping", qos=LOSSLESS.to_dict())
    child.call("publisher", topic="pong", qos=LOSSLESS.to_dict())
    child.call("wait_for_subscribers", topic="pong")
    await ping.wait_for_subscribers(1, timeout_s=5)
    await pong.wait_for_publishers(1, timeout_s=5)
    child.start("echo_blocking", ping="ping", pong="pong", count=rounds)
    seen_after: list[int] = []
    done = 0
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), lambda: seen_after.append(done + len(ours.recv(1)) - 1))
        for done in range(1, rounds + 1):
            ping.publish_nowait(b"")
            await pong.receive()
            if done == 10:
                theirs.send(b"x")
        loop.remove_reader(ours.fileno())
    child.answer()
    assert len(seen_after) == 1
    assert seen_after[0] < rounds


async def test_a_busy_publisher_does_not_starve_a_quiet_one(connect: Connect, node: lunar.Node) -> None:
    busy_one, subscription = await connect(offered=LOSSLESS)
    quiet_one = node.create_publisher(bytes, "chatter", qos=LOSSLESS)
    await quiet_one.wait_for_subscribers(1, timeout_s=5)
    await subscription.wait_for_publishers(2, timeout_s=5)
    for publisher in (busy_one, quiet_one):  # so that their memory has arrived
        publisher.publish_nowait(b"")
        await subscription.receive()
    busy_one.publish_many([b"busy"] * 500)
    quiet_one.publish_nowait(b"quiet")
    first = [bytes(await subscription.receive()) for _ in range(3)]
    assert b"quiet" in first
    quiet_one.publish_nowait(b"quiet")
    samples = subscription.take(100)
    busy_one.publish_many([b"busy"] * 100)
    quiet_one.publish_nowait(b"quiet")
    samples += subscription.take(100)
    assert [bytes(message) for message, _ in samples].count(b"quiet") == 2


@pytest.mark.every_loop
async def test_two_tasks_with_a_subscription_each_share_the_loop(connect: Connect) -> None:
    one, first = await connect("one", LOSSLESS)
    two, second = await connect("two", LOSSLESS)
    received = {"one": 0, "two": 0}
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            one.publish_many([b""] * 50)
            two.publish_many([b""] * 50)

    async def receive(name: str, subscription: lunar.Subscription[memoryview]) -> None:
        async for _ in subscription:
            received[name] += 1

    thread = threading.Thread(target=flood)
    thread.start()
    tasks = [asyncio.create_task(receive("one", first)), asyncio.create_task(receive("two", second))]
    await asyncio.sleep(BUSY_S)
    stop.set()
    for task in tasks:
        task.cancel()
    thread.join()
    assert min(received.values()) > 0.05 * max(received.values())
