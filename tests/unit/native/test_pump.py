"""Pumps: what brings samples from elsewhere is served by whoever waits, and nobody else goes short."""

import asyncio
import ctypes
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    assert source.guard.poll(1000)
    source.pump.reclaim()
    assert not watched(source)
    source.pump.take_back()
    assert source.guard.poll(1000)
    source.pump.reclaim()
    assert watched(source)


def test_the_guard_is_not_set_for_each_wait(source: Source) -> None:
    source.ring()
    until_s = time.monotonic() + 0.02
    while time.monotonic() < until_s:  # somebody comes back again and again
        source.pump.lend()
        source.pump.take_back()
        assert not watched(source)
    assert source.guard.poll(1000)


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


def test_timers_are_kept_after_many_were_cancelled(node: lunar.Node, source: Source) -> None:
    sub = node.create_subscription(bytes, "pumped")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sub.receive(), 0.001)
        for timer in [loop.call_later(100, int) for _ in range(300)]:
            timer.cancel()
        await asyncio.sleep(0)  # the loop makes a list without them
        for _ in range(3):
            async with asyncio.timeout(5):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(sub.receive(), 0.001)

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


Looking = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
Due = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)
Working = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class EngineApi(ctypes.Structure):
    """`lunar_engine_api`."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("has_input", Looking),
        ("due_ns", Due),
        ("work", Working),
        ("may_sleep", Looking),
    )


class NativeSource(Source):
    """What it has is seen in memory: its descriptor is never readable."""

    def __init__(self, version: int = 1) -> None:
        self.has = False
        self.due_ns = 2**64 - 1
        self.slept = 0
        self.worked = 0
        self.works_for_python = 0
        self.api = EngineApi(
            version,
            None,
            Looking(lambda _context: self.has),
            Due(lambda _context: self.due_ns),
            Working(self.work),
            Looking(self.may_sleep),
        )
        new = ctypes.pythonapi.PyCapsule_New
        new.argtypes, new.restype = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p), ctypes.py_object
        self.capsule = new(ctypes.addressof(self.api), b"lunar.engine", None)
        super().__init__()
        self.pump.close()
        self.pump = Pump(self.fd, self.watcher.fileno(), self.serve, self.capsule)

    def ring(self) -> None:
        self.has = True

    def serve(self) -> None:
        self.works_for_python += 1
        self.take()

    def work(self, _context: object) -> int:
        self.worked += 1
        self.due_ns = 2**64 - 1
        self.take()
        return 0

    def take(self) -> None:
        if self.has:
            self.has = False
            self.served += 1
            self.threads.add(threading.get_ident())
            self.then()

    def may_sleep(self, _context: object) -> bool:
        self.slept += 1
        return not self.has


@pytest.fixture
def native() -> Iterator[NativeSource]:
    made = NativeSource()
    yield made
    made.close()


@contextmanager
def fed(source: Source) -> Iterator[tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]]:
    with isolated(), lunar.Node("pumped") as node:
        bells = waiting.acquire_bells()
        pub, sub = node.create_publisher(bytes, "pumped"), node.create_subscription(bytes, "pumped")
        pub.wait_for_subscribers_blocking(timeout_s=5)
        sub.wait_for_publishers_blocking(timeout_s=5)
        pub.publish_nowait(b"first")
        sub.receive_blocking(5)  # from here on the memory is there
        source.then = lambda: pub.publish_nowait(b"%d" % source.served)
        bells.add_pump(source.pump)
        try:
            yield pub, sub
        finally:
            bells.remove_pump(source.pump)
            waiting.release_bells()


def test_an_engine_in_c_is_looked_at_while_somebody_spins(native: NativeSource) -> None:
    with fed(native) as (_, sub):

        async def main() -> None:
            for number in range(1, 31):
                native.ring()
                assert bytes(await sub.receive()) == b"%d" % number

        lunar.run(main())
        for number in range(31, 61):
            native.ring()
            assert bytes(sub.receive_blocking(5)) == b"%d" % number
    assert native.threads == {threading.get_ident()}
    assert native.works_for_python < 5 < native.worked  # Python serves it where the loop has something else to run


def test_an_engine_in_c_works_when_it_said_while_somebody_spins(native: NativeSource) -> None:
    with fed(native) as (_, sub):
        native.due_ns = time.monotonic_ns() + 20_000

        def work(_context: object) -> int:
            native.worked += 1
            native.due_ns = 2**64 - 1
            native.then()
            return 0

        native.api.work = Working(work)
        assert bytes(sub.receive_blocking(5)) == b"0"
        assert native.worked == 1


def test_an_engine_in_c_is_asked_before_somebody_sleeps(native: NativeSource) -> None:
    with fed(native) as (_, sub):

        def come_now(_context: object) -> bool:
            native.slept += 1
            native.ring()
            return False

        native.api.may_sleep = Looking(come_now)
        assert bytes(sub.receive_blocking(5)) == b"1"
        assert native.slept


def test_an_engine_in_c_that_cannot_go_on_is_served_by_python(native: NativeSource) -> None:
    native.api.work = Working(lambda _context: 1)
    native.pump.lend()
    native.pump.serve()
    assert native.works_for_python == 1
    native.pump.take_back()


def test_other_work_of_a_loop_does_not_keep_an_engine_in_c_waiting(native: NativeSource) -> None:
    with fed(native) as (_, sub):

        async def main() -> None:
            waits = asyncio.create_task(sub.receive())
            ticks = 0
            while not waits.done():
                await asyncio.sleep(0.001)
                ticks += 1
                if ticks == 3:
                    native.ring()
            assert bytes(await waits) == b"1"

        lunar.run(main())


def test_who_publishes_looks_at_an_engine_in_c(native: NativeSource) -> None:
    native.pump.lend()
    native.pump.serve()
    native.pump.take_back()
    assert not attended(native)
    assert not attended(native)
    native.ring()
    assert attended(native)


def test_after_each_publish_an_engine_in_c_has_its_turn(native: NativeSource) -> None:
    sent: list[int] = []
    call = native.pump.after(lambda: sent.append(native.worked))
    call()
    time.sleep(0.0005)
    call()
    native.ring()
    time.sleep(0.0005)
    call()
    assert sent == [0, 0, 0]
    assert native.served == 1

    def fail() -> None:
        raise ValueError("it cannot be sent")

    with pytest.raises(ValueError, match="cannot be sent"):
        native.pump.after(fail)()


def test_who_leaves_an_engine_in_c_arms_it_for_who_still_sleeps_on_it(native: NativeSource) -> None:
    native.pump.lend()
    native.pump.lend()
    before = native.slept
    native.pump.take_back()
    assert native.slept == before + 1
    native.pump.take_back()


def test_who_looks_at_an_engine_in_c_without_having_borrowed_it_is_guarded(native: NativeSource) -> None:
    assert not native.pump.has_work()
    assert native.guard.poll(1000)
    os.eventfd_write(native.fd, 1)
    assert not watched(native)
    native.pump.reclaim()
    assert native.slept == 1
    assert watched(native)
    native.pump.keep_watched(True)
    native.ring()
    assert not native.pump.has_work()
    assert watched(native)


def test_who_publishes_lets_python_hear_that_an_engine_in_c_cannot_go_on(native: NativeSource) -> None:
    native.api.work = Working(lambda _context: 1)
    call = native.pump.after(int)
    call()
    time.sleep(0.0005)
    native.ring()
    call()
    assert native.works_for_python == 1


def test_an_engine_of_another_version_is_refused() -> None:
    with pytest.raises(ImportError, match="version 2"):
        NativeSource(version=2)
    with pytest.raises(ValueError, match="invalid PyCapsule"):
        Pump(0, 0, int, object())
