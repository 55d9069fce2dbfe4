"""Two pictures of a comparison: latency by percentile, and median latency by payload size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lunar_perf.compare import Comparison
from lunar_perf.percentiles import percentile
from lunar_perf.plan import SMALL_BYTES, SWEEP_BYTES, round_trip_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that stay apart for the colour-blind (Okabe and Ito's set); Lunar's lines are the solid ones.
_STYLES = {
    "lunar spin": ("#0072B2", "-"),
    "lunar spin loaned": ("#56B4E9", "-"),
    "lunar adaptive": ("#009E73", "-"),
    "lunar sleep": ("#000000", "-"),
    "iceoryx2": ("#D55E00", "--"),
    "iceoryx2 loaned": ("#D55E00", ":"),
    "pyzmq": ("#E69F00", "--"),
    "pyzmq-asyncio": ("#CC79A7", "--"),
    "pyzmq-uvloop": ("#CC79A7", ":"),
    "zenoh": ("#8C6D31", "--"),
    "cyclonedds": ("#7F7F7F", "--"),
}
_NINES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def write_plot(comparison: Comparison, path: Path) -> None:
    """Draw both into one PNG file, without a display.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (percentiles, sizes) = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
    _draw_percentiles(percentiles, comparison)
    _draw_sizes(sizes, comparison)
    figure.suptitle("Round trips between two pinned processes, CPython; all libraries interleaved in one run")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_percentiles(axes: Axes, comparison: Comparison) -> None:
    for label, (colour, line) in _STYLES.items():
        round_trips = all_round_trips_ns(comparison, round_trip_key(label, SMALL_BYTES))
        draw_line(axes, round_trips, label, (colour, line))
    finish_percentiles(axes)


def draw_line(axes: Axes, round_trips: Sequence[int], label: str, style: tuple[str, str]) -> None:
    """Draw the percentiles of one library, if there are any.

    Args:
        axes: where to draw.
        round_trips: in nanoseconds, in ascending order.
        label: the library.
        style: colour and kind of line.
    """
    if round_trips:
        shown = [fraction for fraction in _NINES if len(round_trips) * (1 - fraction) >= 1]
        axes.plot(
            [1 / (1 - fraction) for fraction in shown],
            [percentile(round_trips, fraction) / 1000 for fraction in shown],
            color=style[0],
            linestyle=style[1],
            marker="o",
            markersize=3,
            label=label,
        )


def finish_percentiles(axes: Axes) -> None:
    """Name what is drawn by percentile."""
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="round trip, us", title="64 B, by percentile")
    axes.set_xticks([1 / (1 - fraction) for fraction in _NINES], [f"{fraction * 100:g}" for fraction in _NINES])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def all_round_trips_ns(comparison: Comparison, key: str) -> Sequence[int]:
    """Every round trip of all repetitions together, in ascending order."""
    runs = comparison.results.ping_pongs.get(key, {}).values()
    return sorted(round_trip for run in runs for round_trip in run.round_trips_ns)


def _draw_sizes(axes: Axes, comparison: Comparison) -> None:
    for label, (colour, line) in _STYLES.items():
        points = [
            (size, percentile(round_trips, 0.5) / 1000)
            for size in SWEEP_BYTES
            if (round_trips := all_round_trips_ns(comparison, round_trip_key(label, size)))
        ]
        if len(points) > 1:
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker="o", markersize=3, label=label)
    finish_sizes(axes, SWEEP_BYTES, ["64", "1 Ki", "16 Ki", "256 Ki", "4 Mi"])


def finish_sizes(axes: Axes, sizes_bytes: Sequence[int], names: Sequence[str]) -> None:
    """Name what is drawn by payload size."""
    axes.set(xscale="log", yscale="log", xlabel="payload, bytes", ylabel="round trip, us", title="median, by size")
    axes.set_xticks(sizes_bytes, names)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
