"""A process of a fan-out run: ``python -m lunar_perf.fanout_process publish|receive INDEX CORE WORK``."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import threading
import time

import lunar
from lunar_perf.child import begin, tell
from lunar_perf.fanout import FanoutWork
from lunar_perf.payload import pattern

MATCH_S = 20.0
TAKE_S = 20.0
SETTLE_PUBLISHES = 20


async def publish(work: FanoutWork) -> dict[str, object]:
    """Measure every number of subscriptions in turn, ``work.rounds`` times."""
    async with lunar.Node("fanout_publisher") as node:
        publishers = {step: node.create_publisher(bytes, work.topic(step)) for step in work.steps()}
        for step, pub in publishers.items():
            await pub.wait_for_subscribers(step, timeout_s=MATCH_S)
        payload = pattern(work.size_bytes)
        costs_us: dict[int, list[float]] = {step: [] for step in publishers}
        for _ in range(work.rounds):
            for step, pub in publishers.items():
                _publish(pub, work, payload, SETTLE_PUBLISHES)
                costs_us[step].append(_publish(pub, work, payload, work.publishes))
                await asyncio.sleep(0)
        if not work.idle:
            await asyncio.to_thread(_wait_until_taken, list(publishers.values()))
        largest = publishers[max(publishers)].statistics()
    return {
        "publish_us": {step: statistics.median(costs) for step, costs in costs_us.items()},
        "pool_bytes": largest.pool_bytes,
    }


def _publish(pub: lunar.Publisher[object], work: FanoutWork, payload: bytes, count: int) -> float:
    """CPU time of one publish in microseconds, the mean over ``count``."""
    size, loan, publish_nowait = work.size_bytes, pub.loan, pub.publish_nowait
    before_ns = time.thread_time_ns()
    if work.loan:
        for _ in range(count):
            with loan(size):
                pass
    else:
        for _ in range(count):
            publish_nowait(payload)
    return (time.thread_time_ns() - before_ns) / count / 1000


def _wait_until_taken(publishers: list[lunar.Publisher[object]]) -> None:
    """Returns when no subscription has anything queued, so that what they then count is all there was."""
    deadline_s = time.monotonic() + TAKE_S
    while any(match.queued for pub in publishers for match in pub.statistics().matches):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not every sample was taken within {TAKE_S:g} s")
        time.sleep(0.001)


async def receive(work: FanoutWork, index: int, done: threading.Event) -> dict[str, object]:
    """Open this process's share of every topic's subscriptions, and take what comes until the run is over."""
    async with lunar.Node(f"fanout_receiver_{index}") as node:
        subscriptions = [
            node.create_subscription(bytes, work.topic(step), None if work.idle else _ignore)
            for step in work.steps()
            for _ in range(work.share(index, step))
        ]
        await asyncio.to_thread(done.wait)
        figures = [sub.statistics() for sub in subscriptions]
    return {"received": sum(each.received for each in figures), "lost": sum(each.lost for each in figures)}


def _ignore(message: memoryview) -> None:
    pass


def main(arguments: list[str]) -> int:
    """Arguments: part, index, core, work as JSON."""
    part, index, core, text = arguments
    done, report = begin(int(core))
    work = FanoutWork.from_json(text)
    result = lunar.run(publish(work) if part == "publish" else receive(work, int(index), done))
    tell(report, json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
