"""``lunar perf ping-pong``: round trips between two processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lunar_perf.host_facts import Place
from lunar_perf.pair import run_pair
from lunar_perf.percentiles import LatencySummary
from lunar_perf.side import HERE, Side
from lunar_perf.work import Work


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
        places: the host of the ping and of the pong.
        transport: what carried the samples, empty where the library does not say.
        reasons: for each transport, why it was chosen or not.
        round_trips_ns: every round trip, in order.
    """

    peer: str
    work: Work
    rtt_us: LatencySummary
    cpu_s: float
    elapsed_s: float
    cores: tuple[int, ...]
    note: str
    round_trips_ns: list[int] = field(repr=False)
    places: tuple[Place, ...] = ()
    transport: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)


def run_ping_pong(peer: str, work: Work, sides: tuple[Side, Side] = (HERE, HERE)) -> PingPongResult:
    """Start a pong and a ping, one a core, and wait for both.

    Args:
        peer: the measured library.
        work: what to do.
        sides: where the ping and the pong run.

    Raises:
        RunFailed: a side failed or gave no result in time.
    """
    run = run_pair(peer, ("ping", "pong"), work, sides)
    ping = run.first
    return PingPongResult(
        peer=peer,
        work=work,
        rtt_us=LatencySummary.of(ping.round_trips_ns),
        cpu_s=ping.cpu_s + sum(each.cpu_s for each in run.others),
        elapsed_s=ping.elapsed_s,
        cores=run.cores,
        note=run.note,
        round_trips_ns=ping.round_trips_ns,
        places=run.places,
        transport=ping.transport,
        reasons=ping.reasons,
    )
