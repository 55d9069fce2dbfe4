"""Two pictures of a comparison over a link: round trips by percentile, and the median by payload size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lunar_perf.link_compare import LinkComparison
from lunar_perf.link_plan import DDS, SWEEP_BYTES, XDP, XDP_SPIN, ZMQ, ZMQ_CURVE, key_of
from lunar_perf.percentiles import percentile
from lunar_perf.plan import SMALL_BYTES
from lunar_perf.plots import draw_line, finish_percentiles, finish_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = {
    ZMQ: ("#0072B2", "-"),
    ZMQ_CURVE: ("#56B4E9", "-"),
    DDS: ("#009E73", "-"),
    XDP: ("#D55E00", "-"),
    XDP_SPIN: ("#E69F00", "-"),
    "pyzmq-asyncio": ("#CC79A7", "--"),
    "cyclonedds": ("#7F7F7F", "--"),
}


def write_link_plot(comparison: LinkComparison, path: Path) -> None:
    """Draw both into one PNG file, without a display.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (percentiles, sizes) = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
    _draw(comparison, percentiles, sizes)
    figure.suptitle("Round trips between two hosts of a lab, CPython; all libraries interleaved in one run")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw(comparison: LinkComparison, percentiles: Axes, sizes: Axes) -> None:
    for label, style in _STYLES.items():
        of_size = {size: _round_trips_ns(comparison, label, size) for size in SWEEP_BYTES}
        draw_line(percentiles, of_size[SMALL_BYTES], label, style)
        points = [(size, percentile(each, 0.5) / 1000) for size, each in of_size.items() if each]
        if len(points) > 1:
            colour, line = style
            sizes.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker="o", markersize=3, label=label)
    finish_percentiles(percentiles)
    finish_sizes(sizes, SWEEP_BYTES, ["64", "1 Ki", "16 Ki", "256 Ki"])


def _round_trips_ns(comparison: LinkComparison, label: str, size_bytes: int) -> list[int]:
    runs = comparison.results.runs.ping_pongs.get(key_of("ping-pong", label, size_bytes), {}).values()
    return sorted(each for run in runs for each in run.round_trips_ns)
