"""Loss from sequence numbers: how messages are stamped, and how a receiver counts what it misses.

Every throughput message begins with a 64-bit little-endian number. Three ranges tell the phases apart, so a receiver
needs a single comparison a message and no separate control channel:

    WARM_UP + i     sent first, not measured
    0, 1, 2, ...    measured
    END             sent last; the sender repeats it where a message may be dropped
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

STAMP = struct.Struct("<Q")
WARM_UP = 1 << 62
END = 1 << 63
FINISHED = -1
"""What :meth:`Tally.resync` returns instead of the next expected number when the run is over."""


@dataclass(slots=True)
class Tally:
    """What one receiver saw. The receiving loop owns it and calls it only when a number is not the expected one.

    Attributes:
        next_sequence: one past the highest measured number seen.
        gaps: measured messages missing below ``next_sequence``.
        repeated: measured messages that came twice or out of order.
        first_ns: when the first measured message was there (monotonic clock).
        last_ns: when the end marker was there, which follows the last message at once.
    """

    next_sequence: int = 0
    gaps: int = 0
    repeated: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def resync(self, sequence: int, expected: int) -> int:
        """Take note of a number that is not ``expected``.

        Args:
            sequence: the number that came.
            expected: the number the loop waited for.

        Returns:
            The number to expect next, or :data:`FINISHED`.
        """
        if sequence >= END:
            return self._finish(expected)
        if sequence >= WARM_UP:
            return sequence + 1 if expected >= WARM_UP else self._repeat(expected)
        if expected >= WARM_UP:
            self.first_ns = time.perf_counter_ns()
            expected = 0
        if sequence < expected:
            return self._repeat(expected)
        self.gaps += sequence - expected
        return sequence + 1

    def _repeat(self, expected: int) -> int:
        self.repeated += 1
        return expected

    def _finish(self, expected: int) -> int:
        self.last_ns = time.perf_counter_ns()
        # An end during warm-up: not one measured message came.
        self.next_sequence = 0 if expected >= WARM_UP else expected
        self.first_ns = self.first_ns or self.last_ns
        return FINISHED

    @property
    def received(self) -> int:
        """Measured messages that came, each counted once."""
        return self.next_sequence - self.gaps

    @property
    def elapsed_s(self) -> float:
        """From the first to the last measured message, by the receiver's own clock."""
        return (self.last_ns - self.first_ns) / 1e9

    def lost(self, sent: int) -> int:
        """Measured messages that never came.

        Args:
            sent: how many the sender says it sent.
        """
        return self.gaps + max(0, sent - self.next_sequence)
