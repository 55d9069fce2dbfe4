"""Random packets: whatever arrives over a link, the victim lives, serves the honest peer, and keeps nothing of it."""

import contextlib
import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar
from tests.faults.hostile import MIN_SLOTS, Hostile, Operation, make_memory, queue_bytes
from tests.faults.victim import attacked, run
from tests.fuzz.chance import lie, seeds, spoil

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

TOPIC = "/scan"
SEGMENT_BYTES = 4096


@contextlib.contextmanager
def _descriptors(chance: random.Random, count: int) -> Iterator[list[int]]:
    made = [_descriptor(chance) for _ in range(count)]
    try:
        yield made
    finally:
        for fd in made:
            os.close(fd)


def _descriptor(chance: random.Random) -> int:
    match chance.randrange(10):
        case 0:
            return os.open(chance.choice(["/dev/null", "/dev/zero", "/", "/proc/self/maps"]), os.O_RDONLY)
        case 1:
            return socket.socket(socket.AF_UNIX, chance.choice([socket.SOCK_STREAM, socket.SOCK_DGRAM])).detach()
        case 2:
            reading, writing = os.pipe()
            os.close(writing)
            return reading
        case 3:
            return make_memory(SEGMENT_BYTES, 0)
        case 4:
            return make_memory(lie(chance, SEGMENT_BYTES, 24))
        case 5 | 6:
            return make_memory(queue_bytes(16, MIN_SLOTS))
        case _:
            return make_memory(SEGMENT_BYTES)


def _operations(hostile: Hostile, chance: random.Random) -> Iterator[tuple[Operation, int]]:
    """What an honest peer says in a lifetime, with the number of descriptors that come along; more or less in order."""
    publisher, subscription = hostile.endpoint("publisher", TOPIC), hostile.endpoint("subscription", TOPIC)
    theirs = hostile.remote(TOPIC, "subscription")["id"]
    segment = {"op": "segment", "publisher": publisher["id"], "index": 0, "size_bytes": SEGMENT_BYTES}
    match = {
        "op": "match",
        "publisher": publisher["id"],
        "subscription": theirs,
        "capacity": 16,
        "slots": MIN_SLOTS,
        "size_bytes": queue_bytes(16, MIN_SLOTS),
        "waits": False,
        "last_sequence": 0,
    }
    node = {"name": "hostile", "namespace": "/", "pid": 1, "uid": 0, "endpoints": [publisher]}
    lifetime: list[tuple[Operation, int]] = [
        ({"op": "node", "node": node}, 0),
        ({"op": "endpoint", "endpoint": publisher}, 0),
        ({"op": "endpoint", "endpoint": subscription}, 0),
        ({"op": "transport", "transport": "shm", "body": segment}, 1),
        ({"op": "transport", "transport": "shm", "body": match}, 1),
        (hostile.hello(), 2),
        ({"op": "nudge"}, 0),
        ({"op": "synced"}, 0),
        ({"op": "endpoint_gone", "id": publisher["id"]}, 0),
        ({"op": "node_gone", "name": "/hostile"}, 0),
        ({"op": "bye"}, 0),
    ]
    for operation, count in lifetime:
        if chance.random() < 0.3:
            yield chance.choice(lifetime)
        elif chance.random() < 0.8:
            yield operation, count


def _say(hostile: Hostile, chance: random.Random, operations: list[tuple[Operation, int]]) -> None:
    """Sends one packet, spoilt more or less."""
    packet: list[object] = []
    descriptors = 0
    for operation, count in operations:
        spoilt = spoil(chance, operation) if chance.random() < 0.4 else operation
        if isinstance(spoilt, dict) and (count or chance.random() < 0.05) and chance.random() < 0.95:
            spoilt = {**spoilt, "fds": count if chance.random() < 0.9 else lie(chance, count, 3)}
        descriptors += count if chance.random() < 0.95 else chance.randrange(4)
        packet.append(spoilt)
    text = json.dumps(packet).encode()
    if chance.random() < 0.05:
        place = chance.randrange(len(text))
        text = text[:place] + chance.randbytes(chance.randrange(4)) + text[place + chance.randrange(3) :]
    if len(text) < 130_000 or chance.random() < 0.1:
        with _descriptors(chance, descriptors) as fds, contextlib.suppress(OSError):
            hostile.send_raw(text, fds)


def test_random_packets(runtime_dir: Path, rounds: Callable[[int, int], int]) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC)
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=lunar.QoS(durability="transient_local"))
            publisher.publish_nowait(b"something to replay")
            await publisher.wait_for_subscribers(1, 10)
            for _, chance in seeds(rounds(80, 5000)):
                with victim.hostile() as hostile:
                    if chance.random() < 0.9:
                        hostile.greet()
                        operations = list(_operations(hostile, chance))
                    else:
                        operations = [({"op": "nudge"}, 0), (hostile.hello(), 2), ({"op": "synced"}, 0)]
                    while operations:
                        size = chance.randrange(1, 5)
                        _say(hostile, chance, operations[:size])
                        del operations[:size]
                        publisher.publish_nowait(b"in between")
                        subscription.take(3)
                await victim.settle()
                await victim.serves(1)
                victim.faults.clear()
            assert publisher.subscriber_count == subscription.publisher_count == 1

    run(attack())


def test_random_bytes(runtime_dir: Path, rounds: Callable[[int, int], int]) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for _, chance in seeds(rounds(40, 2000)):
                with victim.hostile() as hostile:
                    if chance.random() < 0.5:
                        hostile.greet()
                    alphabet = chance.choice([bytes(range(256)), b'[]{}":,0123456789.eE-tfn\\u ', b"[", b'{"op":'])
                    packet = bytes(chance.choice(alphabet) for _ in range(chance.randrange(1, 2000)))
                    with _descriptors(chance, chance.randrange(3)) as fds:
                        hostile.send_raw(packet, fds)
                    await victim.disconnects(hostile)

    run(attack())
