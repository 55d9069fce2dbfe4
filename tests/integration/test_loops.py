"""Event loops: `lunar.run`, several loops in one process, and loops that close while somebody waits."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster

import lunar
from lunar.loop import LoopKind
from lunar.testing import Child

Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]

LOSSLESS = lunar.QoS(history="keep_all")
KINDS: tuple[LoopKind, ...] = ("auto", "lunar", "asyncio", "uvloop")


async def ping_pong(node: lunar.Node, rounds: int, topic: str = "chatter") -> list[int]:
    """Sends messages to itself, one at a time."""
    publisher = node.create_publisher(bytes, topic, qos=LOSSLESS)
    subscription = node.create_subscription(bytes, topic, qos=LOSSLESS)
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await subscription.wait_for_publishers(1, timeout_s=5)
    received = []
    for number in range(rounds):
        await publisher.publish(number.to_bytes(2, "little"))
        received.append(int.from_bytes(await subscription.receive(), "little"))
    return received


@pytest.mark.parametrize("kind", KINDS)
def test_run_runs_a_coroutine_on_the_loop_that_was_asked_for(kind: LoopKind) -> None:
    async def main() -> tuple[str, list[int]]:
        async with lunar.Node("tested") as node:
            return type(asyncio.get_running_loop()).__name__, await ping_pong(node, 20)

    name, received = lunar.run(main(), loop=kind)
    assert received == list(range(20))
    expected = {"asyncio": "_UnixSelectorEventLoop", "uvloop": "Loop"}
    assert name == expected.get(kind, "EventLoop")


def test_asyncio_s_own_run_works_as_well() -> None:
    async def main() -> list[int]:
        async with lunar.Node("tested") as node:
            return await ping_pong(node, 20)

    assert asyncio.run(main()) == list(range(20))


@pytest.mark.parametrize("kind", KINDS)
def test_asyncio_s_debug_mode_finds_nothing(kind: LoopKind, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[int]:
        async with lunar.Node("tested") as node:
            # Task's repr, which debug mode prints, asks what it waits for.
            waiting = asyncio.create_task(node.create_subscription(bytes, "never").receive())
            await asyncio.sleep(0)
            assert "pending" in repr(waiting)
            waiting.cancel()
            return await ping_pong(node, 20)

    assert lunar.run(main(), loop=kind, debug=True) == list(range(20))
    assert [record for record in caplog.records if "was never" in record.message] == []


def test_a_loop_that_does_not_exist_is_refused() -> None:
    async def main() -> None:
        """Never starts."""

    with pytest.raises(ValueError, match="'trio' is not one of 'auto', 'lunar', 'asyncio', 'uvloop'"):
        lunar.run(main(), loop="trio")  # type: ignore[arg-type]


async def test_run_within_a_running_loop_is_refused() -> None:
    async def main() -> None:
        """Never starts."""

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        lunar.run(main())


def test_run_raises_what_the_coroutine_raised_and_closes_its_loop() -> None:
    loops = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        lunar.run(main())
    assert loops[0].is_closed()


@pytest.mark.parametrize("kind", KINDS)
def test_one_run_after_another_uses_one_node(kind: LoopKind) -> None:
    with lunar.Node("tested") as node:
        subscription = node.create_subscription(bytes, "chatter", qos=LOSSLESS)
        publisher = node.create_publisher(bytes, "chatter", qos=LOSSLESS)
        publisher.wait_for_subscribers_blocking(1, timeout_s=5)

        async def one(number: int) -> bytes:
            await publisher.publish(b"%d" % number)
            return bytes(await subscription.receive())

        assert [lunar.run(one(number), loop=kind) for number in range(5)] == [b"%d" % number for number in range(5)]


def test_loops_in_several_threads_at_once() -> None:
    results: dict[int, list[int]] = {}

    async def main(index: int) -> None:
        async with lunar.Node(f"tested_{index}") as node:
            results[index] = await ping_pong(node, 50, f"topic_{index}")

    threads = [
        threading.Thread(target=lunar.run, args=(main(index),), kwargs={"loop": kind})
        for index, kind in enumerate(KINDS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == {index: list(range(50)) for index in range(len(KINDS))}


def test_messages_pass_between_loops_in_two_threads() -> None:
    rounds = 200

    async def ping(node: lunar.Node) -> list[bytes]:
        publisher = node.create_publisher(bytes, "ping", qos=LOSSLESS)
        subscription = node.create_subscription(bytes, "pong", qos=LOSSLESS)
        await publisher.wait_for_subscribers(1, timeout_s=5)
        await subscription.wait_for_publishers(1, timeout_s=5)
        answers = []
        for number in range(rounds):
            await publisher.publish(b"%d" % number)
            answers.append(bytes(await subscription.receive()))
        return answers

    async def pong(node: lunar.Node) -> None:
        publisher = node.create_publisher(bytes, "pong", qos=LOSSLESS)
        subscription = node.create_subscription(bytes, "ping", qos=LOSSLESS)
        await publisher.wait_for_subscribers(1, timeout_s=5)
        for _ in range(rounds):
            await publisher.publish(await subscription.receive())

    with lunar.Node("pinger") as pinger, lunar.Node("ponger") as ponger:
        other = threading.Thread(target=lunar.run, args=(pong(ponger),))
        other.start()
        assert lunar.run(ping(pinger)) == [b"%d" % number for number in range(rounds)]
        other.join(5)


def test_one_endpoint_is_not_for_two_threads_at_once() -> None:
    with lunar.Node("tested") as node:
        subscription = node.create_subscription(bytes, "chatter")
        waits = threading.Event()

        async def wait_here() -> None:
            waiting = asyncio.create_task(subscription.receive())
            await asyncio.sleep(0)
            waits.set()
            with pytest.raises(lunar.ClosedError):
                await waiting

        thread = threading.Thread(target=lunar.run, args=(wait_here(),))
        thread.start()
        assert waits.wait(5)
        with pytest.raises(lunar.LunarError, match="give each thread a subscription or publisher of its own"):
            subscription.receive_blocking(timeout_s=5)
        subscription.close()
        thread.join(5)
        assert not thread.is_alive()


INTERRUPTED = """
import sys, lunar

async def main(node):
    sub = node.create_subscription(bytes, "chatter", qos=lunar.QoS(resources="greedy"))
    try:
        print("waits", flush=True)
        await sub.receive()
    finally:
        print("cleaned up", flush=True)

with lunar.Node("interrupted") as node:
    if sys.argv[1] == "blocking":
        sub = node.create_subscription(bytes, "chatter", qos=lunar.QoS(resources="greedy"))
        try:
            print("waits", flush=True)
            sub.receive_blocking()
        finally:
            print("cleaned up", flush=True)
    else:
        lunar.run(main(node), loop=sys.argv[1])
"""


@pytest.mark.parametrize("kind", [*KINDS, "blocking"])
def test_ctrl_c_ends_a_wait_and_cleans_up(kind: str, runtime_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
    assert out == "cleaned up\n"
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT
    assert os.listdir(runtime_dir / "0") == []


@pytest.fixture
def abandoned() -> Iterator[Callable[[LoopKind], tuple[lunar.Node, "asyncio.Task[memoryview]"]]]:
    """``abandoned(kind)``: a node, and a task that waits for a message on a loop that is closed."""
    with lunar.Node("tested") as node:
        tasks: list[asyncio.Task[memoryview]] = []

        def abandon(kind: LoopKind) -> tuple[lunar.Node, "asyncio.Task[memoryview]"]:
            loop = lunar.new_event_loop(kind)
            task = loop.create_task(node.create_subscription(bytes, "chatter").receive())
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            tasks.append(task)
            return node, task

        yield abandon
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("close_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_a_closed_loop_cannot_be_cancelled_and_says_why(
    abandoned: Callable[[LoopKind], tuple[lunar.Node, "asyncio.Task[memoryview]"]], kind: LoopKind, close_first: bool
) -> None:
    node, task = abandoned(kind)
    if close_first:
        node.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        task.cancel()


@pytest.mark.parametrize("kind", KINDS)
def test_the_bus_goes_on_after_a_loop_was_closed_while_somebody_waited(
    abandoned: Callable[[LoopKind], tuple[lunar.Node, "asyncio.Task[memoryview]"]], kind: LoopKind
) -> None:
    node, _ = abandoned(kind)
    assert lunar.run(ping_pong(node, 20, "another")) == list(range(20))


@pytest.mark.every_loop
async def test_nothing_of_lunar_s_blocks_the_loop(
    connect: Connect, node: lunar.Node, never_blocks: BlockBuster, start_child: Callable[..., Child]
) -> None:
    publisher, subscription = await connect(offered=lunar.QoS(history="keep_all", depth=2))
    events = node.events()
    first = asyncio.ensure_future(anext(events))
    publisher.publish_many([b"0", b"1"])
    blocked = asyncio.create_task(publisher.publish(b"2"))
    await asyncio.sleep(0)
    assert [bytes(await subscription.receive()) for _ in range(3)] == [b"0", b"1", b"2"]
    await blocked
    async with publisher.loan(1 << 20) as buffer:
        buffer[:1] = b"3"
    assert bytes((await subscription.receive())[:1]) == b"3"
    # Within a running loop endpoints come and go, too.
    other = node.create_subscription(bytes, "chatter", qos=lunar.QoS(durability="volatile"))
    await publisher.wait_for_subscribers(2, timeout_s=5)
    assert type(await first) is lunar.events.Matched
    publisher.statistics()
    subscription.statistics()
    other.close()
    publisher.close()
