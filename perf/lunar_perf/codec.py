"""``lunar perf codec``: what messages cost besides bytes, beside other codecs on the same values, in one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lunar_perf.children import START_UP_S, Child, RunFailed, run_children
from lunar_perf.codec_results import CodecResults, CodecRun
from lunar_perf.machine import Background
from lunar_perf.ping_pong import run_ping_pong
from lunar_perf.pinning import place
from lunar_perf.results import Failure
from lunar_perf.typed_messages import encoded_bytes
from lunar_perf.work import Work, new_channel

REPETITIONS = 3
PASSES = 5
ROUND_TRIP_MESSAGE = "Imu"

# How a repetition's time is divided. A statement is calibrated first, for as long as about three passes.
_STATEMENTS_SHARE, _IMAGE_SHARE, _ROUND_TRIPS_SHARE = 0.5, 0.2, 0.3
_STATEMENTS, _CALIBRATION_PASSES = 37, 3
_ROUGH_RTT_US = 5.0
_FEWEST_ROUND_TRIPS, _MOST_ROUND_TRIPS = 100, 50_000


@dataclass(frozen=True, slots=True)
class CodecComparison:
    """What was measured, and under what conditions.

    Attributes:
        results: the figures.
        repetitions: how often everything was measured.
        seconds: how long it was to take.
        background_cores: cores that other processes kept busy meanwhile, on average.
    """

    results: CodecResults
    repetitions: int
    seconds: float
    background_cores: float


def run_codec(seconds: float, progress: Callable[[str], None], repetitions: int = REPETITIONS) -> CodecComparison:
    """Measure everything several times over, each time in new processes.

    Args:
        seconds: about how long to measure in all; starting processes comes on top.
        progress: called with a line of text before each step.
        repetitions: how often.
    """
    results, background, budget_s = CodecResults(), Background(), seconds / repetitions
    for repetition in range(repetitions):
        steps = [_statements, _typed, _raw]
        for step in (*steps[repetition % 3 :], *steps[: repetition % 3]):
            name = step.__name__.strip("_")
            progress(f"[{repetition + 1}/{repetitions}] {_STEPS[name]}")
            try:
                step(results, repetition, budget_s)
            except RunFailed as error:
                results.failures.append(Failure(name, repetition, str(error)))
    return CodecComparison(results, repetitions, seconds, background.cores())


_STEPS = {
    "statements": "encoding, reading, verifying, filling images",
    "typed": f"round trips of {ROUND_TRIP_MESSAGE} messages",
    "raw": "round trips of as many bytes",
}


def _statements(results: CodecResults, repetition: int, budget_s: float) -> None:
    slice_s = budget_s * _STATEMENTS_SHARE / _STATEMENTS / (PASSES + _CALIBRATION_PASSES)
    image_s = budget_s * _IMAGE_SHARE
    arguments = (str(place(1).first), f"{slice_s:.6f}", str(PASSES), f"{image_s:.6f}")
    child = Child("codec", "lunar_perf.codec_process", arguments, ends_run=True)
    (report,) = run_children([child], START_UP_S + 5 * budget_s)
    results.runs[repetition] = CodecRun.from_json(report)


def _typed(results: CodecResults, repetition: int, budget_s: float) -> None:
    results.typed[repetition] = run_ping_pong("lunar", _round_trips(budget_s))


def _raw(results: CodecResults, repetition: int, budget_s: float) -> None:
    results.raw[repetition] = run_ping_pong("lunar", replace(_round_trips(budget_s), message=""))


def _round_trips(budget_s: float) -> Work:
    wanted = int(budget_s * _ROUND_TRIPS_SHARE / 2 * 1e6 / _ROUGH_RTT_US)
    count = max(_FEWEST_ROUND_TRIPS, min(_MOST_ROUND_TRIPS, wanted))
    size_bytes = encoded_bytes(ROUND_TRIP_MESSAGE)
    work = Work(size_bytes, count=count, warmup=max(20, count // 20), wait="spin", message=ROUND_TRIP_MESSAGE)
    return replace(work, channel=new_channel())
