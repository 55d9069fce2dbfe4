"""zmq.asyncio over ipc, between hosts over tcp, on asyncio's own loop or on uvloop.

Sockets and copying as in `pyzmq_blocking`.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Coroutine
from threading import Event
from typing import TypeVar

import zmq
from zmq.asyncio import Context, Socket

from lunar_perf.meter import Meter
from lunar_perf.payload import check_echo, pattern, stamped
from lunar_perf.peers.pyzmq_blocking import ZERO_COPY_FROM_BYTES, endpoint
from lunar_perf.sequence import END, FINISHED, STAMP, WARM_UP, Tally
from lunar_perf.stride import stride
from lunar_perf.work import Work

T = TypeVar("T")


class PyzmqAsyncio:
    """See :class:`lunar_perf.peer.Peer`.

    Args:
        loop: ``asyncio`` or ``uvloop``.
    """

    def __init__(self, loop: str) -> None:
        self._loop = loop

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Bind, and time each awaited send and receive."""
        return self._run(self._ping(work, meter))

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Connect, and send back every frame that comes."""
        self._run(self._pong(work, meter, done))

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Push until the time is over."""
        return self._run(self._send(work, meter, done))

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Pull until the end marker."""
        return self._run(self._receive(work, meter))

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        if self._loop == "asyncio":
            return asyncio.run(coroutine)
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(coroutine)

    async def _ping(self, work: Work, meter: Meter) -> array[int]:
        copy = work.size_bytes < ZERO_COPY_FROM_BYTES
        payload = pattern(work.size_bytes)
        round_trips = array("Q", bytes(8 * work.count))
        now = time.perf_counter_ns
        with Context() as context, context.socket(zmq.DEALER) as socket:
            socket.bind(endpoint(work))
            for _ in range(work.warmup):
                await socket.send(payload, copy=copy)
                check_echo(payload, await socket.recv())
            meter.start()
            for index in range(work.count):
                before = now()
                await socket.send(payload, copy=copy)
                await socket.recv(copy=copy)
                round_trips[index] = now() - before
            meter.stop()
        return round_trips

    async def _pong(self, work: Work, meter: Meter, done: Event) -> None:
        copy = work.size_bytes < ZERO_COPY_FROM_BYTES
        with Context() as context, context.socket(zmq.DEALER) as socket:
            socket.connect(endpoint(work))
            for _ in range(work.warmup):
                await socket.send(await socket.recv())
            meter.start()
            for _ in range(work.count):
                await socket.send(await socket.recv(copy=copy), copy=copy)
            meter.stop()
            await asyncio.to_thread(done.wait)

    async def _send(self, work: Work, meter: Meter, done: Event) -> int:
        with Context() as context, context.socket(zmq.PUSH) as socket:
            socket.bind(endpoint(work))
            large = work.size_bytes >= ZERO_COPY_FROM_BYTES
            sent = await (_push_large if large else _push_small)(socket, work, meter)
            meter.stop()
            await asyncio.to_thread(done.wait)
        return sent

    async def _receive(self, work: Work, meter: Meter) -> Tally:
        tally, expected, unpack = Tally(), WARM_UP, STAMP.unpack_from
        large = work.size_bytes >= ZERO_COPY_FROM_BYTES
        meter.start()
        with Context() as context, context.socket(zmq.PULL) as socket:
            socket.connect(endpoint(work))
            pull = socket.recv
            while expected != FINISHED:
                (sequence,) = unpack(await pull())
                if large:
                    await pull(copy=False)
                if sequence == expected:
                    expected += 1
                else:
                    expected = tally.resync(sequence, expected)
            meter.stop()
        return tally


async def _push_small(socket: Socket, work: Work, meter: Meter) -> int:
    buffer = stamped(work.size_bytes)
    pack, push = STAMP.pack_into, socket.send
    for index in range(work.warmup):
        pack(buffer, 0, WARM_UP + index)
        await push(buffer)
    meter.start()
    sent, step = 0, stride(work.size_bytes)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for sequence in range(sent, sent + step):
            pack(buffer, 0, sequence)
            await push(buffer)
        sent += step
    pack(buffer, 0, END)
    await push(buffer)
    return sent


async def _push_large(socket: Socket, work: Work, meter: Meter) -> int:
    body = pattern(work.size_bytes - STAMP.size)
    pack, push = STAMP.pack, socket.send
    for index in range(work.warmup):
        await push(pack(WARM_UP + index), zmq.SNDMORE)
        await push(body, copy=False)
    meter.start()
    sent, step = 0, stride(work.size_bytes)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for sequence in range(sent, sent + step):
            await push(pack(sequence), zmq.SNDMORE)
            await push(body, copy=False)
        sent += step
    await push(pack(END), zmq.SNDMORE)
    await push(body, copy=False)
    return sent


def open_peer(name: str) -> PyzmqAsyncio:
    """``pyzmq-asyncio`` or ``pyzmq-uvloop``."""
    return PyzmqAsyncio("uvloop" if name == "pyzmq-uvloop" else "asyncio")
