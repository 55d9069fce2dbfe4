"""What a comparison measures, as plain data: each measurement is one run of one library, repeated and interleaved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from lunar_perf.peer import PEERS
from lunar_perf.work import Wait, Work, new_channel

T = TypeVar("T")
Kind = Literal["ping-pong", "throughput"]

SMALL_BYTES = 64
LARGE_BYTES = 1 << 20
LOAN_BYTES = 1 << 22
SWEEP_BYTES = (64, 1 << 10, 1 << 14, 1 << 18, 1 << 22)

# Rough round trips, only to choose how many fit into the time given to a measurement.
_ROUGH_RTT_US = {"iceoryx2": 6.0, "pyzmq": 120.0, "pyzmq-asyncio": 250.0, "pyzmq-uvloop": 220.0, "zenoh": 200.0}
_ROUGH_LUNAR_US: dict[Wait, float] = {"spin": 2.0, "adaptive": 3.0, "sleep": 120.0}
_ROUGHEST_US = 300.0
_ROUGH_NS_PER_BYTE = {"lunar": 0.2, "iceoryx2": 0.2, "zenoh": 0.4, "cyclonedds": 8.0}
_ROUGHEST_NS_PER_BYTE = 1.0
_FEWEST, _MOST = 50, 20_000


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing to measure.

    Attributes:
        key: unique name; results are looked up by it.
        label: for people.
        peer: the library.
        kind: which of the two tools.
        work: what it is asked to do. The channel is replaced at each run.
    """

    key: str
    label: str
    peer: str
    kind: Kind
    work: Work

    def fresh_work(self) -> Work:
        """The work under a channel that no other run uses."""
        return replace(self.work, channel=new_channel())


def plan(only: Collection[str], *, quick: bool, sweep: bool) -> list[Measurement]:
    """Everything that the table of numbers needs, and a sweep over payload sizes for the plots.

    Args:
        only: libraries to measure besides Lunar, which is always measured.
        quick: a third of the time for each measurement.
        sweep: measure round trips over payload sizes too.
    """
    budget_s = 0.2 if quick else 0.6
    duration_s = 0.4 if quick else 1.2
    peers = [name for name in PEERS if name != "lunar" and name in only]
    measurements = [
        *_lunar_round_trips(budget_s),
        *(_round_trip(peer, peer, SMALL_BYTES, budget_s) for peer in peers),
        *_lunar_streams(duration_s),
        *(_stream(peer, peer, size, duration_s) for peer in peers for size in (SMALL_BYTES, LARGE_BYTES)),
    ]
    if "iceoryx2" in peers:
        measurements += [
            _round_trip("iceoryx2", "iceoryx2 loaned", SMALL_BYTES, budget_s, loan=True),
            _round_trip("iceoryx2", "iceoryx2 loaned", LOAN_BYTES, budget_s, loan=True),
            _stream("iceoryx2", "iceoryx2 loaned", LARGE_BYTES, duration_s, loan=True),
        ]
    if sweep:
        measurements += _sweep(peers, budget_s / 2, {each.key for each in measurements})
    return measurements


def rotated(measurements: Sequence[T], repetition: int) -> list[T]:
    """The order of one repetition: another begins each time, so that nobody always follows the same one."""
    if not measurements:
        return []
    # A step that is no divisor of the usual lengths: neighbours do not stay neighbours of the start.
    first = repetition * 7 % len(measurements)
    return [*measurements[first:], *measurements[:first]]


def round_trip_key(label: str, size_bytes: int) -> str:
    """Key of a ping-pong."""
    return f"ping-pong/{label}/{size_bytes}"


def stream_key(label: str, size_bytes: int) -> str:
    """Key of a throughput run."""
    return f"throughput/{label}/{size_bytes}"


def _lunar_round_trips(budget_s: float) -> list[Measurement]:
    return [
        _round_trip("lunar", "lunar spin", SMALL_BYTES, budget_s, wait="spin"),
        _round_trip("lunar", "lunar spin loaned", SMALL_BYTES, budget_s, wait="spin", loan=True),
        _round_trip("lunar", "lunar spin loaned", LOAN_BYTES, budget_s, wait="spin", loan=True),
        _round_trip("lunar", "lunar adaptive", SMALL_BYTES, budget_s, wait="adaptive"),
        _round_trip("lunar", "lunar sleep", SMALL_BYTES, budget_s, wait="sleep", loop="asyncio"),
        _round_trip("lunar", "lunar sleep uvloop", SMALL_BYTES, budget_s, wait="sleep", loop="uvloop"),
    ]


def _lunar_streams(duration_s: float) -> list[Measurement]:
    small = Work(SMALL_BYTES, warmup=2000, duration_s=duration_s)
    burst = replace(small, batch=64, receive="burst")
    spin = replace(small, wait="spin", receive="blocking")
    forms = [
        ("lunar iterate", small),
        ("lunar callback", replace(small, receive="callback")),
        ("lunar spin", spin),
        ("lunar burst", burst),
        ("lunar iterate", replace(small, size_bytes=LARGE_BYTES, warmup=100)),
        ("lunar loaned", replace(small, loan=True)),
        ("lunar loaned", replace(small, loan=True, size_bytes=LARGE_BYTES)),
        ("lunar loaned", replace(small, loan=True, size_bytes=LOAN_BYTES)),
    ]
    return [
        Measurement(stream_key(label, work.size_bytes), label, "lunar", "throughput", work) for label, work in forms
    ]


def _sweep(peers: Sequence[str], budget_s: float, planned: Collection[str]) -> list[Measurement]:
    sizes = [
        measurement
        for size in SWEEP_BYTES
        for measurement in (
            _round_trip("lunar", "lunar spin", size, budget_s, wait="spin"),
            _round_trip("lunar", "lunar spin loaned", size, budget_s, wait="spin", loan=True),
            _round_trip("lunar", "lunar adaptive", size, budget_s, wait="adaptive"),
            *(_round_trip(peer, peer, size, budget_s) for peer in peers),
        )
    ]
    return [measurement for measurement in sizes if measurement.key not in planned]


def _round_trip(
    peer: str,
    label: str,
    size_bytes: int,
    budget_s: float,
    *,
    wait: Wait = "adaptive",
    loan: bool = False,
    loop: str = "auto",
) -> Measurement:
    base_us = _ROUGH_LUNAR_US[wait] if peer == "lunar" else _ROUGH_RTT_US.get(peer, _ROUGHEST_US)
    copied = 0 if loan else size_bytes
    rough_us = base_us + 2 * copied * _ROUGH_NS_PER_BYTE.get(peer, _ROUGHEST_NS_PER_BYTE) / 1000
    count = int(max(_FEWEST, min(_MOST, budget_s * 1e6 / rough_us)))
    work = Work(size_bytes, count=count, warmup=max(5, count // 20), wait=wait, loan=loan, loop=loop)
    return Measurement(round_trip_key(label, size_bytes), label, peer, "ping-pong", work)


def _stream(peer: str, label: str, size_bytes: int, duration_s: float, *, loan: bool = False) -> Measurement:
    work = Work(size_bytes, warmup=200 if size_bytes < LARGE_BYTES else 10, duration_s=duration_s, loan=loan)
    return Measurement(stream_key(label, size_bytes), label, peer, "throughput", work)
