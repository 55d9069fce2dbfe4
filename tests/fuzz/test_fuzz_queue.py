"""Random words in shared memory, from both sides, while the victim publishes and takes."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

import lunar
from tests.faults.hostile import HEADER_BYTES, WORDS, Hostile, Queue
from tests.faults.victim import Victim, attacked, run
from tests.fuzz.chance import lie, seeds

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

TOPIC = "/scan"
SEGMENT_BYTES = 65536
STEPS = 60


def _qos(chance: random.Random) -> lunar.QoS:
    return lunar.QoS(
        reliability=chance.choice(["reliable", "best_effort"]),
        history=chance.choice(["keep_last", "keep_all"]),
        depth=chance.choice([1, 2, 3, 10, 64]),
        durability=chance.choice(["volatile", "transient_local"]),
        lifespan_s=chance.choice([None, None, 1e-9, 10.0]),
    )


def _scribble(queue: Queue, chance: random.Random) -> None:
    """Writes to any word, mostly to one that means something."""
    if chance.random() < 0.8:
        word = chance.choice(list(WORDS))
        queue.write(word, lie(chance, queue.read(word)))
    else:
        place = chance.randrange(HEADER_BYTES if chance.random() < 0.2 else queue.size_bytes) & ~3
        queue.memory[place : place + 4] = lie(chance, chance.randrange(queue.slots), 32).to_bytes(4, "little")


def _arm(hostile: Hostile, chance: random.Random) -> None:
    """Rearms a bell of its own, or all of them, or spoils the page."""
    place = 8 * chance.randrange(len(hostile.bells) // 8)
    hostile.bells[place : place + 8] = chance.getrandbits(64).to_bytes(8, "little")
    state = int.from_bytes(hostile.bells[64:72], "little")
    hostile.bells[64:72] = ((state + 2) | 1).to_bytes(8, "little") if state < 1 << 63 else bytes(8)


def _subscribe_on(queue: Queue, chance: random.Random) -> None:
    """One step of a subscription that is honest most of the time."""
    tail, head = queue.read("tail"), queue.read("head")
    if head < tail <= head + queue.capacity:
        slot = queue.entry(head)[4]
        queue.write("head", head + 1)
        if chance.random() < 0.9:
            queue.give_back(slot)


def _publish_on(queue: Queue, chance: random.Random, sequence: int) -> None:
    """One step of a publisher that is honest most of the time."""
    tail = queue.read("tail")
    entry = {"where": 0, "size_bytes": 64, "slot": tail % queue.slots}
    if chance.random() < 0.1:
        word = chance.choice(list(entry))
        entry[word] = lie(chance, entry[word], 64 if word == "where" else 32)
    sequence = sequence if chance.random() < 0.97 else lie(chance, sequence)
    queue.write_entry(tail, sequence, time_ns=lie(chance, 10**12), **entry)
    queue.write("tail", (tail + 1) % (1 << 64))


async def _over(victim: Victim, hostile: Hostile) -> None:
    hostile.close()
    await victim.settle()
    victim.faults.clear()


def test_a_random_subscription(runtime_dir: Path, rounds: Callable[[int, int], int]) -> None:
    async def one(victim: Victim, chance: random.Random) -> None:
        publisher = victim.node.create_publisher(bytes, TOPIC, qos=_qos(chance))
        beside = victim.node.create_subscription(bytes, TOPIC, qos=lunar.QoS(reliability="best_effort", depth=STEPS))
        await publisher.wait_for_subscribers(1, 10)
        accepted: list[bytes] = []
        with victim.hostile() as hostile:
            hostile.greet()
            like = hostile.remote(TOPIC, "publisher")["qos"]
            queue = hostile.subscribe(TOPIC, qos={**like, "depth": chance.choice([1, 3, 16, 1000])})
            for step in range(STEPS):
                message = chance.randbytes(chance.choice([8, 100, 5000])) + step.to_bytes(4, "little")
                try:
                    publisher.publish_nowait(message)
                    accepted.append(message)
                except lunar.WouldBlock:
                    _subscribe_on(queue, chance)
                if chance.random() < 0.8:
                    _subscribe_on(queue, chance)
                if chance.random() < 0.15:
                    _scribble(queue, chance)
                _arm(hostile, chance)
                if chance.random() < 0.1:
                    publisher.statistics()
            await _over(victim, hostile)
        received: list[bytes] = []
        while len(received) < len(accepted) and publisher.qos.lifespan_s is None:
            received += [bytes(sample.message) for sample in await beside.receive_many(STEPS)]
        assert received == accepted or publisher.qos.lifespan_s is not None
        assert publisher.subscriber_count == 1
        publisher.close()
        beside.close()

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for _, chance in seeds(rounds(60, 3000)):
                await one(victim, chance)
                await victim.serves(1)

    run(attack())


def _take(subscription: lunar.Subscription[memoryview], publisher: str, chance: random.Random) -> list[memoryview]:
    """Takes a few samples, looks at each, and keeps some."""
    samples = subscription.take(chance.randrange(4))
    for message, info in samples:
        assert len(bytes(message)) <= SEGMENT_BYTES
        assert info.publisher_id == publisher
    return [sample.message for sample in samples if chance.random() < 0.3]


def test_a_random_publisher(runtime_dir: Path, rounds: Callable[[int, int], int]) -> None:
    async def one(victim: Victim, chance: random.Random) -> None:
        qos = _qos(chance).replace(lifespan_s=None)
        subscription = victim.node.create_subscription(bytes, TOPIC, qos=qos)
        with victim.hostile() as hostile:
            hostile.greet()
            theirs = hostile.remote(TOPIC, "subscription")["qos"]
            mine = hostile.announce("publisher", TOPIC, qos={**theirs, "lifespan_s": chance.choice([None, 1e-9, 5.0])})
            hostile.pass_segment(mine, 0, SEGMENT_BYTES)
            queue = hostile.make_queue(chance.choice([1, 4, 64]))
            hostile.offer(mine, TOPIC, queue, waits=chance.random() < 0.5)
            await subscription.wait_for_publishers(1, 10)
            held: list[memoryview] = []
            for sequence in range(1, STEPS):
                if chance.random() < 0.8:
                    _publish_on(queue, chance, sequence)
                if chance.random() < 0.1:
                    _scribble(queue, chance)
                _arm(hostile, chance)
                held += _take(subscription, mine, chance)
                if chance.random() < 0.3:
                    held.clear()
                if chance.random() < 0.1:
                    subscription.statistics()
            await _over(victim, hostile)
        assert all(len(bytes(view)) <= SEGMENT_BYTES for view in held)  # they can still be read
        assert subscription.publisher_count == 0
        subscription.close()

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for _, chance in seeds(rounds(60, 3000)):
                await one(victim, chance)
                await victim.serves(1)

    run(attack())
