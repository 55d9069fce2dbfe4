"""Waiter, bells and operations, with a loop that only writes down what it is asked for."""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import cast

import pytest

from lunar import errors
from lunar._native import _bus
from lunar._native._bus import Mapping, Peer, Waiter
from lunar._native.control import create_bell_page
from lunar.graph import waiting
from tests.unit.native.wire import Wire

pytestmark = pytest.mark.native

MakeWire = Callable[..., Wire]
MakeWaits = Callable[..., "Waits"]


class Loop:
    """As much of an event loop as a waiter and a signal use."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []
        self.later: list[float] = []

    def call_soon(self, callback: Callable[..., object], *arguments: object, context: object = None) -> None:
        self.soon.append(lambda: callback(*arguments))

    def call_later(self, delay_s: float, callback: Callable[..., object]) -> None:
        self.later.append(delay_s)


class Waits:
    """A waiter of this test's own, found by every operation."""

    def __init__(self, *, managed: bool) -> None:
        fd, self.page = create_bell_page()
        self.loop = Loop()
        self.waiter = Waiter(self.page, 5, cast(asyncio.AbstractEventLoop, self.loop), managed)
        self.ear, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.waiter.watch(self.ear)
        self.peer = Peer(Mapping(fd, self.page.size_bytes, False, True), mouth.detach())
        self.fd = fd

    @property
    def armed(self) -> bool:
        with memoryview(self.page).cast("Q") as words:
            return bool(words[8 * (1 + 5)] % 2)

    def is_readable(self) -> bool:
        return bool(select.select([self.waiter], [], [], 0)[0])

    def find(self) -> None:
        """Lets every operation find this waiter from now on."""
        _bus.set_waiter_finders(lambda: self.waiter, lambda: self.waiter)

    def close(self) -> None:
        self.waiter.close()
        self.ear.close()
        self.peer.close()
        os.close(self.fd)


@pytest.fixture
def make_waits() -> Iterator[MakeWaits]:
    """``make_waits(managed=...)``: a waiter that operations find until the end of the test, or until the next call."""
    made: list[Waits] = []

    def make(*, managed: bool = True) -> Waits:
        made.append(Waits(managed=managed))
        made[-1].find()
        return made[-1]

    yield make
    _bus.set_waiter_finders(lambda: waiting._bells().of_running_loop(), lambda: waiting._bells().of_this_thread())
    for waits in made:
        waits.close()


def step(operation: Coroutine[object, object, object]) -> object:
    """Drives an operation until it yields a signal, which is returned, or ends with the result."""
    try:
        while (signal := operation.send(None)) is None:
            pass  # it let the loop turn
    except StopIteration as stop:
        return cast(object, stop.value)
    return signal


def wait(operation: Coroutine[object, object, object]) -> "asyncio.Future[object]":
    """Drives an operation until it waits."""
    return cast("asyncio.Future[object]", step(operation))


@pytest.mark.parametrize("managed", [False, True])
def test_an_operation_that_must_wait_yields_a_future_and_tries_again_when_resumed(
    make_wire: MakeWire, make_waits: MakeWaits, managed: bool
) -> None:
    wire, waits = make_wire(4), make_waits(managed=managed)
    operation = wire.reader.receive()
    signal = wait(operation)
    assert (waits.waiter.pending, signal.done()) == (1, False)
    assert cast(object, signal.get_loop()) is waits.loop
    signal._asyncio_future_blocking = False  # as a task does
    done: list[object] = []
    signal.add_done_callback(done.append)
    assert waits.waiter.dispatch() == 0
    wire.writer.publish_nowait(b"one")
    assert waits.waiter.dispatch() == 1
    assert (waits.waiter.pending, signal.done(), signal.cancelled(), done) == (0, True, False, [])
    waits.loop.soon.pop()()
    assert done == [signal]
    assert signal.result() is None
    message = step(operation)
    assert bytes(cast(memoryview, message)) == b"one"
    with pytest.raises(RuntimeError, match="already awaited"):
        step(operation)


def test_without_a_managing_loop_the_bell_is_armed_as_long_as_somebody_waits(
    make_wire: MakeWire, make_waits: MakeWaits
) -> None:
    wire, waits = make_wire(4), make_waits(managed=False)
    assert not waits.armed
    operation = wire.reader.receive()
    step(operation)
    assert waits.armed
    operation.close()
    assert waits.waiter.pending == 0
    # A message that is there at once leaves it as it was.
    waits.waiter.disarm()
    wire.writer.publish_nowait(b"one")
    step(wire.reader.receive())
    assert not waits.armed


def test_a_cancelled_wait_takes_nothing(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, waits = make_wire(4), make_waits()
    operation = wire.reader.receive()
    signal = wait(operation)
    assert signal.cancel() is True
    assert (signal.cancelled(), signal.cancel(), waits.waiter.pending) == (True, False, 0)
    with pytest.raises(asyncio.CancelledError):
        signal.result()
    wire.writer.publish_nowait(b"one")
    with pytest.raises(asyncio.CancelledError):
        operation.throw(asyncio.CancelledError())
    assert wire.take() == [b"one"]


def test_a_wait_fired_and_then_cancelled_takes_nothing(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, waits = make_wire(4), make_waits()
    operation = wire.reader.receive()
    signal = wait(operation)
    wire.writer.publish_nowait(b"one")
    waits.waiter.dispatch()
    assert signal.cancel() is False
    with pytest.raises(KeyError):
        operation.throw(KeyError("mine"))
    assert wire.take() == [b"one"]


def test_a_signal_that_is_pending_has_no_result_and_one_listener(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire = make_wire(4)
    make_waits()
    operation = wire.reader.receive()
    signal = wait(operation)
    with pytest.raises(asyncio.InvalidStateError):
        signal.result()
    signal.add_done_callback(print)
    with pytest.raises(RuntimeError, match="one task only"):
        signal.add_done_callback(print)
    assert (signal.remove_done_callback(repr), signal.remove_done_callback(print)) == (0, 1)
    operation.close()


def test_waiters_are_fired_in_the_order_they_came(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, waits = make_wire(4), make_waits()
    operations = [wire.reader.receive() for _ in range(4)]
    order: list[int] = []

    def note(index: int, _: object) -> None:
        order.append(index)

    for index, operation in enumerate(operations):
        signal = wait(operation)
        signal.add_done_callback(partial(note, index))
    operations.pop(1).close()
    wire.writer.publish_nowait(b"one")
    assert waits.waiter.dispatch() == 3
    for call in waits.loop.soon:
        call()
    assert order == [0, 2, 3]
    for operation in operations:
        operation.close()


def test_one_that_waits_again_keeps_its_place(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, waits = make_wire(4), make_waits()
    first, second, third = (wire.reader.receive() for _ in range(3))
    for operation in (first, second, third):
        step(operation)
    wire.writer.publish_nowait(b"one")
    waits.waiter.dispatch()
    waits.loop.soon.clear()
    assert bytes(cast(memoryview, step(first))) == b"one"
    order: list[str] = []

    def note(name: str, _: object) -> None:
        order.append(name)

    new = wire.reader.receive()
    for name, operation in (("new", new), ("third", third), ("second", second)):
        signal = wait(operation)
        signal.add_done_callback(partial(note, name))
    wire.writer.publish_nowait(b"two")
    waits.waiter.dispatch()
    for call in waits.loop.soon:
        call()
    assert order == ["second", "third", "new"]


def test_arming_says_whether_it_is_safe_to_sleep(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, waits = make_wire(4), make_waits()
    operation = wire.reader.receive()
    step(operation)
    assert waits.waiter.arm() is True
    assert waits.armed
    waits.waiter.disarm()
    assert not waits.armed
    wire.writer.publish_nowait(b"one")
    assert waits.waiter.arm() is False
    assert not waits.armed
    waits.waiter.dispatch()
    assert waits.waiter.arm() is True
    waits.waiter.kick()
    assert waits.waiter.arm() is False
    operation.close()


def test_a_kick_makes_the_descriptor_readable_until_it_is_drained(make_waits: MakeWaits) -> None:
    waits = make_waits()
    assert not waits.is_readable()
    waits.waiter.kick()
    assert waits.is_readable()
    waits.waiter.drain()
    assert not waits.is_readable()
    waits.waiter.kick()
    assert waits.is_readable()


def test_a_ring_is_sent_once_to_a_sleeper_and_never_to_one_that_is_awake(make_wire: MakeWire) -> None:
    wire = make_wire(16)

    def rings() -> int:
        count = 0
        while select.select([wire.ear_of_reader], [], [], 0)[0]:
            wire.ear_of_reader.recv(1)
            count += 1
        return count

    wire.writer.publish_many([b""] * 5)
    assert rings() == 0
    with memoryview(wire.bells_of_reader) as page, page.cast("Q") as words:
        words[8] += 1  # bell 0, which the reader has: armed
    wire.writer.publish_nowait(b"")
    wire.writer.publish_many([b""] * 5)
    assert rings() == 1
    with memoryview(wire.bells_of_reader) as page, page.cast("Q") as words:
        words[8] += 2  # awake, and asleep again
    wire.writer.publish_nowait(b"")
    assert rings() == 1


def test_spinning_finds_what_is_there_and_ends_in_time(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, waits = make_wire(4), make_waits()
    operation = wire.reader.receive()
    step(operation)
    assert waits.waiter.spin(0.001, -1) == 0
    assert waits.waiter.spin(None, -1) == 0
    wire.writer.publish_nowait(b"one")
    assert waits.waiter.spin(0, -1) == 1
    assert waits.waiter.pending == 0
    with pytest.raises(TypeError):
        waits.waiter.spin(1)  # type: ignore[call-arg]
    operation.close()


@pytest.mark.parametrize("managed", [False, True])
def test_a_publisher_that_waits_is_looked_at_again_after_a_while(
    make_wire: MakeWire, make_waits: MakeWaits, managed: bool
) -> None:
    wire, waits = make_wire(1, waits=True), make_waits(managed=managed)
    wire.writer.publish_nowait(b"first")
    operation = wire.writer.publish(b"second")
    step(operation)
    assert waits.waiter.blocked
    # Lunar's loop limits its sleep; others are asked for a timer.
    assert waits.loop.later == ([] if managed else [0.01])
    assert waits.waiter.dispatch() == 0
    assert wire.take() == [b"first"]
    assert waits.waiter.dispatch() == 1
    assert not waits.waiter.blocked
    assert step(operation) is None
    assert wire.take() == [b"second"]
    assert (wire.sending.waits, wire.writer._waits) == (1, 1)


def test_a_closed_waiter_lets_go_of_its_loop_and_of_who_waits(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, waits = make_wire(4), make_waits()
    operation = wire.reader.receive()
    signal = wait(operation)
    signal.add_done_callback(print)
    waits.waiter.close()
    waits.waiter.close()
    assert waits.waiter.pending == 0
    for call in (signal.get_loop, signal.cancel):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()


def test_a_source_is_waited_for_by_one_waiter_at_a_time(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire, one = make_wire(4), make_waits()
    first, second = wire.reader.receive(), wire.reader.receive()
    step(first)
    other = make_waits()
    with pytest.raises(errors.LunarError, match="already waited for"):
        step(second)
    first.close()
    third = wire.reader.receive()
    step(third)
    assert (one.waiter.pending, other.waiter.pending) == (0, 1)
    third.close()


def test_what_finds_no_waiter_says_so(make_wire: MakeWire, make_waits: MakeWaits) -> None:
    wire = make_wire(4)
    make_waits()  # which puts the finders back
    _bus.set_waiter_finders(lambda: None, lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="not a waiter"):
        step(wire.reader.receive())
    with pytest.raises(TypeError, match="not a waiter"):
        wire.reader.receive_blocking(timeout_s=1)
