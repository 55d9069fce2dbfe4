"""The bells of a process, and the waiters that own them."""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from lunar import loop as loop_module
from lunar._native.control import BELLS
from lunar.errors import LunarError, ResourceExhausted
from lunar.graph import waiting
from lunar.graph.waiting import Bells


@pytest.fixture
def bells() -> Iterator[Bells]:
    bells = Bells()
    yield bells
    bells.close()


def test_a_loop_has_one_waiter_and_each_loop_its_own(bells: Bells) -> None:
    async def index() -> tuple[int, int]:
        return bells.of_running_loop().index, bells.of_running_loop().index

    loops = [asyncio.new_event_loop() for _ in range(3)]
    found = [loop.run_until_complete(index()) for loop in loops]
    assert all(first == second for first, second in found)
    assert len({first for first, _ in found}) == 3
    assert [loop.run_until_complete(index()) for loop in loops] == found
    for loop in loops:
        loop.close()


def test_a_thread_has_one_waiter_that_goes_with_it(bells: Bells) -> None:
    indices: list[int] = []

    def look() -> None:
        indices.append(bells.of_this_thread().index)
        assert bells.of_this_thread().index == indices[-1]

    for _ in range(3):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    gc.collect()
    # The bell of a thread that has gone is given to the next.
    assert indices == [indices[0]] * 3
    assert bells.of_this_thread().index == indices[0]


def test_the_bells_of_closed_loops_are_used_again(bells: Bells) -> None:
    async def index() -> int:
        return bells.of_running_loop().index

    indices = set()
    for _ in range(5):
        loop = asyncio.new_event_loop()
        indices.add(loop.run_until_complete(index()))
        loop.close()
    assert len(indices) <= 2


def test_a_loop_of_ours_gives_its_bell_back_when_it_closes(monkeypatch: pytest.MonkeyPatch, bells: Bells) -> None:
    monkeypatch.setattr(waiting, "_current", bells)

    async def index() -> int:
        return bells.of_running_loop().index

    loop = loop_module.EventLoop()
    first = loop.run_until_complete(index())
    descriptors = len(os.listdir("/proc/self/fd"))
    loop.close()
    assert len(os.listdir("/proc/self/fd")) <= descriptors - 2
    with asyncio.Runner(loop_factory=loop_module.EventLoop) as runner:
        assert runner.run(index()) == first


def test_there_are_so_many_bells_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "BELLS", 3)
    few = Bells()
    opened = [few.open_waiter(None) for _ in range(3)]
    with pytest.raises(ResourceExhausted, match="more than 3 loops and threads"):
        few.open_waiter(None)
    few.close_waiter(opened[1])
    few.close_waiter(opened[1])
    assert few.open_waiter(None).index == opened[1].index
    few.close()
    assert BELLS >= 1024


def test_a_ring_on_any_link_wakes_every_waiter_also_those_made_later(bells: Bells) -> None:
    ear, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    with ear, mouth:
        early = bells.open_waiter(None)
        bells.watch(ear.fileno())
        late = bells.open_waiter(None)
        mouth.send(b"x")
        assert [_is_readable(waiter.fileno()) for waiter in (early, late)] == [True, True]
        late.drain()
        bells.unwatch(ear.fileno())
        mouth.send(b"x")
        assert [_is_readable(waiter.fileno()) for waiter in (early, late)] == [False, False]
        bells.unwatch(ear.fileno())


def test_a_kick_wakes_every_waiter(bells: Bells) -> None:
    waiters = [bells.open_waiter(None) for _ in range(3)]
    bells.kick_all()
    assert [_is_readable(waiter.fileno()) for waiter in waiters] == [True] * 3


def _is_readable(fd: int) -> bool:
    import select

    return bool(select.select([fd], [], [], 0)[0])


def test_after_the_last_node_there_is_nobody_to_wait_for(bells: Bells) -> None:
    waiter = bells.open_waiter(None)
    bells.close()
    bells.close()
    assert waiter.fileno() == -1
    with pytest.raises(LunarError, match="last node of this process is closed"):
        bells.open_waiter(None)
    assert bells.fd == -1


def test_the_bells_live_as_long_as_anybody_uses_them() -> None:
    first, second = waiting.acquire_bells(), waiting.acquire_bells()
    assert first is second
    waiting.release_bells()
    assert waiting._bells() is first
    waiting.release_bells()
    with pytest.raises(LunarError, match="no open node in this process"):
        waiting._bells()
    third = waiting.acquire_bells()
    assert third is not first
    waiting.release_bells()


def test_closing_takes_the_waiter_from_a_plain_loop(bells: Bells) -> None:
    async def wait() -> None:
        loop = asyncio.get_running_loop()
        waiter = bells.of_running_loop()
        fd = waiter.fileno()
        bells.close()
        assert waiter.fileno() == -1
        assert loop.remove_reader(fd) is False  # it was removed already

    asyncio.run(wait())
