"""One picture of a codec run: what each codec takes to write and to read the same message, and its size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lunar_perf.codec import CodecComparison
from lunar_perf.codec_peer import CODECS
from lunar_perf.codec_report import of_codec
from lunar_perf.codec_snippets import OPERATIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _THEIRS = "#0072B2", "#999999"


def write_codec_plot(comparison: CodecComparison, path: Path) -> None:
    """Draw it into a PNG file, without a display.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(OPERATIONS) + 1, figsize=(15, 3.2), sharey=True, layout="constrained")
    results = comparison.results
    names = [name for name in CODECS if name in results.sizes]
    for axes, operation in zip(panels, OPERATIONS, strict=False):
        spreads = [of_codec(results, name, operation) for name in names]
        _draw(axes, f"{operation}, us", names, [0.0 if spread is None else spread.median for spread in spreads])
        axes.set_xscale("log")
    _draw(panels[-1], "size, bytes", names, [float(results.sizes[name]) for name in names])
    panels[0].invert_yaxis()
    figure.suptitle("The same Imu message from plain values and back; medians, less is better, logarithmic times")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw(axes: Axes, title: str, names: list[str], figures: list[float]) -> None:
    bars = axes.barh(names, figures, color=[_OURS if name == "lunar" else _THEIRS for name in names])
    axes.bar_label(bars, fmt=lambda value: f" {value:.3g}", fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.25)
