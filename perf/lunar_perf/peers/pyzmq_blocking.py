"""pyzmq over ipc with blocking calls; between hosts over tcp.

There and back goes over one DEALER pair (no lock-step, unlike REQ and REP); one way is PUSH to PULL, which blocks at
the high-water mark instead of dropping, or, as topics would be, XPUB to SUB, told to do the same (ZMQ_XPUB_NODROP). As
pyzmq's notes on copying advise, payloads from 64 KiB are sent and received with ``copy=False``. The sequence number
then travels in a frame of its own: a frame handed over without a copy must not be written to again.
"""

from __future__ import annotations

import time
from array import array
from threading import Event

import zmq

from lunar_perf.meter import Meter
from lunar_perf.payload import check_echo, pattern, stamped
from lunar_perf.sequence import END, FINISHED, STAMP, WARM_UP, Tally
from lunar_perf.stride import stride
from lunar_perf.work import Work

ZERO_COPY_FROM_BYTES = 65536
_PORT = 47474


def endpoint(work: Work) -> str:
    """An abstract Unix socket: nothing to clean up, nothing outside the machine. Between hosts a port of tcp."""
    if work.address:
        return f"tcp://{work.address}:{_PORT}"
    return f"ipc://@{work.channel}"


class PyzmqBlocking:
    """See :class:`lunar_perf.peer.Peer`.

    Args:
        topics: one way by XPUB and SUB instead of PUSH and PULL.
    """

    def __init__(self, *, topics: bool) -> None:
        self._topics = topics

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Bind, and time each send and receive."""
        copy = work.size_bytes < ZERO_COPY_FROM_BYTES
        payload = pattern(work.size_bytes)
        round_trips = array("Q", bytes(8 * work.count))
        now = time.perf_counter_ns
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.bind(endpoint(work))
            for _ in range(work.warmup):
                socket.send(payload, copy=copy)
                check_echo(payload, socket.recv())
            meter.start()
            for index in range(work.count):
                before = now()
                socket.send(payload, copy=copy)
                socket.recv(copy=copy)
                round_trips[index] = now() - before
            meter.stop()
        return round_trips

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Connect, and send back every frame that comes."""
        copy = work.size_bytes < ZERO_COPY_FROM_BYTES
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.connect(endpoint(work))
            for _ in range(work.warmup):
                socket.send(socket.recv())
            meter.start()
            for _ in range(work.count):
                socket.send(socket.recv(copy=copy), copy=copy)
            meter.stop()
            done.wait()

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Push until the time is over."""
        with zmq.Context() as context, context.socket(zmq.XPUB if self._topics else zmq.PUSH) as socket:
            if self._topics:
                socket.setsockopt(zmq.XPUB_NODROP, 1)
            socket.bind(endpoint(work))
            if self._topics:
                socket.recv()  # the subscription; what is sent before it goes nowhere
            large = work.size_bytes >= ZERO_COPY_FROM_BYTES
            sent = self._push_large(socket, work, meter) if large else self._push_small(socket, work, meter)
            meter.stop()
            done.wait()
        return sent

    def _push_small(self, socket: zmq.Socket[bytes], work: Work, meter: Meter) -> int:
        buffer = stamped(work.size_bytes)
        pack, push = STAMP.pack_into, socket.send
        for index in range(work.warmup):
            pack(buffer, 0, WARM_UP + index)
            push(buffer)
        meter.start()
        sent, step = 0, stride(work.size_bytes)
        deadline = time.perf_counter() + work.duration_s
        while time.perf_counter() < deadline:
            for sequence in range(sent, sent + step):
                pack(buffer, 0, sequence)
                push(buffer)
            sent += step
        pack(buffer, 0, END)
        push(buffer)
        return sent

    def _push_large(self, socket: zmq.Socket[bytes], work: Work, meter: Meter) -> int:
        body = pattern(work.size_bytes - STAMP.size)
        pack, push = STAMP.pack, socket.send
        for index in range(work.warmup):
            push(pack(WARM_UP + index), zmq.SNDMORE)
            push(body, copy=False)
        meter.start()
        sent, step = 0, stride(work.size_bytes)
        deadline = time.perf_counter() + work.duration_s
        while time.perf_counter() < deadline:
            for sequence in range(sent, sent + step):
                push(pack(sequence), zmq.SNDMORE)
                push(body, copy=False)
            sent += step
        push(pack(END), zmq.SNDMORE)
        push(body, copy=False)
        return sent

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Pull until the end marker."""
        tally, expected, unpack = Tally(), WARM_UP, STAMP.unpack_from
        large = work.size_bytes >= ZERO_COPY_FROM_BYTES
        meter.start()
        with zmq.Context() as context, context.socket(zmq.SUB if self._topics else zmq.PULL) as socket:
            if self._topics:
                socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(endpoint(work))
            pull = socket.recv
            while expected != FINISHED:
                (sequence,) = unpack(pull())
                if large:
                    pull(copy=False)
                if sequence == expected:
                    expected += 1
                else:
                    expected = tally.resync(sequence, expected)
            meter.stop()
        return tally


def open_peer(name: str) -> PyzmqBlocking:
    """``pyzmq`` or ``pyzmq-xpub``."""
    return PyzmqBlocking(topics=name == "pyzmq-xpub")
