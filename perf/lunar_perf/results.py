"""The results of a comparison, by measurement and repetition, and the ratios that are formed of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lunar_perf.fanout import FanoutResult
from lunar_perf.footprint import Crowd, Idle, StartUp
from lunar_perf.percentiles import Spread
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.throughput import ThroughputResult

Figures = Mapping[int, float]
"""A figure by repetition."""


@dataclass(frozen=True, slots=True)
class Floors:
    """What the machine itself can do.

    Attributes:
        spin_us: round trip of two C threads on a cache line, or None where it cannot be measured.
        memcpy_cached_bytes_per_s: copies of 1 MiB to one place, which stays in cache.
        memcpy_pool_bytes_per_s: copies of 1 MiB to as many places in turn as the measured publisher's pool has.
    """

    spin_us: float | None
    memcpy_cached_bytes_per_s: float
    memcpy_pool_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A measurement that gave no result, once."""

    key: str
    repetition: int
    reason: str


@dataclass(slots=True)
class Results:
    """What a comparison has measured so far: by key of the measurement, then by repetition."""

    ping_pongs: dict[str, dict[int, PingPongResult]] = field(default_factory=dict)
    streams: dict[str, dict[int, ThroughputResult]] = field(default_factory=dict)
    floors: dict[int, Floors] = field(default_factory=dict)
    fanout: FanoutResult | None = None
    fanout_loaned: FanoutResult | None = None
    start_up: StartUp | None = None
    idle: Idle | None = None
    crowd: Crowd | None = None
    failures: list[Failure] = field(default_factory=list)

    def p50_us(self, key: str) -> dict[int, float]:
        """Median round trip of each repetition, empty when not measured."""
        return {index: result.rtt_us.p50 for index, result in self.ping_pongs.get(key, {}).items()}

    def msgs_per_s(self, key: str) -> dict[int, float]:
        """Received rate of each repetition, empty when not measured."""
        return {index: result.msgs_per_s for index, result in self.streams.get(key, {}).items()}

    def lost(self, key: str) -> int | None:
        """Messages lost over all repetitions, None when not measured."""
        results = self.streams.get(key)
        return sum(result.lost for result in results.values()) if results else None


def ratio(ours: Figures, theirs: Figures) -> Spread | None:
    """Ours over theirs, repetition by repetition: what disturbs the machine in one disturbs both.

    Returns:
        The spread of the ratios, or None when no repetition has both figures.
    """
    ratios = [ours[index] / theirs[index] for index in ours if theirs.get(index, 0.0) > 0]
    return Spread.of(ratios) if ratios else None
