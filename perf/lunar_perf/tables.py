"""Results as rows of text, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lunar_perf.compare import Comparison
from lunar_perf.fanout import FanoutResult
from lunar_perf.footprint import Crowd, Idle, StartUp
from lunar_perf.numbers import Number, numbers
from lunar_perf.percentiles import LatencySummary, Spread
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.results import Results
from lunar_perf.throughput import ThroughputResult, causes_of
from lunar_perf.work import Work

_MET = {True: "met", False: "NOT MET", None: "not measured"}


@dataclass(frozen=True, slots=True)
class TextTable:
    """A title, one heading a column, and the cells."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def ping_pong_table(result: PingPongResult) -> TextTable:
    """One ping-pong."""
    work = result.work
    title = f"{work.count:,} round trips of {_what(work)}, wait {work.wait}{', loaned' if work.loan else ''}"
    headings = ("min us", "p50", "p90", "p99", "p99.9", "max", "CPU s")
    return TextTable(title, headings, [(*_latencies(result.rtt_us), f"{result.cpu_s:.3f}")])


def _what(work: Work) -> str:
    return f"{work.message} messages of {work.size_bytes:,} B" if work.message else f"{work.size_bytes:,} B"


def throughput_table(result: ThroughputResult) -> TextTable:
    """One throughput run, a row a receiver."""
    work = result.work
    title = f"{_what(work)} one way, {work.reliability}, batch {work.batch}, wait {work.wait}, {work.receive}"
    rows = [
        (
            f"{result.sent:,}",
            f"{each.received:,}",
            f"{each.lost:,}",
            f"{each.msgs_per_s:,.0f}",
            f"{each.msgs_per_s * work.size_bytes / 1e6:,.1f}",
            f"{each.cpu_s:.2f}",
        )
        for each in result.subscriptions
    ]
    return TextTable(title, ("sent", "received", "lost", "msg/s", "MB/s", "receiver CPU s"), rows)


def way_tables(result: PingPongResult | ThroughputResult) -> list[TextTable]:
    """Between which hosts, and why over that transport: the one that was used first."""
    rows = [
        (each.side, each.host.name, each.address, each.host.lunar, each.host.kernel, each.host.python)
        for each in result.places
    ]
    reasons = sorted(result.reasons.items(), key=lambda each: each[0] != result.transport)
    tables = [TextTable("", ("side", "host", "address", "Lunar", "kernel", "Python"), rows)]
    if isinstance(result, ThroughputResult) and result.lost:
        causes = [(cause, f"{count:,}") for cause, count in causes_of(result).items() if count]
        tables.append(TextTable("", ("lost by cause, warm-up included", "messages"), causes))
    return [*tables, TextTable("", ("transport", "why"), reasons)]


def fanout_table(result: FanoutResult) -> TextTable:
    """One fan-out run, a row a number of subscriptions."""
    work = result.work
    form = "loaned" if work.loan else "copied in"
    title = f"publishing {work.size_bytes:,} B, {form}, to subscriptions in {work.processes} processes"
    rows = [(str(count), f"{cost:.3f}") for count, cost in result.publish_us.items()]
    rows += [
        (f"one more {what}", "" if cost is None else f"{cost:.3f}")
        for what, cost in (("subscription", result.per_subscription_us), ("process", result.per_process_us))
    ]
    rows.append(("for comparison: one memcpy", f"{result.memcpy_us:.3f}"))
    return TextTable(title, ("subscriptions", "CPU us a publish"), rows)


def footprint_table(start_up: StartUp, idle: Idle, crowd: Crowd) -> TextTable:
    """What Lunar costs while nothing is sent."""
    rows = [
        ("import lunar", f"{start_up.import_ms:.1f} ms"),
        ("first Node ready", f"{start_up.node_ready_ms:.2f} ms"),
        ("idle node, wake-ups", f"{idle.wakeups_per_s:.2f} a second"),
        ("idle node, CPU", f"{idle.cpu_ms_per_s:.3f} ms a second"),
        (f"{crowd.processes} processes all matched", f"{crowd.after_last_start_s:.2f} s after the last one's start"),
        ("", f"{crowd.after_last_ready_s:.2f} s after the last one had its node"),
    ]
    return TextTable("", ("what", "cost"), rows)


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """The table of numbers, then every measurement behind it."""
    shown = numbers_table(numbers(comparison.results), comparison.repetitions)
    labelled = [(each.label, each.key) for each in comparison.measurements]
    return [shown, round_trips_table(labelled, comparison.results), streams_table(labelled, comparison.results)]


def numbers_table(rows_of: Sequence[Number], repetitions: int) -> TextTable:
    """Every target beside what was measured."""
    headings = ("work", "target", "measured (min to max)", "ours", "theirs", "", "note")
    rows = [
        (
            number.work,
            f"{'<=' if number.sense == 'at most' else '>='} {number.target:g} {number.of}",
            spread_text(number.value),
            number.ours,
            number.theirs,
            _MET[number.met],
            number.note,
        )
        for number in rows_of
    ]
    return TextTable(f"Numbers, medians of {repetitions} repetitions", headings, rows)


def round_trips_table(labelled: Sequence[tuple[str, str]], results: Results) -> TextTable:
    """Every ping-pong of a comparison, by label and key."""
    rows = []
    for label, key in labelled:
        runs = list(results.ping_pongs.get(key, {}).values())
        if runs:
            by_median = sorted(runs, key=lambda run: run.rtt_us.p50)
            middle = by_median[len(by_median) // 2]
            size = f"{middle.work.size_bytes:,}"
            medians = spread_text(Spread.of([run.rtt_us.p50 for run in runs]))
            cpu = f"{middle.cpu_s / middle.elapsed_s:.2f}" if middle.elapsed_s > 0 else ""
            rows.append((label, size, medians, *_latencies(middle.rtt_us), cpu))
    headings = ("round trip", "bytes", "p50 us (min to max)", "min", "p50", "p90", "p99", "p99.9", "max", "cores")
    return TextTable("Round trips; percentiles of the middle repetition", headings, rows)


def streams_table(labelled: Sequence[tuple[str, str]], results: Results) -> TextTable:
    """Every throughput run of a comparison, by label and key."""
    rows = []
    for label, key in labelled:
        runs = list(results.streams.get(key, {}).values())
        if runs:
            rates = Spread.of([run.msgs_per_s for run in runs])
            size_bytes = runs[0].work.size_bytes
            rows.append(
                (
                    label,
                    f"{size_bytes:,}",
                    f"{rates.median:,.0f} ({rates.min:,.0f} to {rates.max:,.0f})",
                    f"{rates.median * size_bytes / 1e6:,.0f}",
                    f"{sum(run.lost for run in runs):,}",
                )
            )
    return TextTable("One way, received", ("one way", "bytes", "msg/s (min to max)", "MB/s", "lost"), rows)


def _latencies(summary: LatencySummary) -> tuple[str, ...]:
    figures = (summary.min, summary.p50, summary.p90, summary.p99, summary.p999, summary.max)
    return tuple(f"{figure:,.2f}" for figure in figures)


def spread_text(spread: Spread | None) -> str:
    """The median, and the extremes where they differ from it."""
    if spread is None:
        return ""
    median, least, most = (f"{value:.3g}" for value in (spread.median, spread.min, spread.max))
    return median if least == most else f"{median} ({least} to {most})"
