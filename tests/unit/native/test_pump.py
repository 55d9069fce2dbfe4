"""Pumps: what brings samples from elsewhere is served by whoever waits, and nobody else goes short."""

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import lunar
from lunar._native._bus import Pump
from lunar.graph import waiting
from lunar.testing import isolated

pytestmark = pytest.mark.native


class Source:
    """Something like an engine: its descriptor is readable when it has something, which `serve` publishes."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watcher = select.epoll()
        self.watcher.register(self.fd, select.EPOLLIN)
        self.pump = Pump(self.fd, self.watcher.fileno(), self.serve)
        self.guard = select.poll()
        self.guard.register(self.pump.guard_fileno(), select.POLLIN)
        self.then: Callable[[], object] = int
        self.threads: set[int] = set()
        self.served = 0

    def ring(self) -> None:
        os.eventfd_write(self.fd, 1)

    def serve(self) -> None:
        os.eventfd_read(self.fd)
        self.served += 1
        self.threads.add(threading.get_ident())
        self.then()

    def close(self) -> None:
        self.pump.close()
        self.watcher.close()
        os.close(self.fd)


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.close()


@pytest.fixture
def node(source: Source) -> Iterator[lunar.Node]:
    with isolated(), lunar.Node("pumped") as made:
        bells = waiting.acquire_bells()
        bells.add_pump(source.pump)
        yield made
        bells.remove_pump(source.pump)
        waiting.release_bells()


def watched(source: Source) -> bool:
    return bool(source.watcher.poll(0))


def test_its_watcher_hears_of_it_unless_it_is_lent(source: Source) -> None:
    source.ring()
    assert watched(source)
    source.pump.lend()
    source.pump.lend()
    assert not watched(source)
    source.pump.take_back()
    assert source.pump.lent == 1
    assert not source.guard.poll(20)
    source.pump.take_back()
    assert not watched(source)
    assert source.guard.poll(1000)
    source.pump.reclaim()
    assert watched(source)
    assert not source.guard.poll(0)


def test_who_comes_back_soon_keeps_it(source: Source) -> None:
    source.ring()
    source.pump.lend()
    source.pump.take_back()
    source.pump.lend()
    assert not source.guard.poll(20)
    assert not watched(source)
    source.pump.reclaim()
    assert not watched(source)


def test_a_guard_that_comes_too_late_takes_nothing(source: Source) -> None:
    source.ring()
    source.pump.lend()
    source.pump.take_back()
    assert source.guard.poll(1000)
    source.pump.lend()
    source.pump.reclaim()
    assert not watched(source)


def attended(source: Source) -> bool:
    time.sleep(0.0005)
    return source.pump.attend()


def test_who_publishes_again_and_again_looks_after_it(source: Source) -> None:
    assert not attended(source)
    assert not attended(source)
    source.ring()
    assert not watched(source)
    assert attended(source)
    assert not source.pump.attend()  # just looked
    assert source.guard.poll(1000)
    source.pump.reclaim()
    assert watched(source)


def test_who_publishes_now_and_then_leaves_it_to_its_watcher(source: Source) -> None:
    source.ring()
    for _ in range(3):
        assert not source.pump.attend()
        assert watched(source)
        time.sleep(0.02)


def test_who_publishes_leaves_it_to_whoever_waits(source: Source) -> None:
    source.ring()
    source.pump.attend()
    source.pump.lend()
    assert not attended(source)
    source.pump.take_back()


def test_nobody_keeps_it_while_somebody_waits_who_cannot_borrow_it(source: Source) -> None:
    source.ring()
    source.pump.lend()
    source.pump.take_back()
    assert not watched(source)
    source.pump.keep_watched(True)
    assert watched(source)
    source.pump.lend()
    assert not watched(source)
    source.pump.take_back()
    assert watched(source)
    assert not attended(source)
    assert not attended(source)
    assert watched(source)
    source.pump.keep_watched(False)
    assert not attended(source)
    assert attended(source)


def test_a_loop_that_is_not_ours_depends_on_its_watcher(node: lunar.Node, source: Source) -> None:
    sub = node.create_subscription(bytes, "pumped")
    source.pump.lend()
    source.pump.take_back()
    source.ring()
    assert not watched(source)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sub.receive(), 0.001)
        assert watched(source)

    asyncio.run(main())

    async def ours() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sub.receive(), 0.001)

    source.then = source.ring
    lunar.run(ours())  # by now the other loop is known to be closed


def test_a_closed_one_touches_nothing(source: Source) -> None:
    source.pump.stop()
    source.pump.lend()
    source.ring()
    assert watched(source)
    source.pump.take_back()
    source.pump.reclaim()
    source.pump.keep_watched(True)
    assert not attended(source)
    assert not attended(source)
    source.pump.serve()
    assert source.served == 0
    guard = source.pump.guard_fileno()
    source.pump.close()
    source.pump.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(guard)


def test_what_serving_raises_is_told(source: Source) -> None:
    with pytest.raises(BlockingIOError):
        source.pump.serve()


def test_it_refers_to_what_it_is_given(source: Source) -> None:
    with pytest.raises(TypeError):
        Pump("fd", 0, int)  # type: ignore[arg-type]
    assert source.pump.fileno() == source.fd


def test_whoever_waits_serves_it(node: lunar.Node, source: Source) -> None:
    pub, sub = node.create_publisher(bytes, "pumped"), node.create_subscription(bytes, "pumped")

    async def main() -> None:
        await pub.wait_for_subscribers(timeout_s=5)
        source.then = lambda: pub.publish_nowait(b"%d" % source.served)
        for number in range(1, 51):
            later = threading.Timer(0.001, source.ring)
            later.start()
            assert bytes(await sub.receive()) == b"%d" % number
            later.join()
        assert source.threads == {threading.get_ident()}
        assert source.pump.lent == 0

    lunar.run(main())


def test_its_watcher_need_not_wake_meanwhile(node: lunar.Node, source: Source) -> None:
    pub, sub = node.create_publisher(bytes, "pumped"), node.create_subscription(bytes, "pumped")
    lent: list[int] = []

    def publish() -> None:
        lent.append(source.pump.lent)
        pub.publish_nowait(b"x")

    source.then = publish

    async def main() -> None:
        await pub.wait_for_subscribers(timeout_s=5)
        later = threading.Timer(0.01, source.ring)
        later.start()
        await sub.receive()
        later.join()

    lunar.run(main())
    assert lent == [1]


def test_timers_and_other_threads_are_served_while_it_waits(node: lunar.Node, source: Source) -> None:
    sub = node.create_subscription(bytes, "pumped")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        happened: list[str] = []
        waits = asyncio.create_task(sub.receive())
        await asyncio.sleep(0)
        loop.call_later(0.01, happened.append, "timer")
        reading, writing = os.pipe()

        def read() -> None:
            happened.append("pipe")
            loop.remove_reader(reading)

        loop.add_reader(reading, read)
        threading.Timer(0.03, os.write, (writing, b"x")).start()
        told = asyncio.Event()
        threading.Timer(0.05, loop.call_soon_threadsafe, (told.set,)).start()
        await told.wait()
        os.close(reading)
        os.close(writing)
        assert happened == ["timer", "pipe"]
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits

    lunar.run(main())


def test_one_that_brings_nothing_wanted_starves_nobody(node: lunar.Node, source: Source) -> None:
    sub = node.create_subscription(bytes, "pumped")
    source.then = source.ring  # for ever

    async def main() -> None:
        source.ring()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sub.receive(), 0.1)

    lunar.run(main())
    assert source.served > 10


def test_a_stream_of_its_samples_lets_other_tasks_run(node: lunar.Node, source: Source) -> None:
    pub, sub = node.create_publisher(bytes, "pumped"), node.create_subscription(bytes, "pumped")

    def publish_and_ring() -> None:
        pub.publish_nowait(b"x")
        source.ring()

    source.then = publish_and_ring

    async def main() -> None:
        await pub.wait_for_subscribers(timeout_s=5)
        source.ring()

        async def take() -> None:
            async for _ in sub:
                pass

        taking = asyncio.create_task(take())
        ticks = 0
        async with asyncio.timeout(20):
            while ticks < 20:
                await asyncio.sleep(0.001)
                ticks += 1
        taking.cancel()
        source.then = int

    lunar.run(main())


def test_what_it_raises_comes_out_where_it_is_waited_for(node: lunar.Node, source: Source) -> None:
    sub = node.create_subscription(bytes, "pumped")

    def fail() -> None:
        raise ValueError("it does not work")

    source.then = fail

    async def main() -> None:
        threading.Timer(0.01, source.ring).start()
        with pytest.raises(ValueError, match="does not work"):
            await sub.receive()
        assert source.pump.lent == 0

    lunar.run(main())


def test_an_interrupt_ends_the_wait(node: lunar.Node) -> None:
    sub = node.create_subscription(bytes, "pumped")

    async def main() -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        await sub.receive()

    with pytest.raises(KeyboardInterrupt):
        lunar.run(main())


def test_several_who_wait_are_served_in_turn(node: lunar.Node, source: Source) -> None:
    pub = node.create_publisher(bytes, "pumped")
    subs = [node.create_subscription(bytes, "pumped") for _ in range(3)]
    source.then = lambda: pub.publish_nowait(b"x")

    async def main() -> None:
        await pub.wait_for_subscribers(3, timeout_s=5)
        for _ in range(20):
            waits = [asyncio.create_task(sub.receive()) for sub in subs]
            await asyncio.sleep(0)
            threading.Timer(0.001, source.ring).start()
            async with asyncio.timeout(5):
                await asyncio.gather(*waits)

    lunar.run(main())


def test_a_thread_that_waits_serves_it(node: lunar.Node, source: Source) -> None:
    pub, sub = node.create_publisher(bytes, "pumped"), node.create_subscription(bytes, "pumped")
    pub.wait_for_subscribers_blocking(timeout_s=5)
    source.then = lambda: pub.publish_nowait(b"%d" % source.served)
    for number in range(1, 31):
        later = threading.Timer(0.001, source.ring)
        later.start()
        assert bytes(sub.receive_blocking(5)) == b"%d" % number
        later.join()
    assert source.threads == {threading.get_ident()}
    assert source.pump.lent == 0
    with pytest.raises(lunar.TimeoutError):
        sub.receive_blocking(0.01)


def test_what_it_raises_comes_out_of_a_thread_s_wait(node: lunar.Node, source: Source) -> None:
    sub = node.create_subscription(bytes, "pumped")

    def fail() -> None:
        raise ValueError("it does not work")

    source.then = fail
    threading.Timer(0.01, source.ring).start()
    with pytest.raises(ValueError, match="does not work"):
        sub.receive_blocking(5)
    assert source.pump.lent == 0


def test_it_may_go_while_a_thread_sleeps_on_it(node: lunar.Node, source: Source) -> None:
    other = Source()
    bells = waiting.acquire_bells()
    pub, sub = node.create_publisher(bytes, "pumped"), node.create_subscription(bytes, "pumped")
    pub.wait_for_subscribers_blocking(timeout_s=5)
    with pytest.raises(lunar.TimeoutError):
        sub.receive_blocking(0)  # from here on this thread has a waiter
    bells.add_pump(other.pump)

    def leave() -> None:
        bells.remove_pump(other.pump)
        other.close()
        source.ring()

    source.then = lambda: pub.publish_nowait(b"x")
    later = threading.Timer(0.05, leave)
    later.start()
    assert bytes(sub.receive_blocking(5)) == b"x"
    later.join()
    waiting.release_bells()
