"""zenoh-python between two peers over a Unix socket, large payloads through its shared memory, received by callback.

Publishers block when congested (so nothing is dropped) and, in a ping-pong, are express (no batching), as zenoh's own
latency and throughput examples do. Small ping-pong messages use the low-latency transport. Scouting is off.
"""

from __future__ import annotations

import json
import tempfile
import time
from array import array
from pathlib import Path
from threading import Event

import zenoh

from lunar_perf.meter import Meter
from lunar_perf.payload import check_echo, pattern, stamped
from lunar_perf.sequence import END, FINISHED, STAMP, WARM_UP, Tally
from lunar_perf.stride import stride
from lunar_perf.work import Work

LOW_LATENCY_UP_TO_BYTES = 32768
"""The low-latency transport does not fragment; one batch is 64 KiB."""

POLL_S = 0.002


def _open(work: Work, listening: bool, low_latency: bool) -> zenoh.Session:
    path = Path(tempfile.gettempdir()) / f"{work.channel}.zenoh"
    locator = json.dumps([f"unixsock-stream/{path}"])
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", locator if listening else "[]")
    if not listening:
        config.insert_json5("connect/endpoints", locator)
    if low_latency:
        config.insert_json5("transport/unicast/lowlatency", "true")
        config.insert_json5("transport/unicast/qos/enabled", "false")
    return zenoh.open(config)


def _publisher(session: zenoh.Session, key: str, express: bool) -> zenoh.Publisher:
    return session.declare_publisher(key, congestion_control=zenoh.CongestionControl.BLOCK, express=express)


def _wait_for_match(publisher: zenoh.Publisher) -> None:
    while not publisher.matching_status.matching:
        time.sleep(POLL_S)


class ZenohCallback:
    """See :class:`lunar_perf.peer.Peer`."""

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Put, and take the echo from the subscriber's channel."""
        payload = pattern(work.size_bytes)
        round_trips = array("Q", bytes(8 * work.count))
        now = time.perf_counter_ns
        with _open(work, True, work.size_bytes <= LOW_LATENCY_UP_TO_BYTES) as session:
            subscriber = session.declare_subscriber(f"{work.channel}/pong")
            publisher = _publisher(session, f"{work.channel}/ping", express=True)
            _wait_for_match(publisher)
            put, receive = publisher.put, subscriber.recv
            for _ in range(work.warmup):
                put(payload)
                check_echo(payload, receive().payload.to_bytes())
            meter.start()
            for index in range(work.count):
                before = now()
                put(payload)
                receive()
                round_trips[index] = now() - before
            meter.stop()
        return round_trips

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Put back, from the callback, whatever comes."""
        with _open(work, False, work.size_bytes <= LOW_LATENCY_UP_TO_BYTES) as session:
            publisher = _publisher(session, f"{work.channel}/pong", express=True)
            _wait_for_match(publisher)
            put = publisher.put
            meter.start()
            session.declare_subscriber(f"{work.channel}/ping", lambda sample: put(sample.payload))
            done.wait()
            meter.stop()

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Put until the time is over."""
        buffer = stamped(work.size_bytes)
        pack = STAMP.pack_into
        step = stride(work.size_bytes)
        with _open(work, True, False) as session:
            publisher = _publisher(session, f"{work.channel}/stream", express=False)
            _wait_for_match(publisher)
            put = publisher.put

            def burst(first: int, count: int) -> None:
                for sequence in range(first, first + count):
                    pack(buffer, 0, sequence)
                    put(buffer)

            burst(WARM_UP, work.warmup)
            meter.start()
            sent = 0
            deadline = time.perf_counter() + work.duration_s
            while time.perf_counter() < deadline:
                burst(sent, step)
                sent += step
            burst(END, 1)
            meter.stop()
            done.wait()
        return sent

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Count in the callback until the end marker."""
        tally, expected, finished, unpack = Tally(), WARM_UP, Event(), STAMP.unpack_from

        def on_sample(sample: zenoh.Sample) -> None:
            nonlocal expected
            (sequence,) = unpack(sample.payload.to_bytes())
            if sequence == expected:
                expected += 1
            else:
                expected = tally.resync(sequence, expected)
                if expected == FINISHED:
                    finished.set()

        meter.start()
        with _open(work, False, False) as session:
            session.declare_subscriber(f"{work.channel}/stream", on_sample)
            finished.wait()
            meter.stop()
        return tally


def open_peer(name: str) -> ZenohCallback:
    """The peer of that name; there is one."""
    return ZenohCallback()
