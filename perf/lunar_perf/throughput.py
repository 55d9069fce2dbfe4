"""``lunar perf throughput``: one sender, one or more receivers, each in a process of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lunar_perf.host_facts import Place
from lunar_perf.pair import run_pair
from lunar_perf.side import HERE, Side
from lunar_perf.work import Work


@dataclass(frozen=True, slots=True)
class Received:
    """What one receiver counted. Rates are over its own time from the first to the last measured message.

    ``lost`` is counted from the messages' numbers; ``lost_by_cause`` is what the library says, from its start on.
    """

    received: int
    lost: int
    repeated: int
    elapsed_s: float
    msgs_per_s: float
    cpu_s: float
    lost_by_cause: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ThroughputResult:
    """What one throughput run measured.

    Attributes:
        peer: the measured library.
        work: what was asked for.
        sent: measured messages sent, once however many receivers there are.
        subscriptions: each receiver's part.
        sender_cpu_s: CPU time of the sender over the measured part.
        cores: where the sender and the receivers ran.
        note: what a reader has to know about the placement, or empty.
        places: the host of the sender and of all receivers.
        transport: what carried the samples, empty where the library does not say.
        reasons: for each transport, why it was chosen or not.
    """

    peer: str
    work: Work
    sent: int
    subscriptions: tuple[Received, ...]
    sender_cpu_s: float
    cores: tuple[int, ...]
    note: str
    places: tuple[Place, ...] = ()
    transport: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def received(self) -> int:
        """Messages received, over all receivers."""
        return sum(each.received for each in self.subscriptions)

    @property
    def lost(self) -> int:
        """Messages lost, over all receivers."""
        return sum(each.lost for each in self.subscriptions)

    @property
    def msgs_per_s(self) -> float:
        """Received messages a second, over all receivers."""
        return sum(each.msgs_per_s for each in self.subscriptions)

    @property
    def bytes_per_s(self) -> float:
        """Received payload a second, over all receivers."""
        return self.msgs_per_s * self.work.size_bytes

    @property
    def cpu_s(self) -> float:
        """CPU time of all processes over the measured part."""
        return self.sender_cpu_s + sum(each.cpu_s for each in self.subscriptions)


def run_throughput(peer: str, work: Work, sides: tuple[Side, Side] = (HERE, HERE)) -> ThroughputResult:
    """Start the receivers and the sender, and wait for all of them.

    Args:
        peer: the measured library.
        work: what to do.
        sides: where the sender and all receivers run.

    Raises:
        RunFailed: a process failed or gave no result in time.
    """
    run = run_pair(peer, ("send", "receive"), work, sides)
    sender = run.first
    subscriptions = tuple(
        Received(
            received=each.tally.received,
            lost=each.tally.lost(sender.sent),
            repeated=each.tally.repeated,
            elapsed_s=each.tally.elapsed_s,
            msgs_per_s=each.tally.received / each.tally.elapsed_s if each.tally.elapsed_s > 0 else 0.0,
            cpu_s=each.cpu_s,
            lost_by_cause=each.lost_by_cause,
        )
        for each in run.others
    )
    return ThroughputResult(
        peer=peer,
        work=work,
        sent=sender.sent,
        subscriptions=subscriptions,
        sender_cpu_s=sender.cpu_s,
        cores=run.cores,
        note=run.note,
        places=run.places,
        transport=sender.transport,
        reasons=sender.reasons,
    )


def causes_of(result: ThroughputResult) -> dict[str, int]:
    """What the receivers' library says that they lost, by cause, warm-up included."""
    counted: Counter[str] = Counter()
    for each in result.subscriptions:
        counted.update(each.lost_by_cause)
    return dict(counted)
