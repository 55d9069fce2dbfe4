"""The table of numbers: every target that Lunar has set itself, beside what was measured. Pure.

A target that compares is judged by the median of the ratios of the repetitions, an absolute one by the median of the
figures. A row whose measurement is missing is neither met nor missed.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lunar_perf.percentiles import Spread
from lunar_perf.plan import LARGE_BYTES, LOAN_BYTES, SMALL_BYTES, round_trip_key, stream_key
from lunar_perf.results import Figures, Results, ratio

Sense = Literal["at most", "at least"]

BUSY_PEERS = ("iceoryx2", "iceoryx2 loaned")
PLAIN_PEERS = ("pyzmq", "pyzmq-asyncio", "pyzmq-uvloop", "zenoh", "cyclonedds", "iceoryx2")


@dataclass(frozen=True, slots=True)
class Number:
    """One row.

    Attributes:
        work: what is measured.
        sense: which side of the target is good.
        target: of ``value``.
        of: what ``value`` is: ``x peer`` for a ratio, else a unit.
        value: the spread of the ratio or of the figure over the repetitions, None when not measured.
        ours: our own figure, with unit.
        theirs: what it is compared with, with unit; empty for an absolute target.
        note: what a reader has to know.
    """

    work: str
    sense: Sense
    target: float
    of: str
    value: Spread | None
    ours: str
    theirs: str
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median is on the good side of the target; None when not measured."""
        if self.value is None:
            return None
        return self.value.median <= self.target if self.sense == "at most" else self.value.median >= self.target


def numbers(results: Results) -> list[Number]:
    """Every row, in the order of the issue that set the targets."""
    return [
        *_spin(results),
        *_adaptive(results),
        *_sleep(results),
        *_one_way(results),
        *_large(results),
        *_fanout(results),
        *_footprint(results),
    ]


def _spin(results: Results) -> list[Number]:
    own = results.p50_us(round_trip_key("lunar spin", SMALL_BYTES))
    own_loaned = results.p50_us(round_trip_key("lunar spin loaned", SMALL_BYTES))
    huge = results.p50_us(round_trip_key("lunar spin loaned", LOAN_BYTES))
    peer, theirs = _fastest(results, BUSY_PEERS)
    to_copied = ratio(huge, own)
    note = "" if to_copied is None else f"{to_copied.median:.2f} x the copied 64 B figure"
    return [
        Number("ping-pong spin, 64 B, p50", "at most", 0.5, f"x {peer}", ratio(own, theirs), _us(own), _us(theirs)),
        Number(
            *("ping-pong spin, 4 MiB loaned, p50", "at most", 1.2, "x its own at 64 B"),
            *(ratio(huge, own_loaned), _us(huge), _us(own_loaned), note),
        ),
    ]


def _adaptive(results: Results) -> list[Number]:
    own = results.p50_us(round_trip_key("lunar adaptive", SMALL_BYTES))
    peer, busy = _fastest(results, BUSY_PEERS)
    zmq = results.p50_us(round_trip_key("pyzmq-asyncio", SMALL_BYTES))
    work = "ping-pong adaptive, 64 B, p50"
    return [
        Number(work, "at most", 1.5, f"x {peer}", ratio(own, busy), _us(own), _us(busy)),
        Number(work, "at most", 1 / 25, "x pyzmq-asyncio", ratio(own, zmq), _us(own), _us(zmq)),
    ]


def _sleep(results: Results) -> list[Number]:
    zmq = results.p50_us(round_trip_key("pyzmq-uvloop", SMALL_BYTES))
    rows = []
    for label, loop in (("lunar sleep", "asyncio"), ("lunar sleep uvloop", "uvloop")):
        own = results.p50_us(round_trip_key(label, SMALL_BYTES))
        work = f"ping-pong sleep on {loop}, 64 B, p50"
        rows.append(Number(work, "at most", 0.6, "x pyzmq-uvloop", ratio(own, zmq), _us(own), _us(zmq)))
    return rows


def _one_way(results: Results) -> list[Number]:
    iterate, callback = (stream_key(f"lunar {form}", SMALL_BYTES) for form in ("iterate", "callback"))
    own_key = max((iterate, callback), key=lambda key: _median(results.msgs_per_s(key)))
    form = "callback" if own_key == callback else "async for"
    own, burst_key = results.msgs_per_s(own_key), stream_key("lunar burst", SMALL_BYTES)
    burst = results.msgs_per_s(burst_key)
    rates = {peer: results.msgs_per_s(stream_key(peer, SMALL_BYTES)) for peer in PLAIN_PEERS}
    best = max(rates, key=lambda peer: _median(rates[peer]))
    work = f"64 B one way, {form}"
    return [
        Number(work, "at least", 2.0, "million msg/s", _spread(own, 1e6), _rate(own), ""),
        Number(work, "at most", 0, "lost", _lost(results, own_key), _rate(own), ""),
        Number(work, "at least", 1.5, f"x {best} (best)", ratio(own, rates[best]), _rate(own), _rate(rates[best])),
        Number("64 B one way, burst", "at least", 6.0, "million msg/s", _spread(burst, 1e6), _rate(burst), ""),
        Number("64 B one way, burst", "at most", 0, "lost", _lost(results, burst_key), _rate(burst), ""),
    ]


def _large(results: Results) -> list[Number]:
    copied = results.msgs_per_s(stream_key("lunar iterate", LARGE_BYTES))
    own = {index: rate * LARGE_BYTES for index, rate in copied.items()}
    pool = {index: floors.memcpy_pool_bytes_per_s for index, floors in results.floors.items()}
    cached = {index: floors.memcpy_cached_bytes_per_s for index, floors in results.floors.items()}
    to_cached = ratio(own, cached)
    note = "" if to_cached is None else f"{to_cached.median:.2f} x memcpy in cache, {_gb(cached)}"
    loaned = {size: results.msgs_per_s(stream_key("lunar loaned", size)) for size in (SMALL_BYTES, LOAN_BYTES)}
    return [
        Number(
            *("1 MiB one way, copied in", "at least", 0.7, "x memcpy"),
            *(ratio(own, pool), _gb(own), _gb(pool), note),
        ),
        Number(
            *("4 MiB one way, loaned", "at least", 0.8, "x its own at 64 B"),
            *(ratio(loaned[LOAN_BYTES], loaned[SMALL_BYTES]), _rate(loaned[LOAN_BYTES]), _rate(loaned[SMALL_BYTES])),
            "independent of size",
        ),
    ]


def _fanout(results: Results) -> list[Number]:
    copied, loaned = results.fanout, results.fanout_loaned
    copies = cost = None
    ours = theirs = cost_text = ""
    if copied is not None:
        publish_us = copied.publish_us[copied.work.subscriptions]
        copies, ours, theirs = (
            _once(publish_us / copied.memcpy_us),
            f"{publish_us:.1f} us",
            f"{copied.memcpy_us:.1f} us",
        )
    if loaned is not None and loaned.per_subscription_us is not None:
        cost, cost_text = _once(loaned.per_subscription_us), f"{loaned.per_subscription_us:.3f} us"
    work, note = "publish 1 MiB to 32 in 8 processes", "one copy at most: less than twice one memcpy"
    return [
        Number(work, "at most", 1.9, "x one memcpy", copies, ours, theirs, note),
        Number(
            *("the same, each added subscription", "at most", 0.3, "us"),
            *(cost, cost_text, "", "of loaned publishes: the copy's own noise would hide it"),
        ),
    ]


def _footprint(results: Results) -> list[Number]:
    idle, start_up, crowd = results.idle, results.start_up, results.crowd
    wakeups = None if idle is None else _once(idle.wakeups_per_s)
    import_ms = None if start_up is None else _once(start_up.import_ms)
    ready_ms = None if start_up is None else _once(start_up.node_ready_ms)
    matched_s = None if crowd is None else _once(crowd.after_last_start_s)
    count = 100 if crowd is None else crowd.processes
    return [
        Number("idle node", "at most", 0, "wake-ups/s", wakeups, _one(wakeups, "/s"), ""),
        Number("import lunar", "at most", 100, "ms", import_ms, _one(import_ms, "ms"), ""),
        Number("Node ready", "at most", 20, "ms", ready_ms, _one(ready_ms, "ms"), ""),
        Number(
            f"{count} processes matched", "at most", 3, "s after the last start", matched_s, _one(matched_s, "s"), ""
        ),
    ]


def _fastest(results: Results, labels: Sequence[str]) -> tuple[str, Figures]:
    """The label with the lowest median round trip at 64 B, and its figures."""
    figures = {label: results.p50_us(round_trip_key(label, SMALL_BYTES)) for label in labels}
    measured = [label for label in labels if figures[label]] or [labels[0]]
    best = min(measured, key=lambda label: _median(figures[label]))
    return best, figures[best]


def _lost(results: Results, key: str) -> Spread | None:
    lost = results.lost(key)
    return None if lost is None else _once(lost)


def _once(value: float) -> Spread:
    return Spread(value, value, value)


def _spread(figures: Figures, unit: float) -> Spread | None:
    return Spread.of(list(figures.values())).over(unit) if figures else None


def _median(figures: Figures) -> float:
    return statistics.median(figures.values()) if figures else 0.0


def _us(figures: Figures) -> str:
    return f"{_median(figures):.2f} us" if figures else ""


def _rate(figures: Figures) -> str:
    return f"{_median(figures):,.0f}/s" if figures else ""


def _gb(figures: Figures) -> str:
    return f"{_median(figures) / 1e9:.1f} GB/s" if figures else ""


def _one(value: Spread | None, unit: str) -> str:
    return "" if value is None else f"{value.median:.2f} {unit}"
