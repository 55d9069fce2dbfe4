"""``lunar perf compare --link``: Lunar and its peers between two hosts of a lab, interleaved, several times over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lunar_perf.children import RunFailed
from lunar_perf.link_lab import LinkLab, open_lab
from lunar_perf.link_meeting import Meeting, Memory, measure_meeting, measure_memory
from lunar_perf.link_plan import LinkMeasurement, link_plan
from lunar_perf.machine import Background
from lunar_perf.peer import LINK_PEERS
from lunar_perf.ping_pong import run_ping_pong
from lunar_perf.plan import rotated
from lunar_perf.results import Failure, Results
from lunar_perf.side import Side
from lunar_perf.throughput import run_throughput

Progress = Callable[[str], None]

CROWD_HOSTS = 3
_USUAL_MTU, _LONG_MTU = 1500, 9000


@dataclass(slots=True)
class LinkResults:
    """What was measured so far.

    Attributes:
        runs: round trips and streams.
        pairs: two processes on two hosts that meet, by repetition.
        crowd: many that meet on three hosts, or None if that failed.
        memory: a process with range host and one with range network, by repetition.
    """

    runs: Results = field(default_factory=Results)
    pairs: dict[int, Meeting] = field(default_factory=dict)
    crowd: Meeting | None = None
    memory: dict[int, tuple[Memory, Memory]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkComparison:
    """What was measured, and what could not be; see :class:`lunar_perf.compare.Comparison`."""

    measurements: Sequence[LinkMeasurement]
    results: LinkResults
    unavailable: dict[str, str]
    repetitions: int
    background_cores: float


def compare_link(
    *, repetitions: int, quick: bool, sweep: bool, progress: Progress, crowd: int | None = None
) -> LinkComparison:
    """Measure everything. A peer that is missing, or fails, is noted and left out.

    Args:
        repetitions: how often each measurement is made.
        quick: less time for each, and a smaller crowd.
        sweep: measure over payload sizes too, for the plots.
        progress: called with a line of text before each step.
        crowd: how many processes meet on three hosts; None: 50, or with ``quick`` 12.

    Raises:
        lunar.LunarError: there can be no lab here; the text says why.
    """
    wanted = [name for name in LINK_PEERS if name != "lunar"]
    unavailable = {name: reason for name in wanted if (reason := LINK_PEERS[name].missing()) is not None}
    measurements = link_plan([name for name in wanted if name not in unavailable], quick=quick, sweep=sweep)
    results, background = LinkResults(), Background()
    with open_lab(2) as lab:
        for repetition in range(repetitions):
            for index, measurement in enumerate(rotated(measurements, repetition)):
                progress(f"[{repetition + 1}/{repetitions}] {index + 1}/{len(measurements)} {measurement.key}")
                _measure(lab, measurement, repetition, results.runs)
            progress(f"[{repetition + 1}/{repetitions}] two hosts that meet, and memory")
            _meet(lab, repetition, results)
    count = crowd or (12 if quick else 50)
    progress(f"{count} processes that meet on {CROWD_HOSTS} hosts")
    with open_lab(CROWD_HOSTS) as lab:
        try:
            results.crowd = measure_meeting(lab, count)
        except RunFailed as error:
            results.runs.failures.append(Failure(f"{count} processes on {CROWD_HOSTS} hosts", 0, str(error)))
    return LinkComparison(measurements, results, unavailable, repetitions, background.cores())


def sides_of(lab: LinkLab, measurement: LinkMeasurement) -> tuple[Side, Side]:
    """Where the two processes of a measurement run."""
    match measurement.place:
        case "link" | "link, MTU 9000" | "link, xdp over UDP":
            return lab.sides()
        case "link, encrypted":
            return lab.sides(curve=True)
        case "one host":
            return lab.side(0, "host"), lab.side(0, "host")
        case "one host, range network":
            return lab.side(0), lab.side(0)


def _measure(lab: LinkLab, measurement: LinkMeasurement, repetition: int, results: Results) -> None:
    sides = sides_of(lab, measurement)
    work = measurement.fresh_work(sides[0].address)
    try:
        lab.hosts.set_mtu(_LONG_MTU if measurement.place == "link, MTU 9000" else _USUAL_MTU)
        if measurement.kind == "ping-pong":
            measured = run_ping_pong(measurement.peer, work, sides)
            results.ping_pongs.setdefault(measurement.key, {})[repetition] = measured
        else:
            stream = run_throughput(measurement.peer, work, sides)
            results.streams.setdefault(measurement.key, {})[repetition] = stream
    except RunFailed as error:
        results.failures.append(Failure(measurement.key, repetition, str(error)))


def _meet(lab: LinkLab, repetition: int, results: LinkResults) -> None:
    try:
        results.pairs[repetition] = measure_meeting(lab, 2)
    except RunFailed as error:
        results.runs.failures.append(Failure("two hosts that meet", repetition, str(error)))
    try:
        results.memory[repetition] = (measure_memory(lab.side(0, "host")), measure_memory(lab.side(0)))
    except RunFailed as error:
        results.runs.failures.append(Failure("memory", repetition, str(error)))
