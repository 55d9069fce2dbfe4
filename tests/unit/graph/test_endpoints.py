"""The count of an endpoint's matches, and waiting for more."""

import asyncio
import threading
import time

import pytest

from lunar import errors
from lunar.graph.endpoints import MatchCount


@pytest.fixture
def count() -> MatchCount:
    return MatchCount()


async def test_waiting_ends_when_there_are_enough(count: MatchCount) -> None:
    waiting = [asyncio.create_task(count.wait_for(wanted, None, "matches")) for wanted in (1, 2)]
    await asyncio.sleep(0)
    count.set(1)
    await waiting[0]
    assert not waiting[1].done()
    count.set(5)
    await waiting[1]
    await count.wait_for(5, 0, "matches")
    assert count.value == 5


async def test_it_is_changed_from_any_thread(count: MatchCount) -> None:
    waiting = asyncio.create_task(count.wait_for(1, 5, "matches"))
    await asyncio.sleep(0)
    await asyncio.to_thread(count.set, 1)
    await waiting


async def test_too_late_says_how_many_there_were(count: MatchCount) -> None:
    count.set(2)
    with pytest.raises(errors.TimeoutError, match=r"2 of 3 matches after 0 s"):
        await count.wait_for(3, 0, "matches")
    with pytest.raises(errors.TimeoutError, match=r"2 of 3 matches after 0.001 s"):
        count.wait_for_blocking(3, 0.001, "matches")


async def test_a_cancelled_wait_changes_nothing(count: MatchCount) -> None:
    waiting = asyncio.create_task(count.wait_for(1, None, "matches"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    count.set(1)
    await count.wait_for(1, 0, "matches")


async def test_whoever_waits_is_told_of_the_close(count: MatchCount) -> None:
    waiting = asyncio.create_task(count.wait_for(1, None, "matches"))
    blocked = asyncio.create_task(asyncio.to_thread(count.wait_for_blocking, 1, 5, "matches"))
    await asyncio.sleep(0)
    count.set(0)
    count.close()
    for task in (waiting, blocked):
        with pytest.raises(errors.ClosedError, match="closed while matches were waited for"):
            await task
    count.set(1)  # news that comes too late
    with pytest.raises(errors.ClosedError):
        count.wait_for_blocking(1, 0, "matches")


def test_a_loop_that_closed_while_it_waited_disturbs_nobody(count: MatchCount) -> None:
    async def begin() -> None:
        task = asyncio.create_task(count.wait_for(1, None, "matches"))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(begin())
    thread = threading.Thread(target=count.wait_for_blocking, args=(1, 5, "matches"))
    thread.start()
    count.set(1)
    thread.join()


def test_whoever_is_told_of_a_change_finds_it(count: MatchCount) -> None:
    found: list[int] = []
    count.set(3, lambda: found.append(count.value))
    assert found == [3]


def test_nobody_goes_on_before_all_are_told(count: MatchCount) -> None:
    order: list[str] = []
    telling = threading.Event()

    def tell() -> None:
        telling.set()
        time.sleep(0.05)  # the other thread's chance to go on too early
        order.append("told")

    changing = threading.Thread(target=count.set, args=(1, tell))
    changing.start()
    assert telling.wait(5)
    count.wait_for_blocking(1, 5, "things")
    order.append("went on")
    changing.join()
    assert order == ["told", "went on"]
