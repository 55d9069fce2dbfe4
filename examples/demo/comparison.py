"""The comparison with pyzmq: starts its two sides, and tells what they measured."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable

from processes import ChildFailed, ChildProcess, Report

_TIMEOUT_S = 30
_TIMEOUT_A_ROUND_S = 30

# What each measurement is called, and how its values are written. Of a rate more is better, of a time less.
_WORKS: dict[str, tuple[str, str, bool]] = {
    "image_latency_us": ("image, from sent to readable", "{:,.0f} us", False),
    "images_per_s": ("images, as fast as can be", "{:,.0f} /s", True),
    "asyncio_rtt_us": ("64 B there and back, asyncio", "{:,.1f} us", False),
    "blocking_rtt_us": ("64 B there and back, blocking", "{:,.1f} us", False),
}


class Comparison:
    """A comparison, and what came of it.

    Args:
        rounds: How often each measurement is made.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._values: dict[tuple[str, str], list[float]] = {}

    async def run(self, size: tuple[int, int], rate: float, on_step: Callable[[str], None]) -> None:
        """Makes the measurements.

        Args:
            size: Width and height of an image, in pixels.
            rate: Images a second, where they are sent at a camera's rate.
            on_step: Told what was measured last.

        Raises:
            ChildFailed: A side failed, or took too long.
        """

        async def follow(side: ChildProcess) -> None:
            async for report in side.reports():
                self._values.setdefault((report["work"], report["library"]), []).append(report["value"])
                on_step(report["work"])

        arguments = ["--run", f"run_{os.getpid()}", "--rounds", str(self._rounds)]
        arguments += ["--width", str(size[0]), "--height", str(size[1]), "--rate", str(rate)]
        sides: list[ChildProcess] = []
        try:
            async with asyncio.timeout(_TIMEOUT_S + self._rounds * _TIMEOUT_A_ROUND_S):
                for side in ("near", "far"):
                    started = await ChildProcess.start("compare_side.py", "--side", side, *arguments)
                    sides.append(started)  # one by one: a failure to start the second must not forget the first
                await asyncio.gather(*(follow(side) for side in sides))
        except TimeoutError as error:
            raise ChildFailed("the comparison did not come to an end") from error
        finally:
            for one in sides:
                await one.stop()

    def ratios(self, work: str) -> list[float]:
        """Returns how many times better Lunar was, a round each."""
        pairs = zip(self._values[work, "lunar"], self._values[work, "pyzmq"], strict=True)
        more_is_better = _WORKS[work][2]
        return [ours / theirs if more_is_better else theirs / ours for ours, theirs in pairs]

    def lines(self) -> list[str]:
        """Returns a table: medians over the rounds, and the ratios with their spread."""
        lines = [_line("Lunar and pyzmq", "Lunar", "pyzmq", "ratio", f"(of {self._rounds} rounds)")]
        for work, (name, form, _) in _WORKS.items():
            ours, theirs = (form.format(statistics.median(self._values[work, who])) for who in ("lunar", "pyzmq"))
            ratios = self.ratios(work)
            spread = f"({min(ratios):.1f} to {max(ratios):.1f})"
            lines.append(_line(name, ours, theirs, f"{statistics.median(ratios):.1f}", spread))
        return lines

    def to_dict(self) -> Report:
        """Returns JSON-ready values, a list with one for each round."""
        return {
            work: {
                "lunar": self._values[work, "lunar"],
                "pyzmq": self._values[work, "pyzmq"],
                "times_better": self.ratios(work),
            }
            for work in _WORKS
        }


def _line(name: str, ours: str, theirs: str, ratio: str, spread: str) -> str:
    return f"{name:<30} {ours:>11} {theirs:>11} {ratio:>7} {spread}"
