"""Engines of the transport `zmq` with handlers that keep what they hear, and what drives them in a test."""

import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from lunar_zmq import Transport

from lunar import abc
from lunar.qos import QoS

TALKER, LISTENER, PUBLISHER = "a1" * 16, "b2" * 16, "c3" * 16
PLAIN: Mapping[str, object] = {"curve": False}


def site(participant_id: str, settings: Mapping[str, object] = PLAIN) -> abc.Site:
    return abc.Site(participant_id, 0, ("127.0.0.1",), ("lo",), settings)


def stream(remote_id: str, address: Mapping[str, object], reliable: bool = True) -> abc.Stream:
    return abc.Stream(PUBLISHER, "/topic", QoS(), reliable, remote_id, address)


class Talker(abc.OutgoingHandler):
    def __init__(self) -> None:
        self.end: abc.Outgoing
        self.up = False
        self.reasons: list[str] = []
        self.room = True
        self.lost = 0
        self.sequence = 0

    def connected(self) -> None:
        assert not self.up
        self.up = True
        self.end.start(self.sequence, self.sequence)

    def disconnected(self, reason: str) -> None:
        assert self.up
        self.up = False
        self.reasons.append(reason)

    def writable(self) -> None:
        self.room = True

    def losses(self, lost: int) -> None:
        self.lost = lost

    def send(self, payload: bytes | memoryview) -> bool:
        parcel = abc.Parcel(self.sequence + 1, time.time_ns(), 0, payload)
        self.room = self.end.send(parcel)
        self.sequence += self.room
        return self.room


class Listener(abc.IncomingHandler):
    def __init__(self) -> None:
        self.end: abc.Incoming
        self.running = False
        self.reasons: list[str] = []
        self.faults: list[str] = []
        self.numbers: list[int] = []
        self.payloads: list[bytes] = []
        self.full = False
        self.lost_count = 0

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        assert not self.running
        self.running = True

    def deliver(self, parcel: abc.Parcel) -> bool:
        assert self.running
        if self.full:
            return False
        self.numbers.append(parcel.sequence_number)
        self.payloads.append(bytes(parcel.payload))
        return True

    def stopped(self, reason: str) -> None:
        assert self.running
        self.running = False
        self.reasons.append(reason)

    def lost(self, count: int) -> None:
        self.lost_count += count

    def faulty(self, reason: str) -> None:
        self.running = False
        self.faults.append(reason)


class Driver:
    """Gives some engines their turns until something has happened, as an event loop would: nothing is polled."""

    def __init__(self, *engines: abc.Engine) -> None:
        self.engines = list(engines)

    def until(self, happened: Callable[[], object], timeout_s: float = 15.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not happened():
            waits = [engine.work() for engine in self.engines]
            if happened():
                return
            left_s = end_s - time.monotonic()
            assert left_s > 0, "it did not happen in time"
            wait_s = min([wait for wait in waits if wait is not None] + [left_s])
            select.select(self.engines, [], [], wait_s)

    def pass_time(self, seconds: float) -> None:
        """Lets time pass, in which nothing is waited for."""
        end_s = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end_s)


class Pair:
    """A talking and a listening engine in this process, with one stream between them."""

    def __init__(self, reliable: bool, settings: Mapping[str, object], via: Callable[[str], str] = str) -> None:
        self.talking = Transport().open(site(TALKER, settings))
        self.listening = Transport().open(site(LISTENER, settings))
        self.driver = Driver(self.talking, self.listening)
        self.talker, self.listener = Talker(), Listener()
        there = stream(LISTENER, self.listening.address, reliable)
        self.talker.end = self.talking.open_outgoing(there, self.talker)
        endpoints = self.talking.address["endpoints"]
        assert isinstance(endpoints, list)
        self.endpoint: str = endpoints[0]
        address = dict(self.talking.address) | {"endpoints": [via(self.endpoint)]}
        self.listener.end = self.listening.open_incoming(stream(TALKER, address, reliable), self.listener)

    def connect(self) -> None:
        self.driver.until(lambda: self.talker.up and self.listener.running)

    def send_all(self, payloads: Iterator[bytes]) -> None:
        """Sends, waiting for room where there is none."""
        for payload in payloads:
            while not self.talker.send(payload):
                self.driver.until(lambda: self.talker.room)

    def arrived(self, count: int) -> None:
        self.driver.until(lambda: len(self.listener.numbers) >= count)

    def close(self) -> None:
        self.talking.close()
        self.listening.close()


@contextmanager
def pair(
    reliable: bool = True, settings: Mapping[str, object] = PLAIN, via: Callable[[str], str] = str
) -> Iterator[Pair]:
    """A `Pair` that is connected."""
    both = Pair(reliable, settings, via)
    try:
        both.connect()
        yield both
    finally:
        both.close()
