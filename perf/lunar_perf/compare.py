"""``lunar perf compare``: Lunar and its peers, interleaved in one run, several times over."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from lunar_perf.children import RunFailed
from lunar_perf.fanout import run_fanout
from lunar_perf.floor import memcpy_bytes_per_s, spin_round_trip_us
from lunar_perf.footprint import measure_crowd, measure_idle, measure_start_up
from lunar_perf.machine import Background
from lunar_perf.peer import PEERS
from lunar_perf.ping_pong import run_ping_pong
from lunar_perf.plan import LARGE_BYTES, Measurement, plan, rotated
from lunar_perf.results import Failure, Floors, Results
from lunar_perf.throughput import run_throughput

POOL_CHUNKS = 17
"""As many 1 MiB chunks as the measured publisher cycles through: a queue of 16 and the one being written."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured, and what could not be.

    Attributes:
        measurements: what was planned.
        results: what came of it.
        unavailable: peers that are not installed, each with the reason.
        repetitions: how often each was measured.
        background_cores: cores that other processes kept busy meanwhile, on average.
    """

    measurements: Sequence[Measurement]
    results: Results
    unavailable: dict[str, str]
    repetitions: int
    background_cores: float


def compare(only: Collection[str], *, repetitions: int, quick: bool, sweep: bool, progress: Progress) -> Comparison:
    """Measure everything. A peer that is missing, or fails, is noted and left out.

    Args:
        only: peers to compare with; empty means all.
        repetitions: how often each measurement is made.
        quick: less time for each, and a smaller crowd.
        sweep: measure over payload sizes too, for the plots.
        progress: called with a line of text before each step.
    """
    wanted = [name for name in PEERS if name != "lunar" and (not only or name in only)]
    unavailable = {name: reason for name in wanted if (reason := PEERS[name].missing()) is not None}
    present = [name for name in wanted if name not in unavailable]
    measurements = plan(present, quick=quick, sweep=sweep)
    if importlib.util.find_spec("uvloop") is None:
        measurements = [each for each in measurements if each.work.loop != "uvloop"]
    results, background = Results(), Background()
    for repetition in range(repetitions):
        results.floors[repetition] = _measure_floors(progress, repetition, repetitions)
        for index, measurement in enumerate(rotated(measurements, repetition)):
            progress(f"[{repetition + 1}/{repetitions}] {index + 1}/{len(measurements)} {measurement.key}")
            _measure(measurement, repetition, results)
    _measure_lunar_alone(results, quick, progress)
    return Comparison(measurements, results, unavailable, repetitions, background.cores())


def _measure(measurement: Measurement, repetition: int, results: Results) -> None:
    try:
        if measurement.kind == "ping-pong":
            measured = run_ping_pong(measurement.peer, measurement.fresh_work())
            results.ping_pongs.setdefault(measurement.key, {})[repetition] = measured
        else:
            stream = run_throughput(measurement.peer, measurement.fresh_work())
            results.streams.setdefault(measurement.key, {})[repetition] = stream
    except RunFailed as error:
        results.failures.append(Failure(measurement.key, repetition, str(error)))


def _measure_floors(progress: Progress, repetition: int, repetitions: int) -> Floors:
    progress(f"[{repetition + 1}/{repetitions}] the machine's floors")
    return Floors(
        spin_us=spin_round_trip_us(),
        memcpy_cached_bytes_per_s=memcpy_bytes_per_s(LARGE_BYTES, 1),
        memcpy_pool_bytes_per_s=memcpy_bytes_per_s(LARGE_BYTES, POOL_CHUNKS),
    )


def _measure_lunar_alone(results: Results, quick: bool, progress: Progress) -> None:
    """What has no counterpart in a peer, once."""
    rounds, publishes = (5, 50) if quick else (15, 100)

    def fan_out() -> None:
        results.fanout = run_fanout(LARGE_BYTES, 32, 8, rounds=rounds, publishes=publishes, loan=False, idle=False)

    def fan_out_loaned() -> None:
        results.fanout_loaned = run_fanout(
            LARGE_BYTES, 32, 8, rounds=rounds, publishes=publishes, loan=True, idle=False
        )

    def start_up() -> None:
        results.start_up = measure_start_up()

    def idle() -> None:
        results.idle = measure_idle(2.0 if quick else 5.0)

    def crowd() -> None:
        results.crowd = measure_crowd(20 if quick else 100)

    for step in (fan_out, fan_out_loaned, start_up, idle, crowd):
        name = step.__name__.replace("_", " ")
        progress(f"lunar alone: {name}")
        try:
            step()
        except RunFailed as error:
            results.failures.append(Failure(name, 0, str(error)))
