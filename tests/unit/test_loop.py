"""The spinning selector's decisions, with a waiter that only writes down what it is asked for."""

import asyncio
import os
import selectors
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

import lunar
from lunar import errors
from lunar import loop as loop_module
from lunar._native._bus import Waiter
from lunar.loop import EventLoop, new_event_loop


class FakeWaiter:
    """Answers as the test says; `calls` has what was asked, in order."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.pending = 1
        self.blocked = False
        self.found = 0
        self.may_sleep = True
        self.readable, self._writable = os.pipe()

    def ring(self) -> None:
        os.write(self._writable, b"x")

    def fileno(self) -> int:
        return self.readable

    def spin(self, limit_s: float | None, outer_fd: int) -> int:
        self.calls.append(("spin", limit_s))
        return self.found

    def arm(self) -> bool:
        self.calls.append("arm")
        return self.may_sleep

    def disarm(self) -> None:
        self.calls.append("disarm")

    def dispatch(self) -> int:
        self.calls.append("dispatch")
        return 0

    def drain(self) -> None:
        self.calls.append("drain")
        os.read(self.readable, 100)

    def adopt(self, outer_fd: int, ready: object, timers: list[object]) -> None:
        self.calls.append("adopt")

    def close(self) -> None:
        os.close(self.readable)
        os.close(self._writable)


@pytest.fixture
def waiter() -> Iterator[FakeWaiter]:
    waiter = FakeWaiter()
    yield waiter
    waiter.close()


@pytest.fixture
def loop(waiter: FakeWaiter) -> Iterator[EventLoop]:
    loop = EventLoop()
    loop.adopt_waiter(cast(Waiter, waiter))
    waiter.calls.clear()
    yield loop
    loop.release_waiter(cast(Waiter, waiter))
    loop.close()


def select(loop: EventLoop, timeout: float | None) -> list[int]:
    """The descriptors that the selector reports, those of asyncio's own left out."""
    found = loop._spinning.select(timeout)
    return [key.fd for key, _ in found]


def test_while_nobody_waits_it_is_asyncio_s_selector(loop: EventLoop, waiter: FakeWaiter) -> None:
    waiter.pending = 0
    assert select(loop, 0.001) == []
    assert waiter.calls == []


def test_a_message_found_by_spinning_costs_no_sleep_and_no_bell(loop: EventLoop, waiter: FakeWaiter) -> None:
    waiter.found = 1
    select(loop, None)
    assert waiter.calls == [("spin", None)]


def test_while_messages_keep_coming_other_descriptors_are_seen_now_and_then(
    loop: EventLoop, waiter: FakeWaiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: now))
    waiter.found = 1
    waiter.ring()
    seen = []
    for _ in range(10):
        seen.append(select(loop, None))
        now += 50e-6
    assert seen.count([waiter.readable]) == 3  # at once, and every 200 us
    assert seen.count([]) == 7


def test_before_it_sleeps_it_arms_and_afterwards_it_looks_again(loop: EventLoop, waiter: FakeWaiter) -> None:
    assert select(loop, 0.001) == []
    assert waiter.calls == [("spin", 0.001), "arm", "disarm", "dispatch"]


def test_a_ring_ends_the_sleep(loop: EventLoop, waiter: FakeWaiter) -> None:
    waiter.ring()
    assert select(loop, None) == [waiter.readable]
    assert waiter.calls == [("spin", None), "arm", "disarm", "dispatch"]


def test_what_comes_while_it_arms_is_not_slept_over(loop: EventLoop, waiter: FakeWaiter) -> None:
    waiter.may_sleep = False
    select(loop, None)  # would never return if it slept
    assert waiter.calls == [("spin", None), "arm", "dispatch"]


def test_with_work_to_do_it_neither_spins_nor_sleeps(loop: EventLoop, waiter: FakeWaiter) -> None:
    select(loop, 0)
    assert waiter.calls == [("spin", 0)]


def test_while_a_publisher_waits_for_room_it_sleeps_for_ten_milliseconds_at_most(
    loop: EventLoop, waiter: FakeWaiter
) -> None:
    waiter.blocked = True
    select(loop, None)  # would never return if it slept until it is rung for
    select(loop, 1000.0)
    assert waiter.calls.count("dispatch") == 2


def test_it_disarms_however_the_sleep_ends(
    loop: EventLoop, waiter: FakeWaiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(selectors.EpollSelector, "select", interrupt)
    with pytest.raises(KeyboardInterrupt):
        select(loop, None)
    assert waiter.calls == [("spin", None), "arm", "disarm"]


def test_a_released_waiter_is_left_alone(loop: EventLoop, waiter: FakeWaiter) -> None:
    other = FakeWaiter()
    loop.release_waiter(cast(Waiter, other))  # not its own: nothing happens
    select(loop, 0)
    assert waiter.calls != []
    waiter.calls.clear()
    loop.release_waiter(cast(Waiter, waiter))
    waiter.ring()
    assert select(loop, 0) == []
    assert waiter.calls == []
    other.close()


def test_the_waiter_s_descriptor_is_read_off_by_the_loop(loop: EventLoop, waiter: FakeWaiter) -> None:
    waiter.ring()
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert "drain" in waiter.calls


def test_closing_the_loop_twice_does_nothing() -> None:
    loop = EventLoop()
    loop.close()
    loop.close()
    assert loop.is_closed()


def test_a_running_loop_cannot_be_closed() -> None:
    async def close() -> None:
        with pytest.raises(RuntimeError, match="running"):
            asyncio.get_running_loop().close()

    lunar.run(close())


@pytest.mark.parametrize(
    ("name", "kind"),
    [("auto", "EventLoop"), ("lunar", "EventLoop"), ("asyncio", "_UnixSelectorEventLoop"), ("uvloop", "Loop")],
)
def test_loops_are_made_by_name(name: str, kind: str) -> None:
    loop = new_event_loop(name)  # type: ignore[arg-type]
    assert type(loop).__name__ == kind
    loop.close()


def test_uvloop_that_is_missing_comes_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(errors.LunarError, match=r"pip install 'lunar-mom\[uvloop\]'"):
        new_event_loop("uvloop")
