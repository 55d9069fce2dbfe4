"""Transports that fail, and matches that go on by another one: in memory, without a network."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import lunar
from lunar import QoS, abc, events, testing
from lunar.cli.graph_view import view_topics
from lunar.cli.pairs import Pair, pairs_of
from lunar.config import Config
from lunar.graph import membership
from lunar.graph.network import moves
from lunar.graph.network.engines import EngineHost
from lunar.graph.network.presence import Presence, Surroundings
from lunar.graph.network.reach import Reach

COMPLETE = QoS(history="keep_all", depth=8)
COUNT = 3000

Ends = tuple[lunar.Node, lunar.Node]


@pytest.fixture
def transports() -> tuple[testing.MemoryTransport, testing.MemoryTransport]:
    return testing.MemoryTransport(name="one"), testing.MemoryTransport(name="two")


@pytest.fixture(autouse=True)
def hold_s(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(Reach, "hold_s", 0.2)
    return 0.2


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, transports: tuple[testing.MemoryTransport, ...]) -> None:
    def surroundings_of(_config: Config) -> Surroundings:
        return Surroundings(("127.0.0.1",), ("lo",), testing.MemoryDiscovery, tuple((each, {}) for each in transports))

    monkeypatch.setattr(membership, "surroundings_of", surroundings_of)


@pytest.fixture
async def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surroundings: None) -> AsyncIterator[Ends]:
    nodes = []
    for host in ("a", "b"):
        (tmp_path / host).mkdir(mode=0o700)
        monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(tmp_path / host))
        nodes.append(lunar.Node(host))
    yield nodes[0], nodes[1]
    for node in nodes:
        node.close()


def presence_of(node: lunar.Node) -> Presence:
    presence = node._participant._presence
    assert presence is not None
    return presence


def engine_of(node: lunar.Node, name: str) -> EngineHost:
    return presence_of(node).network.hosts[name]


async def publish(pub: lunar.Publisher[object], count: int = COUNT) -> None:
    for number in range(count):
        await pub.publish(b"%d" % number)


async def receive(sub: lunar.Subscription[memoryview], count: int) -> list[int]:
    return [int(bytes(await sub.receive())) for _ in range(count)]


async def matched(
    ends: Ends, qos: QoS = COMPLETE, topic: str = "log"
) -> tuple[lunar.Publisher[object], lunar.Subscription[memoryview]]:
    pub = ends[0].create_publisher(bytes, topic, qos=qos)
    sub = ends[1].create_subscription(bytes, topic, qos=qos)
    await pub.wait_for_subscribers(timeout_s=10)
    await sub.wait_for_publishers(timeout_s=10)
    return pub, sub


@pytest.mark.parametrize("failing", [0, 1])
async def test_an_engine_that_is_given_up_hands_its_streams_to_another(ends: Ends, failing: int) -> None:
    pub, sub = await matched(ends)
    async with (
        testing.collect(ends[0], events.TransportChanged) as here,
        testing.collect(ends[1], events.TransportChanged) as there,
        testing.collect(ends[1], events.Unmatched) as lost,
    ):
        publishing = asyncio.create_task(publish(pub))
        got = await receive(sub, 50)
        engine_of(ends[failing], "one").fail("it was closed")
        [[told], [heard]] = await here.wait_for(timeout_s=10), await there.wait_for(timeout_s=10)
        got += await receive(sub, COUNT - 50)
        await publishing
        assert lost.events == []
    assert got == list(range(COUNT))
    assert (told.before, told.after) == (heard.before, heard.after) == ("one", "two")
    end = "publisher" if failing == 0 else "subscription"
    assert told.reason == heard.reason == f"the {end}'s process cannot use it: it has failed: it was closed"
    assert told.local.id == pub.id
    assert heard.local.id == sub.id
    assert 0 <= heard.gap_s < 5
    assert (pub.statistics().lost, sub.statistics().lost) == (0, 0)
    assert (pub.subscriber_count, sub.publisher_count) == (1, 1)


async def test_it_is_used_again_after_a_while(ends: Ends) -> None:
    pub, sub = await matched(ends)
    async with testing.collect(ends[1], events.TransportChanged) as there:
        publishing = asyncio.create_task(publish(pub))
        got = await receive(sub, 50)
        engine_of(ends[0], "one").fail("it was closed")
        await there.wait_for(1, timeout_s=10)
        got += await receive(sub, 50)
        _, back = await there.wait_for(2, timeout_s=10)
        got += await receive(sub, COUNT - 100)
        await publishing
    assert got == list(range(COUNT))
    assert (back.before, back.after) == ("two", "one")
    assert back.reason == "one is as good and preferred"


async def test_an_engine_that_raises_has_failed(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    pub, sub = await matched(ends)

    def fail() -> None:
        raise OSError("the card was pulled out")

    async with testing.collect(ends[1], events.TransportChanged) as there:
        publishing = asyncio.create_task(publish(pub))
        got = await receive(sub, 50)
        engine_of(ends[1], "one").engine.call(fail)  # type: ignore[attr-defined]
        [told] = await there.wait_for(timeout_s=10)
        got += await receive(sub, COUNT - 50)
        await publishing
    assert got == list(range(COUNT))
    assert "it has failed: the card was pulled out" in told.reason
    assert "the transport one has failed" in caplog.text


async def test_a_connection_that_is_lost_moves_the_streams_both_ways(
    ends: Ends, transports: tuple[testing.MemoryTransport, ...]
) -> None:
    pub, sub = await matched(ends)
    back = ends[1].create_publisher(bytes, "back", qos=COMPLETE)
    answers = ends[0].create_subscription(bytes, "back", qos=COMPLETE)
    await back.wait_for_subscribers(timeout_s=10)
    await answers.wait_for_publishers(timeout_s=10)
    async with (
        testing.collect(ends[0], events.TransportChanged) as here,
        testing.collect(ends[1], events.TransportChanged) as there,
    ):
        publishing = asyncio.gather(publish(pub), publish(back))
        got, answered = await asyncio.gather(receive(sub, 50), receive(answers, 50))
        transports[0].cut()
        told = (*await here.wait_for(2, timeout_s=10), *await there.wait_for(2, timeout_s=10))
        assert {(each.before, each.after, each.reason) for each in told} == {
            ("one", "two", "unreachable: the cable is out")
        }
        more = await asyncio.gather(receive(sub, COUNT - 100), receive(answers, COUNT - 100))
        transports[0].mend()
        again = (*await here.wait_for(4, timeout_s=10), *await there.wait_for(4, timeout_s=10))
        assert {(each.before, each.after) for each in again} == {("one", "two"), ("two", "one")}
        last = await asyncio.gather(receive(sub, 50), receive(answers, 50))
        await publishing
    assert got + more[0] + last[0] == list(range(COUNT))
    assert answered + more[1] + last[1] == list(range(COUNT))


@pytest.fixture
def one_encrypts(monkeypatch: pytest.MonkeyPatch) -> None:
    def capabilities(self: testing.MemoryTransport) -> abc.Capabilities:
        return abc.Capabilities("network", reliable=True, encrypted=self.name == "one")

    monkeypatch.setattr(testing.MemoryTransport, "capabilities", property(capabilities))


@pytest.mark.usefixtures("one_encrypts")
@pytest.mark.parametrize("way", ["cut", "failed"])
async def test_both_are_told_when_what_was_encrypted_is_not_any_more(
    ends: Ends, transports: tuple[testing.MemoryTransport, ...], way: str
) -> None:
    pub, sub = await matched(ends)
    async with (
        testing.collect(ends[0], events.NotEncrypted) as here,
        testing.collect(ends[1], events.NotEncrypted) as there,
    ):
        publishing = asyncio.create_task(publish(pub))
        got = await receive(sub, 50)
        assert (here.events, there.events) == ([], [])
        if way == "cut":
            transports[0].cut()
        else:
            engine_of(ends[0], "one").fail("it was closed")
        [[told], [heard]] = await here.wait_for(timeout_s=10), await there.wait_for(timeout_s=10)
        got += await receive(sub, COUNT - 50)
        await publishing
    assert got == list(range(COUNT))
    assert (told.transport, told.local.id, heard.transport, heard.local.id) == ("two", pub.id, "two", sub.id)
    assert told.reason == heard.reason
    assert told.reason.startswith("one would be: ")


async def test_it_moves_again_and_again(ends: Ends, transports: tuple[testing.MemoryTransport, ...]) -> None:
    pub, sub = await matched(ends)
    publishing = asyncio.create_task(publish(pub))
    got: list[int] = []
    for turn in range(20):
        transport = transports[turn % 2]
        transport.cut()
        got += await receive(sub, 40)
        transport.mend()
    got += await receive(sub, COUNT - len(got))
    await publishing
    assert got == list(range(COUNT))
    assert (pub.statistics().lost, sub.statistics().lost) == (0, 0)


async def test_where_there_is_no_other_it_waits(ends: Ends, transports: tuple[testing.MemoryTransport, ...]) -> None:
    only = QoS(history="keep_all", depth=8, transport="one")
    pub, sub = await matched(ends, only)
    publishing = asyncio.create_task(publish(pub))
    got = await receive(sub, 50)
    transports[0].cut()
    late = ends[1].create_subscription(bytes, "log", qos=only)
    transports[0].mend()
    await late.wait_for_publishers(timeout_s=10)
    late.close()
    got += await receive(sub, COUNT - 50)
    await publishing
    assert got == list(range(COUNT))


async def test_what_names_its_transport_waits_for_its_engine(ends: Ends) -> None:
    only = QoS(history="keep_all", depth=8, transport="one")
    pub, sub = await matched(ends, only)
    publishing = asyncio.create_task(publish(pub))
    got = await receive(sub, 50)
    for node in ends:
        engine_of(node, "one").fail("it was closed")
    got += await receive(sub, COUNT - 50)
    await publishing
    assert got == list(range(COUNT))


async def test_what_best_effort_loses_is_counted_and_nothing_comes_twice(
    ends: Ends, transports: tuple[testing.MemoryTransport, ...]
) -> None:
    pub, sub = await matched(ends, QoS(reliability="best_effort", depth=COUNT))
    count = 600
    async with testing.collect(ends[1], events.TransportChanged) as there:
        for number in range(count // 3):
            await pub.publish(b"%d" % number)
        transports[0].cut()
        for number in range(count // 3, 2 * count // 3):
            await pub.publish(b"%d" % number)
        await there.wait_for(timeout_s=10)
        for number in range(2 * count // 3, count):
            await pub.publish(b"%d" % number)
        got: list[int] = []
        while not got or got[-1] != count - 1:
            got.append(int(bytes(await sub.receive())))
    assert got == sorted(set(got))
    assert sub.statistics().lost == count - len(got)


async def test_many_subscriptions_move_with_their_stream(ends: Ends) -> None:
    pub, sub = await matched(ends)
    subs = [sub, *(ends[1].create_subscription(bytes, "log", qos=COMPLETE) for _ in range(3))]
    for each in subs:
        await each.wait_for_publishers(timeout_s=10)
    await pub.wait_for_subscribers(4, timeout_s=10)
    publishing = asyncio.create_task(publish(pub))
    got = await asyncio.gather(*(receive(each, 100) for each in subs))
    engine_of(ends[1], "one").fail("it was closed")
    more = await asyncio.gather(*(receive(each, COUNT - 100) for each in subs))
    await publishing
    for first, rest in zip(got, more, strict=True):
        assert first + rest == list(range(COUNT))


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("closing", [0, 1])
async def test_ends_may_close_while_their_stream_moves(ends: Ends, failing: int, closing: int) -> None:
    closed = await matched(ends)
    await publish(closed[0], 5)
    engine_of(ends[failing], "one").fail("it was closed")
    closed[closing].close()
    pub, sub = await matched(ends, topic="next")
    await publish(pub, 5)
    assert await receive(sub, 5) == list(range(5))


async def test_late_joiners_get_the_history_by_the_other_transport(ends: Ends) -> None:
    latched = QoS(durability="transient_local", depth=3)
    pub, sub = await matched(ends, latched)
    await publish(pub, 5)
    async with testing.collect(ends[1], events.TransportChanged) as there:
        engine_of(ends[0], "one").fail("it was closed")
        await there.wait_for(timeout_s=10)
    late = ends[1].create_subscription(bytes, "log", qos=latched)
    assert await receive(late, 3) == [2, 3, 4]
    await pub.publish(b"5")
    assert await receive(late, 1) == [5]
    assert await receive(sub, 3) == [3, 4, 5]


def explained(node: lunar.Node, wanted: int = 1) -> list[Pair]:
    """The pairs of the topic, as soon as so many have a route; it is told a little after the change."""
    while True:
        [topic] = view_topics(node._participant.snapshot(5))
        found = list(pairs_of(topic))
        if sum(pair.route is not None for pair in found) == wanted:
            return found


async def test_what_is_explained_is_what_the_ends_chose(
    ends: Ends, transports: tuple[testing.MemoryTransport, ...]
) -> None:
    await matched(ends)
    async with (
        testing.collect(ends[0], events.TransportChanged) as here,
        testing.collect(ends[1], events.TransportChanged) as there,
    ):
        transports[0].cut()
        [told], [heard] = await here.wait_for(timeout_s=10), await there.wait_for(timeout_s=10)
        late = ends[1].create_subscription(bytes, "log", qos=COMPLETE)
        await late.wait_for_publishers(timeout_s=10)
        for node in ends:
            moved, joined = sorted(explained(node, 2), key=lambda pair: pair.subscription.id == late.id)
            assert (moved.transport, joined.transport) == ("two", "two")
            assert moved.selection.reasons["one"] == "unreachable: the cable is out"
            assert moved.selection == presence_of(node).network.selections[moved.publisher.id, moved.subscription.id]
            assert moved.route is not None
            assert joined.route is not None
            assert (moved.route.before, joined.route.before) == ("one", "")
            assert moved.route.gap_s in {told.gap_s, heard.gap_s}
            assert moved.to_dict()["route"] == moved.route.to_dict()
        transports[0].mend()
        await there.wait_for(3, timeout_s=10)
    for node in ends:
        while {pair.transport for pair in explained(node, 2)} != {"one"}:
            pass


async def test_threads_publish_and_receive_while_their_stream_moves(
    ends: Ends, transports: tuple[testing.MemoryTransport, ...]
) -> None:
    pub, sub = await matched(ends)
    got: list[int] = []
    taken = threading.Semaphore(0)

    def publish_all() -> None:
        for number in range(COUNT):
            pub.publish_blocking(b"%d" % number, timeout_s=20)

    def receive_all() -> None:
        for _ in range(COUNT):
            got.append(int(bytes(sub.receive_blocking(timeout_s=20))))
            taken.release()

    def move() -> None:
        for turn in range(30):
            transports[turn % 2].cut()
            for _ in range(20):
                assert taken.acquire(timeout=20)
            transports[turn % 2].mend()

    await asyncio.gather(*(asyncio.to_thread(each) for each in (publish_all, receive_all, move)))
    assert got == list(range(COUNT))


async def test_where_the_other_transport_has_no_connection_either_the_first_one_is_tried_again(
    ends: Ends, transports: tuple[testing.MemoryTransport, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "_CONNECT_WITHIN_S", 0.1)
    pub, sub = await matched(ends)
    transports[1].cut()  # nobody notices: it carries nothing
    publishing = asyncio.create_task(publish(pub))
    got = await receive(sub, 50)
    transports[0].cut()
    presence = presence_of(ends[0])
    [other] = presence.processes
    while presence.network.reach.reasons(other).keys() != {"one", "two"}:
        ends[0]._participant.snapshot(5)
    transports[0].mend()
    got += await receive(sub, COUNT - 50)
    await publishing
    assert got == list(range(COUNT))
