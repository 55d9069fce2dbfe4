"""How the demo shows its progress: a live table on a terminal, plain lines elsewhere, nothing with `--json`."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from progress import Progress, Stream
from rich.console import Console
from rich.live import Live
from rich.table import Table

_LATENCIES = ("p50", "p90", "p99", "max")
_COLUMNS = ("subscriber", "topic", "received", "per s", "MB/s", *(f"{name} us" for name in _LATENCIES), "lost")
_WIDTHS = (10, 15, 9, 8, 8, 8, 8, 8, 8, 5)
_LINES_EVERY_S = 2.0
_NOTES = 4


class Display(Protocol):
    """Shows progress while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, progress: Progress, elapsed_s: float) -> None:
        """Shows how things are; called a few times a second."""


def choose_display(console: Console, *, quiet: bool) -> Display:
    """Returns what suits where the output goes."""
    if quiet:
        return Silence()
    return LiveTable(console) if console.is_terminal else PlainLines(console)


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def show(self, progress: Progress, elapsed_s: float) -> None:
        """Nothing."""


class PlainLines(Silence):
    """A line a stream, every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0

    def show(self, progress: Progress, elapsed_s: float) -> None:
        """Prints the lines if it is time to."""
        if elapsed_s < self._next_s or not progress.streams:
            return
        self._next_s = elapsed_s + _LINES_EVERY_S
        self._print(f"{elapsed_s:.0f} s; {host_line(progress)}")
        self._print(_aligned(_COLUMNS))
        for stream in progress.streams.values():
            self._print(_aligned(_cells(stream)))

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class LiveTable:
    """One table that is drawn again and again."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, progress: Progress, elapsed_s: float) -> None:
        """Draws the table."""
        table = Table(title=f"{elapsed_s:.0f} s", caption=host_line(progress), title_justify="left")
        for index, name in enumerate(_COLUMNS):
            table.add_column(name, justify="left" if index < 2 else "right", no_wrap=True)
        for stream in progress.streams.values():
            table.add_row(*_cells(stream))
        self._live.update(table, refresh=True)


def _cells(stream: Stream) -> tuple[str, ...]:
    per_s, bytes_per_s = stream.rates()
    latencies = (f"{stream.latency_us[name]:.0f}" if name in stream.latency_us else "-" for name in _LATENCIES)
    lost = sum(stream.lost.values())
    counts = (f"{stream.received:,}", f"{per_s:.1f}", f"{bytes_per_s / 1e6:.1f}")
    return (stream.subscriber, stream.topic, *counts, *latencies, f"{lost:,}")


def _aligned(cells: tuple[str, ...]) -> str:
    left = [f"{cell:<{width}}" for cell, width in zip(cells[:2], _WIDTHS[:2], strict=True)]
    return " ".join(left + [f"{cell:>{width}}" for cell, width in zip(cells[2:], _WIDTHS[2:], strict=True)])


def host_line(progress: Progress) -> str:
    """Returns the newest telemetry as a line."""
    host = progress.host
    if not host:
        return "host telemetry: none yet"
    memory = f"{host['memory_used_bytes'] / 2**30:.1f} of {host['memory_total_bytes'] / 2**30:.1f} GiB"
    return f"host telemetry: processor {host['cpu_percent']:.0f} %, load {host['load_1_min']:.2f}, memory {memory}"


def summary_lines(progress: Progress) -> list[str]:
    """Returns what came of it all: a line a stream, then a line for each thing that deserves attention."""
    lines = []
    for stream in progress.streams.values():
        per_s, bytes_per_s = stream.overall_rates()
        published = progress.published.get(stream.topic, 0)
        causes = ", ".join(f"{count:,} {cause}" for cause, count in stream.lost.items() if count)
        lines.append(
            f"{stream.subscriber}: {stream.received:,} of {published:,} on {stream.topic}, {per_s:.1f} a second, "
            f"{bytes_per_s / 1e6:.1f} MB/s, lost {sum(stream.lost.values()):,}{causes and f' ({causes})'}"
        )
    lines += [f"{name}: {count:,} images checked, all as they were sent" for name, count in progress.intact.items()]
    lines += [f"note: {text}" for text in progress.events[:_NOTES]]
    more = len(progress.events) - _NOTES
    return [*lines, f"and {more} more such notes"] if more > 0 else lines
