"""Percentiles by nearest rank over every recorded value: no buckets, no interpolation, nothing dropped."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[int], fraction: float) -> int:
    """The nearest-rank percentile: the smallest value that at least ``fraction`` of all values do not exceed.

    Args:
        ordered: values in ascending order, not empty.
        fraction: 0 to 1; 0.5 is the median.

    Raises:
        ValueError: ``ordered`` is empty.
    """
    if not ordered:
        raise ValueError("no values to take a percentile of")
    rank = math.ceil(fraction * len(ordered))
    return ordered[max(rank, 1) - 1]


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Round-trip times in microseconds. ``p999`` is 99.9 %; below 1,000 values it is the maximum."""

    min: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, round_trips_ns: Sequence[int]) -> LatencySummary:
        """Summarise round-trip times in nanoseconds, in any order.

        Raises:
            ValueError: there are none.
        """
        ordered = sorted(round_trips_ns)
        fractions = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
        return cls(*(percentile(ordered, fraction) / 1000 for fraction in fractions))


@dataclass(frozen=True, slots=True)
class Spread:
    """The same figure over several repetitions."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ``statistics.StatisticsError`` when there are no values."""
        return cls(min(values), statistics.median(values), max(values))

    def over(self, factor: float) -> Spread:
        """The same spread divided by a positive ``factor``, for a change of units."""
        return Spread(self.min / factor, self.median / factor, self.max / factor)
