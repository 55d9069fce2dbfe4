"""Uses a node while the kernel gives it no more descriptors or memory, then lifts the limit and uses it again.

Usage: limited.py descriptors|memory FIRST LAST STEP OTHERS: how much is left, swept over a range, and how many other
subscriptions there are. At each step a node, a publisher and a subscription are made, matched, used by a thread and by
a loop. Each may raise ResourceExhausted (or the interpreter's MemoryError) and nothing else; once the limit is lifted,
everything that exists must work, with nothing lost, and closing must leave nothing behind.
"""

import asyncio
import gc
import itertools
import json
import logging
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lunar

QOS = lunar.QoS(history="keep_all", depth=64)
SIZES = (10, 3_000, 200_000)
AT_ONCE_S = 0.02
SOON_S = 20.0


def say(what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


class Limit:
    def __init__(self, kind: str) -> None:
        self.kind = resource.RLIMIT_NOFILE if kind == "descriptors" else resource.RLIMIT_AS
        self.lifted = resource.getrlimit(self.kind)

    def leave(self, spare: int) -> None:
        self.lift()
        if self.kind == resource.RLIMIT_NOFILE:
            in_use = {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}
            free = (number for number in itertools.count() if number not in in_use)
            most = next(itertools.islice(free, spare, None))
        else:
            most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + spare
        resource.setrlimit(self.kind, (most, self.lifted[1]))

    def lift(self) -> None:
        resource.setrlimit(self.kind, self.lifted)


def held() -> Counter[str]:
    """What is open and mapped, by kind."""
    gc.collect()
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}").split(":[")[0]] += 1
        except FileNotFoundError:
            continue
    found += Counter(line.split()[-2] for line in Path("/proc/self/maps").read_text().splitlines() if "memfd" in line)
    return found


class Attempts:
    """Counts what came of each step; anything but success and those two errors is a failure."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []

    def of(self, step: str, function: Callable[[], object], also: type[Exception] = lunar.ResourceExhausted) -> object:
        try:
            result = function()
        except (lunar.ResourceExhausted, MemoryError, also) as error:
            self.outcomes[f"{step}: {type(error).__name__}"] += 1
            return None
        except BaseException as error:  # noqa: BLE001 - to be reported
            self.failures.append(f"{step}: {type(error).__name__}: {error}")
            return None
        self.outcomes[f"{step}: done"] += 1
        return result


class Use:
    """A node with a publisher and a subscription, and what went through them."""

    def __init__(self, attempts: Attempts, node: lunar.Node) -> None:
        self.attempts = attempts
        self.publisher = node.create_publisher(bytes, "topic", qos=QOS)
        self.subscription = node.create_subscription(bytes, "topic", qos=QOS)
        self.published: list[bytes] = []
        self.received: list[bytes] = []

    def publish(self, size_bytes: int) -> None:
        message = bytes([len(self.published)]) * size_bytes
        self.publisher.publish_nowait(message)
        self.published.append(message)

    def receive(self, timeout_s: float) -> None:
        self.received.append(bytes(self.subscription.receive_blocking(timeout_s=timeout_s)))

    def receive_in_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        async def receive() -> None:
            self.received.append(bytes(await asyncio.wait_for(self.subscription.receive(), AT_ONCE_S)))

        loop.run_until_complete(receive())

    def under_the_limit(self, limit: Limit, spare: int, loop: asyncio.AbstractEventLoop) -> None:
        attempts = self.attempts
        if not attempts.of("match", self.match, lunar.TimeoutError):
            return
        limit.leave(0)
        attempts.of("receive with nothing left", partial(self.receive, AT_ONCE_S), lunar.TimeoutError)
        attempts.of("receive in a loop with nothing left", lambda: self.receive_in_loop(loop), TimeoutError)
        for size_bytes in SIZES:
            attempts.of("publish with nothing left", partial(self.publish, size_bytes))
        limit.leave(spare)
        for size_bytes in SIZES:
            attempts.of("publish", partial(self.publish, size_bytes))
        attempts.of("receive", lambda: self.receive(AT_ONCE_S), lunar.TimeoutError)
        attempts.of("receive in a loop", lambda: self.receive_in_loop(loop), TimeoutError)

    def match(self) -> bool:
        self.subscription.wait_for_publishers_blocking(1, timeout_s=AT_ONCE_S)
        return True

    def with_the_limit_lifted(self, others: int) -> None:
        self.publisher.wait_for_subscribers_blocking(1 + others, timeout_s=SOON_S)
        self.subscription.wait_for_publishers_blocking(1, timeout_s=SOON_S)
        for size_bytes in SIZES:
            self.publish(size_bytes)
        while len(self.received) < len(self.published):
            self.receive(SOON_S)
        if self.received != self.published:
            self.attempts.failures.append("something was lost or changed")


def use(attempts: Attempts, limit: Limit, spare: int, loop: asyncio.AbstractEventLoop, others: int) -> None:
    limit.leave(spare)
    try:
        node = attempts.of("node", lambda: lunar.Node("limited"))
        if not isinstance(node, lunar.Node):
            return
        with node:
            made = attempts.of("endpoints", lambda: Use(attempts, node))
            if isinstance(made, Use):
                made.under_the_limit(limit, spare, loop)
                limit.lift()
                made.with_the_limit_lifted(others)
    finally:
        limit.lift()


def main() -> None:
    limit = Limit(sys.argv[1])
    first, last, step, others = (int(argument) for argument in sys.argv[2:6])
    logging.getLogger("lunar").setLevel(logging.CRITICAL)
    attempts = Attempts()
    loop = lunar.new_event_loop()
    for _ in range(2):  # what is made once is made now
        use(attempts, limit, 1 << 40 if sys.argv[1] == "memory" else 100, loop, others)
    before = held()
    for spare in range(first, last, step):
        use(attempts, limit, spare, loop, others)
        if held() != before:
            attempts.failures.append(f"{spare} left: kept {held() - before}, lost {before - held()}")
            before = held()
    say([attempts.outcomes, attempts.failures])


main()
