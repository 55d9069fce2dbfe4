"""Records of processes on other hosts that are right but for something: taken in or refused, never an exception.

Each record that there is is spoilt as a hostile, a broken or a newer process could: any value, anywhere, by any other.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar
from lunar import QoS, abc, testing
from lunar.msgs import Imu
from tests.fuzz.chance import junk, seeds, spoil
from tests.integration.memory_hosts import MemoryHosts

pytestmark = [pytest.mark.hostile]

MANUAL = QoS(liveliness="manual_by_topic", lease_s=60)
Record = dict[str, object]


@lunar.message(name="shop.Pose")
class Pose:
    """A version of a type: who has another is to be asked for it."""

    x: lunar.float32


@lunar.message(name="shop.Pose")
class LaterPose:
    """Another one."""

    x: lunar.float32
    y: lunar.float32


@pytest.fixture
def hosts(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryHosts]:
    hosts = MemoryHosts(runtime_dir, monkeypatch)
    yield hosts
    hosts.close()


def ends(node: lunar.Node) -> list[lunar.Publisher[object] | lunar.Subscription[object]]:
    """Of each kind and of several types, so that whoever posts the like has something to match with."""
    return [
        node.create_publisher(bytes, "chatter", qos=MANUAL),
        node.create_subscription(bytes, "chatter", qos=MANUAL),
        node.create_publisher(Imu, "imu"),
        node.create_subscription(Imu, "imu"),
    ]


class Stranger(testing.MemoryDiscovery):
    """A process that posts what others have posted, in its own name and spoilt."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.id = chance.randbytes(16).hex()
        super().__init__(abc.Site(self.id, 0, ("127.0.0.1",), ("lo",), {}))

    def post_all(self, records: list[Record], victim_process: str, victim_ids: list[str]) -> None:
        """Posts each once, some of them spoilt, in any order."""
        types = [str(record["hash"]) for record in records if record["kind"] == "schema"]
        renamed = json.loads(self._rename(json.dumps(records)))
        own_ids = [each["endpoint"]["id"] for each in renamed if each["kind"] == "endpoint"]
        for victim_id in victim_ids:
            own_id = self.chance.choice(own_ids)
            renamed.append({"kind": "refusal", "by": own_id, "of": victim_id, "reason": "because"})
            for name, process in (("memory", victim_process), ("memory", own_id), ("zmq", victim_process)):
                reach = {"kind": "unreachable", "process": process, "transport": name, "reason": "no connection"}
                renamed.append(reach)
            renamed.append({"kind": "sign", "publisher": own_id, "count": 1, "age_ns": 5})
        for wanted in (*types, self.chance.randbytes(16).hex()):
            renamed.append({"kind": "want", "process": victim_process, "hash": wanted})
        if self.chance.random() < 0.5:  # the process first, as it should be: else the others are looked at only with it
            self.chance.shuffle(renamed)
        for number in range(5):
            renamed.append(renamed[number % len(renamed)])  # said again, maybe otherwise
        for record in renamed:
            key = self.chance.randbytes(16)
            self.post(key, self._body(record))
            if self.chance.random() < 0.3:
                self.post(key, self._body(record))
            if self.chance.random() < 0.1:
                self.withdraw(key)

    def _rename(self, text: str) -> str:
        types = {record["endpoint"]["type_hash"] for record in json.loads(text) if record["kind"] == "endpoint"}
        for identity in sorted({word for word in text.split('"') if len(word) == 32} - types):
            text = text.replace(identity, self.chance.randbytes(16).hex())
        return text

    def _body(self, record: Record) -> bytes:
        match self.chance.randrange(40):
            case 0:
                return json.dumps(junk(self.chance)).encode()
            case 1:
                return self.chance.randbytes(self.chance.randrange(200))
            case 2:  # the same name twice
                text = json.dumps(record)
                return f'{text[:-1]},"kind":{json.dumps(junk(self.chance))}}}'.encode()
            case 3:
                return b'{"kind":' + b"[" * self.chance.choice([10, 900, 3000, 100_000])
            case 4 | 5 | 6:
                return json.dumps(spoil(self.chance, record)).encode()
        return json.dumps(record).encode()


async def test_no_record_disturbs_those_who_talk(
    hosts: MemoryHosts, rounds: Callable[[int, int], int], caplog: pytest.LogCaptureFixture
) -> None:
    victim, honest = hosts.node("a"), hosts.node("b")
    mine, theirs = ends(victim), ends(honest)
    publisher, subscription = victim.create_publisher(bytes, "talk"), honest.create_subscription(bytes, "talk")
    await publisher.wait_for_subscribers(timeout_s=5)
    for end in (*mine, *theirs):
        if isinstance(end, lunar.Publisher):
            await end.wait_for_subscribers(2, timeout_s=5)
    poses, later_poses = victim.create_publisher(Pose, "pose"), honest.create_subscription(LaterPose, "pose")
    await poses.wait_for_subscribers(timeout_s=5)
    await later_poses.wait_for_publishers(timeout_s=5)
    records: list[Record] = [json.loads(body) for body in hosts.boards[1].posts]
    assert {record["kind"] for record in records} == {"process", "node", "schema", "endpoint", "want"}
    for _seed, chance in seeds(rounds(30, 2000)):
        strangers = [Stranger(chance) for _ in range(20)]
        for stranger in strangers:
            stranger.post_all(records, victim._participant.id, [end.id for end in mine])
        lunar.graph_snapshot()  # the control threads have seen all of it by then
        for stranger in strangers:
            stranger.close()
        await publisher.publish(b"still here")
        async with asyncio.timeout(10):
            assert bytes(await subscription.receive()) == b"still here"
    failed = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert not failed, caplog.text[-3000:]
