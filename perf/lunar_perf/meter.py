"""What a measured process spends between the start and the end of the measured part."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass


@dataclass(slots=True)
class Meter:
    """CPU time of this process, all its threads included, over the measured part only."""

    cpu_s: float = 0.0
    elapsed_s: float = 0.0
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
