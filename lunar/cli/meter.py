"""Counts samples for `lunar topic hz` and `lunar topic bw`, from their sequence numbers and source times. Pure.

What the sender put into each sample says how often it published, whoever missed what: the rate of a topic is taken from
the sequence numbers that passed and the source times between them. So neither a slow reader nor samples that arrive
in bursts falsify it, and a gap in the sequence is exactly what the reader lost. The reader's time comes in as an
argument.

`Meter.add` fills the current slot, `Meter.report` closes it and sums the slots of the rolling window. A tally is
nothing but counts, sums, minima and maxima, so it costs the same for one sample as for a million, and tallies can be
added up. Bursts are worked through with builtins over lists: a Python loop over the samples would be the bottleneck.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUIET_PERIODS = 2.0
_QUIET_S = 0.1
"""A publisher counts as quiet, and its rate sinks, after this many of its mean periods without a sample, but not within
the time that a reader may be late."""

_CLOCK_STEP_NS = 1_000_000
"""A period below minus this means that the wall clock was set back, and is no period. Less than this is jitter of
reading the clock, which cancels out in the sum and so must stay in it."""


class SampleInfo(Protocol):
    """What the meter reads of a sample's info."""

    @property
    def publisher_id(self) -> str:
        """Who published it."""

    @property
    def sequence_number(self) -> int:
        """From 1, per publisher, without gaps at the source."""

    @property
    def source_time_ns(self) -> int:
        """When it was published, wall clock."""


@dataclass(frozen=True)
class Spread:
    """How some values spread: seconds for periods, bytes for sizes."""

    mean: float
    minimum: float
    maximum: float
    standard_deviation: float


@dataclass(frozen=True)
class Measurement:
    """What passed within a window, or since the start.

    Attributes:
        span_s: How long it was watched, from the first sample on.
        publishers: How many publishers were heard.
        received: Samples that arrived.
        lost: Samples that were published meanwhile and did not arrive, by the gaps in the sequence numbers.
        received_bytes: Payload bytes that arrived.
        rate_hz: Samples published a second, lost ones included.
        received_hz: Samples a second that arrived.
        bytes_per_s: Payload bytes a second that arrived.
        period_s: Time between consecutive samples of one publisher as received; None without two of them.
        size_bytes: Payload sizes; None without a sample, or if sizes were not given.
    """

    span_s: float
    publishers: int
    received: int
    lost: int
    received_bytes: int
    rate_hz: float
    received_hz: float
    bytes_per_s: float
    period_s: Spread | None
    size_bytes: Spread | None


@dataclass
class _Sums:
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, values: Sequence[int]) -> None:
        if not values:
            return
        self.count += len(values)
        self.total += sum(values)
        self.squares += sum(map(operator.mul, values, values))
        lowest, highest = min(values), max(values)
        self.minimum = min(self.minimum, lowest)
        self.maximum = max(self.maximum, highest)

    def merge(self, other: _Sums) -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def spread(self, scale: float = 1.0) -> Spread | None:
        if not self.count:
            return None
        mean = self.total / self.count
        variance = max(0.0, self.squares / self.count - mean * mean)  # rounding can push it below zero
        return Spread(mean * scale, max(0.0, self.minimum) * scale, self.maximum * scale, math.sqrt(variance) * scale)


@dataclass
class _Tally:
    """What one publisher did within one slot; `heard_s` is the reader's time of its last sample."""

    received: int = 0
    lost: int = 0
    heard_s: float = 0.0
    periods_ns: _Sums = field(default_factory=_Sums)
    sizes_bytes: _Sums = field(default_factory=_Sums)

    def merge(self, other: _Tally) -> None:
        self.received += other.received
        self.lost += other.lost
        self.heard_s = max(self.heard_s, other.heard_s)
        self.periods_ns.merge(other.periods_ns)
        self.sizes_bytes.merge(other.sizes_bytes)

    def rate_hz(self, now_s: float) -> float:
        """Published a second: steps of the sequence number over the source time that they took."""
        steps = self.periods_ns.count + self.lost
        span_s = self.periods_ns.total * 1e-9
        if not steps or span_s <= 0:
            return 0.0
        quiet_s = now_s - self.heard_s
        if quiet_s > max(_QUIET_S, _QUIET_PERIODS * span_s / steps):
            span_s += quiet_s
        return steps / span_s


@dataclass(frozen=True)
class _Position:
    """Where a publisher's sequence was last seen."""

    sequence_number: int
    source_time_ns: int


_Tallies = dict[str, _Tally]


class Meter:
    """Counts the samples of one topic over a rolling window and in total.

    Args:
        window_s: Length of the rolling window, in seconds.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._positions: dict[str, _Position] = {}
        self._slot: _Tallies = {}
        self._slots: deque[tuple[float, _Tallies]] = deque()
        self._totals: _Tallies = {}
        self._started_s: float | None = None

    def add(self, infos: Sequence[SampleInfo], sizes_bytes: Sequence[int], now_s: float) -> None:
        """Counts a burst of samples, in the order in which they were received.

        Args:
            infos: The samples' infos; of each publisher in the order of their sequence numbers.
            sizes_bytes: Their payload sizes, one a sample, or nothing if sizes are of no interest.
            now_s: The reader's monotonic time.
        """
        if not infos:
            return
        if self._started_s is None:
            self._started_s = now_s
        publisher_ids = [info.publisher_id for info in infos]
        if publisher_ids.count(publisher_ids[0]) == len(infos):
            self._add_from_one(publisher_ids[0], infos, sizes_bytes, now_s)
            return
        for publisher_id in dict.fromkeys(publisher_ids):
            theirs = [index for index, candidate in enumerate(publisher_ids) if candidate == publisher_id]
            sizes = [sizes_bytes[index] for index in theirs] if sizes_bytes else ()
            self._add_from_one(publisher_id, [infos[index] for index in theirs], sizes, now_s)

    def _add_from_one(
        self, publisher_id: str, infos: Sequence[SampleInfo], sizes_bytes: Sequence[int], now_s: float
    ) -> None:
        tally = self._slot.setdefault(publisher_id, _Tally())
        times_ns = [info.source_time_ns for info in infos]
        last = _Position(infos[-1].sequence_number, times_ns[-1])
        before = self._positions.get(publisher_id)
        if before is None:
            expected = infos[0].sequence_number
        else:
            expected = before.sequence_number + 1
            times_ns.insert(0, before.source_time_ns)
        tally.received += len(infos)
        tally.lost += max(0, last.sequence_number + 1 - expected - len(infos))
        tally.heard_s = now_s
        tally.periods_ns.add(_periods(times_ns))
        tally.sizes_bytes.add(sizes_bytes)
        self._positions[publisher_id] = last

    def report(self, now_s: float) -> Measurement:
        """Closes the current slot and measures the rolling window that ends now.

        Args:
            now_s: The reader's monotonic time.
        """
        _merge_into(self._totals, self._slot)
        self._slots.append((now_s, self._slot))
        self._slot = {}
        while self._slots[0][0] <= now_s - self._window_s:
            self._slots.popleft()
        window: _Tallies = {}
        for _, tallies in self._slots:
            _merge_into(window, tallies)
        return self._measure(window, now_s, self._window_s)

    def total(self, now_s: float) -> Measurement:
        """Measures everything since the first sample.

        Args:
            now_s: The reader's monotonic time.
        """
        everything: _Tallies = {}
        _merge_into(everything, self._totals)
        _merge_into(everything, self._slot)
        return self._measure(everything, now_s, math.inf)

    def _measure(self, tallies: _Tallies, now_s: float, limit_s: float) -> Measurement:
        watched_s = 0.0 if self._started_s is None else now_s - self._started_s
        together = _Tally()
        for tally in tallies.values():
            together.merge(tally)
        published = together.received + together.lost
        rate_hz = sum(tally.rate_hz(now_s) for tally in tallies.values())
        received_hz = rate_hz * together.received / published if published else 0.0
        sizes = together.sizes_bytes.spread()
        return Measurement(
            span_s=min(watched_s, limit_s),
            publishers=len(tallies),
            received=together.received,
            lost=together.lost,
            received_bytes=int(together.sizes_bytes.total),
            rate_hz=rate_hz,
            received_hz=received_hz,
            bytes_per_s=received_hz * sizes.mean if sizes else 0.0,
            period_s=together.periods_ns.spread(1e-9),
            size_bytes=sizes,
        )


def _periods(times_ns: list[int]) -> list[int]:
    periods = list(map(operator.sub, times_ns[1:], times_ns))
    if periods and min(periods) < -_CLOCK_STEP_NS:
        return [period for period in periods if period >= -_CLOCK_STEP_NS]
    return periods


def _merge_into(target: _Tallies, source: _Tallies) -> None:
    for publisher_id, tally in source.items():
        target.setdefault(publisher_id, _Tally()).merge(tally)
