"""What a comparison over a link measures, as plain data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from lunar_perf.plan import LARGE_BYTES, SMALL_BYTES, Kind
from lunar_perf.work import Receive, Reliability, Wait, Work, new_channel

Place = Literal[
    "link", "link, encrypted", "link, MTU 9000", "link, xdp over UDP", "one host", "one host, range network"
]
"""Two hosts; with CURVE; with long packets; with `udp` as the backend of `xdp`; both processes on one host, range host;
the same with range network."""

ZMQ, ZMQ_CURVE, ZMQ_LOANED, DDS = "lunar zmq", "lunar zmq, CURVE", "lunar zmq, loaned", "lunar dds"
DDS_LONG, SEQUENCE_LONG, UDP = "lunar dds, MTU 9000", "cyclonedds-sequence, MTU 9000", "UDP, bare"
LOCAL, LOCAL_SPIN = "lunar shm", "lunar shm spin"
LOCAL_NETWORK, LOCAL_SPIN_NETWORK = "lunar shm, range network", "lunar shm spin, range network"

XDP, XDP_SPIN, XDP_UDP_SPIN = "lunar xdp", "lunar xdp spin", "lunar xdp over UDP, spin"
XDP_EACH, XDP_BURSTS, XDP_BEST_EFFORT = "lunar xdp, one a call", "lunar xdp, bursts", "lunar xdp, bursts, best effort"
RAW, RAW_EACH, POLLED = "AF_XDP, raw", "AF_XDP, raw, one a call", "UDP, polled"

FRAME_BYTES = 1 << 10
"""A message for which a frame has room, and not for two of them."""

FULL_FRAME_BYTES = 1400
"""As much as the raw flood puts into a frame."""

BURST = 64
"""Messages a call, and frames that the raw flood sends at once."""

DATAGRAM_BYTES = 65000
"""As long as those that carry large samples over ``dds``."""

SWEEP_BYTES = (64, 1 << 10, 1 << 14, 1 << 18)


@dataclass(frozen=True, slots=True)
class LinkMeasurement:
    """One thing to measure.

    Attributes:
        label: for people; with the kind and the size it is unique.
        peer: the library.
        kind: which of the two tools.
        place: where the two processes are.
        work: what they are asked to do. The channel is replaced at each run.
    """

    label: str
    peer: str
    kind: Kind
    place: Place
    work: Work

    @property
    def key(self) -> str:
        """Results are looked up by it."""
        return key_of(self.kind, self.label, self.work.size_bytes)

    def fresh_work(self, address: str) -> Work:
        """The work under a channel that no other run uses, and the address of the first side."""
        return replace(self.work, channel=new_channel(), address=address)


def key_of(kind: Kind, label: str, size_bytes: int) -> str:
    """Key of a measurement."""
    return f"{kind}/{label}/{size_bytes}"


def link_plan(peers: Collection[str], *, quick: bool, sweep: bool) -> list[LinkMeasurement]:
    """Everything that the table of numbers needs; for plots a sweep over payload sizes as well.

    Args:
        peers: libraries to measure besides Lunar, which is always measured.
        quick: a third of the time for each measurement.
        sweep: measure round trips over payload sizes too.
    """
    count, duration_s = (500, 0.4) if quick else (3000, 1.2)
    round_trips = [
        _round_trip(ZMQ, "lunar", SMALL_BYTES, count, transport="zmq"),
        _round_trip("pyzmq-asyncio", "pyzmq-asyncio", SMALL_BYTES, count),
        _round_trip(DDS, "lunar", SMALL_BYTES, count, transport="dds"),
        _round_trip("cyclonedds", "cyclonedds", SMALL_BYTES, count),
        _round_trip(ZMQ_CURVE, "lunar", SMALL_BYTES, count, place="link, encrypted", transport="zmq"),
        *_local(count),
    ]
    streams = [
        _stream(ZMQ, "lunar", duration_s, transport="zmq"),
        _stream("pyzmq", "pyzmq", duration_s),
        _stream(ZMQ_LOANED, "lunar", duration_s, transport="zmq", loan=True),
        _stream("pyzmq-asyncio", "pyzmq-asyncio", duration_s),
        _stream(DDS, "lunar", duration_s, transport="dds"),
        # Its slow serialiser takes longer for each message than Lunar for many.
        _stream("cyclonedds-sequence", "cyclonedds-sequence", 3 * duration_s, warmup=1),
        _stream("cyclonedds", "cyclonedds", duration_s),
        _stream(UDP, "udp", duration_s, size_bytes=DATAGRAM_BYTES),
        _stream(DDS_LONG, "lunar", duration_s, place="link, MTU 9000", transport="dds"),
        _stream(SEQUENCE_LONG, "cyclonedds-sequence", 3 * duration_s, place="link, MTU 9000", warmup=1),
        _stream(ZMQ_CURVE, "lunar", duration_s, place="link, encrypted", transport="zmq"),
    ]
    round_trips += _fast_round_trips(count)
    streams += _fast_streams(duration_s)
    if sweep:
        for size in SWEEP_BYTES[1:]:
            round_trips += [
                _round_trip(ZMQ, "lunar", size, count // 4, transport="zmq"),
                _round_trip("pyzmq-asyncio", "pyzmq-asyncio", size, count // 4),
                _round_trip(DDS, "lunar", size, count // 4, transport="dds"),
                _round_trip("cyclonedds", "cyclonedds", size, count // 4),
                _xdp_round_trip(XDP, "adaptive", size, count),
                _xdp_round_trip(XDP_SPIN, "spin", size, count),
            ]
    return [each for each in (*round_trips, *streams) if each.peer == "lunar" or each.peer in peers]


def _fast_round_trips(count: int) -> list[LinkMeasurement]:
    # Some 0.1 s: they are 20 times as fast as the others.
    many = 10 * count
    return [
        _xdp_round_trip(XDP, "adaptive", SMALL_BYTES, many),
        _xdp_round_trip(XDP_SPIN, "spin", SMALL_BYTES, many),
        _round_trip(RAW, "af_xdp-raw", SMALL_BYTES, many),
        _xdp_round_trip(XDP_UDP_SPIN, "spin", SMALL_BYTES, many, place="link, xdp over UDP"),
        _round_trip(POLLED, "udp-polled", SMALL_BYTES, many),
        _round_trip("pyzmq", "pyzmq", SMALL_BYTES, count),
    ]


def _fast_streams(duration_s: float) -> list[LinkMeasurement]:
    return [
        *(_xdp_stream(XDP_EACH, duration_s, size, batch=1) for size in (SMALL_BYTES, FRAME_BYTES, LARGE_BYTES)),
        *(_xdp_stream(XDP_BURSTS, duration_s, size) for size in (SMALL_BYTES, FRAME_BYTES)),
        *(
            _xdp_stream(XDP_BEST_EFFORT, duration_s, size, reliability="best_effort")
            for size in (SMALL_BYTES, FRAME_BYTES)
        ),
        _stream(RAW, "af_xdp-raw", duration_s, size_bytes=FRAME_BYTES, batch=BURST),
        _stream(RAW, "af_xdp-raw", duration_s, size_bytes=FULL_FRAME_BYTES, batch=BURST),
        _stream(RAW_EACH, "af_xdp-raw", duration_s, size_bytes=FRAME_BYTES),
        _stream("pyzmq", "pyzmq", duration_s, size_bytes=SMALL_BYTES, warmup=1000),
        _stream("pyzmq-xpub", "pyzmq-xpub", duration_s, size_bytes=SMALL_BYTES, warmup=1000),
    ]


def _xdp_round_trip(label: str, wait: Wait, size_bytes: int, count: int, *, place: Place = "link") -> LinkMeasurement:
    made = _round_trip(label, "lunar", size_bytes, count, place=place, transport="xdp", wait=wait)
    # By name, so that a floor is never held against the backend that was not meant.
    return replace(made, work=replace(made.work, backend="udp" if place == "link, xdp over UDP" else "af_xdp"))


def _xdp_stream(
    label: str, duration_s: float, size_bytes: int, *, batch: int = BURST, reliability: Reliability = "reliable"
) -> LinkMeasurement:
    receive: Receive = "burst" if batch > 1 else "blocking"
    made = _stream(label, "lunar", duration_s, transport="xdp", size_bytes=size_bytes, warmup=100, batch=batch)
    work = replace(made.work, wait="spin", receive=receive, reliability=reliability, backend="af_xdp")
    return replace(made, work=work)


def _local(count: int) -> list[LinkMeasurement]:
    # Some 0.2 s: a run of a few milliseconds would be over before the network's threads have met.
    many = 100 * count
    return [
        _round_trip(LOCAL, "lunar", SMALL_BYTES, many, warmup=many, place="one host"),
        _round_trip(LOCAL_NETWORK, "lunar", SMALL_BYTES, many, warmup=many, place="one host, range network"),
        _round_trip(LOCAL_SPIN, "lunar", SMALL_BYTES, many, warmup=many, place="one host", wait="spin"),
        _round_trip(
            LOCAL_SPIN_NETWORK, "lunar", SMALL_BYTES, many, warmup=many, place="one host, range network", wait="spin"
        ),
    ]


def _round_trip(
    label: str,
    peer: str,
    size_bytes: int,
    count: int,
    *,
    place: Place = "link",
    transport: str = "",
    wait: Wait = "adaptive",
    warmup: int = 0,
) -> LinkMeasurement:
    work = Work(size_bytes, count=count, warmup=warmup or max(5, count // 10), wait=wait, transport=transport)
    return LinkMeasurement(label, peer, "ping-pong", place, work)


def _stream(
    label: str,
    peer: str,
    duration_s: float,
    *,
    place: Place = "link",
    transport: str = "",
    warmup: int = 10,
    loan: bool = False,
    size_bytes: int = LARGE_BYTES,
    batch: int = 1,
) -> LinkMeasurement:
    work = Work(size_bytes, warmup=warmup, duration_s=duration_s, transport=transport, loan=loan, batch=batch)
    return LinkMeasurement(label, peer, "throughput", place, work)
