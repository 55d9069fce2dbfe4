"""An engine is served when it has something to do, and asks for no more than that."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVarTuple

from lunar import abc
from lunar.graph.control import ControlThread
from lunar.graph.network.engines import EngineHost
from lunar.graph.waiting import Bells
from lunar.testing import MemoryTransport

Ts = TypeVarTuple("Ts")


class Counted(ControlThread):
    """Counts what is posted."""

    posts = 0

    def post(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        self.posts += 1
        super().post(function, *args)


class Patient(abc.Engine):
    """Has nothing to do but later."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s, self.served = wait_s, threading.Semaphore(0)
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def address(self) -> Mapping[str, object]:
        return {}

    def fileno(self) -> int:
        return self.bell

    def open_outgoing(self, stream: abc.Stream, handler: abc.OutgoingHandler) -> abc.Outgoing:
        raise NotImplementedError

    def open_incoming(self, stream: abc.Stream, handler: abc.IncomingHandler) -> abc.Incoming:
        raise NotImplementedError

    def forget(self, remote_id: str) -> None:
        """There is nobody."""

    def work(self) -> float | None:
        self.served.release()
        return self.wait_s

    def close(self) -> None:
        os.close(self.bell)

    def close_after_fork(self) -> None:
        """There is nothing."""


@contextmanager
def served(wait_s: float) -> Iterator[tuple[EngineHost, Patient, Counted]]:
    control, bells, engine = Counted(), Bells(), Patient(wait_s)
    host = EngineHost("patient", MemoryTransport().capabilities, engine, control, bells)
    host.start()
    control.start(host.close)
    try:
        yield host, engine, control
    finally:
        control.close()
        bells.close()


def test_one_timer_is_enough_for_a_moment_that_stays_the_same() -> None:
    with served(600.0) as (host, _, control):
        for _ in range(50):
            host.serve()
        assert control.posts == 1


def test_an_engine_is_served_when_it_asked_for_it() -> None:
    with served(0.01) as (host, engine, _):
        host.serve()
        for _ in range(4):
            assert engine.served.acquire(timeout=10)


class Samples:
    """Something to be flushed, that counts how often it was."""

    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1


def test_what_is_left_to_whoever_is_in_the_engine_is_flushed_when_that_leaves() -> None:
    with served(3600) as (host, engine, _control):
        assert engine.served.acquire(timeout=10)
        samples = Samples()
        with host.lock, host.lock:
            # As a publishing thread does while another one, say, closes a stream.
            publishing = threading.Thread(target=host.flush, args=(samples,))
            publishing.start()
            publishing.join()
            assert samples.flushed == 0
        assert samples.flushed == 1


def test_who_publishes_again_and_again_serves_the_engine_too() -> None:
    with served(3600) as (host, engine, _control):
        assert engine.served.acquire(timeout=10)
        samples = Samples()
        host.published(samples)
        time.sleep(0.0005)
        host.published(samples)
        os.eventfd_write(engine.bell, 1)
        assert not engine.served.acquire(timeout=0.001)
        host.published(samples)
        assert engine.served.acquire(timeout=0)
        assert samples.flushed == 3


def test_it_is_not_served_from_within() -> None:
    class Nested(Patient):
        def work(self) -> float | None:
            super().work()
            time.sleep(0.0005)
            host.published(Samples())
            return None

    control, bells = Counted(), Bells()
    engine = Nested(0)
    host = EngineHost("nested", MemoryTransport().capabilities, engine, control, bells)
    host.published(Samples())
    os.eventfd_write(engine.bell, 1)
    host.serve()
    assert engine.served.acquire(timeout=0)
    assert not engine.served.acquire(timeout=0)
    host.discard()
    bells.close()
    control.close_descriptors()
