"""Processes of several hosts that find each other: how long it takes, and what it sends; and what a process takes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from lunar_perf.children import START_UP_S, Child, run_children
from lunar_perf.footprint import Crowd, crowd_of
from lunar_perf.link_lab import LinkLab, Traffic
from lunar_perf.side import Side

_MODULE = "lunar_perf.footprint_process"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Processes on one topic, spread evenly over hosts, each matched with all.

    Attributes:
        hosts: how many hosts.
        crowd: how many processes, and how long it took.
        traffic: what the hosts sent to each other from the first start to the last end.
    """

    hosts: int
    crowd: Crowd
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process with a node, a publisher and a subscription, a second after they were made; from smaps_rollup.

    Attributes:
        rss_bytes: resident, with what it shares.
        pss_bytes: resident, what it shares divided by the number of those who share.
        private_bytes: resident and its own.
        threads: how many it has.
    """

    rss_bytes: int
    pss_bytes: int
    private_bytes: int
    threads: int


def measure_meeting(lab: LinkLab, processes: int) -> Meeting:
    """Start that many processes, in turn on each host of a lab, and let them all match.

    Raises:
        RunFailed: one failed, or not all were matched in a minute.
    """
    before = lab.traffic()
    crowd = crowd_of([lab.side(index % len(lab.hosts)) for index in range(processes)])
    return Meeting(len(lab.hosts), crowd, lab.traffic().since(before))


def measure_memory(side: Side) -> Memory:
    """Start a process, and have it look at itself.

    Raises:
        RunFailed: it failed.
    """
    child = Child("memory", _MODULE, ("memory",), ends_run=True, environment=side.environment)
    return Memory(**json.loads(run_children([child], START_UP_S)[0]))
