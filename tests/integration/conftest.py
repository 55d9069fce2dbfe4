"""What the tests of the bus share: the event loops they run on, and other processes on the same bus."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

import lunar
from lunar.loop import LoopKind
from lunar.testing import Child
from tests.integration.memory_hosts import MemoryHosts

LOOPS: tuple[LoopKind, ...] = ("lunar", "asyncio", "uvloop")
BUS_CHILD = Path(__file__).with_name("bus_child.py")

StartChild = Callable[..., Child]
Pair = tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]
Connect = Callable[..., Awaitable[Pair]]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Asynchronous tests run on Lunar's loop; those marked `every_loop` also on asyncio's and uvloop's."""
    kinds = LOOPS if item.get_closest_marker("every_loop") else LOOPS[:1]
    return {kind: partial(lunar.new_event_loop, kind) for kind in kinds}


@pytest.fixture
def start_child() -> Iterator[StartChild]:
    """``start_child(name)``: another process with a node of that name; its commands are those of bus_child.py."""
    children: list[Child] = []

    def start(name: str, **environment: str) -> Child:
        child = Child(BUS_CHILD, name, environment=environment)
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()


@pytest.fixture
async def node() -> AsyncIterator[lunar.Node]:
    async with lunar.Node("tested") as node:
        yield node


@pytest.fixture
def connect(node: lunar.Node) -> Connect:
    """``await connect(topic, offered, requested)``: a publisher and a subscription, matched; one profile for both."""

    async def connect(
        topic: str = "chatter", offered: lunar.QoS | None = None, requested: lunar.QoS | None = None
    ) -> Pair:
        publisher = node.create_publisher(bytes, topic, qos=offered)
        subscription = node.create_subscription(bytes, topic, qos=requested or offered)
        await publisher.wait_for_subscribers(1, timeout_s=5)
        await subscription.wait_for_publishers(1, timeout_s=5)
        return publisher, subscription

    return connect


@pytest.fixture
def memory_hosts(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryHosts]:
    """Makes nodes of this process meet as if they were on different hosts."""
    hosts = MemoryHosts(runtime_dir, monkeypatch)
    yield hosts
    hosts.close()
