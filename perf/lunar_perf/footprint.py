"""``lunar perf footprint``: what Lunar costs while nothing is sent: start-up, an idle node, a crowd of processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lunar_perf.children import START_UP_S, Child, run_children
from lunar_perf.side import HERE, Side
from lunar_perf.work import new_channel

_MODULE = "lunar_perf.footprint_process"
_START_REPEATS = 7
_CROWD_S = 60.0

_IMPORT = "import time; t = time.perf_counter(); import lunar; print(time.perf_counter() - t)"
_NODE = (
    "import time, lunar; t = time.perf_counter(); n = lunar.Node('ready'); print(time.perf_counter() - t); n.close()"
)


@dataclass(frozen=True, slots=True)
class StartUp:
    """Medians over fresh processes, in milliseconds.

    Attributes:
        import_ms: ``import lunar``.
        node_ready_ms: ``lunar.Node(...)``, the first of its process, until it is usable.
    """

    import_ms: float
    node_ready_ms: float


@dataclass(frozen=True, slots=True)
class Idle:
    """A process with a node, a publisher and a subscription that waits for messages that never come.

    Attributes:
        wakeups_per_s: times that any thread of it went back to sleep of its own will, a second.
        cpu_ms_per_s: CPU time, in milliseconds a second.
        threads: how many it has.
        observed_s: for how long.
    """

    wakeups_per_s: float
    cpu_ms_per_s: float
    threads: int
    observed_s: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many processes on one topic, each with a publisher and a subscription, each matched with all.

    Times are in seconds, to when the last of them was matched with all others.

    Attributes:
        processes: how many.
        matches: publisher and subscription pairs, over all processes.
        after_last_start_s: from the start of the last process, its interpreter's start included.
        after_last_ready_s: from when the last process to get so far had its node.
        after_first_start_s: from the start of the first process.
    """

    processes: int
    matches: int
    after_last_start_s: float
    after_last_ready_s: float
    after_first_start_s: float


def measure_start_up() -> StartUp:
    """Import and first node, each in seven fresh processes, after one that leaves compiled modules as installers do.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    return StartUp(_median_ms(_IMPORT), _median_ms(_NODE))


def _median_ms(program: str) -> float:
    command = [sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times_s = [
        float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, env=environment).stdout)
        for _ in range(1 + _START_REPEATS)
    ]
    return statistics.median(times_s[1:]) * 1000


def measure_idle(observe_s: float) -> Idle:
    """Watch an idle node from another process.

    Args:
        observe_s: for how long, after it has been idle for a second.

    Raises:
        RunFailed: it failed.
    """
    channel = new_channel()
    idle = Child("idle node", _MODULE, ("idle", channel), ends_run=False)
    observer = Child("observer", _MODULE, ("observe", str(observe_s), channel), ends_run=True)
    _, report = run_children([idle, observer], observe_s + START_UP_S)
    return Idle(**json.loads(report))


def measure_crowd(processes: int, at_once: bool = False) -> Crowd:
    """Start that many processes and let them all match.

    Args:
        processes: how many.
        at_once: start them as fast as they can be started. Their interpreters then compete for the cores long after
            the last one's start, and that is most of what is measured. Otherwise the next one starts when one has its
            node, two at a time.

    Raises:
        RunFailed: one failed, or not all were matched in a minute.
    """
    return crowd_of([HERE] * processes, at_once)


def crowd_of(sides: Sequence[Side], at_once: bool = False) -> Crowd:
    """The same, with a process on each of ``sides``."""
    channel, processes = new_channel(), len(sides)
    children = [
        Child(f"process {index}", _MODULE, ("crowd", channel, str(processes)), True, side.environment)
        for index, side in enumerate(sides)
    ]
    before_s = time.monotonic()
    reports = [json.loads(report) for report in run_children(children, _CROWD_S, None if at_once else 2)]
    matched_s = max(report["matched_s"] for report in reports)
    return Crowd(
        processes=processes,
        matches=sum(report["subscribers"] for report in reports),
        after_last_start_s=matched_s - max(report["started_s"] for report in reports),
        after_last_ready_s=matched_s - max(report["ready_s"] for report in reports),
        after_first_start_s=matched_s - before_s,
    )


def voluntary_switches(pid: int) -> tuple[int, int]:
    """How often the threads of a process went to sleep of their own will so far, and how many threads it has.

    Raises:
        OSError: no such process.
    """
    switches = [_switches_in(status) for status in of_each_thread(pid, "status")]
    return sum(switches), len(switches)


def of_each_thread(pid: int, file: str) -> list[str]:
    """What the kernel says of each thread of a process in one of its files; of those that end meanwhile, nothing.

    Raises:
        OSError: no such process.
    """
    texts = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            texts.append((task / file).read_text())
    return texts


def _switches_in(status: str) -> int:
    for line in status.splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise OSError("the kernel does not count voluntary context switches")


def process_start_s(pid: int, ticks_per_s: int, stat: str | None = None) -> float:
    """When a process was started, on the monotonic clock's scale (proc(5), starttime; of CLOCK_BOOTTIME).

    Args:
        pid: the process.
        ticks_per_s: ``os.sysconf("SC_CLK_TCK")``.
        stat: text of its stat file, read here when not given.
    """
    text = stat if stat is not None else Path(f"/proc/{pid}/stat").read_text()
    fields: Sequence[str] = text.rsplit(")", 1)[1].split()
    return int(fields[19]) / ticks_per_s - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())
