"""``lunar perf fanout``: what a publish costs with 1 to N subscriptions in M processes.

One topic a number of subscriptions, all open at once, so that every number is measured in every round and drift of the
machine falls on all alike. The publisher's own CPU time is taken, which no other process's work adds to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from lunar_perf.children import START_UP_S, Child, run_children
from lunar_perf.fit import Line
from lunar_perf.floor import memcpy_bytes_per_s
from lunar_perf.pinning import place
from lunar_perf.work import new_channel

SLOWEST_PUBLISH_S = 0.01


@dataclass(frozen=True, slots=True)
class FanoutWork:
    """What is asked for.

    Attributes:
        size_bytes: payload size.
        subscriptions: the largest number of subscriptions.
        processes: over how many processes they are spread.
        rounds: how often every number of subscriptions is measured.
        publishes: per round and number.
        loan: publish untouched loans instead of copying a payload in.
        idle: receivers take nothing (the queues overwrite), so no publish ever wakes anybody.
        channel: unique name of this run.
    """

    size_bytes: int
    subscriptions: int
    processes: int
    rounds: int
    publishes: int
    loan: bool
    idle: bool
    channel: str

    def steps(self) -> list[int]:
        """Numbers of subscriptions to measure: doubling up to the number of processes, then in equal steps."""
        numbers, count = [], 1
        while count < min(self.processes, self.subscriptions):
            numbers.append(count)
            count *= 2
        step = max(self.processes, 1)
        numbers += list(range(step, self.subscriptions + 1, step))
        return numbers if numbers and numbers[-1] == self.subscriptions else [*numbers, self.subscriptions]

    def share(self, process: int, step: int) -> int:
        """How many of ``step`` subscriptions the process with that index opens."""
        return step // self.processes + (1 if process < step % self.processes else 0)

    def topic(self, step: int) -> str:
        """The topic with ``step`` subscriptions."""
        return f"{self.channel}/n{step}"

    def to_json(self) -> str:
        """One line, read back by :meth:`from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> FanoutWork:
        """The inverse of :meth:`to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class FanoutResult:
    """What a fan-out run measured.

    Attributes:
        work: what was asked for.
        publish_us: CPU time of one publish, by number of subscriptions; the median over the rounds.
        per_subscription_us: CPU time of one more subscription in processes that already have one: the slope of a
            straight line through the points at and above ``work.processes``; None with fewer than two such points.
        per_process_us: CPU time of one more process with one subscription, likewise below.
        delivered: samples that the receivers got.
        overwritten: samples that the receivers did not get because the next came first (keep_last).
        pool_bytes: the publisher's memory for the topic with most subscriptions, after the run.
        memcpy_us: one copy of the payload, cycling through as much memory as that, right after the run.
        note: what a reader has to know about the placement, or empty.
    """

    work: FanoutWork
    publish_us: dict[int, float]
    per_subscription_us: float | None
    per_process_us: float | None
    delivered: int
    overwritten: int
    pool_bytes: int
    memcpy_us: float
    note: str


def run_fanout(
    size_bytes: int, subscriptions: int, processes: int, *, rounds: int, publishes: int, loan: bool, idle: bool
) -> FanoutResult:
    """Start the receiving processes and the publisher, and wait for all of them.

    Raises:
        RunFailed: a process failed or gave no result in time.
        ValueError: more processes than subscriptions, or none.
    """
    if not 1 <= processes <= subscriptions:
        raise ValueError(f"{processes} processes for {subscriptions} subscriptions: at least 1, at most one each")
    work = FanoutWork(size_bytes, subscriptions, processes, rounds, publishes, loan, idle, new_channel())
    placement = place(processes)
    module = "lunar_perf.fanout_process"
    children = [
        Child(f"receiver {index}", module, ("receive", str(index), str(core), work.to_json()), ends_run=False)
        for index, core in enumerate(placement.others)
    ]
    publisher = ("publish", "0", str(placement.first), work.to_json())
    children.append(Child("publisher", module, publisher, ends_run=True))
    allowed_s = START_UP_S + processes + rounds * publishes * len(work.steps()) * SLOWEST_PUBLISH_S
    *receivers, published = (json.loads(report) for report in run_children(children, allowed_s))
    return _summarise(work, published, receivers, placement.note)


def _summarise(
    work: FanoutWork, published: Mapping[str, object], receivers: Sequence[Mapping[str, int]], note: str
) -> FanoutResult:
    publish_us = _numbers(published["publish_us"])
    pool_bytes = int(str(published["pool_bytes"]))
    chunks = max(1, pool_bytes // work.size_bytes)
    above = [(count, cost) for count, cost in publish_us.items() if count >= work.processes]
    below = [(count, cost) for count, cost in publish_us.items() if count <= work.processes]
    return FanoutResult(
        work=work,
        publish_us=publish_us,
        per_subscription_us=Line.through(above).slope if len(above) > 1 else None,
        per_process_us=Line.through(below).slope if len(below) > 1 else None,
        delivered=sum(each["received"] for each in receivers),
        overwritten=sum(each["lost"] for each in receivers),
        pool_bytes=pool_bytes,
        memcpy_us=work.size_bytes / memcpy_bytes_per_s(work.size_bytes, chunks) * 1e6,
        note=note,
    )


def _numbers(reported: object) -> dict[int, float]:
    if not isinstance(reported, dict):
        raise TypeError(f"publisher reported {reported!r} instead of a cost for each number of subscriptions")
    return {int(count): float(cost) for count, cost in reported.items()}
