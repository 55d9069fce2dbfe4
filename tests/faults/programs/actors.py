"""Who plays in the kill runs: talkers and listeners that live through them, and a nursery of those that are killed.

Usage: actors.py ROLE MODE SEED, where MODE is how it waits: "lunar", "asyncio", "uvloop" (loops) or "blocking".

Every payload says whose it is, its number and a checksum, so that a torn, foreign, repeated or missing sample shows.
An actor that lives answers "report" on its standard input with a line of JSON, and ends at the end of file.
"""

import asyncio
import ctypes
import json
import os
import random
import signal
import struct
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator
from typing import cast

import lunar
from lunar.loop import LoopKind

HEADER = struct.Struct("<16sQII")  # publisher's tag, number, bytes of the body, checksum of all that
NOISE = random.Random(1).randbytes(1 << 20)
SIZES = (0, 1, 40, 200, 1_000, 4_000, 30_000, 200_000)
LOAD = lunar.QoS(history="keep_all", depth=32)
LATEST = lunar.QoS(history="keep_last", depth=4)
HOLD_AT_MOST = 40


def say(what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def payload(tag: bytes, number: int, chance: random.Random) -> bytes:
    size_bytes = chance.choice(SIZES)
    start = number * 7919 % (len(NOISE) - size_bytes)
    body = NOISE[start : start + size_bytes]
    return HEADER.pack(tag, number, size_bytes, checksum(tag, number, body)) + body


def checksum(tag: bytes, number: int, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(tag + number.to_bytes(8, "little")))


def whole(message: memoryview) -> tuple[bytes, int] | None:
    """The tag and number in a message, or None if it is not what was published."""
    if len(message) < HEADER.size:
        return None
    tag, number, size_bytes, expected = HEADER.unpack_from(message)
    body = message[HEADER.size :]
    return (tag, number) if len(body) == size_bytes and checksum(tag, number, body) == expected else None


class Actor:
    """What talkers and listeners share: a report, the end, and the longest time without progress."""

    def __init__(self) -> None:
        self.ending = threading.Event()
        self.longest_gap_s = 0.0
        self._last: float | None = None

    def progress(self) -> None:
        now = time.monotonic()
        if self._last is not None:
            self.longest_gap_s = max(self.longest_gap_s, now - self._last)
        self._last = now

    def report(self) -> dict[str, object]:
        raise NotImplementedError

    def obey(self) -> None:
        for line in sys.stdin:
            if line.strip() == "finish":
                self.ending.set()
                self.settle()
            else:
                say(self.report())
        os._exit(0)

    def settle(self) -> None:
        """Lets go of what is held."""


class Talker(Actor):
    """Publishes as fast as it may, in every way there is."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.tag = os.urandom(16)
        self.node = lunar.Node(f"talker_{os.getpid()}")
        self.load = self.node.create_publisher(bytes, "load", qos=LOAD)
        self.latest = self.node.create_publisher(bytes, "latest", qos=LATEST)
        self.published = {"load": 0, "latest": 0}
        self.finished = False

    def report(self) -> dict[str, object]:
        statistics = self.load.statistics()
        return {
            "published": self.published["load"],
            "finished": self.finished,
            "longest_gap_s": self.longest_gap_s,
            "pool_bytes": statistics.pool_bytes + self.latest.statistics().pool_bytes,
            "lost": statistics.lost,
            "matches": [len(statistics.matches), len(self.latest.statistics().matches)],
            "held": [match.held for match in statistics.matches],
            "id": self.load.id,
        }

    def next(self, topic: str) -> bytes:
        self.published[topic] += 1
        return payload(self.tag, self.published[topic], self.chance)

    def talk_latest(self) -> None:
        self.progress()
        if self.chance.random() < 0.2:
            self.latest.publish_nowait(self.next("latest"))

    async def talk(self) -> None:
        while not self.ending.is_set():
            form = self.chance.random()
            if form < 0.5:
                await self.load.publish(self.next("load"))
            elif form < 0.8:
                await self.load.publish_all([self.next("load") for _ in range(self.chance.randrange(20))])
            else:
                message = self.next("load")
                async with self.load.loan(len(message)) as buffer:
                    buffer[:] = message
            self.talk_latest()
        self.finished = True
        await asyncio.get_running_loop().create_future()  # the loop stays, so that what it has open can be compared

    def talk_blocking(self) -> None:
        while not self.ending.is_set():
            form = self.chance.random()
            if form < 0.6:
                self.load.publish_blocking(self.next("load"), timeout_s=60)
            else:
                rest = [self.next("load") for _ in range(self.chance.randrange(20))]
                rest = rest[self.load.publish_many(rest) :]
                for message in rest:
                    self.load.publish_blocking(message, timeout_s=60)
            self.talk_latest()
        self.finished = True


class Listener(Actor):
    """Receives everything, checks it, and holds some of it for a while."""

    def __init__(self, seed: int, *, idle: bool = False) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.idle = idle
        self.node = lunar.Node(f"listener_{os.getpid()}")
        self.load = self.node.create_subscription(bytes, "load", qos=LOAD)
        self.latest = self.node.create_subscription(bytes, "latest", qos=LATEST)
        self.faults: list[str] = []
        self.newest: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.first: dict[str, int] = {}
        self.held: deque[memoryview] = deque()

    def report(self) -> dict[str, object]:
        return {
            "faults": self.faults[:20],
            "longest_gap_s": self.longest_gap_s,
            "first": self.first,
            "newest": {key[1]: value[1] for key, value in list(self.newest.items()) if key[0] == "load"},
            "publishers": len(self.first),
            "matches": [self.load.publisher_count, self.latest.publisher_count],
            "lost": self.load.statistics().lost,
            "held": len(self.held),
        }

    def take_all(self, topic: str, samples: list[lunar.Sample[memoryview]]) -> None:
        for sample in samples:
            self.take(topic, sample)

    def take(self, topic: str, sample: lunar.Sample[memoryview]) -> None:
        message, info = sample.message, sample.info
        said = whole(message)
        key = (topic, info.publisher_id)
        if said is None:
            self.faults.append(f"torn: {topic} {info}")
        else:
            self.check(key, said, info.sequence_number)
        if self.chance.random() < 0.05:
            self.held.append(message)
        if len(self.held) > HOLD_AT_MOST:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        if whole(self.held.popleft()) is None:  # its publisher may be dead by now
            self.faults.append("spoilt while held")

    def settle(self) -> None:
        while self.held:
            self.drop_oldest()

    def check(self, key: tuple[str, str], said: tuple[bytes, int], sequence_number: int) -> None:
        tag, number = said
        if number != sequence_number:
            self.faults.append(f"not what was published under this number: {key} {number} {sequence_number}")
        known = self.newest.get(key)
        if known is None:
            if key[0] == "load":
                self.first[key[1]] = number
        elif known[0] != tag or number <= known[1]:
            self.faults.append(f"foreign or repeated: {key} {known[1]} then {number}")
        elif key[0] == "load" and number != known[1] + 1:
            self.faults.append(f"missed: {key} {known[1]} then {number}")
        self.newest[key] = (tag, number)

    async def listen(self) -> None:
        await asyncio.gather(self.hear("load", self.load), self.hear("latest", self.latest))

    async def hear(self, topic: str, subscription: lunar.Subscription[memoryview]) -> None:
        while True:
            if self.idle and self.newest:
                await asyncio.get_running_loop().create_future()
            # As arguments: a name would hold the last burst while we wait for the next.
            self.take_all(topic, await subscription.receive_many(self.chance.randrange(1, 50)))
            if topic == "load":
                self.progress()

    def listen_blocking(self) -> None:
        while True:
            self.take_all("load", self.load.receive_many_blocking(self.chance.randrange(1, 50)))
            self.progress()
            if self.idle:
                threading.Event().wait()
            self.take_all("latest", self.latest.take(10))


def play(role: str, mode: str, seed: int, *, alive: bool) -> None:
    actor = Talker(seed) if role == "talker" else Listener(seed, idle=role == "idle")
    if alive:
        threading.Thread(target=actor.obey, daemon=True).start()
        say("there")
    if mode == "blocking":
        actor.talk_blocking() if isinstance(actor, Talker) else actor.listen_blocking()
    else:
        lunar.run(actor.talk() if isinstance(actor, Talker) else actor.listen(), loop=cast(LoopKind, mode))
    threading.Event().wait()


def orders() -> Iterator[list[str]]:
    for line in sys.stdin:
        yield line.split()


def die_with_parent() -> None:
    """Lets the kernel kill us when whoever started us ends: a test run that is killed leaves nobody behind."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def raise_victims() -> None:
    """Forks an actor per order (far faster than a fresh interpreter), and reaps those that were killed."""
    say("there")
    for what, *arguments in orders():
        if what == "reap":
            say(os.waitstatus_to_exitcode(os.waitpid(int(arguments[0]), 0)[1]))
            continue
        child = os.fork()
        if child:
            say(child)
            continue
        os.close(0)
        die_with_parent()
        role, mode, seed = arguments
        try:
            play(role, mode, int(seed), alive=False)
        finally:
            os._exit(1)


if __name__ == "__main__":
    die_with_parent()
    if sys.argv[1] == "nursery":
        raise_victims()
    else:
        play(sys.argv[1], sys.argv[2], int(sys.argv[3]), alive=True)
