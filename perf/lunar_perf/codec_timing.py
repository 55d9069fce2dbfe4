"""How long a statement takes that is over in less than a clock can tell: many at once, the loop subtracted.

The statements of a run are timed in passes: each pass times every one of them for a moment, and begins elsewhere. Of a
statement's passes the fastest counts, as what disturbs a statement only ever makes it slower.
"""

from __future__ import annotations

import gc
import math
import time
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_EMPTY = "pass"
_FEWEST, _MOST = 1, 1 << 20


@dataclass(frozen=True, slots=True)
class Snippet:
    """A statement to be timed.

    Attributes:
        key: unique name; results are looked up by it.
        statement: what is timed, with the names of ``given`` as local variables.
        given: the values of those names.
    """

    key: str
    statement: str
    given: Mapping[str, object] = field(default_factory=dict)


class _Timed:
    def __init__(self, snippet: Snippet) -> None:
        names = ", ".join(snippet.given)
        # timeit turns the garbage collector off, which messages would profit from; and locals cost less than globals.
        setup = f"gc.enable()\n({names},) = given" if names else "gc.enable()"
        scope = {"gc": gc, "given": tuple(snippet.given.values())}
        self._timer = timeit.Timer(snippet.statement, setup, timer=time.perf_counter_ns, globals=scope)
        self._count = _FEWEST
        self.best_ns = math.inf

    def calibrate(self, slice_ns: float) -> None:
        """Find how often the statement runs in a slice; warms it up as well."""
        while self._count < _MOST:
            took_ns = self._timer.timeit(self._count)
            if took_ns * 2 > slice_ns:
                return
            self._count *= 2

    def run(self) -> None:
        self.best_ns = min(self.best_ns, self._timer.timeit(self._count) / self._count)


def time_us(snippets: Sequence[Snippet], slice_s: float, passes: int) -> dict[str, float]:
    """Time every statement.

    Args:
        snippets: what to time.
        slice_s: how long each of them runs in a pass, about.
        passes: how many there are.

    Returns:
        By key, microseconds of one execution, without those that an empty loop takes; never negative.
    """
    timed = {snippet.key: _Timed(snippet) for snippet in [Snippet("", _EMPTY), *snippets]}
    for each in timed.values():
        each.calibrate(slice_s * 1e9)
    gc.collect()
    gc.freeze()
    ordered = list(timed.values())
    for index in range(passes):
        first = index * 7 % len(ordered)
        for each in (*ordered[first:], *ordered[:first]):
            each.run()
    gc.unfreeze()
    loop_ns = timed.pop("").best_ns
    return {key: max(0.0, each.best_ns - loop_ns) / 1000 for key, each in timed.items()}
