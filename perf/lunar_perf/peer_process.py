"""A measured process: ``python -m lunar_perf.peer_process PEER ROLE CORE WORK``, started by :mod:`lunar_perf.pair`.

It pins itself before it imports the library, so that the library's threads inherit the core; does its role; and writes
one JSON line. It lives no longer than its parent: when standard input closes, it exits.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass, field
from typing import TextIO

from lunar_perf.meter import Meter
from lunar_perf.peer import Peer, load
from lunar_perf.pinning import pin
from lunar_perf.sequence import Tally
from lunar_perf.work import Role, Work


@dataclass(slots=True)
class Outcome:
    """What one process reports.

    Attributes:
        cpu_s: CPU time of the measured part.
        elapsed_s: wall time of the measured part.
        round_trips_ns: a ping's measurements, in order.
        sent: measured messages of a sender.
        tally: what a receiver saw.
    """

    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    round_trips_ns: list[int] = field(default_factory=list)
    sent: int = 0
    tally: Tally = field(default_factory=Tally)

    def to_json(self) -> str:
        """One line, read back by :meth:`from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """The inverse of :meth:`to_json`."""
        fields = json.loads(text)
        return cls(**(fields | {"tally": Tally(**fields["tally"])}))


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
    return outcome


def lifeline() -> threading.Event:
    """Watch standard input: anything that comes sets the event returned, its end ends this process at once.

    So a busy loop cannot outlive whoever started it.
    """
    done = threading.Event()

    def watch() -> None:
        while os.read(0, 4096):
            done.set()
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return done


def private_stdout() -> TextIO:
    """Standard output for the report alone: what a library prints goes to standard error instead."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return report


def main(arguments: list[str]) -> int:
    """Arguments: peer, role, core, work as JSON."""
    peer_name, role, core, work = arguments
    pin(int(core))
    done = lifeline()
    report = private_stdout()
    outcome = perform(load(peer_name), _role(role), Work.from_json(work), done)
    print(outcome.to_json(), file=report, flush=True)
    return 0


def _role(text: str) -> Role:
    match text:
        case "ping" | "pong" | "send" | "receive":
            return text
    raise ValueError(f"role {text!r}: one of ping, pong, send, receive")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
