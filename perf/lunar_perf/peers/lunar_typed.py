"""One way, with messages of a class: there is no place for a number in them, so the bus's own numbers are compared.

As with bursts of bytes (:mod:`lunar_perf.burst`), of each burst the first and the last number. That a run is over, and
after how many messages, is said on a topic of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Protocol

import lunar
from lunar_perf.burst import BurstTally
from lunar_perf.meter import Meter
from lunar_perf.peers.lunar_asyncio import run_as
from lunar_perf.peers.lunar_profile import MATCH_S, Publisher, Subscription, stream_qos, topic
from lunar_perf.route import matching, note_losses
from lunar_perf.sequence import STAMP, Tally
from lunar_perf.stride import stride
from lunar_perf.typed_subject import Subject, subject_of
from lunar_perf.work import Work

BURST = 256
_LOOK_S = 0.02
"""A receiver that has nothing to do looks this often whether the run is over."""
_QUIET_S = 0.5
"""Best effort, and the run is over: what does not come for so long was lost."""


class Streams(Protocol):
    """The half of :class:`lunar_perf.peer.Peer` that goes one way."""

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Send for ``work.duration_s``."""
        ...

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Receive until the end."""
        ...


class TypedBlockingStreams:
    """With the blocking API, busy."""

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Publish until the time is over; a full queue makes publish_blocking wait."""
        subject = subject_of(work)
        with lunar.Node("sender") as node:
            pub, end = _sending_ends(node, work, subject)
            with matching(meter, topic(work, "stream")):
                pub.wait_for_subscribers_blocking(work.subscribers, MATCH_S)
                end.wait_for_subscribers_blocking(work.subscribers, MATCH_S)
            for _ in range(work.warmup):
                pub.publish_blocking(subject.payload)
            send, payload = _blocking_send(pub, work, subject), subject.payload
            meter.start()
            sent, step = 0, stride(1 if work.loan else work.size_bytes * work.batch)
            deadline = time.perf_counter() + work.duration_s
            while time.perf_counter() < deadline:
                for _ in range(step):
                    send(payload)
                sent += step * work.batch
            meter.stop()
            end.publish_blocking(STAMP.pack(sent))
            done.wait()
        return sent

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Receive in bursts."""
        bursts, total, quiet_s = BurstTally(work.warmup), None, 0.0
        with lunar.Node("receiver") as node:
            sub, end = _receiving_ends(node, work, subject_of(work))
            meter.start()
            while total is None or bursts.tally.next_sequence < total:
                try:
                    _count(bursts, sub.receive_many_blocking(BURST, _LOOK_S))
                    quiet_s = 0.0
                except lunar.TimeoutError:
                    total = _announced(end) if total is None else total
                    quiet_s += _LOOK_S
                    if total is not None and quiet_s > _QUIET_S and work.reliability == "best_effort":
                        break
            meter.stop()
            note_losses(meter, sub)
        return _finished(bursts)


class TypedAsyncioStreams:
    """With the asyncio API."""

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Publish until the time is over; a full queue suspends the task."""
        return run_as(work, _send(work, meter, done))

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Receive in bursts."""
        return run_as(work, _receive(work, meter))


def _sending_ends(node: lunar.Node, work: Work, subject: Subject) -> tuple[Publisher, Publisher]:
    pub = node.create_publisher(subject.python_type, topic(work, "stream"), qos=stream_qos(work))
    return pub, node.create_publisher(bytes, topic(work, "end"))


def _receiving_ends(node: lunar.Node, work: Work, subject: Subject) -> tuple[Subscription, Subscription]:
    sub = node.create_subscription(subject.python_type, topic(work, "stream"), qos=stream_qos(work))
    return sub, node.create_subscription(bytes, topic(work, "end"))


def _blocking_send(pub: Publisher, work: Work, subject: Subject) -> Callable[[object], None]:
    """What sends ``work.batch`` messages."""
    loan, size_bytes, batch = subject.loaner(pub), work.size_bytes, [subject.payload] * work.batch

    def send_loan(_payload: object) -> None:
        while True:
            try:
                with loan(size_bytes):
                    pass
                return
            except lunar.WouldBlock:
                continue

    def send_batch(_payload: object) -> None:
        accepted = pub.publish_many(batch)
        while accepted < work.batch:
            accepted += pub.publish_many(batch[accepted:])

    return send_loan if work.loan else send_batch if work.batch > 1 else pub.publish_blocking


def _count(bursts: BurstTally, samples: Sequence[lunar.Sample[memoryview]]) -> None:
    for sample in samples:
        _ = sample.message  # what is not looked at might not even have been decoded
    bursts.add(samples, len(samples))
    bursts.tally.last_ns = time.perf_counter_ns()


def _announced(end: Subscription) -> int | None:
    try:
        (total,) = STAMP.unpack(end.receive_nowait())
    except lunar.WouldBlock:
        return None
    return int(total)


def _finished(bursts: BurstTally) -> Tally:
    bursts.tally.first_ns = bursts.tally.first_ns or bursts.tally.last_ns
    return bursts.tally


async def _send(work: Work, meter: Meter, done: Event) -> int:
    subject = subject_of(work)
    async with lunar.Node("sender") as node:
        pub, end = _sending_ends(node, work, subject)
        with matching(meter, topic(work, "stream")):
            await pub.wait_for_subscribers(work.subscribers, timeout_s=MATCH_S)
            await end.wait_for_subscribers(work.subscribers, timeout_s=MATCH_S)
        send = _send_batches if work.batch > 1 else _send_loans if work.loan else _send_each
        sent = await send(pub, work, subject, meter)
        meter.stop()
        await end.publish(STAMP.pack(sent))
        await asyncio.to_thread(done.wait)
    return sent


async def _send_each(pub: Publisher, work: Work, subject: Subject, meter: Meter) -> int:
    publish, payload = pub.publish, subject.payload
    for _ in range(work.warmup):
        await publish(payload)
    meter.start()
    sent, step = 0, stride(work.size_bytes)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for _ in range(step):
            await publish(payload)
        sent += step
    return sent


async def _send_loans(pub: Publisher, work: Work, subject: Subject, meter: Meter) -> int:
    loan, size_bytes = subject.loaner(pub), work.size_bytes
    for _ in range(work.warmup):
        async with loan(size_bytes):
            pass
    meter.start()
    sent, step = 0, stride(1)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for _ in range(step):
            async with loan(size_bytes):
                pass
        sent += step
    return sent


async def _send_batches(pub: Publisher, work: Work, subject: Subject, meter: Meter) -> int:
    batch = [subject.payload] * work.batch
    for _ in range(work.warmup):
        await pub.publish(subject.payload)
    meter.start()
    sent = 0
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        await pub.publish_all(batch)
        sent += work.batch
    return sent


async def _receive(work: Work, meter: Meter) -> Tally:
    bursts = BurstTally(work.warmup)
    async with lunar.Node("receiver") as node:
        sub, end = _receiving_ends(node, work, subject_of(work))
        meter.start()
        taking = asyncio.ensure_future(_take_all(sub, bursts))
        (total,) = STAMP.unpack(await end.receive())
        quiet_s, seen = 0.0, -1
        while bursts.tally.next_sequence < total and not taking.done():
            quiet_s = quiet_s + _LOOK_S if seen == bursts.tally.next_sequence else 0.0
            if quiet_s > _QUIET_S and work.reliability == "best_effort":
                break
            seen = bursts.tally.next_sequence
            await asyncio.sleep(_LOOK_S)
        meter.stop()
        note_losses(meter, sub)
        if not taking.cancel():
            taking.result()  # why it ended
        await asyncio.gather(taking, return_exceptions=True)
    return _finished(bursts)


async def _take_all(sub: Subscription, bursts: BurstTally) -> None:
    while True:
        _count(bursts, await sub.receive_many(BURST))
