"""A measured process: ``python -m lunar_perf.peer_process PEER ROLE CORE WORK``, started by :mod:`lunar_perf.pair`."""

from __future__ import annotations

import sys
import threading

from lunar_perf.child import begin, tell
from lunar_perf.meter import Meter
from lunar_perf.outcome import Outcome
from lunar_perf.peer import NoMatch, Peer, load
from lunar_perf.work import Role, Work, role_of


def perform(peer: Peer, role: Role, work: Work, done: threading.Event) -> Outcome:
    """Do one side's part."""
    meter, outcome = Meter(), Outcome()
    match role:
        case "ping":
            outcome.round_trips_ns = peer.ping(work, meter).tolist()
        case "pong":
            peer.pong(work, meter, done)
        case "send":
            outcome.sent = peer.send(work, meter, done)
        case "receive":
            outcome.tally = peer.receive(work, meter)
    outcome.cpu_s, outcome.elapsed_s = meter.cpu_s, meter.elapsed_s
    outcome.transport, outcome.reasons = meter.transport, meter.reasons
    outcome.lost_by_cause = meter.lost_by_cause
    return outcome


def main(arguments: list[str]) -> int:
    """Arguments: peer, role, core, work as JSON."""
    peer_name, role, core, work = arguments
    done, report = begin(int(core))
    try:
        outcome = perform(load(peer_name), role_of(role), Work.from_json(work), done)
    except NoMatch as error:
        print(error, file=sys.stderr)  # nothing went wrong here that a traceback would explain
        return 1
    tell(report, outcome.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
