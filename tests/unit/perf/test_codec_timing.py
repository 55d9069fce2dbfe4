"""Statements are timed by running them; nothing here looks at how fast anything is."""

import gc
import math
from itertools import count

from lunar_perf.codec_timing import Snippet, time_us


def test_every_statement_is_timed_with_its_own_names() -> None:
    first, second = count(), count()
    snippets = [
        Snippet("first", "next(counter)", {"counter": first}),
        Snippet("second", "next(counter)", {"counter": second}),
        Snippet("nothing", "pass"),
    ]
    took_us = time_us(snippets, slice_s=0.0001, passes=2)
    assert list(took_us) == ["first", "second", "nothing"]
    assert all(0 <= each < math.inf for each in took_us.values())
    assert next(first) >= 3
    assert next(second) >= 3


def test_the_garbage_collector_is_on_meanwhile() -> None:
    seen: list[bool] = []
    time_us([Snippet("gc", "note(gc_is_on())", {"note": seen.append, "gc_is_on": gc.isenabled})], 0.0, 1)
    assert seen
    assert all(seen)
    assert gc.isenabled()
