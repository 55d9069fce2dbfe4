"""Nodes, loops and threads in numbers: what works side by side, and what is refused with a word on what to do."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable

import pytest

import lunar
from lunar.loop import LoopKind

pytestmark = pytest.mark.faults

ALL = lunar.QoS(history="keep_all", depth=64)
LOOPS: list[LoopKind] = ["lunar", "asyncio", "uvloop"]
COUNT = 500
_OF_ITS_OWN = "give each thread a subscription or publisher of its own"


@pytest.fixture
def node():
    with lunar.Node("tested") as node:
        yield node


def in_threads(functions: list[Callable[[], object]]) -> None:
    """Runs functions in a thread each, and raises what any of them raised."""
    raised: list[BaseException] = []

    def guarded(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def test_many_nodes_share_a_process():
    nodes = [lunar.Node(f"node_{number}", namespace=f"/group_{number % 3}") for number in range(30)]
    publishers = [node.create_publisher(bytes, "/topic", qos=ALL) for node in nodes]
    subscriptions = [node.create_subscription(bytes, "/topic", qos=ALL) for node in nodes]
    for publisher in publishers:
        publisher.wait_for_subscribers_blocking(30, timeout_s=20)
    for subscription in subscriptions:
        subscription.wait_for_publishers_blocking(30, timeout_s=20)
    for number, publisher in enumerate(publishers):
        publisher.publish_blocking(b"%d" % number, timeout_s=20)
    for subscription in subscriptions:
        assert {int(bytes(subscription.receive_blocking(timeout_s=20))) for _ in range(30)} == set(range(30))
    for node in nodes[:15]:
        node.close()
    subscriptions[-1].take(100)
    publishers[-1].publish_nowait(b"the others go on")
    assert bytes(subscriptions[-1].receive_blocking(timeout_s=20)) == b"the others go on"
    for node in nodes:
        node.close()


def test_nodes_in_different_domains_do_not_meet():
    with (
        lunar.Node("one", domain=1) as one,
        lunar.Node("two", domain=2) as two,
        lunar.Node("also_one", domain=1) as also,
    ):
        publisher = one.create_publisher(bytes, "topic")
        stranger = two.create_subscription(bytes, "topic")
        subscription = also.create_subscription(bytes, "topic")
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        publisher.publish_nowait(b"x")
        assert bytes(subscription.receive_blocking(timeout_s=20)) == b"x"
        assert publisher.subscriber_count == 1
        assert stranger.publisher_count == 0


@pytest.mark.parametrize("kinds", [LOOPS, ["lunar"] * 4], ids=["one of each", "four of ours"])
def test_loops_in_threads_each_with_its_own_subscription(node, kinds):
    publisher = node.create_publisher(bytes, "topic", qos=ALL)

    def listener(kind: LoopKind) -> Callable[[], None]:
        subscription = node.create_subscription(bytes, "topic", qos=ALL)

        async def listen() -> None:
            expected = 0
            async for message in subscription:
                assert int(bytes(message)) == expected
                expected += 1
                if expected == COUNT:
                    return

        return lambda: lunar.run(listen(), loop=kind)

    def blocking_listener() -> Callable[[], None]:
        subscription = node.create_subscription(bytes, "topic", qos=ALL)

        def listen() -> None:
            for expected in range(COUNT):
                assert int(bytes(subscription.receive_blocking(timeout_s=20))) == expected

        return listen

    async def talk() -> None:
        await publisher.wait_for_subscribers(len(kinds) + 1, timeout_s=20)
        for number in range(COUNT):
            await publisher.publish(b"%d" % number)

    in_threads([*(listener(kind) for kind in kinds), blocking_listener(), lambda: lunar.run(talk())])


def test_threads_may_publish_on_one_publisher(node):
    """Every message once, whole, and in its thread's order; who finds no room waits or is told who else does."""
    publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(depth=10_000))
    subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(depth=10_000))
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)

    def talk(thread: int) -> Callable[[], None]:
        def publish() -> None:
            for number in range(COUNT):
                publisher.publish_nowait(
                    bytes([thread]) * 300_000 if number % 100 == 0 else b"%d %d" % (thread, number)
                )

        return publish

    in_threads([talk(thread) for thread in range(4)])
    samples = subscription.receive_many_blocking(10_000, timeout_s=20)
    while len(samples) < 4 * COUNT:
        samples += subscription.receive_many_blocking(10_000, timeout_s=20)
    assert [sample.info.sequence_number for sample in samples] == list(range(1, 4 * COUNT + 1))
    order: dict[int, list[int]] = {thread: [] for thread in range(4)}
    for sample in samples:
        message = bytes(sample.message)
        if len(message) == 300_000:
            assert message == message[:1] * 300_000
        else:
            thread, number = message.split()
            order[int(thread)].append(int(number))
    assert all(numbers == [n for n in range(COUNT) if n % 100] for numbers in order.values())


def test_threads_that_grow_a_pool_at_once_all_get_memory(start, rounds):
    """What one thread has added another may take, before it comes to it itself."""
    program = start(
        """
        sys.setswitchinterval(1e-6)
        node = lunar.Node("tested")
        qos = lunar.QoS(depth=1000)
        refused = []
        for number in range(int(sys.argv[1])):
            publisher = node.create_publisher(bytes, "topic", qos=qos)
            subscription = node.create_subscription(bytes, "topic", qos=qos)
            publisher.wait_for_subscribers_blocking(1, timeout_s=20)
            def publish():
                for _ in range(20):
                    said = attempt(lambda: publisher.publish_nowait(bytes(100_000)))
                    if said != "None":
                        refused.append(said)
            threads = [threading.Thread(target=publish) for _ in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            publisher.close(), subscription.close()
        say(refused)
        node.close()
        """,
        str(rounds(5, 100)),
    )
    assert program.hear(timeout_s=50) == []
    assert program.end() == (0, "")


@pytest.mark.parametrize("second", ["another loop", "a thread"])
def test_one_subscription_is_waited_for_in_one_place(node, second):
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    subscription = node.create_subscription(bytes, "topic", qos=ALL)
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)

    def elsewhere() -> object:
        if second == "another loop":
            return lunar.run(next_of(subscription))
        return subscription.receive_blocking(timeout_s=20)

    async def main() -> None:
        waiting = asyncio.ensure_future(next_of(subscription))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.02)
        with pytest.raises(lunar.LunarError, match=_OF_ITS_OWN):
            await asyncio.to_thread(elsewhere)
        publisher.publish_nowait(b"hello")  # who was first is not disturbed
        assert bytes(await asyncio.wait_for(waiting, 20)) == b"hello"

    lunar.run(main())
    publisher.publish_nowait(b"one after the other is fine")
    assert bytes(lunar.run(next_of(subscription))) == b"one after the other is fine"


@pytest.mark.parametrize("second", ["another loop", "a thread"])
def test_room_for_one_publisher_is_waited_for_in_one_place(node, second):
    qos = lunar.QoS(history="keep_all", depth=1)
    publisher = node.create_publisher(bytes, "topic", qos=qos)
    subscription = node.create_subscription(bytes, "topic", qos=qos)
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)
    publisher.publish_nowait(b"fills it")

    async def publish() -> None:
        await publisher.publish(b"waited")

    def elsewhere() -> object:
        if second == "another loop":
            return lunar.run(publish())
        return publisher.publish_blocking(b"never", timeout_s=20)

    async def main() -> None:
        waiting = asyncio.ensure_future(publish())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.02)
        with pytest.raises(lunar.LunarError, match=_OF_ITS_OWN):
            await asyncio.to_thread(elsewhere)
        assert bytes(await subscription.receive()) == b"fills it"
        await asyncio.wait_for(waiting, 20)
        assert bytes(await subscription.receive()) == b"waited"

    lunar.run(main())
    publisher.publish_blocking(b"one after the other is fine", timeout_s=20)
    assert publisher.statistics().published == 3


async def next_of(subscription: lunar.Subscription[memoryview]) -> memoryview:
    return await subscription.receive()


async def test_tasks_of_one_loop_may_share_a_subscription(node):
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    subscription = node.create_subscription(bytes, "topic", qos=ALL)
    await publisher.wait_for_subscribers(1, timeout_s=20)
    tasks = [asyncio.ensure_future(next_of(subscription)) for _ in range(10)]
    await asyncio.sleep(0)
    cancelled = tasks.pop(3)
    cancelled.cancel()
    for number in range(9):
        await publisher.publish(b"%d" % number)
    got = await asyncio.wait_for(asyncio.gather(*tasks), 20)
    assert sorted(int(bytes(message)) for message in got) == list(range(9))


def test_threads_that_come_and_go_leave_no_waiter_behind(node):
    """More of them than there are bells, one after the other."""
    subscription = node.create_subscription(bytes, "topic")
    # The first of them makes what is made once.
    descriptors: list[int] = []

    def look() -> None:
        with pytest.raises(lunar.TimeoutError):
            subscription.receive_blocking(timeout_s=0)

    for number in range(1100):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(20)
        if number in (10, 1099):
            gc.collect()
            descriptors.append(len(os.listdir("/proc/self/fd")))
    assert descriptors[0] == descriptors[1]


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_that_come_and_go_leave_no_waiter_behind(node, kind):
    publisher = node.create_publisher(bytes, "topic")
    subscription = node.create_subscription(bytes, "topic")
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)

    async def wait() -> bytes:
        asyncio.get_running_loop().call_soon(publisher.publish_nowait, b"x")
        return bytes(await subscription.receive())

    descriptors: list[int] = []
    for number in range(1100):
        assert lunar.run(wait(), loop=kind) == b"x"
        if number in (10, 1099):
            gc.collect()
            descriptors.append(len(os.listdir("/proc/self/fd")))
    assert descriptors[0] == descriptors[1]


def test_more_waiters_than_bells_are_refused(start):
    program = start("""
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        node = lunar.Node("crowded")
        subscription = node.create_subscription(bytes, "topic")
        async def wait():
            try:
                await asyncio.wait_for(subscription.receive(), 0)
            except TimeoutError:
                return "waited"
            except lunar.ResourceExhausted as error:
                return str(error)
        loops = [lunar.new_event_loop("lunar") for _ in range(1030)]
        async def begin():
            task = asyncio.ensure_future(subscription.receive())
            await asyncio.sleep(0)
            task.cancel()
            return (await asyncio.gather(task, return_exceptions=True))[0]
        outcomes = [type(loop.run_until_complete(begin())).__name__ for loop in loops]
        say([outcomes.count("CancelledError"), outcomes.count("ResourceExhausted")])
        loops.pop().close()
        loops.pop(0).close()
        loop = lunar.new_event_loop()
        say(type(loop.run_until_complete(begin())).__name__)
        for loop in [*loops, loop]:
            loop.close()
        node.close()
    """)
    waited, refused = program.hear(timeout_s=50)
    assert waited + refused == 1030
    assert refused > 0
    assert waited >= 500
    assert program.hear() == "CancelledError"
    assert program.end()[0] == 0
