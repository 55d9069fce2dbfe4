"""Loss in bursts of samples, from the bus's own sequence numbers.

A burst form moves a message in less time than Python needs to read eight bytes of it. So each burst is checked by its
first and last number: the bus numbers samples 1, 2, 3, ... a publisher, and numbers within a burst only rise, so a gap
anywhere makes the difference of the two larger than the number of samples between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lunar_perf.payload import stamped
from lunar_perf.sequence import END, STAMP, Tally
from lunar_perf.work import Work


class SampleInfo(Protocol):
    """What is needed of a sample's information."""

    @property
    def sequence_number(self) -> int:
        """1 for a publisher's first sample."""
        ...


class NumberedSample(Protocol):
    """What is needed of a sample to count it."""

    @property
    def info(self) -> SampleInfo:
        """About the payload."""
        ...


class StampedSample(NumberedSample, Protocol):
    """What is needed of a sample that may be an end marker."""

    @property
    def message(self) -> memoryview:
        """The payload."""
        ...


def batches(work: Work) -> Callable[[int], list[bytes]]:
    """How to make the messages of one publish call from the first one's sequence number.

    For a receiver that takes bursts it is always the same list, as the bus's own numbers are checked; for any other,
    each message carries its number, and making them is part of what is measured.
    """
    body = bytes(stamped(work.size_bytes))
    if work.receive == "burst":
        same = [body] * work.batch
        return lambda first: same
    pack, tail = STAMP.pack, body[STAMP.size :]
    return lambda first: [pack(sequence) + tail for sequence in range(first, first + work.batch)]


@dataclass(slots=True)
class BurstTally:
    """Counts bursts of one publisher.

    Attributes:
        warmup: how many messages come before the measured ones.
        tally: the result, complete when :meth:`more` has returned False.
    """

    warmup: int
    tally: Tally = field(default_factory=Tally)

    def more(self, samples: Sequence[StampedSample]) -> bool:
        """Count a burst.

        Args:
            samples: in the order received, at least one.

        Returns:
            Whether more are to come: False once the end marker was in the burst.
        """
        tally, stop = self.tally, len(samples)
        ended = STAMP.unpack_from(samples[-1].message)[0] == END
        if ended:
            # A best-effort sender repeats the marker, so several may have come together.
            while stop and STAMP.unpack_from(samples[stop - 1].message)[0] == END:
                stop -= 1
        self.add(samples, stop)
        if ended:
            tally.last_ns = time.perf_counter_ns()
            tally.first_ns = tally.first_ns or tally.last_ns
        return not ended

    def add(self, samples: Sequence[NumberedSample], stop: int) -> None:
        """Count the first ``stop`` samples of a burst, of which none is an end marker."""
        start = 0
        if not self.tally.first_ns:
            while start < stop and samples[start].info.sequence_number <= self.warmup:
                start += 1
        if start < stop:
            self._count(samples[start].info.sequence_number, samples[stop - 1].info.sequence_number, stop - start)

    def _count(self, first_number: int, last_number: int, count: int) -> None:
        tally = self.tally
        tally.first_ns = tally.first_ns or time.perf_counter_ns()
        first, last = first_number - self.warmup - 1, last_number - self.warmup - 1
        if first < tally.next_sequence:
            tally.repeated += min(count, tally.next_sequence - first)
            return
        tally.gaps += (first - tally.next_sequence) + (last - first + 1 - count)
        tally.next_sequence = last + 1
