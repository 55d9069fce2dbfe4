"""Things that are closed: twice, too early, under somebody who waits, inside a callback, or not at all."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable

import pytest

import lunar

pytestmark = pytest.mark.faults

ALL = lunar.QoS(history="keep_all", depth=4)
LOOPS = ["lunar", "asyncio", "uvloop"]


@pytest.fixture
def node():
    with lunar.Node("tested") as node:
        yield node


@pytest.fixture
def other():
    with lunar.Node("other") as other:
        yield other


@pytest.fixture
def pair(node, other):
    """A publisher of `node` and a subscription of `other`, matched."""
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    subscription = other.create_subscription(bytes, "topic", qos=ALL)
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)
    subscription.wait_for_publishers_blocking(1, timeout_s=20)
    return publisher, subscription


def fill(publisher: lunar.Publisher[bytes]) -> None:
    while publisher.publish_many([b"x"]):
        continue


async def loan(publisher: lunar.Publisher[bytes]) -> None:
    async with publisher.loan(8):
        pass


async def first(subscription: lunar.Subscription[memoryview]) -> memoryview | None:
    async for message in subscription:
        return message
    return None


def test_everything_can_be_closed_twice(pair, node, other):
    publisher, subscription = pair
    for _ in range(2):
        publisher.close()
        subscription.close()
        node.close()
        other.close()
    asyncio.run(node.aclose())
    loop = lunar.new_event_loop()
    for _ in range(2):
        loop.close()


def close_publisher(publisher, subscription, node):
    publisher.close()


def close_node(publisher, subscription, node):
    node.close()


@pytest.mark.parametrize("close", [close_publisher, close_node])
async def test_a_closed_publisher_says_so(pair, node, close, until):
    publisher, subscription = pair
    lent = publisher.loan(8)
    view = lent.__enter__()
    close(publisher, subscription, node)
    operations: list[Callable[[], object]] = [
        lambda: publisher.publish_nowait(b"x"),
        lambda: publisher.publish_many([b"x"]),
        lambda: publisher.publish_blocking(b"x", timeout_s=20),
        lambda: publisher.loan(8).__enter__(),
        lambda: lent.__exit__(None, None, None),
        publisher.assert_liveliness,
    ]
    for operation in operations:
        with pytest.raises(lunar.ClosedError):
            operation()
    for coroutine in (publisher.publish(b"x"), publisher.publish_all([b"x"]), loan(publisher)):
        with pytest.raises(lunar.ClosedError):
            await coroutine
    # What only looks still can be looked at.
    assert publisher.statistics().published == 0
    until(lambda: publisher.subscriber_count == 0, "the match is over")
    assert publisher.topic == "/topic"
    assert "closed" in repr(publisher)
    del view


@pytest.mark.parametrize("whole_node", [False, True])
async def test_a_closed_subscription_says_so(pair, other, whole_node, until):
    publisher, subscription = pair
    publisher.publish_nowait(b"never taken")
    (other if whole_node else subscription).close()
    operations: list[Callable[[], object]] = [
        subscription.receive_nowait,
        lambda: subscription.take(1),
        lambda: subscription.receive_blocking(timeout_s=20),
        lambda: subscription.receive_many_blocking(1, timeout_s=20),
    ]
    for operation in operations:
        with pytest.raises(lunar.ClosedError):
            operation()
    for coroutine in (subscription.receive(), subscription.receive_many(1)):
        with pytest.raises(lunar.ClosedError):
            await coroutine
    assert await first(subscription) is None  # an iteration ends
    assert subscription.statistics().received == 0
    until(lambda: subscription.publisher_count == 0, "the match is over")
    assert "closed" in repr(subscription)


def test_a_closed_node_makes_nothing(node):
    node.close()
    operations: list[Callable[[], object]] = [
        lambda: node.create_publisher(bytes, "topic"),
        lambda: node.create_subscription(bytes, "topic"),
    ]
    for operation in operations:
        with pytest.raises(lunar.ClosedError, match="/tested"):
            operation()
    with lunar.Node("tested"):  # its name is free again
        pass


async def test_a_closed_node_has_no_events(node):
    node.close()
    with pytest.raises(lunar.ClosedError):
        await anext(node.events())


Wait = Callable[[lunar.Publisher[bytes], lunar.Subscription[memoryview]], Awaitable[object]]
WAITING: dict[str, tuple[Wait, type[Exception] | None]] = {
    "receive": (lambda publisher, subscription: subscription.receive(), lunar.ClosedError),
    "receive_many": (lambda publisher, subscription: subscription.receive_many(1), lunar.ClosedError),
    "iterate": (lambda publisher, subscription: first(subscription), None),
    "publish": (lambda publisher, subscription: publisher.publish(b"x"), lunar.ClosedError),
    "publish_all": (lambda publisher, subscription: publisher.publish_all([b"x"]), lunar.ClosedError),
    "loan": (lambda publisher, subscription: loan(publisher), lunar.ClosedError),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("from_thread", [False, True])
@pytest.mark.parametrize("whole_node", [False, True])
@pytest.mark.parametrize("waiting", WAITING)
def test_who_waits_is_told_of_the_close(pair, node, other, waiting, whole_node, from_thread, loop):
    publisher, subscription = pair
    wait, error = WAITING[waiting]
    if waiting in ("publish", "publish_all", "loan"):
        fill(publisher)
        closed = node if whole_node else publisher
    else:
        closed = other if whole_node else subscription

    async def main() -> None:
        task = asyncio.ensure_future(wait(publisher, subscription))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.02)
        if from_thread:
            await asyncio.to_thread(closed.close)
        else:
            closed.close()
        if error is None:
            assert await asyncio.wait_for(task, 20) is None
        else:
            with pytest.raises(error):
                await asyncio.wait_for(task, 20)

    lunar.run(main(), loop=loop)


@pytest.mark.parametrize("whole_node", [False, True])
@pytest.mark.parametrize("waiting", ["receive", "publish"])
def test_a_thread_that_waits_is_told_of_the_close(pair, node, other, waiting, whole_node):
    publisher, subscription = pair
    outcome: list[BaseException] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        try:
            if waiting == "receive":
                subscription.receive_blocking(timeout_s=20)
            else:
                publisher.publish_blocking(b"x", timeout_s=20)
        except lunar.LunarError as error:
            outcome.append(error)

    if waiting == "publish":
        fill(publisher)
        closed = node if whole_node else publisher
    else:
        closed = other if whole_node else subscription
    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    closed.close()
    thread.join(20)
    assert not thread.is_alive()
    assert [type(error) for error in outcome] == [lunar.ClosedError]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("count", ["publisher", "subscription"])
def test_who_waits_for_a_match_is_told_of_the_close(node, loop, count):
    endpoint = (
        node.create_publisher(bytes, "topic") if count == "publisher" else node.create_subscription(bytes, "topic")
    )
    wait = endpoint.wait_for_subscribers if count == "publisher" else endpoint.wait_for_publishers

    async def main() -> None:
        task = asyncio.ensure_future(wait(1))
        await asyncio.sleep(0)
        node.close()
        with pytest.raises(lunar.ClosedError):
            await asyncio.wait_for(task, 5)

    lunar.run(main(), loop=loop)


async def test_an_iteration_over_events_ends_with_the_node(node):
    seen = []

    async def watch() -> None:
        seen.extend([event async for event in node.events()])

    task = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    node.create_publisher(bytes, "topic")
    node.close()
    await asyncio.wait_for(task, 20)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize("whole_node", [False, True])
def test_closing_inside_a_callback_ends_the_delivery(node, loop, kind, whole_node):
    async def main() -> None:
        got: list[bytes] = []
        done = asyncio.Event()

        def take(message: memoryview) -> None:
            got.append(bytes(message))
            if len(got) == 2:
                (node if whole_node else subscription).close()
                done.set()

        async def take_slowly(message: memoryview) -> None:
            await asyncio.sleep(0)
            take(message)

        subscription = node.create_subscription(bytes, "topic", take if kind == "plain" else take_slowly, qos=ALL)
        publisher = node.create_publisher(bytes, "topic", qos=ALL)
        await publisher.wait_for_subscribers(1, timeout_s=20)
        publisher.publish_many([b"0", b"1", b"2", b"3"])
        await asyncio.wait_for(done.wait(), 20)
        delivery = subscription._delivery
        if delivery is not None:
            await asyncio.wait_for(delivery, 20)
        await asyncio.sleep(0)
        assert got == [b"0", b"1"]
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if others:
            await asyncio.wait_for(asyncio.wait(others), 20)

    lunar.run(main(), loop=loop)


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_a_callback_that_uses_something_closed_is_reported_and_called_again(node, kind):
    closed = node.create_publisher(bytes, "other")
    closed.close()
    got: list[bytes] = []
    reported: list[object] = []
    done = asyncio.Event()

    def forward(message: memoryview) -> None:
        got.append(bytes(message))
        if len(got) == 3:
            done.set()
        closed.publish_nowait(message)

    async def forward_slowly(message: memoryview) -> None:
        forward(message)

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    node.create_subscription(bytes, "topic", forward if kind == "plain" else forward_slowly, qos=ALL)
    publisher = node.create_publisher(bytes, "topic", qos=ALL)
    await publisher.wait_for_subscribers(1, timeout_s=20)
    publisher.publish_many([b"0", b"1", b"2"])
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0)
    assert got == [b"0", b"1", b"2"]
    assert [type(error) for error in reported] == [lunar.ClosedError] * 3


# ---- loops -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_that_is_closed_while_somebody_waits_leaves_the_node_usable(pair, node, kind):
    publisher, subscription = pair
    publisher.publish_nowait(b"its memory is there from now on, and this thread's waiter")
    subscription.receive_blocking(timeout_s=20)
    with pytest.raises(lunar.TimeoutError):
        subscription.receive_blocking(timeout_s=0)
    # What waited in somebody else's loop that has closed is let go when the next loop is used.
    assert bytes(lunar.run(publish_and_receive(publisher, subscription), loop=kind)) == b"again"
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        loop = lunar.new_event_loop(kind)
        receiving = loop.create_task(first(subscription))
        asking = loop.create_task(anext(node.events()))
        with pytest.raises(TimeoutError):
            loop.run_until_complete(asyncio.wait_for(asyncio.shield(receiving), 0.02))
        for task in (receiving, asking):  # not awaited to their end: the loop just goes
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 - a private name
        loop.close()
        del loop, receiving, asking
        gc.collect()
    publisher.publish_nowait(b"after the loop")
    assert bytes(subscription.receive_blocking(timeout_s=20)) == b"after the loop"
    assert bytes(lunar.run(publish_and_receive(publisher, subscription), loop=kind)) == b"again"
    subscription.take(10)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


async def publish_and_receive(
    publisher: lunar.Publisher[bytes], subscription: lunar.Subscription[memoryview]
) -> memoryview:
    asyncio.get_running_loop().call_later(0.01, publisher.publish_nowait, b"again")  # later: it really has to wait
    return await subscription.receive()


@pytest.mark.parametrize("kind", LOOPS)
def test_events_that_come_when_their_listeners_loop_is_closed_are_no_trouble(node, kind, caplog):
    loop = lunar.new_event_loop(kind)
    asking = loop.create_task(anext(node.events()))
    with pytest.raises(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(asyncio.shield(asking), 0.02))
    setattr(asking, "_log_destroy_pending", False)  # noqa: B010 - a private name
    loop.close()
    publisher = node.create_publisher(bytes, "topic")
    node.create_subscription(bytes, "topic")
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)
    assert "Traceback" not in caplog.text


def test_a_callback_needs_a_running_loop(node):
    with pytest.raises(RuntimeError, match="no running event loop"):
        node.create_subscription(bytes, "topic", lambda message: None)


# ---- the end of the program --------------------------------------------------------------------------------------

LEFT_OPEN = {
    "nothing more": "",
    "a waiting thread": """
threading.Thread(target=lambda: attempt(lambda: subscription.receive_blocking()), daemon=True).start()
""",
    "held samples and a loan": """
publisher.publish_nowait(b"x")
held = [subscription.receive_blocking(timeout_s=20), publisher.loan(100), publisher.loan(7).__enter__()]
""",
    "a loop that never ran to its end": """
loop = lunar.new_event_loop()
task = loop.create_task(subscription.receive_many(5).__await__() if False else asyncio.sleep(0))
loop.run_until_complete(task)
""",
    "a cycle": """
class Holder: pass
holder = Holder()
holder.itself, holder.all = holder, [node, publisher, subscription]
del node, publisher, subscription, holder
""",
    "an error": "sys.excepthook = lambda *_: None\nraise ValueError",
    "an exit": "sys.exit(1)",
}


@pytest.mark.parametrize("left", LEFT_OPEN)
def test_an_interpreter_that_ends_with_open_nodes_leaves_nothing(start, runtime_dir, left):
    program = start(
        """
node = lunar.Node("left_open")
publisher = node.create_publisher(bytes, "topic")
subscription = node.create_subscription(bytes, "topic")
publisher.wait_for_subscribers_blocking(1, timeout_s=20)
"""
        + LEFT_OPEN[left]
    )
    assert program.end() == (1 if left in ("an error", "an exit") else 0, "")
    assert list(runtime_dir.rglob("*.sock")) == []


def test_an_interpreter_ends_inside_a_loop_with_open_nodes(start, runtime_dir):
    program = start("""
async def main():
    node = lunar.Node("left_open")
    subscription = node.create_subscription(bytes, "topic")
    publisher = node.create_publisher(bytes, "topic")
    receiving = asyncio.create_task(subscription.receive())
    await publisher.wait_for_subscribers(1, timeout_s=20)
lunar.run(main())
""")
    assert program.end() == (0, "")
    assert list(runtime_dir.rglob("*.sock")) == []


def test_threads_that_outlive_the_main_one_keep_their_node(start, runtime_dir):
    """The interpreter waits for threads that are no daemons: until they end, nothing of theirs may be closed."""
    listener = start("""
        node = lunar.Node("listener")
        subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(history="keep_all"))
        say("there")
        say([bytes(subscription.receive_blocking(timeout_s=20)).decode() for _ in range(2)])
        node.close()
    """)
    assert listener.hear() == "there"
    program = start("""
        node = lunar.Node("talker")
        publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(history="keep_all"))
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        def talk():
            publisher.publish_blocking(b"early")
            threading.main_thread().join()
            say("the main thread is over")
            heard()
            publisher.publish_blocking(b"late")
        threading.Thread(target=talk).start()
    """)
    assert program.hear() == "the main thread is over"
    assert [found.name for found in lunar.graph_snapshot(timeout_s=20).nodes] == ["listener", "talker"]
    program.tell("go")
    assert program.end() == (0, "")
    assert listener.hear() == ["early", "late"]
    assert listener.end() == (0, "")
    assert list(runtime_dir.rglob("*.sock")) == []


@pytest.mark.parametrize(
    "waiting",
    [
        "subscription.receive_blocking()",
        "subscription.receive_many_blocking(5)",
        "full.publish_blocking(b'x')",
        "publisher.wait_for_subscribers_blocking(2)",
    ],
)
def test_ctrl_c_ends_a_wait_and_loses_nothing(start, runtime_dir, waiting):
    program = start(f"""
def interrupt():
    frames = []
    while "<lambda>" not in frames:  # the main thread is not waiting yet
        frame, frames = sys._current_frames()[threading.main_thread().ident], []
        while frame:
            frames.append(frame.f_code.co_name)
            frame = frame.f_back
    os.kill(os.getpid(), signal.SIGINT)
node = lunar.Node("interrupted")
qos = lunar.QoS(history="keep_all", depth=4)
publisher = node.create_publisher(bytes, "topic", qos=qos)
subscription = node.create_subscription(bytes, "topic", qos=qos)
publisher.wait_for_subscribers_blocking(1, timeout_s=20)
full = node.create_publisher(bytes, "full", qos=qos)
room = node.create_subscription(bytes, "full", qos=qos)
full.wait_for_subscribers_blocking(1, timeout_s=20)
while full.publish_many([b"x"]):
    pass
threading.Thread(target=interrupt).start()
say(attempt(lambda: {waiting}))
publisher.publish_nowait(b"after")
say(bytes(subscription.receive_blocking(timeout_s=20)).decode())
say(len([room.receive_blocking(timeout_s=20) for _ in range(4)]))
say(full.publish_many([b"x"]))
node.close()
""")
    assert program.hear() == "KeyboardInterrupt: "
    assert program.hear() == "after"
    assert program.hear() == 4
    assert program.hear() == 1
    assert program.end() == (0, "")
    assert list(runtime_dir.rglob("*.sock")) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_that_interrupts_no_sleep_ends_a_loop(start, runtime_dir, loop):
    """Taken by another thread, as it is when it comes just before the sleep: nothing makes the sleeping call return."""
    program = start(
        """
import signal, threading, time
async def main():
    async with lunar.Node("interrupted") as node:
        asyncio.get_running_loop().call_later(0.2, threading.Thread(target=take_signal).start)
        async for message in node.create_subscription(bytes, "topic"):
            pass
def take_signal():
    time.sleep(0.2)  # until the loop sleeps; if it does not yet, this proves less
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
say(attempt(lambda: lunar.run(main(), loop=sys.argv[1])))
""",
        loop,
    )
    assert program.hear() == "KeyboardInterrupt: "


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_ends_a_loop_cleanly(start, runtime_dir, loop):
    program = start(
        """
async def main():
    async with lunar.Node("interrupted") as node:
        subscription = node.create_subscription(bytes, "topic")
        say("waiting")
        async for message in subscription:
            pass
say(attempt(lambda: lunar.run(main(), loop=sys.argv[1])))
""",
        loop,
    )
    assert program.hear() == "waiting"
    program.signal(signal.SIGINT)
    assert program.hear() == "KeyboardInterrupt: "
    assert program.end() == (0, "")
    assert list(runtime_dir.rglob("*.sock")) == []
