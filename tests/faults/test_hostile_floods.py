"""A peer that asks for more than its share: of memory, descriptors, mappings or time."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.hostile import Hostile, Operation, make_memory
from tests.faults.victim import attacked, run

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

TOPIC = "/scan"


def _flood(hostile: Hostile, operations: Iterator[Operation], packet_bytes: int = 60_000) -> None:
    """Sends operations in packets as large as an honest peer's, until they end or the victim hangs up."""
    texts: list[bytes] = []
    for operation in operations:
        texts.append(json.dumps(operation).encode())
        if sum(map(len, texts)) > packet_bytes:
            try:
                hostile.socket.send(b"[" + b",".join(texts) + b"]")
            except (BrokenPipeError, ConnectionResetError):
                return
            texts.clear()


def _nodes(count: int) -> Iterator[Operation]:
    for number in range(count):
        endpoints: list[object] = []
        node = {"name": f"n{number}", "namespace": "/", "pid": 1, "uid": 0, "endpoints": endpoints}
        yield {"op": "node", "node": node}


def _endpoints(hostile: Hostile, kind: str, count: int, **changes: object) -> Iterator[Operation]:
    like = hostile.endpoint(kind, TOPIC, **changes)
    for _ in range(count):
        yield {"op": "endpoint", "endpoint": {**like, "id": uuid.uuid4().hex}}


def test_a_million_nodes(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            with victim.hostile() as hostile:
                hostile.greet()
                await asyncio.to_thread(_flood, hostile, _nodes(1_000_000))
                await victim.disconnects(hostile, "more than 1024 nodes")

    run(attack())


@pytest.mark.parametrize("kind", ["publisher", "subscription"])
@pytest.mark.parametrize("topic", [TOPIC, "/elsewhere"])
def test_a_million_endpoints(kind: str, topic: str, runtime_dir: Path) -> None:
    """Whether they match anything of ours or not."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            publisher = victim.node.create_publisher(bytes, TOPIC)
            await publisher.wait_for_subscribers(1, 10)
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.socket.settimeout(60)
                reading = threading.Thread(target=_discard, args=[hostile])
                reading.start()
                operations = _endpoints(hostile, kind, 1_000_000, topic=topic)
                await asyncio.to_thread(_flood, hostile, operations)
                await victim.fault("more than 4096 endpoints|does not read")
                await asyncio.to_thread(reading.join)
                await victim.serves()
            assert publisher.subscriber_count == 1

    run(attack())


def _discard(hostile: Hostile) -> None:
    """Reads whatever comes, and closes what comes with it, until the end."""
    while hostile.receive():
        for operation, fds in hostile.inbox:
            if operation["op"] == "endpoint":
                continue
            while fds:
                os.close(fds.pop())
        hostile.inbox = [(operation, fds) for operation, fds in hostile.inbox if operation["op"] == "endpoint"]


def test_endless_coming_and_going(runtime_dir: Path, rounds: Callable[[int, int], int]) -> None:
    """Endpoints that match, are gone, and come again: the others get their turn all the while, and new ones too."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                like = hostile.endpoint("subscription", TOPIC)
                over = threading.Event()

                def come_and_go() -> Iterator[Operation]:
                    while not over.is_set():
                        yield {"op": "endpoint", "endpoint": like}
                        yield {"op": "endpoint_gone", "id": like["id"]}

                reading = threading.Thread(target=_discard, args=[hostile])
                sending = threading.Thread(target=_flood, args=[hostile, come_and_go()])
                reading.start()
                sending.start()
                try:
                    for _ in range(rounds(3, 50)):
                        subscription = victim.node.create_subscription(bytes, TOPIC)
                        await subscription.wait_for_publishers(1, 20)
                        publisher.publish_nowait(b"in between")
                        assert bytes(await subscription.receive()) == b"in between"
                        subscription.close()
                        await victim.serves()
                finally:
                    over.set()
                    sending.join()
                    hostile.send({"op": "?"})
                    reading.join()
                await victim.disconnects(hostile, "unknown operation|does not read")

    run(attack())


def test_nudges_without_end(runtime_dir: Path) -> None:
    """A nudge makes us look at the directory: one a connection, and none from whom we know."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            with victim.hostile() as hostile:
                hostile.send(*[{"op": "nudge"}] * 6000)
                await victim.disconnects(hostile, "nudges")
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.send({"op": "nudge"})
                await victim.disconnects(hostile, "nudges")
            with victim.hostile() as hostile:
                hostile.send({"op": "nudge"})
            await victim.serves()

    run(attack())


def test_more_segments_than_anybody_has(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                publishers = [hostile.announce("publisher", TOPIC) for _ in range(8)]
                fd = hostile.owns(make_memory(4096))
                for number in range(8 * 4096):
                    hostile.pass_segment(publishers[number % 8], number // 8, 4096, fd)
                    if victim.faults:
                        break
                    if not number % 64:
                        await asyncio.sleep(0)
                await victim.disconnects(hostile, "more than 4096 segments")

    run(attack())


def test_more_memory_than_anybody_has(runtime_dir: Path) -> None:
    """Segments of 4 GiB each that cost their owner nothing, but us address space."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                mine = hostile.announce("publisher", TOPIC)
                hostile.pass_segment(mine, 0, (1 << 32) + 4096)
                await victim.disconnects(hostile, "'size_bytes'")
            with victim.hostile() as hostile:
                hostile.greet()
                mine = hostile.announce("publisher", TOPIC)
                fd = hostile.owns(make_memory(1 << 32))
                for index in range(2000):
                    hostile.pass_segment(mine, index, 1 << 32, fd)
                    if victim.faults:
                        break
                    await asyncio.sleep(0)
                await victim.disconnects(hostile, "more than 4398046511104 bytes")

    run(attack())


def test_segments_may_come_and_go(runtime_dir: Path) -> None:
    """The bound is on what is there at once."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                fd = hostile.owns(make_memory(1 << 32))
                for _ in range(3):
                    mine = hostile.announce("publisher", TOPIC)
                    for index in range(400):
                        hostile.pass_segment(mine, index, 1 << 32, fd)
                    hostile.send({"op": "endpoint_gone", "id": mine})
                await victim.settle()
                await victim.serves()

    run(attack())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_that_only_we_would_touch(runtime_dir: Path) -> None:
    """Segments, queues and depths that cost a hostile peer nothing must not fill our memory either."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            publisher = victim.node.create_publisher(bytes, TOPIC)
            await publisher.wait_for_subscribers(1, 10)
            with victim.hostile() as hostile:
                hostile.greet()
                before_bytes = _resident_bytes()
                mine = hostile.announce("publisher", TOPIC)
                fd = hostile.owns(make_memory(1 << 20))
                for index in range(200):
                    hostile.pass_segment(mine, index, 1 << 20, hostile.owns(make_memory(1 << 20)))
                del fd
                qos = {**hostile.remote(TOPIC)["qos"], "depth": 1_000_000}
                for _ in range(20):
                    hostile.subscribe(TOPIC, qos=qos)
                await victim.settle()
                assert publisher.subscriber_count == 21
                publisher.publish_nowait(b"to all of them")
                assert _resident_bytes() - before_bytes < 50 << 20
            await victim.settle()
            await victim.serves()

    run(attack())


def test_who_never_reads_is_hung_up_on(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it should read waits in our outbox, but neither without end nor with all of our descriptors."""
    limit = 1000
    monkeypatch.setattr(os, "sysconf", lambda _: limit)

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                before = most = len(os.listdir("/proc/self/fd"))
                for operation in _endpoints(hostile, "subscription", 2000):
                    hostile.send(operation)
                    most = max(most, len(os.listdir("/proc/self/fd")))
                await victim.fault("does not read what it is sent")
                assert most - before < limit * 2 // 3
                await victim.serves()
            assert publisher.subscriber_count == 0

    run(attack())


def test_more_connections_than_a_process_has(runtime_dir: Path) -> None:
    """A process has one link with us; a few may be on their way up or down, but not a thousand."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            before = len(os.listdir("/proc/self/fd"))
            held = [victim.hostile() for _ in range(100)]
            try:
                await victim.settle()
                theirs = 100 * 5  # a socket, bells, mapped, an ear and a mouth
                assert len(os.listdir("/proc/self/fd")) - before - theirs < 50
                await victim.serves()
                assert await asyncio.to_thread(_come_late) == 0
            finally:
                for hostile in held:
                    hostile.close()
            await victim.settle()
            with victim.hostile() as again:
                again.greet()
                await victim.serves()

    run(attack())


def _come_late() -> int:
    return subprocess.run([sys.executable, "-c", LATECOMER], timeout=30, check=False).returncode


LATECOMER = """
import lunar

with lunar.Node("latecomer") as node:
    publisher = node.create_publisher(bytes, "/honest/down", qos=lunar.QoS(history="keep_all", depth=64))
    publisher.wait_for_subscribers_blocking(1, 10)
"""
