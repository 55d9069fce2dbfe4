"""``lunar perf ping-pong``: round trips between two processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from lunar_perf.pair import Part, run_parts
from lunar_perf.percentiles import LatencySummary
from lunar_perf.pinning import place
from lunar_perf.side import HERE, Side
from lunar_perf.work import Work

SLOWEST_RTT_S = 0.25
"""Allowed a round trip before a run is given up."""

SHORTEST_S = 10.0


@dataclass(frozen=True, slots=True)
class PingPongResult:
    """What one ping-pong measured.

    Attributes:
        peer: the measured library.
        work: what was asked for.
        rtt_us: round trips, in microseconds.
        cpu_s: CPU time of both processes over the measured part.
        elapsed_s: wall time of the measured part.
        cores: where the ping and the pong ran.
        note: what a reader has to know about the placement, or empty.
        round_trips_ns: every round trip, in order.
    """

    peer: str
    work: Work
    rtt_us: LatencySummary
    cpu_s: float
    elapsed_s: float
    cores: tuple[int, int]
    note: str
    round_trips_ns: list[int] = field(repr=False)


def run_ping_pong(peer: str, work: Work, sides: tuple[Side, Side] = (HERE, HERE)) -> PingPongResult:
    """Start a pong and a ping, one a core, and wait for both.

    Args:
        peer: the measured library.
        work: what to do.
        sides: where the ping and the pong run.

    Raises:
        RunFailed: a side failed or gave no result in time.
    """
    placement = place(1)
    parts = [Part("ping", placement.first, sides[0]), Part("pong", placement.others[0], sides[1])]
    allowed_s = max(SHORTEST_S, (work.warmup + work.count) * SLOWEST_RTT_S)
    ping, pong = run_parts(peer, parts, work, allowed_s)
    return PingPongResult(
        peer=peer,
        work=work,
        rtt_us=LatencySummary.of(ping.round_trips_ns),
        cpu_s=ping.cpu_s + pong.cpu_s,
        elapsed_s=ping.elapsed_s,
        cores=(placement.first, placement.others[0]),
        note=placement.note,
        round_trips_ns=ping.round_trips_ns,
    )
