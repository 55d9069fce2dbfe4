"""iceoryx2's Python binding: loaned slices of bytes, and a busy loop over receive(), as in its own benchmarks.

The publisher retries until delivered and the queue does not overflow, so nothing is dropped. With ``work.loan`` the
payload is never touched in a ping-pong; otherwise it is copied in and, by the pong, from sample to sample.
"""

from __future__ import annotations

import ctypes
import time
from array import array
from threading import Event
from typing import Any

import iceoryx2 as iox

from lunar_perf.meter import Meter
from lunar_perf.payload import check_echo, pattern, stamped
from lunar_perf.sequence import END, FINISHED, STAMP, WARM_UP, Tally
from lunar_perf.stride import stride
from lunar_perf.work import Work

QUEUE_BYTES = 1 << 26
"""Samples of a publisher are allocated ahead, so the queue is shorter for large ones."""

POLL_S = 0.001


def _depth(work: Work) -> int:
    return max(4, min(work.depth, QUEUE_BYTES // work.size_bytes))


class _Endpoints:
    """A publisher of one service and a subscriber of another, matched."""

    def __init__(self, work: Work, out: str, into: str) -> None:
        self._node = iox.NodeBuilder.new().create(iox.ServiceType.Ipc)
        services = [self._service(work, name) for name in (out, into)]
        self.publisher: Any = (
            services[0]
            .publisher_builder()
            .initial_max_slice_len(work.size_bytes)
            .backpressure_strategy(iox.BackpressureStrategy.RetryUntilDelivered)
            .create()
        )
        self.subscriber: Any = services[1].subscriber_builder().create()
        for service in services:
            counts = service.dynamic_config
            while counts.number_of_publishers < 1 or counts.number_of_subscribers < work.subscribers:
                time.sleep(POLL_S)

    def _service(self, work: Work, name: str) -> Any:
        return (
            self._node.service_builder(iox.ServiceName.new(f"{work.channel}/{name}"))
            .publish_subscribe(iox.Slice[ctypes.c_uint8])
            .max_publishers(1)
            .max_subscribers(work.subscribers)
            .history_size(0)
            .subscriber_max_buffer_size(_depth(work))
            .enable_safe_overflow(False)
            .open_or_create()
        )

    def send_first(self, work: Work, payload: bytes) -> None:
        """Send until it was delivered.

        A subscriber is listed a moment before it can be reached; until then ``send`` drops the sample, although
        nothing is to be dropped.
        """
        while True:
            sample = self.publisher.loan_slice_uninit(work.size_bytes)
            ctypes.memmove(sample.payload_ptr, payload, work.size_bytes)
            if sample.assume_init().send() >= work.subscribers:
                return
            time.sleep(POLL_S)

    def close(self) -> None:
        self.publisher.delete()
        self.subscriber.delete()


class Iceoryx:
    """See :class:`lunar_perf.peer.Peer`."""

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Time each loan, send and busy wait."""
        ends = _Endpoints(work, "ping", "pong")
        loan, receive, size = ends.publisher.loan_slice_uninit, ends.subscriber.receive, work.size_bytes
        payload = pattern(size)
        source = ctypes.create_string_buffer(payload, size)
        address, copy_in = ctypes.addressof(source), ctypes.memmove
        round_trips = array("Q", bytes(8 * work.count))
        now = time.perf_counter_ns
        for _ in range(work.warmup):
            ends.send_first(work, payload)
            while (echo := receive()) is None:
                pass
            if not work.loan:
                check_echo(payload, ctypes.string_at(echo.payload_ptr, size))
            echo.delete()
        meter.start()
        if work.loan:
            for index in range(work.count):
                before = now()
                loan(size).assume_init().send()
                while (echo := receive()) is None:
                    pass
                round_trips[index] = now() - before
                echo.delete()
        else:
            for index in range(work.count):
                before = now()
                sample = loan(size)
                copy_in(sample.payload_ptr, address, size)
                sample.assume_init().send()
                while (echo := receive()) is None:
                    pass
                round_trips[index] = now() - before
                echo.delete()
        meter.stop()
        ends.close()
        return round_trips

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Answer every sample with one of the same size."""
        ends = _Endpoints(work, "pong", "ping")
        loan, receive, size = ends.publisher.loan_slice_uninit, ends.subscriber.receive, work.size_bytes
        copy_in = ctypes.memmove
        for _ in range(work.warmup):
            while (sample := receive()) is None:
                pass
            ends.send_first(work, ctypes.string_at(sample.payload_ptr, size))
            sample.delete()
        meter.start()
        for _ in range(work.count):
            while (sample := receive()) is None:
                pass
            answer = loan(size)
            if not work.loan:
                copy_in(answer.payload_ptr, sample.payload_ptr, size)
            answer.assume_init().send()
            sample.delete()
        meter.stop()
        done.wait()
        ends.close()

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Loan, write (the sequence number only, when loaned), send, until the time is over."""
        ends = _Endpoints(work, "stream", "ready")
        buffer = stamped(work.size_bytes)
        source = (ctypes.c_uint8 * work.size_bytes).from_buffer(buffer)
        loan, pack, address = ends.publisher.loan_slice_uninit, STAMP.pack_into, ctypes.addressof(source)
        size, copy_in = work.size_bytes, ctypes.memmove
        copied = STAMP.size if work.loan else size
        step = stride(copied)

        def burst(first: int, count: int) -> None:
            for sequence in range(first, first + count):
                pack(buffer, 0, sequence)
                sample = loan(size)
                copy_in(sample.payload_ptr, address, copied)
                sample.assume_init().send()

        pack(buffer, 0, WARM_UP)
        ends.send_first(work, bytes(buffer))
        # Until the receiver has looked once, a full queue discards in spite of the strategy.
        while ends.subscriber.receive() is None:
            time.sleep(POLL_S)
        burst(WARM_UP + 1, work.warmup)
        meter.start()
        sent = 0
        deadline = time.perf_counter() + work.duration_s
        while time.perf_counter() < deadline:
            burst(sent, step)
            sent += step
        burst(END, 1)
        meter.stop()
        done.wait()
        ends.close()
        return sent

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Busy loop until the end marker."""
        ends = _Endpoints(work, "ready", "stream")
        tally, expected, receive = Tally(), WARM_UP + 1, ends.subscriber.receive
        while receive() is None:
            pass
        ends.send_first(work, bytes(work.size_bytes))
        unpack, view = STAMP.unpack, ctypes.string_at
        meter.start()
        while expected != FINISHED:
            sample = receive()
            if sample is None:
                continue
            (sequence,) = unpack(view(sample.payload_ptr, STAMP.size))
            sample.delete()
            if sequence == expected:
                expected += 1
            else:
                expected = tally.resync(sequence, expected)
        meter.stop()
        ends.close()
        return tally


def open_peer(name: str) -> Iceoryx:
    """The peer of that name; there is one."""
    iox.set_log_level(iox.LogLevel.Error)
    return Iceoryx()
