"""The comparison with pyzmq: starts its two sides, and tells what they measured."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from processes import ChildFailed, ChildProcess, Report

ROUNDS = 3
_TIMEOUT_S = 90

# What each measurement is called, and how its values are written. Of a rate more is better, of a time less.
_WORKS: dict[str, tuple[str, str, bool]] = {
    "image_latency": ("image, from sent to readable", "{:,.0f} us", False),
    "image_rate": ("images, as fast as can be", "{:,.0f} /s", True),
    "asyncio": ("64 B there and back, asyncio", "{:,.1f} us", False),
    "blocking": ("64 B there and back, blocking", "{:,.1f} us", False),
}


@dataclass
class Comparison:
    """What was measured: a value a round, by work and library."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def take(self, report: Report) -> None:
        """Takes in a report of a side."""
        if report["kind"] == "measured":
            self.values.setdefault((report["work"], report["library"]), []).append(report["value"])

    def ratios(self, work: str) -> list[float]:
        """Returns how many times better Lunar was, a round each."""
        pairs = zip(self.values[work, "lunar"], self.values[work, "pyzmq"], strict=True)
        more_is_better = _WORKS[work][2]
        return [ours / theirs if more_is_better else theirs / ours for ours, theirs in pairs]

    def lines(self) -> list[str]:
        """Returns a table: medians over the rounds, and the ratios with their spread."""
        lines = [_line("Lunar and pyzmq", "Lunar", "pyzmq", "ratio", f"(of {ROUNDS} rounds)")]
        for work, (name, form, _) in _WORKS.items():
            ours, theirs = (
                form.format(statistics.median(self.values[work, library])) for library in ("lunar", "pyzmq")
            )
            ratios = self.ratios(work)
            spread = f"({min(ratios):.1f} to {max(ratios):.1f})"
            lines.append(_line(name, ours, theirs, f"{statistics.median(ratios):.1f}", spread))
        return lines

    def to_dict(self) -> Report:
        """Returns JSON-ready values: microseconds, or images a second."""
        return {
            work: {
                "lunar": self.values[work, "lunar"],
                "pyzmq": self.values[work, "pyzmq"],
                "times_better": self.ratios(work),
            }
            for work in _WORKS
        }


def _line(name: str, ours: str, theirs: str, ratio: str, spread: str) -> str:
    return f"{name:<30} {ours:>11} {theirs:>11} {ratio:>7} {spread}"


async def compare(width: int, height: int, rate: float, on_step: Callable[[str], None]) -> Comparison:
    """Runs the comparison.

    Args:
        width: Of an image, in pixels.
        height: Likewise.
        rate: Images a second, where they are sent at a camera's rate.
        on_step: Told what was measured last.

    Raises:
        ChildFailed: A side failed, or took too long.
    """
    comparison, sides = Comparison(), []

    async def follow(side: ChildProcess) -> None:
        async for report in side.reports():
            comparison.take(report)
            on_step(str(report.get("work", "")))

    arguments = ["--run", f"run_{os.getpid()}", "--rounds", str(ROUNDS)]
    arguments += ["--width", str(width), "--height", str(height), "--rate", str(rate)]
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            sides = [
                await ChildProcess.start("compare_side.py", "--side", side, *arguments) for side in ("near", "far")
            ]
            await asyncio.gather(*(follow(side) for side in sides))
    except TimeoutError as error:
        raise ChildFailed(f"the comparison took more than {_TIMEOUT_S} s") from error
    finally:
        for side in sides:
            await side.stop()
    return comparison
