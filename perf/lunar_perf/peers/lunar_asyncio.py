"""Lunar's asyncio API, under lunar.run: with a loop that spins briefly (adaptive) or one that never does (sleep)."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Coroutine
from threading import Event
from typing import Literal, TypeVar, cast

import lunar
from lunar_perf.burst import BurstTally, batches
from lunar_perf.meter import Meter
from lunar_perf.payload import stamped
from lunar_perf.peers.lunar_profile import MATCH_S, Publisher, Subscription, echo_qos, stream_qos, topic
from lunar_perf.route import matching, note_losses
from lunar_perf.sequence import END, FINISHED, STAMP, WARM_UP, Tally
from lunar_perf.stride import stride
from lunar_perf.typed_subject import Subject, subject_of
from lunar_perf.work import Work

T = TypeVar("T")

BURST = 256
AGAIN_S = 0.01
"""How often a best-effort sender repeats the end marker."""


class LunarAsyncio:
    """See :class:`lunar_perf.peer.Peer`."""

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Time each awaited publish and receive."""
        return run_as(work, _ping(work, meter))

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Publish what comes, or with loans an untouched one."""
        run_as(work, _pong(work, meter, done))

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Publish until the time is over; a full queue suspends the task."""
        return run_as(work, _send(work, meter, done))

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Receive until the end marker, in the form asked for."""
        return run_as(work, _receive(work, meter))


def run_as(work: Work, coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine on the event loop that is asked for."""
    loop = work.loop
    if loop == "auto" and work.wait == "sleep":
        loop = "asyncio"  # `auto` may choose the loop that spins
    return lunar.run(coroutine, loop=cast("Literal['auto', 'lunar', 'asyncio', 'uvloop']", loop))


async def _ping(work: Work, meter: Meter) -> array[int]:
    subject = subject_of(work)
    async with lunar.Node("ping") as node:
        pub = node.create_publisher(subject.python_type, topic(work, "ping"), qos=echo_qos(work))
        sub = node.create_subscription(subject.python_type, topic(work, "pong"), qos=echo_qos(work))
        with matching(meter, topic(work, "ping")):
            await pub.wait_for_subscribers(1, timeout_s=MATCH_S)
            await sub.wait_for_publishers(1, timeout_s=MATCH_S)
        for _ in range(work.warmup):
            await pub.publish(subject.payload)
            subject.check(await sub.receive())
        meter.start()
        round_trips = await (_time_loans if work.loan else _time_copies)(pub, sub, work, subject)
        meter.stop()
    return round_trips


async def _time_copies(pub: Publisher, sub: Subscription, work: Work, subject: Subject) -> array[int]:
    payload = subject.payload
    round_trips = array("Q", bytes(8 * work.count))
    now, publish, receive = time.perf_counter_ns, pub.publish, sub.receive
    for index in range(work.count):
        before = now()
        await publish(payload)
        await receive()
        round_trips[index] = now() - before
    return round_trips


async def _time_loans(pub: Publisher, sub: Subscription, work: Work, subject: Subject) -> array[int]:
    round_trips = array("Q", bytes(8 * work.count))
    now, loan, receive, size = time.perf_counter_ns, subject.loaner(pub), sub.receive, work.size_bytes
    for index in range(work.count):
        before = now()
        with loan(size):
            pass
        await receive()
        round_trips[index] = now() - before
    return round_trips


async def _pong(work: Work, meter: Meter, done: Event) -> None:
    subject = subject_of(work)
    async with lunar.Node("pong") as node:
        pub = node.create_publisher(subject.python_type, topic(work, "pong"), qos=echo_qos(work))
        sub = node.create_subscription(subject.python_type, topic(work, "ping"), qos=echo_qos(work))
        with matching(meter, topic(work, "pong")):
            await pub.wait_for_subscribers(1, timeout_s=MATCH_S)
        receive, publish, loan, size = sub.receive, pub.publish, subject.loaner(pub), work.size_bytes
        for _ in range(work.warmup):
            await publish(await receive())
        meter.start()
        if work.loan:
            for _ in range(work.count):
                await receive()
                with loan(size):
                    pass
        else:
            for _ in range(work.count):
                await publish(await receive())
        meter.stop()
        await asyncio.to_thread(done.wait)


async def _send(work: Work, meter: Meter, done: Event) -> int:
    async with lunar.Node("sender") as node:
        pub = node.create_publisher(bytes, topic(work, "stream"), qos=stream_qos(work))
        with matching(meter, topic(work, "stream")):
            await pub.wait_for_subscribers(work.subscribers, timeout_s=MATCH_S)
        send = _send_batches if work.batch > 1 else _send_loans if work.loan else _send_copies
        sent = await send(pub, work, meter)
        end = stamped(work.size_bytes)
        STAMP.pack_into(end, 0, END)
        await pub.publish(end)
        meter.stop()
        while not await asyncio.to_thread(done.wait, AGAIN_S):
            if work.reliability == "best_effort":
                await pub.publish(end)
    return sent


async def _send_copies(pub: Publisher, work: Work, meter: Meter) -> int:
    buffer = stamped(work.size_bytes)
    pack, publish = STAMP.pack_into, pub.publish
    for index in range(work.warmup):
        pack(buffer, 0, WARM_UP + index)
        await publish(buffer)
    meter.start()
    sent, step = 0, stride(work.size_bytes)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for sequence in range(sent, sent + step):
            pack(buffer, 0, sequence)
            await publish(buffer)
        sent += step
    return sent


async def _send_loans(pub: Publisher, work: Work, meter: Meter) -> int:
    pack, loan, size = STAMP.pack_into, pub.loan, work.size_bytes
    for index in range(work.warmup):
        async with loan(size) as buffer:
            pack(buffer, 0, WARM_UP + index)
    meter.start()
    sent, step = 0, stride(STAMP.size)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for sequence in range(sent, sent + step):
            async with loan(size) as buffer:
                pack(buffer, 0, sequence)
        sent += step
    return sent


async def _send_batches(pub: Publisher, work: Work, meter: Meter) -> int:
    batch = batches(work)
    for index in range(work.warmup):
        await pub.publish(batch(WARM_UP + index)[0])
    meter.start()
    sent = 0
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        await pub.publish_all(batch(sent))
        sent += work.batch
    return sent


async def _receive(work: Work, meter: Meter) -> Tally:
    async with lunar.Node("receiver") as node:
        meter.start()
        if work.receive == "callback":
            sub, tally = await _receive_by_callback(node, work)
        else:
            sub = node.create_subscription(bytes, topic(work, "stream"), qos=stream_qos(work))
            tally = await (_receive_bursts(sub, work) if work.receive == "burst" else _receive_each(sub))
        meter.stop()
        note_losses(meter, sub)
    return tally


async def _receive_each(sub: Subscription) -> Tally:
    tally, expected, unpack = Tally(), WARM_UP, STAMP.unpack_from
    async for message in sub:
        (sequence,) = unpack(message)
        if sequence == expected:
            expected += 1
        else:
            expected = tally.resync(sequence, expected)
            if expected == FINISHED:
                break
    return tally


async def _receive_by_callback(node: lunar.Node, work: Work) -> tuple[Subscription, Tally]:
    tally, expected, unpack = Tally(), WARM_UP, STAMP.unpack_from
    finished = asyncio.Event()

    def on_message(message: memoryview) -> None:
        nonlocal expected
        (sequence,) = unpack(message)
        if sequence == expected:
            expected += 1
        elif expected != FINISHED:
            expected = tally.resync(sequence, expected)
            if expected == FINISHED:
                finished.set()

    sub = node.create_subscription(bytes, topic(work, "stream"), on_message, qos=stream_qos(work))
    await finished.wait()
    return sub, tally


async def _receive_bursts(sub: Subscription, work: Work) -> Tally:
    bursts = BurstTally(work.warmup)
    while bursts.more(await sub.receive_many(BURST)):
        pass
    return bursts.tally
