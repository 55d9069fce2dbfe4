"""What a measured process spends between the start and the end of the measured part."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Meter:
    """What this process, with all its threads, spent on the measured part only; and what the library itself says.

    Attributes:
        cpu_s: CPU time.
        elapsed_s: wall time.
        transport: what carried the samples, as far as the library chooses and tells.
        reasons: for each transport, why it was chosen or not.
        lost_by_cause: what a receiver's library says that it lost, warm-up included.
    """

    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    transport: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    lost_by_cause: Mapping[str, int] = field(default_factory=dict)
    _cpu_from_s: float = 0.0
    _from_s: float = 0.0

    def start(self) -> None:
        """Call after warm-up, right before the first measured message.

        Objects made so far are taken out of the garbage collector's sight, as a long-running program's would have
        been promoted; the collector stays on.
        """
        gc.collect()
        gc.freeze()
        self._cpu_from_s = time.process_time()
        self._from_s = time.perf_counter()

    def stop(self) -> None:
        """Call right after the last measured message."""
        self.cpu_s = time.process_time() - self._cpu_from_s
        self.elapsed_s = time.perf_counter() - self._from_s
