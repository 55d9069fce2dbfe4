"""The types around the protocol engine, over UDP on loopback: what they refuse, who is told, what outlives what."""

import gc
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from lunar_xdp import _xdp

import lunar
from lunar import abc
from lunar._native._bus import Parcel, Pump
from lunar.graph import waiting
from lunar.testing import isolated

pytestmark = pytest.mark.native

LOOPBACK = socket.inet_aton("127.0.0.1")
KEY = bytes(range(16))
PUBLISHER, SUBSCRIBER = b"p" * 16, b"s" * 16


class Sender(abc.OutgoingHandler):
    """Starts, sends what it has, and hears."""

    def __init__(self) -> None:
        self.end: _xdp.Outgoing | None = None
        self.heard: list[str] = []
        self.then: Callable[[], object] = int

    def connected(self) -> None:
        self.heard.append("connected")
        assert self.end is not None
        self.end.start(0, 0)
        self.then()

    def disconnected(self, reason: str) -> None:
        self.heard.append(reason)

    def writable(self) -> None:
        self.heard.append("writable")

    def losses(self, lost: int) -> None:
        self.heard.append(f"lost {lost}")


class Receiver(abc.IncomingHandler):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.came: list[bytes] = []
        self.instead: Callable[[Parcel], bool] | None = None

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        self.heard.append(f"started {last_sequence} {newest_sequence}")

    def deliver(self, parcel: Parcel) -> bool:
        if self.instead is not None:
            return self.instead(parcel)
        self.came.append(bytes(parcel.payload))
        return True

    def stopped(self, reason: str) -> None:
        self.heard.append(reason)

    def lost(self, count: int) -> None:
        self.heard.append(f"lost {count}")

    def faulty(self, reason: str) -> None:
        self.heard.append(reason)


class Pair:
    """Two engines, and a stream from one to the other."""

    def __init__(self) -> None:
        self.ports = [_xdp.open_socket(LOOPBACK) for _ in range(2)]
        self.engines = [_xdp.Engine(port, KEY) for port in self.ports]
        self.sender, self.receiver = Sender(), Receiver()
        to = [(LOOPBACK, port.number, 1500, bytes(6), 0, 0) for port in self.ports]
        self.sending = self.engines[0].open_outgoing(PUBLISHER, SUBSCRIBER, True, to[1], self.sender)
        self.sender.end = self.sending
        self.receiving = self.engines[1].open_incoming(PUBLISHER, SUBSCRIBER, True, KEY, to[0], self.receiver)

    def until(self, holds: Callable[[], object], within_s: float = 5.0) -> None:
        end_s = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end_s
            for engine in self.engines:
                engine.work()

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def test_what_makes_no_engine_is_refused() -> None:
    with ExitStack() as undo:
        port = _xdp.open_socket(LOOPBACK)
        undo.callback(port.close)
        with pytest.raises(ValueError, match="key"):
            _xdp.Engine(port, b"short")
        with pytest.raises(ValueError, match="limits"):
            _xdp.Engine(port, KEY, window=100)
        with pytest.raises(ValueError, match="limits"):
            _xdp.Engine(port, KEY, datagram_bytes=1)
    with pytest.raises(ValueError, match="open"):
        _xdp.Engine(port, KEY)


def test_a_port_is_one_engine_s() -> None:
    port = _xdp.open_socket(LOOPBACK)
    engine = _xdp.Engine(port, KEY)
    with pytest.raises(ValueError, match="nobody else"):
        _xdp.Engine(port, KEY)
    with pytest.raises(ValueError, match="engine"):
        port.close()
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        _ = port.number
    for use in (engine.work, engine.fileno, engine.statistics):
        with pytest.raises(RuntimeError, match="closed"):
            use()


@pytest.mark.parametrize(
    "to",
    [
        (b"abc", 1, 1500, bytes(6), 0, 0),
        (LOOPBACK, 1, 1500, b"", 0, 0),
        (LOOPBACK, 1, 1500, bytes(6), 4095, 0),
        (LOOPBACK, 1, 1500, bytes(6), 0, 8),
        (LOOPBACK, 1, 60, bytes(6), 0, 0),
        (LOOPBACK, 70000, 1500, bytes(6), 0, 0),
    ],
)
def test_a_destination_that_is_none_is_refused(pair: Pair, to: "_xdp.Destination") -> None:
    with pytest.raises((ValueError, OSError)):
        pair.engines[0].open_outgoing(PUBLISHER, b"t" * 16, True, to, Sender())


def test_ids_and_keys_have_16_bytes(pair: Pair) -> None:
    to = (LOOPBACK, 1, 1500, bytes(6), 0, 0)
    with pytest.raises(ValueError, match="16"):
        pair.engines[0].open_outgoing(b"p", SUBSCRIBER, True, to, Sender())
    with pytest.raises(ValueError, match="16"):
        pair.engines[0].open_incoming(PUBLISHER, SUBSCRIBER, True, b"k", to, Receiver())


def test_samples_arrive_and_both_ends_are_told(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)
    assert pair.sender.heard == ["connected"]
    assert pair.receiver.heard == ["started 0 0"]
    for number in range(1, 101):
        assert pair.sending.send(Parcel(number, 5, 0, b"%d" % number))
    pair.until(lambda: not pair.sending.unacknowledged)
    assert pair.receiver.came == [b"%d" % number for number in range(1, 101)]
    pair.sending.close()
    pair.until(lambda: len(pair.receiver.heard) == 2)
    assert pair.engines[0].statistics()["messages_sent"] == 100


def test_what_nobody_listens_to_is_given_back(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)
    pair.receiver.instead = lambda _parcel: False
    sent = [Parcel(number, 5, number - 1, b"%d" % number) for number in range(1, 6)]
    for parcel in sent:
        assert pair.sending.send(parcel)
    pair.until(lambda: pair.engines[1].statistics()["records_received"] > 2)
    recalled = pair.sending.recall()
    assert [(each.sequence_number, each.dropped, bytes(each.payload)) for each in recalled] == [
        (each.sequence_number, each.dropped, each.payload) for each in sent
    ]
    assert pair.sending.recall() == []
    assert not pair.sending.send(sent[0])


def test_its_descriptor_tells_of_what_has_come_and_of_what_is_due(pair: Pair) -> None:
    ready = [select.poll() for _ in range(2)]
    for poll, engine in zip(ready, pair.engines, strict=True):
        poll.register(engine.fileno(), select.POLLIN)
    end_s = time.monotonic() + 5
    while not pair.receiver.heard:
        assert time.monotonic() < end_s
        for poll, engine in zip(ready, pair.engines, strict=True):
            if poll.poll(5):
                engine.work()
    pair.engines[0].work()
    assert pair.sending.send(Parcel(1, 0, 0, b"x"))
    assert ready[1].poll(5000)


def test_what_a_handler_raises_concerns_nobody_else(pair: Pair) -> None:
    raised: list[object] = []

    def fail() -> None:
        raise ValueError("it does not work")

    def fail_to_take(_parcel: Parcel) -> bool:
        raise ValueError("it does not work")

    pair.sender.then = fail
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: raised.append(unraisable.exc_value)
    try:
        pair.until(lambda: pair.receiver.heard)
        pair.receiver.instead = fail_to_take
        assert pair.sending.send(Parcel(1, 0, 0, b"x"))
        pair.until(lambda: not pair.sending.unacknowledged)
    finally:
        sys.unraisablehook = hook
    assert [str(each) for each in raised] == ["it does not work", "it does not work"]


def test_handlers_may_close_everything(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)

    def close(_parcel: Parcel) -> bool:
        pair.receiving.close()
        return True

    pair.receiver.instead = close
    for number in range(1, 4):
        assert pair.sending.send(Parcel(number, 0, 0, b"x"))
    pair.until(lambda: len(pair.sender.heard) > 1)
    assert pair.sender.heard[:1] == ["connected"]


def test_an_engine_is_closed_by_no_handler(pair: Pair) -> None:
    refused: list[str] = []

    def close(_parcel: Parcel) -> bool:
        try:
            pair.engines[1].close()
        except RuntimeError as error:
            refused.append(str(error))
        return True

    pair.until(lambda: pair.receiver.heard)
    pair.receiver.instead = close
    assert pair.sending.send(Parcel(1, 0, 0, b"x"))
    pair.until(lambda: refused)
    assert "from within" in refused[0]


def test_a_pump_may_outlive_its_engine(pair: Pair) -> None:
    with select.epoll() as watcher:
        engine = pair.engines[0]
        watcher.register(engine.fileno(), select.EPOLLIN)
        pump = Pump(engine.fileno(), watcher.fileno(), int, engine.native)
        pump.lend()
        pump.serve()
        pair.close()
        pair.engines.clear()
        del engine
        gc.collect()
        assert not pump.has_work()
        pump.serve()
        assert pump.may_sleep()
        pump.close()


def test_who_watches_it_again_hears_of_what_came_before(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)
    engine = pair.engines[1]
    quiet = select.poll()
    quiet.register(engine.fileno(), select.POLLIN)
    while quiet.poll(20):
        engine.work()
    with select.epoll() as watcher:
        watcher.register(engine.fileno(), select.EPOLLIN)
        pump = Pump(engine.fileno(), watcher.fileno(), engine.work, engine.native)
        pump.lend()
        pump.take_back()
        assert pair.sending.send(Parcel(1, 0, 0, b"x"))
        pump.keep_watched(True)
        assert watcher.poll(0.01)
        pump.serve()
        pump.close()
    assert pair.receiver.came == [b"x"]


def test_several_may_spin_on_an_engine(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)
    done = threading.Event()
    with ExitStack() as undo:
        undo.enter_context(isolated())
        node = undo.enter_context(lunar.Node("spinning"))
        bells = waiting.acquire_bells()
        undo.callback(waiting.release_bells)
        watcher = undo.enter_context(select.epoll())
        engine = pair.engines[1]
        watcher.register(engine.fileno(), select.EPOLLIN)
        pump = Pump(engine.fileno(), watcher.fileno(), engine.work, engine.native)
        undo.callback(pump.close)
        bells.add_pump(pump)
        undo.callback(bells.remove_pump, pump)

        def wait() -> None:
            sub = node.create_subscription(bytes, "nothing", qos=lunar.QoS(resources="greedy"))
            while not done.is_set():
                with suppress(lunar.TimeoutError):
                    sub.receive_blocking(0.005)

        waits = [threading.Thread(target=wait) for _ in range(2)]
        for each in waits:
            each.start()
        try:
            for number in range(1, 10001):
                end_s = time.monotonic() + 5
                while not pair.sending.send(Parcel(number, 0, 0, b"%d" % number)):
                    pair.engines[0].work()
                    assert time.monotonic() < end_s
                pair.engines[0].work()
            end_s = time.monotonic() + 5
            while pair.sending.unacknowledged and time.monotonic() < end_s:
                pair.engines[0].work()
        finally:
            done.set()
            for each in waits:
                each.join()
    assert pair.receiver.came == [b"%d" % number for number in range(1, 10001)]
    counts = engine.statistics()
    assert (counts["malformed"], counts["unknown_tokens"], counts["duplicates"]) == (0, 0, 0)
    assert counts["datagrams_received"] == pair.engines[0].statistics()["datagrams_sent"]


def test_a_stream_that_nobody_holds_is_closed(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)
    pair.sender.end = None
    del pair.sending
    gc.collect()
    pair.until(lambda: len(pair.receiver.heard) == 2)


def test_streams_of_a_closed_engine_do_nothing(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)
    pair.close()
    pair.receiving.resume()
    pair.receiving.close()
    pair.sending.close()
    assert pair.sending.recall() == []
    assert pair.sending.unacknowledged == 0
    pair.sending()


def test_a_child_closes_its_copies_and_no_more(pair: Pair) -> None:
    pair.until(lambda: pair.receiver.heard)
    pid = os.fork()
    if not pid:
        before = len(os.listdir("/proc/self/fd"))
        for engine in pair.engines:
            engine.abandon()
        os._exit(before - len(os.listdir("/proc/self/fd")))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) >= 6  # each has a timer, an epoll and what its port has
    assert pair.sending.send(Parcel(1, 0, 0, b"after"))
    pair.until(lambda: pair.receiver.came)
