"""Lunar's blocking API, busy: receive_blocking() and publish_blocking() under the greedy profile, no event loop."""

from __future__ import annotations

import time
from array import array
from threading import Event

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

BURST = 256
AGAIN_S = 0.01
"""How often a best-effort sender repeats the end marker."""


class LunarBlocking:
    """See :class:`lunar_perf.peer.Peer`."""

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Time each publish and blocking receive."""
        subject = subject_of(work)
        with lunar.Node("ping") as node:
            pub = node.create_publisher(subject.python_type, topic(work, "ping"), qos=echo_qos(work))
            sub = node.create_subscription(subject.python_type, topic(work, "pong"), qos=echo_qos(work))
            with matching(meter, topic(work, "ping")):
                _wait_for_match(pub, sub)
            for _ in range(work.warmup):
                pub.publish_blocking(subject.payload)
                subject.check(sub.receive_blocking())
            meter.start()
            round_trips = (_time_loans if work.loan else _time_copies)(pub, sub, work, subject)
            meter.stop()
        return round_trips

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Publish what comes, or with loans an untouched one."""
        subject = subject_of(work)
        with lunar.Node("pong") as node:
            pub = node.create_publisher(subject.python_type, topic(work, "pong"), qos=echo_qos(work))
            sub = node.create_subscription(subject.python_type, topic(work, "ping"), qos=echo_qos(work))
            with matching(meter, topic(work, "pong")):
                _wait_for_match(pub, sub)
            receive, publish, loan = sub.receive_blocking, pub.publish_blocking, subject.loaner(pub)
            size = work.size_bytes
            for _ in range(work.warmup):
                publish(receive())
            meter.start()
            if work.loan:
                for _ in range(work.count):
                    receive()
                    with loan(size):
                        pass
            else:
                for _ in range(work.count):
                    publish(receive())
            meter.stop()
            done.wait()

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Publish until the time is over; a full queue makes publish_blocking wait."""
        with lunar.Node("sender") as node:
            pub = node.create_publisher(bytes, topic(work, "stream"), qos=stream_qos(work))
            with matching(meter, topic(work, "stream")):
                pub.wait_for_subscribers_blocking(work.subscribers, MATCH_S)
            send = _send_batches if work.batch > 1 else _send_loans if work.loan else _send_copies
            sent = send(pub, work, meter)
            end = stamped(work.size_bytes)
            STAMP.pack_into(end, 0, END)
            pub.publish_blocking(end)
            meter.stop()
            while not done.wait(AGAIN_S):
                if work.reliability == "best_effort":
                    pub.publish_blocking(end)
        return sent

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Receive until the end marker, one by one or in bursts."""
        with lunar.Node("receiver") as node:
            sub = node.create_subscription(bytes, topic(work, "stream"), qos=stream_qos(work))
            meter.start()
            tally = _receive_bursts(sub, work) if work.receive == "burst" else _receive_each(sub)
            meter.stop()
            note_losses(meter, sub)
        return tally


def _wait_for_match(pub: Publisher, sub: Subscription) -> None:
    pub.wait_for_subscribers_blocking(1, MATCH_S)
    sub.wait_for_publishers_blocking(1, MATCH_S)


def _time_copies(pub: Publisher, sub: Subscription, work: Work, subject: Subject) -> array[int]:
    payload = subject.payload
    round_trips = array("Q", bytes(8 * work.count))
    now, publish, receive = time.perf_counter_ns, pub.publish_blocking, sub.receive_blocking
    for index in range(work.count):
        before = now()
        publish(payload)
        receive()
        round_trips[index] = now() - before
    return round_trips


def _time_loans(pub: Publisher, sub: Subscription, work: Work, subject: Subject) -> array[int]:
    round_trips = array("Q", bytes(8 * work.count))
    now, loan, receive, size = time.perf_counter_ns, subject.loaner(pub), sub.receive_blocking, work.size_bytes
    for index in range(work.count):
        before = now()
        with loan(size):
            pass
        receive()
        round_trips[index] = now() - before
    return round_trips


def _send_copies(pub: Publisher, work: Work, meter: Meter) -> int:
    buffer = stamped(work.size_bytes)
    pack, publish = STAMP.pack_into, pub.publish_blocking
    for index in range(work.warmup):
        pack(buffer, 0, WARM_UP + index)
        publish(buffer)
    meter.start()
    sent, step = 0, stride(work.size_bytes)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for sequence in range(sent, sent + step):
            pack(buffer, 0, sequence)
            publish(buffer)
        sent += step
    return sent


def _send_loans(pub: Publisher, work: Work, meter: Meter) -> int:
    pack, size = STAMP.pack_into, work.size_bytes

    def publish(sequence: int) -> None:
        while True:
            try:
                with pub.loan(size) as buffer:
                    pack(buffer, 0, sequence)
                return
            except lunar.WouldBlock:
                continue

    for index in range(work.warmup):
        publish(WARM_UP + index)
    meter.start()
    sent, step = 0, stride(STAMP.size)
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        for sequence in range(sent, sent + step):
            publish(sequence)
        sent += step
    return sent


def _send_batches(pub: Publisher, work: Work, meter: Meter) -> int:
    batch = batches(work)
    for index in range(work.warmup):
        pub.publish_blocking(batch(WARM_UP + index)[0])
    meter.start()
    sent = 0
    deadline = time.perf_counter() + work.duration_s
    while time.perf_counter() < deadline:
        messages = batch(sent)
        accepted = pub.publish_many(messages)
        while accepted < work.batch:
            accepted += pub.publish_many(messages[accepted:])
        sent += work.batch
    return sent


def _receive_each(sub: Subscription) -> Tally:
    tally, expected, unpack, receive = Tally(), WARM_UP, STAMP.unpack_from, sub.receive_blocking
    while expected != FINISHED:
        (sequence,) = unpack(receive())
        if sequence == expected:
            expected += 1
        else:
            expected = tally.resync(sequence, expected)
    return tally


def _receive_bursts(sub: Subscription, work: Work) -> Tally:
    bursts = BurstTally(work.warmup)
    take = sub.receive_many_blocking
    while bursts.more(take(BURST)):
        pass
    return bursts.tally
