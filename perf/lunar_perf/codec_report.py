"""A codec run as JSON-ready values and as tables."""

from __future__ import annotations

from dataclasses import asdict

from lunar_perf.codec import CodecComparison
from lunar_perf.codec_numbers import codec_numbers
from lunar_perf.codec_peer import CODECS
from lunar_perf.codec_results import CodecResults
from lunar_perf.codec_snippets import OPERATIONS
from lunar_perf.machine import describe, versions
from lunar_perf.peer import REMEDY
from lunar_perf.percentiles import Spread
from lunar_perf.report import number_json, ping_pong_json, spread_json
from lunar_perf.results import ratio
from lunar_perf.tables import TextTable, numbers_table, spread_text


def codec_json(comparison: CodecComparison) -> dict[str, object]:
    """What ``lunar perf codec --json`` prints."""
    results = comparison.results
    return {
        "machine": describe(),
        "background_cores": round(comparison.background_cores, 3),
        "versions": versions(),
        "repetitions": comparison.repetitions,
        "seconds": comparison.seconds,
        "numbers": [number_json(number) for number in codec_numbers(results)],
        "codecs": [_codec_json(results, name) for name in CODECS if name in results.sizes],
        "unavailable": [
            {"codec": name, "reason": reason, "remedy": REMEDY} for name, reason in results.unavailable.items()
        ],
        "statements_us": [dict(run.took_us) for run in results.runs.values()],
        "images": [asdict(run.image) for run in results.runs.values()],
        "ping_pongs": [ping_pong_json(each, "shm") for runs in (results.typed, results.raw) for each in runs.values()],
        "failures": [asdict(failure) for failure in results.failures],
    }


def _codec_json(results: CodecResults, name: str) -> dict[str, object]:
    figures = {operation: spread_json(of_codec(results, name, operation)) for operation in OPERATIONS}
    return {
        "codec": name,
        "idiom": CODECS[name].idiom,
        "size_bytes": results.sizes[name],
        **{f"{operation.replace(' ', '_')}_us": figure for operation, figure in figures.items()},
    }


def of_codec(results: CodecResults, name: str, operation: str) -> Spread | None:
    """One codec's time for one of `OPERATIONS`, in microseconds over the repetitions."""
    figures = results.took_us(f"{name}/{operation}")
    return Spread.of(list(figures.values())) if figures else None


def codec_tables(comparison: CodecComparison) -> list[TextTable]:
    """The targets, then all codecs on the same message."""
    return [
        numbers_table(codec_numbers(comparison.results), comparison.repetitions),
        _codecs_table(comparison.results),
    ]


def _codecs_table(results: CodecResults) -> TextTable:
    rows = []
    for name in CODECS:
        if name not in results.sizes:
            rows.append((name, f"unavailable: {results.unavailable.get(name, 'no result')}", *[""] * 4))
            continue
        cells = [spread_text(of_codec(results, name, operation)) for operation in OPERATIONS]
        times = [_times_ours(results, name, operation) for operation in OPERATIONS]
        rows.append(
            (name, *(f"{cell}{more}" for cell, more in zip(cells, times, strict=True)), str(results.sizes[name]))
        )
    headings = ("Imu", *(f"{operation}, us" for operation in OPERATIONS), "bytes")
    return TextTable("The same message; medians (min to max), and how many times Lunar's", headings, rows)


def _times_ours(results: CodecResults, name: str, operation: str) -> str:
    times = ratio(results.took_us(f"{name}/{operation}"), results.took_us(f"lunar/{operation}"))
    return "" if times is None or name == "lunar" else f", x{times.median:.2g}"
