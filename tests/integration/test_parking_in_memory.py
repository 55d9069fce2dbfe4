"""A process that vanishes from the board for a while, and what was on its way to it: in memory, without a network."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import lunar
from lunar import QoS, abc, events, testing
from lunar.config import Config
from lunar.graph import membership
from lunar.graph.network import network
from lunar.graph.network.presence import Surroundings

COMPLETE = QoS(history="keep_all", depth=4)
COUNT = 200


class Board(testing.MemoryDiscovery):
    """One that the others can lose sight of, as they do when a cable is out."""

    def vanish(self) -> None:
        self._tell(abc.News(self._source, b"", None))

    def reappear(self) -> None:
        for key, body in list(self._posted.items()):
            self._tell(abc.News(self._source, key, body))


Pair = tuple[lunar.Node, lunar.Node]


@pytest.fixture
def boards() -> list[Board]:
    return []


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boards: list[Board]) -> AsyncIterator[Pair]:
    made = testing.MemoryTransport()

    def board(site: abc.Site) -> Board:
        boards.append(Board(site))
        return boards[-1]

    def surroundings_of(_config: Config) -> Surroundings:
        return Surroundings(("127.0.0.1",), ("lo",), board, ((made, {}),))

    monkeypatch.setattr(membership, "surroundings_of", surroundings_of)
    nodes = []
    for host in ("a", "b"):
        (tmp_path / host).mkdir(mode=0o700)
        monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(tmp_path / host))
        nodes.append(lunar.Node(host))
    yield nodes[0], nodes[1]
    for node in nodes:
        node.close()


async def publish(pub: lunar.Publisher[object], first: int = 0) -> None:
    for number in range(first, COUNT):
        await pub.publish(b"%d" % number)


async def test_what_may_not_be_lost_goes_on_where_it_was(pair: Pair, boards: list[Board]) -> None:
    here, there = pair
    pub = here.create_publisher(bytes, "log", qos=COMPLETE)
    sub = there.create_subscription(bytes, "log", qos=COMPLETE)
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    async with (
        testing.collect(here, events.Unmatched) as lost_here,
        testing.collect(there, events.Unmatched) as lost_there,
        testing.collect(there, events.LivelinessLost) as dead,
    ):
        publishing = asyncio.create_task(publish(pub))
        got = [int(bytes(await sub.receive())) for _ in range(20)]
        for board in boards:
            board.vanish()
        for seen in (lost_here, lost_there, dead):
            await seen.wait_for(timeout_s=10)
        assert (pub.subscriber_count, publishing.done()) == (0, False)
        for board in boards:
            board.reappear()
        got += [int(bytes(await sub.receive())) for _ in range(COUNT - 20)]
        await publishing
    assert got == list(range(COUNT))
    assert (pub.statistics().lost, sub.statistics().lost) == (0, 0)
    assert (pub.subscriber_count, sub.publisher_count) == (1, 1)


async def test_only_one_side_may_have_lost_sight(pair: Pair, boards: list[Board]) -> None:
    here, there = pair
    pub = here.create_publisher(bytes, "log", qos=COMPLETE)
    sub = there.create_subscription(bytes, "log", qos=COMPLETE)
    await sub.wait_for_publishers(timeout_s=10)
    async with testing.collect(there, events.Unmatched) as lost:
        publishing = asyncio.create_task(publish(pub))
        got = [int(bytes(await sub.receive())) for _ in range(20)]
        boards[0].vanish()
        await lost.wait_for(timeout_s=10)
        boards[0].reappear()
        got += [int(bytes(await sub.receive())) for _ in range(COUNT - 20)]
        await publishing
    assert got == list(range(COUNT))


async def test_it_may_vanish_again_and_again(pair: Pair, boards: list[Board]) -> None:
    here, there = pair
    pub = here.create_publisher(bytes, "log", qos=COMPLETE)
    subs = [there.create_subscription(bytes, "log", qos=COMPLETE) for _ in range(2)]
    for sub in subs:
        await sub.wait_for_publishers(timeout_s=10)
    publishing = asyncio.create_task(publish(pub))
    got: list[list[int]] = [[], []]
    for count in (10, 10, 10, 10, 10, COUNT - 50):
        # Together: who may lose nothing waits for the slower one.
        received = await asyncio.gather(*(_receive(sub, count) for sub in subs))
        for numbers, more in zip(got, received, strict=True):
            numbers.extend(more)
        for board in boards:
            board.vanish()
            board.reappear()
    await publishing
    assert got == [list(range(COUNT))] * 2


async def _receive(sub: lunar.Subscription[memoryview], count: int) -> list[int]:
    return [int(bytes(await sub.receive())) for _ in range(count)]


async def test_nobody_waits_for_ever(pair: Pair, boards: list[Board], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_PARK_S", 0.1)
    here, there = pair
    pub = here.create_publisher(bytes, "log", qos=COMPLETE)
    there.create_subscription(bytes, "log", qos=COMPLETE)
    await pub.wait_for_subscribers(timeout_s=10)
    publishing = asyncio.create_task(publish(pub))
    for board in boards:
        board.vanish()
    await asyncio.wait_for(publishing, 20)
    assert pub.statistics().matches == ()


async def test_a_publisher_may_close_meanwhile(pair: Pair, boards: list[Board]) -> None:
    here, there = pair
    pub = here.create_publisher(bytes, "log", qos=COMPLETE)
    sub = there.create_subscription(bytes, "log", qos=COMPLETE)
    await pub.wait_for_subscribers(timeout_s=10)
    async with testing.collect(here, events.Unmatched) as lost:
        for board in boards:
            board.vanish()
        await lost.wait_for(timeout_s=10)
        pub.close()
        sub.close()
        for board in boards:
            board.reappear()
    again, other = here.create_publisher(bytes, "log"), there.create_subscription(bytes, "log")
    await again.wait_for_subscribers(timeout_s=10)
    await other.wait_for_publishers(timeout_s=10)
    await again.publish(b"new")
    assert bytes(await other.receive()) == b"new"
