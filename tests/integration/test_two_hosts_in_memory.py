"""Two participants of one process that meet over discovery and a transport in memory: all of the graph, no network."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar
import lunar.abc
from lunar import QoS, events, testing
from lunar.cli.graph_view import view_topics
from lunar.cli.pairs import pairs_of
from lunar.config import Config
from lunar.graph import membership
from lunar.graph.network.presence import Surroundings
from lunar.msgs import Header, Imu
from lunar.selection import Selection


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> testing.MemoryTransport:
    made = testing.MemoryTransport()

    def surroundings_of(_config: Config) -> Surroundings:
        return Surroundings(("127.0.0.1",), ("lo",), testing.MemoryDiscovery, ((made, {}),), {"carrier": "no pigeons"})

    monkeypatch.setattr(membership, "surroundings_of", surroundings_of)
    return made


Hosts = Callable[[str], lunar.Node]


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: testing.MemoryTransport) -> Iterator[Hosts]:
    nodes: list[lunar.Node] = []

    def make(host: str) -> lunar.Node:
        directory = tmp_path / host
        directory.mkdir(mode=0o700, exist_ok=True)
        monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(directory))
        nodes.append(lunar.Node(f"node_{len(nodes)}"))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


async def test_samples_cross(on: Hosts) -> None:
    pub = on("a").create_publisher(bytes, "chatter")
    sub = on("b").create_subscription(bytes, "chatter")
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    for number in range(5):
        await pub.publish(b"%d" % number)
    assert [bytes(await sub.receive()) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_both_sides_are_told_of_a_match_and_of_its_end(on: Hosts) -> None:
    here, there = on("a"), on("b")
    async with (
        testing.collect(here, events.Matched) as matched,
        testing.collect(here, events.Unmatched) as unmatched,
        testing.collect(there, events.Matched) as matched_there,
        testing.collect(there, events.Unmatched) as unmatched_there,
    ):
        pub = here.create_publisher(bytes, "chatter")
        sub = there.create_subscription(bytes, "chatter")
        [match] = await matched.wait_for()
        assert match.remote is not None
        assert (match.remote.id, match.remote.host) == (sub.id, socket.gethostname())
        await matched_there.wait_for()
        sub.close()
        await unmatched.wait_for()
        assert pub.subscriber_count == 0
        sub = there.create_subscription(bytes, "chatter")
        await sub.wait_for_publishers(timeout_s=10)
        await pub.wait_for_subscribers(timeout_s=10)
        await pub.publish(b"again")
        assert bytes(await sub.receive()) == b"again"
        pub.close()
        await unmatched_there.wait_for()


async def test_late_joiners_get_the_history_they_ask_for(on: Hosts) -> None:
    latched = QoS(durability="transient_local", depth=3)
    pub = on("a").create_publisher(bytes, "map", qos=latched)
    for number in range(5):
        await pub.publish(b"%d" % number)
    there = on("b")
    late = there.create_subscription(bytes, "map", qos=latched)
    assert [bytes(await late.receive()) for _ in range(3)] == [b"2", b"3", b"4"]
    volatile = there.create_subscription(bytes, "map")
    later = there.create_subscription(bytes, "map", qos=latched)
    await volatile.wait_for_publishers(timeout_s=10)
    assert [bytes(await later.receive()) for _ in range(3)] == [b"2", b"3", b"4"]
    await pub.publish(b"5")
    assert bytes(await volatile.receive()) == b"5"
    assert bytes(await late.receive()) == b"5"


async def test_who_asks_for_no_history_gets_none_even_if_it_comes_first(on: Hosts) -> None:
    pub = on("a").create_publisher(bytes, "map", qos=QoS(durability="transient_local", depth=3))
    await pub.publish(b"old")
    sub = on("b").create_subscription(bytes, "map")
    await sub.wait_for_publishers(timeout_s=10)
    await pub.publish(b"new")
    assert bytes(await sub.receive()) == b"new"


async def test_a_publisher_waits_for_who_keeps_all(on: Hosts) -> None:
    complete = QoS(history="keep_all", depth=4)
    pub = on("a").create_publisher(bytes, "log", qos=complete)
    sub = on("b").create_subscription(bytes, "log", qos=complete)
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    count = 1000
    publishing = asyncio.create_task(_publish(pub, count))
    assert [int(bytes(await sub.receive())) for _ in range(count)] == list(range(count))
    await publishing
    assert pub.statistics().waits > 0
    assert (pub.statistics().lost, sub.statistics().lost) == (0, 0)


async def _publish(pub: lunar.Publisher[object], count: int) -> None:
    for number in range(count):
        await pub.publish(b"%d" % number)


async def test_losses_on_the_way_are_counted_at_both_ends(on: Hosts, transport: testing.MemoryTransport) -> None:
    transport.lose = lambda sequence: sequence % 10 == 0
    careless = QoS(reliability="best_effort", depth=1000)
    here, there = on("a"), on("b")
    pub = here.create_publisher(bytes, "points", qos=careless)
    sub = there.create_subscription(bytes, "points", qos=careless)
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    async with testing.collect(here, events.SamplesLost) as sent, testing.collect(there, events.SamplesLost) as missed:
        for number in range(1, 100):
            await pub.publish(b"%d" % number)
        received = [int(bytes(await sub.receive())) for _ in range(90)]
        assert received == [number for number in range(1, 100) if number % 10]
        for told in (sent, missed):
            while sum(lost.count for lost in told.events) < 9:
                await told.wait_for(len(told.events) + 1)
            assert {lost.cause for lost in told.events} == {"network"}
    assert [match.lost_network for match in pub.statistics().matches] == [9]
    assert sub.statistics().lost_network == 9
    assert (pub.statistics().lost, sub.statistics().lost) == (9, 9)


async def test_many_subscriptions_of_one_process_take_from_one_stream(on: Hosts) -> None:
    pub = on("a").create_publisher(bytes, "chatter")
    there = on("b")
    subs = [there.create_subscription(bytes, "chatter") for _ in range(4)]
    await pub.wait_for_subscribers(4, timeout_s=10)
    for sub in subs:
        await sub.wait_for_publishers(timeout_s=10)
    await pub.publish(b"to all")
    assert [bytes(await sub.receive()) for sub in subs] == [b"to all"] * 4


async def test_a_large_message_crosses(on: Hosts) -> None:
    pub = on("a").create_publisher(bytes, "large")
    sub = on("b").create_subscription(bytes, "large")
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    payload = os.urandom(1 << 20) * 8
    await pub.publish(payload)
    assert bytes(await sub.receive()) == payload


async def test_messages_of_a_class_cross(on: Hosts) -> None:
    pub = on("a").create_publisher(Imu, "imu")
    sub = on("b").create_subscription(Imu, "imu")
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    message = Imu(header=Header(frame_id="base"))
    await pub.publish(message)
    assert await sub.receive() == message


async def test_other_profiles_are_refused_on_both_hosts(on: Hosts) -> None:
    here, there = on("a"), on("b")
    async with (
        testing.collect(here, events.IncompatibleQoS) as told_here,
        testing.collect(there, events.IncompatibleQoS) as told_there,
    ):
        here.create_publisher(bytes, "careless", qos=QoS(reliability="best_effort"))
        there.create_subscription(bytes, "careless")
        await told_here.wait_for()
        await told_there.wait_for()


async def test_other_types_are_refused_on_both_hosts(on: Hosts) -> None:
    here, there = on("a"), on("b")
    async with (
        testing.collect(here, events.TypeMismatch) as told_here,
        testing.collect(there, events.TypeMismatch) as told_there,
    ):
        here.create_publisher(Imu, "typed")
        there.create_subscription(Header, "typed")
        await told_here.wait_for()
        await told_there.wait_for()


async def test_two_versions_of_a_type_are_compared_on_both_hosts(on: Hosts) -> None:
    @lunar.message(name="shop.Pose")
    class Pose:
        x: lunar.float32

    @lunar.message(name="shop.Pose")
    class OldPose:
        x: lunar.int32

    here, there = on("a"), on("b")
    async with (
        testing.collect(here, events.TypeMismatch) as told_here,
        testing.collect(there, events.TypeMismatch) as told_there,
    ):
        here.create_publisher(Pose, "pose")
        there.create_subscription(OldPose, "pose")
        for told, ours, theirs in ((told_here, "float32", "int32"), (told_there, "int32", "float32")):
            [event] = await told.wait_for()
            expected = f"shop.Pose.x: type changed: ours {ours}, theirs {theirs} (incompatible)"
            assert event.differences == (expected,)


async def test_the_graph_shows_the_nodes_of_all_hosts(on: Hosts) -> None:
    here, there = on("a"), on("b")
    sub = there.create_subscription(Imu, "imu")
    pub = here.create_publisher(Imu, "imu")
    await pub.wait_for_subscribers(timeout_s=10)
    graph = here._participant.snapshot(5)
    assert [node.full_name for node in graph.nodes] == ["/node_0", "/node_1"]
    assert {end.id: end.host for end in graph.endpoints} == {sub.id: socket.gethostname(), pub.id: ""}
    assert [node.host for node in graph.nodes] == ["", socket.gethostname()]


async def test_the_graph_tells_what_each_process_can_use_and_misses(on: Hosts) -> None:
    here, there = on("a"), on("b")
    sub = there.create_subscription(bytes, "chatter")
    pub = here.create_publisher(bytes, "chatter")
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    for node in here._participant.snapshot(5).nodes:
        told = {each.name: each.missing for each in node.transports}
        assert told == {"shm": "", "memory": "", "carrier": "no pigeons"}
        assert bool(node.host_key) == bool(node.host)
    assert here._participant.snapshot(5).transports == here._participant.snapshot(5).nodes[0].transports
    presences = [node._participant._presence for node in (here, there)]
    assert [p.network.selections for p in presences if p is not None] == [
        {
            (pub.id, sub.id): Selection(
                "memory",
                {
                    "carrier": "each end's process cannot use it: no pigeons",
                    "memory": "chosen: carries messages with a copy, reach network",
                    "shm": "the two ends are on different hosts, and it reaches only its own",
                },
            )
        }
    ] * 2


async def test_what_is_explained_from_the_graph_is_what_the_ends_chose(on: Hosts) -> None:
    here, there = on("a"), on("b")
    pub = here.create_publisher(bytes, "chatter")
    subs = [
        there.create_subscription(bytes, "chatter", qos=QoS(transport="carrier")),
        there.create_subscription(bytes, "chatter"),
        here.create_subscription(bytes, "chatter"),
    ]
    await pub.wait_for_subscribers(2, timeout_s=10)
    await subs[1].wait_for_publishers(timeout_s=10)
    presence = here._participant._presence
    assert presence is not None
    for node in (here, there):
        [topic] = view_topics(node._participant.snapshot(5))
        pairs = {pair.subscription.id: pair for pair in pairs_of(topic)}
        assert [pairs[sub.id].transport for sub in subs] == [None, "memory", "shm"]
        for sub in subs[:2]:
            assert pairs[sub.id].selection == presence.network.selections[pub.id, sub.id]


class SlowDiscovery(testing.MemoryDiscovery):
    """News take their time, as on a network."""

    def __init__(self, site: lunar.abc.Site) -> None:
        super().__init__(site)
        self._from_s = time.monotonic() + 0.1

    def take(self) -> list[lunar.abc.News]:
        return super().take() if time.monotonic() > self._from_s else []


async def test_who_looks_right_after_joining_sees_other_hosts_too(on: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    on("a").create_publisher(bytes, "chatter")

    def surroundings_of(_config: Config) -> Surroundings:
        return Surroundings(("127.0.0.1",), ("lo",), SlowDiscovery, ())

    monkeypatch.setattr(membership, "surroundings_of", surroundings_of)
    graph = on("b")._participant.snapshot(5)
    assert [node.full_name for node in graph.nodes] == ["/node_0", "/node_1"]


async def test_a_transport_that_is_named_serves(on: Hosts) -> None:
    pub = on("a").create_publisher(bytes, "chatter", qos=QoS(transport="memory"))
    sub = on("b").create_subscription(bytes, "chatter", qos=QoS(datapath="fast"))
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    await pub.publish(b"once")
    assert bytes(await sub.receive()) == b"once"


@pytest.mark.parametrize(
    ("offered", "requested", "reason"),
    [
        ("memory", "dds", "dds, carrier, memory, shm: the publisher asks for memory and the subscription for dds"),
        (None, "carrier", "carrier: each end's process cannot use it: no pigeons; memory, shm: the subscription asks"),
        ("shm", None, "shm: the two ends are on different hosts, and it reaches only its own"),
    ],
)
async def test_ends_without_a_transport_hear_of_it(
    on: Hosts, offered: str | None, requested: str | None, reason: str
) -> None:
    here, there = on("a"), on("b")
    async with testing.collect(here, events.NoTransport) as told, testing.collect(there, events.NoTransport) as heard:
        pub = here.create_publisher(bytes, "chatter", qos=QoS(transport=offered))
        sub = there.create_subscription(bytes, "chatter", qos=QoS(transport=requested))
        [here_told], [there_told] = await told.wait_for(), await heard.wait_for()
    assert here_told.reason == there_told.reason
    assert reason in here_told.reason
    assert (pub.subscriber_count, sub.publisher_count) == (0, 0)


async def test_on_one_host_a_transport_between_hosts_is_refused_at_both_ends(on: Hosts) -> None:
    node = on("a")
    async with testing.collect(node, events.NoTransport) as told:
        pub = node.create_publisher(bytes, "chatter", qos=QoS(transport="memory"))
        sub = node.create_subscription(bytes, "chatter")
        both = await told.wait_for(2)
    assert {event.local.id for event in both} == {pub.id, sub.id}
    assert all("shm: the publisher asks for memory" in event.reason for event in both)
    assert (pub.subscriber_count, sub.publisher_count) == (0, 0)
    served = node.create_subscription(bytes, "local", qos=QoS(transport="shm"))
    other = node.create_publisher(bytes, "local", qos=QoS(transport="shm", datapath="standard"))
    await other.wait_for_subscribers(timeout_s=10)
    await other.publish(b"once")
    assert bytes(await served.receive()) == b"once"


async def test_processes_of_one_host_do_not_use_the_network(on: Hosts) -> None:
    pub = on("a").create_publisher(bytes, "chatter")
    sub = on("a").create_subscription(bytes, "chatter")
    await pub.wait_for_subscribers(timeout_s=10)
    await pub.publish(b"once")
    assert bytes(await sub.receive()) == b"once"
    assert pub.subscriber_count == 1
    presence = pub._participant._presence
    assert presence is not None
    assert not presence.processes


async def test_what_was_published_arrives_though_its_publisher_and_its_node_close(on: Hosts) -> None:
    complete = QoS(history="keep_all", depth=500)
    here = on("a")
    pub = here.create_publisher(bytes, "last_words", qos=complete)
    sub = on("b").create_subscription(bytes, "last_words", qos=complete)
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    for number in range(300):
        pub.publish_nowait(b"%d" % number)
    here.close()
    assert [int(bytes(await sub.receive())) for _ in range(300)] == list(range(300))
