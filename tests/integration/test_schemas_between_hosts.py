"""Schemas between hosts: told to who asks, once, and what depends on one waits for it, but not for long."""

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import lunar
from lunar import abc, events, testing
from lunar.cli.graph_view import view_topics
from lunar.cli.pairs import pairs_of
from lunar.graph.descriptions import EndpointInfo, NodeInfo
from lunar.graph.network import wants
from lunar.graph.schemas import schema_text
from lunar.messages import message_type
from lunar.msgs import Imu
from lunar.publisher import MessagePublisher
from lunar.qos import QoS
from tests.integration.memory_hosts import MemoryHosts


@lunar.message(name="shop.Pose")
class Pose:
    """A version."""

    x: lunar.float32


@lunar.message(name="shop.Pose")
class LaterPose:
    """One that can read it and be read."""

    x: lunar.float32
    y: lunar.float32


@lunar.message(name="shop.Pose")
class OtherPose:
    """One that cannot."""

    x: lunar.int32


def kinds(hosts: MemoryHosts, *wanted: str) -> list[str]:
    """What has ever been posted of these kinds, by all."""
    posted = [json.loads(body)["kind"] for board in hosts.boards for body in list(board.posts)]
    return [kind for kind in posted if kind in wanted]


async def matched(publisher: MessagePublisher[Any], subscription: lunar.Subscription[Any]) -> None:
    await publisher.wait_for_subscribers(timeout_s=10)
    await subscription.wait_for_publishers(timeout_s=10)


async def test_of_types_that_are_the_same_no_schema_is_posted(memory_hosts: MemoryHosts) -> None:
    publisher = memory_hosts.node("a").create_publisher(Imu, "imu")
    subscription = memory_hosts.node("b").create_subscription(Imu, "imu")
    await matched(publisher, subscription)
    lunar.graph_snapshot()
    assert kinds(memory_hosts, "schema", "want") == []


async def test_versions_are_compared_and_matched_with_one_question_each(memory_hosts: MemoryHosts) -> None:
    a, b, c = (memory_hosts.node(host) for host in "abc")
    publisher, subscription = a.create_publisher(Pose, "pose"), b.create_subscription(LaterPose, "pose")
    await matched(publisher, subscription)
    await publisher.publish(Pose(x=1.5))
    assert await subscription.receive() == LaterPose(x=1.5, y=0.0)
    late = c.create_subscription(LaterPose, "pose")  # finds what it needs
    await publisher.wait_for_subscribers(2, timeout_s=10)
    await late.wait_for_publishers(timeout_s=10)
    assert kinds(memory_hosts, "schema") == ["schema", "schema"]
    lunar.graph_snapshot()
    assert not [each for board in memory_hosts.boards for each in board._posted.values() if b'"want"' in each]


async def test_a_tool_gets_the_types_that_it_asks_for(memory_hosts: MemoryHosts) -> None:
    a = memory_hosts.node("a")
    a.create_publisher(Pose, "pose")
    a.create_publisher(Imu, "imu")
    b = memory_hosts.node("b")
    pose_hash, imu_hash = (message_type(each).hash for each in (Pose, Imu))
    assert b._participant.snapshot(5).schemas == {}
    assert kinds(memory_hosts, "schema") == []
    assert list(b._participant.snapshot(5, ("/pose",)).schemas) == [pose_hash]
    assert set(lunar.graph_snapshot(5, types_of=None).schemas) == {pose_hash, imu_hash}
    assert kinds(memory_hosts, "schema") == ["schema", "schema"]


def all_is_done(node: lunar.Node) -> None:
    """Waits until the control thread has done what was asked of it."""
    done = threading.Event()
    node._participant.post(done.set)
    assert done.wait(10)


class Silent(testing.MemoryDiscovery):
    """A process that has a subscription, and tells its schema when its test says so."""

    def __init__(self, message: type, topic: str) -> None:
        self.id = os.urandom(16).hex()
        super().__init__(abc.Site(self.id, 0, ("127.0.0.1",), ("lo",), {}))
        self.hash = message_type(message).hash
        self.text = schema_text(message.__lunar_schema__) or ""  # type: ignore[attr-defined]
        info = EndpointInfo(os.urandom(16).hex(), "subscription", topic, "shop.Pose", self.hash, QoS(), "/silent", 7)
        self.say("process", id=self.id, host="far", host_key="f" * 32, pid=7, uid=3, transports=[], addresses={})
        self.say("node", node=NodeInfo("silent", "/", 7, 3).to_dict())
        self.say("endpoint", endpoint=info.to_dict())

    def say(self, kind: str, **values: object) -> None:
        self.post(os.urandom(16), json.dumps({"kind": kind, **values}).encode())

    def tell(self) -> None:
        self.say("schema", hash=self.hash, text=self.text)

    @property
    def wants(self) -> list[str]:
        """The hashes that it is asked for now."""
        records = [json.loads(body) for each in self._others for body in list(each._posted.values())]
        return [record["hash"] for record in records if record["kind"] == "want" and record["process"] == self.id]


@pytest.fixture
def silent(request: pytest.FixtureRequest) -> Iterator[Silent]:
    """With a version of the type: the test's parameter, or one that does not fit."""
    stranger = Silent(getattr(request, "param", OtherPose), "/pose")
    yield stranger
    stranger.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for as long as usually."""
    monkeypatch.setattr(wants, "_ANSWER_WITHIN_S", 0.1)
    monkeypatch.setattr(wants, "_ASK_NEXT_S", 0.05)


async def test_a_pair_waits_for_its_schema_and_both_ends_are_in_the_graph(
    memory_hosts: MemoryHosts, silent: Silent
) -> None:
    node = memory_hosts.node("a")
    async with testing.collect(node, events.TypeMismatch) as told:
        node.create_publisher(Pose, "pose")
        snapshot = node._participant.snapshot(0.3)
        assert [end.host for end in snapshot.endpoints] == ["", "far"]
        assert snapshot.awaited == {silent.hash}
        [topic] = view_topics(snapshot)
        [pair] = pairs_of(topic)
        assert (pair.transport, pair.disagreement) == (None, "")
        assert f"the schema of shop.Pose ({silent.hash[:8]}) is awaited" in pair.pending
        assert silent.wants == [silent.hash]
        assert told.events == []
        silent.tell()
        [event] = await told.wait_for()
    assert event.differences == ("shop.Pose.x: type changed: ours float32, theirs int32 (incompatible)",)
    assert silent.wants == []


@pytest.mark.usefixtures("impatient")
async def test_who_is_silent_is_not_waited_for_and_may_still_answer(memory_hosts: MemoryHosts, silent: Silent) -> None:
    node = memory_hosts.node("a")
    async with testing.collect(node, events.TypeMismatch) as told:
        subscription = node.create_publisher(Pose, "pose")
        [event] = await told.wait_for()
        assert event.differences == ()
        assert node._participant.snapshot(5).awaited == set()
        assert silent.wants == [silent.hash]
        silent.tell()
        assert len((await told.wait_for(2))[1].differences) == 1
        assert silent.wants == []
    subscription.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("silent", [LaterPose], indirect=True)
async def test_a_late_answer_may_make_a_match(memory_hosts: MemoryHosts, silent: Silent) -> None:
    node = memory_hosts.node("a")
    async with (
        testing.collect(node, events.TypeMismatch) as refused,
        testing.collect(node, events.NoTransport) as agreed,  # the silent one has none
    ):
        node.create_publisher(Pose, "pose")
        await refused.wait_for()
        silent.tell()
        await agreed.wait_for()


@pytest.mark.hostile
@pytest.mark.parametrize("text", ["", "{", "[" * 5000, "null"], ids=["none", "torn", "deep", "null"])
async def test_who_lies_has_no_match_and_is_not_waited_for(
    memory_hosts: MemoryHosts, silent: Silent, text: str
) -> None:
    node = memory_hosts.node("a")
    async with testing.collect(node, events.TypeMismatch) as told:
        node.create_publisher(Pose, "pose")
        all_is_done(node)
        silent.text = text
        silent.tell()
        [event] = await told.wait_for(timeout_s=2.5)
    assert event.differences == ()


async def test_a_want_goes_with_the_last_endpoint_that_needs_it(memory_hosts: MemoryHosts, silent: Silent) -> None:
    node = memory_hosts.node("a")
    publishers = [node.create_publisher(Pose, "pose") for _ in range(2)]
    publishers[0].close()
    all_is_done(node)
    assert silent.wants == [silent.hash]
    publishers[1].close()
    all_is_done(node)
    assert silent.wants == []


@pytest.mark.hostile
async def test_who_asks_again_and_again_gets_each_type_once(memory_hosts: MemoryHosts, silent: Silent) -> None:
    node, other = memory_hosts.node("a"), memory_hosts.node("b")
    node.create_publisher(Imu, "imu")
    async with testing.collect(node, events.PeerFaulted) as told:
        wanted = message_type(Imu).hash
        for number in range(1000):
            hashes = (wanted, f"{number:032x}")
            silent.say("want", process=node._participant.id, hash=hashes[number % 2])
        other._participant.snapshot(5)
        assert kinds(memory_hosts, "schema") == ["schema"]
        for _ in range(2000):
            silent.say("want", process=node._participant.id, hash=wanted)
        [event] = await told.wait_for()
    assert "it asks for more than 2048 schemas at a time" in str(event)
    assert kinds(memory_hosts, "schema") == ["schema"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("silent", [LaterPose], indirect=True)
async def test_a_pair_is_matched_once_although_its_schema_was_learnt_elsewhere(
    memory_hosts: MemoryHosts, silent: Silent
) -> None:
    node = memory_hosts.node("a")
    async with testing.collect(node, events.NoTransport) as agreed:  # the silent one has none
        first = node.create_publisher(Pose, "pose")
        all_is_done(node)
        assert silent.wants == [silent.hash]
        node.create_publisher(LaterPose, "elsewhere")
        await agreed.wait_for()
        assert silent.wants == []
        silent.tell()
        memory_hosts.node("b")._participant.snapshot(5)  # the answer is there by then
        second = node.create_publisher(Pose, "pose")
        assert [event.local.id for event in await agreed.wait_for(2)] == [first.id, second.id]
