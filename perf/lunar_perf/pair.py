"""Runs one measured library: the roles of a run, each in a process of its own on its own core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lunar_perf.children import START_UP_S, Child, run_children
from lunar_perf.outcome import Outcome
from lunar_perf.side import HERE, Side
from lunar_perf.work import Role, Work


@dataclass(frozen=True, slots=True)
class Part:
    """One process of a run."""

    role: Role
    core: int
    side: Side = HERE


def run_parts(peer: str, parts: Sequence[Part], work: Work, measured_s: float) -> list[Outcome]:
    """Run all parts at once and return their outcomes in the order of ``parts``.

    Args:
        peer: name of the measured library.
        parts: the processes; each is given the same ``work``.
        work: what they do.
        measured_s: how long the measured part may take at most, in seconds.

    Raises:
        RunFailed: a process failed or the time is over; all others are ended first.
    """
    children = [
        Child(
            name=f"{peer} {part.role}",
            module="lunar_perf.peer_process",
            arguments=(peer, part.role, str(part.core), work.to_json()),
            ends_run=part.role in ("ping", "receive"),
            environment=part.side.environment,
        )
        for part in parts
    ]
    return [Outcome.from_json(report) for report in run_children(children, measured_s + START_UP_S)]
