"""Two participants of one process that meet over discovery and a transport in memory: all of the graph, no network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar
from lunar import testing
from lunar.config import Config
from lunar.graph import membership
from lunar.graph.network.presence import Surroundings


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> testing.MemoryTransport:
    made = testing.MemoryTransport()

    def surroundings_of(_config: Config) -> Surroundings:
        return Surroundings(("127.0.0.1",), ("lo",), testing.MemoryDiscovery, ((made, {}),))

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
