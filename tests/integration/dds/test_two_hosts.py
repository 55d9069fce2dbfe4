"""Two participants of one process that meet over Cyclone DDS on the loopback interface: nodes, from end to end."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lunar_dds import Bulletin, Transport

import lunar
from lunar import events, testing
from lunar.config import Config
from lunar.graph import membership
from lunar.graph.network.presence import Surroundings

GARBAGE = Path(__file__).parent / "garbage_child.py"

Hosts = Callable[[str], lunar.Node]


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, domain: int) -> Iterator[Hosts]:
    nodes: list[lunar.Node] = []

    def surroundings_of(_config: Config) -> Surroundings:
        return Surroundings(("127.0.0.1",), ("lo",), Bulletin, ((Transport(), {}),))

    def make(host: str) -> lunar.Node:
        directory = tmp_path / host
        directory.mkdir(mode=0o700, exist_ok=True)
        monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(directory))
        nodes.append(lunar.Node(f"node_{len(nodes)}"))
        return nodes[-1]

    monkeypatch.setattr(membership, "surroundings_of", surroundings_of)
    monkeypatch.setenv("LUNAR_DOMAIN", str(domain))
    yield make
    for node in nodes:
        node.close()


async def test_samples_of_all_sizes_cross_both_ways(on: Hosts) -> None:
    a, b = on("a"), on("b")
    for here, there, topic in ((a, b, "to_b"), (b, a, "to_a")):
        pub, sub = here.create_publisher(bytes, topic), there.create_subscription(bytes, topic)
        await pub.wait_for_subscribers(timeout_s=10)
        await sub.wait_for_publishers(timeout_s=10)
        for size_bytes in (0, 1, 1000, 100_000, 3_000_000):
            await pub.publish(bytes([size_bytes % 251]) * size_bytes)
            assert bytes(await sub.receive()) == bytes([size_bytes % 251]) * size_bytes


async def test_a_publisher_that_keeps_all_waits_for_the_other_host(on: Hosts) -> None:
    qos = lunar.QoS(history="keep_all", depth=32)
    pub = on("a").create_publisher(bytes, "chatter", qos=qos)
    sub = on("b").create_subscription(bytes, "chatter", qos=qos)
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    sent = 0
    with suppress(lunar.WouldBlock):
        while sent < 10_000:
            pub.publish_nowait(b"%d" % sent)
            sent += 1
    assert 32 <= sent < 10_000
    assert [bytes(await sub.receive()) for _ in range(sent)] == [b"%d" % number for number in range(sent)]


async def test_a_late_joiner_on_the_other_host_gets_history(on: Hosts) -> None:
    qos = lunar.QoS(durability="transient_local", depth=5)
    pub = on("a").create_publisher(bytes, "chatter", qos=qos)
    for number in range(8):
        await pub.publish(b"%d" % number)
    sub = on("b").create_subscription(bytes, "chatter", qos=qos)
    assert [bytes(await sub.receive()) for _ in range(5)] == [b"3", b"4", b"5", b"6", b"7"]


@pytest.mark.hostile
async def test_nonsense_on_the_board_is_refused_and_disturbs_nobody(
    on: Hosts, domain: int, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = on("a"), on("b")
    pub, sub = here.create_publisher(bytes, "chatter"), there.create_subscription(bytes, "chatter")
    await sub.wait_for_publishers(timeout_s=10)
    bodies = ["", "{}", "[]", "null", '{"kind":"process"}', '{"kind":["process"]}', '{"kind":"later"}', "[" * 5000]
    with testing.Child(GARBAGE, str(domain)) as stranger:
        async with testing.collect(here, events.PeerFaulted) as told:
            stranger.call("post", bodies=bodies, count=200, seed=5)
            assert await told.wait_for()
        await pub.publish(b"undisturbed")
        assert bytes(await sub.receive()) == b"undisturbed"
    lunar.graph_snapshot()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
