"""A hostile publisher of an honest subscription: every word that it may write, and the geometry it may state."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

import lunar
from lunar import events
from tests.faults.hostile import MIN_SLOTS, Hostile, Queue, queue_bytes
from tests.faults.victim import attacked, run

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

TOPIC = "/scan"
SEGMENT_BYTES = 4096
KEEP_LAST = lunar.QoS(depth=16)
KEEP_ALL = lunar.QoS(history="keep_all", depth=16)
MOST = (1 << 64) - 1
MOST_32 = (1 << 32) - 1

Scribble = Callable[[Queue], None]
Subscription = lunar.Subscription[memoryview]


def _word(word: str, value: int) -> Scribble:
    return lambda queue: queue.write(word, value)


def _publish(queue: Queue, **entry: int) -> None:
    """Publishes a sample by the rules but for what is given."""
    tail = queue.read("tail")
    queue.write_entry(tail, **{"sequence": tail + 1, "size_bytes": 16, "slot": tail % queue.slots, **entry})
    queue.write("tail", tail + 1)


def _entry(**entry: int) -> Scribble:
    return lambda queue: _publish(queue, **entry)


def _tail_ahead(queue: Queue) -> None:
    queue.write("tail", queue.read("head") + queue.capacity + 1)


def _at(offset: int, segment: int = 0) -> int:
    return segment << 40 | offset // 64


LIES: dict[str, tuple[Scribble, str]] = {
    "more samples than fit": (_tail_ahead, "out of range"),
    "as many samples as can be": (_word("tail", MOST), "out of range"),
    "half of that": (_word("tail", 1 << 63), "out of range"),
    "fewer samples than before": (_word("tail", 0), "out of range"),
    "a sample twice": (_entry(sequence=2), "repeated"),
    "a sample without a number": (_entry(sequence=0), "repeated"),
    "a sample behind the segment": (_entry(where=_at(SEGMENT_BYTES + 64)), "outside its segment"),
    "a sample at its very end": (_entry(where=_at(SEGMENT_BYTES), size_bytes=1), "outside its segment"),
    "a sample that reaches beyond it": (_entry(where=_at(SEGMENT_BYTES - 64), size_bytes=65), "outside its segment"),
    "a sample as large as can be": (_entry(size_bytes=MOST_32), "outside its segment"),
    "a sample as far away as can be": (_entry(where=(1 << 40) - 1), "outside its segment"),
    "both": (_entry(where=(1 << 40) - 1, size_bytes=MOST_32), "outside its segment"),
}
LIES_UNDER_KEEP_LAST: dict[str, tuple[Scribble, str]] = {
    "head goes backwards": (_word("head", 0), "out of range"),
    "head is beyond the tail": (_word("head", 100), "out of range"),
    "head is as large as can be": (_word("head", MOST), "out of range"),
}
HARMLESS: dict[str, Scribble] = {
    "no magic any more": _word("magic", 0),
    "another version": _word("version", 2),
    "another capacity": _word("capacity", MOST_32),
    "another number of slots": _word("slots", 0),
    "returns that were not": _word("return_tail", MOST),
    "losses that were not": _word("lost_overwritten", MOST),
    "samples held that were not": _word("lost_held", MOST),
    "expired samples that were not": _word("lost_expired", MOST),
    "another bell of ours": _word("subscription_bell", MOST_32),
    "a life to come": _word("alive_ns", MOST),
    "a sample of no bytes at the very end": _entry(where=_at(SEGMENT_BYTES), size_bytes=0),
    "a slot as large as can be": _entry(slot=MOST_32),
    "a sample of the far future": _entry(time_ns=MOST),
    "a sample of the beginning": _entry(time_ns=0),
}


async def _start(hostile: Hostile, subscription: Subscription) -> Queue:
    """Publishes two samples by the rules, which are received."""
    hostile.greet()
    _, queue = hostile.publish_on(TOPIC, SEGMENT_BYTES)
    await subscription.wait_for_publishers(1, 10)
    _publish(queue)
    _publish(queue)
    assert [bytes(sample.message) for sample in subscription.take(5)] == [bytes(16)] * 2
    return queue


@pytest.mark.parametrize("qos", [KEEP_LAST, KEEP_ALL], ids=["keep_last", "keep_all"])
def test_a_lie_ends_the_match(qos: lunar.QoS, runtime_dir: Path) -> None:
    lies = LIES | LIES_UNDER_KEEP_LAST if qos is KEEP_LAST else LIES

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=qos)
            for name, (lie, reason) in lies.items():
                print(name)
                with victim.hostile() as hostile:
                    queue = await _start(hostile, subscription)
                    lie(queue)
                    assert subscription.take(5) == []
                    await victim.disconnects(hostile, reason)
                assert subscription.publisher_count == 0
                assert not subscription.statistics().matches

    run(attack())


@pytest.mark.parametrize("way", ["receive", "receive_nowait", "receive_blocking", "async for", "callback"])
def test_however_it_is_received(way: str, runtime_dir: Path) -> None:
    """Whoever waits for the next message goes on waiting; the fault is nobody's answer."""
    received: list[bytes] = []

    async def wait(subscription: Subscription) -> None:
        if way == "receive":
            received.append(bytes(await subscription.receive()))
        elif way == "async for":
            async for message in subscription:
                received.append(bytes(message))
                return
        elif way == "receive_nowait":
            with pytest.raises(lunar.WouldBlock):
                subscription.receive_nowait()
        elif way == "receive_blocking":
            with pytest.raises(lunar.TimeoutError):
                subscription.receive_blocking(timeout_s=0.05)

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            callback = (lambda message: received.append(bytes(message))) if way == "callback" else None
            subscription = victim.node.create_subscription(bytes, TOPIC, callback, qos=KEEP_LAST)
            with victim.hostile() as hostile:
                hostile.greet()
                _, queue = hostile.publish_on(TOPIC, SEGMENT_BYTES)
                await subscription.wait_for_publishers(1, 10)
                _tail_ahead(queue)
                waiting = victim.spawn(wait(subscription))
                await victim.disconnects(hostile, "out of range")
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_LAST)
            await publisher.wait_for_subscribers(1, 10)
            publisher.publish_nowait(b"honest")
            await waiting
            await victim.until(lambda: received == [b"honest"] or way in ("receive_nowait", "receive_blocking"))

    run(attack())


def test_what_the_subscription_needs_not_believe(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for qos in (KEEP_LAST, KEEP_ALL):
                subscription = victim.node.create_subscription(bytes, TOPIC, qos=qos)
                for name, scribble in HARMLESS.items():
                    print(name)
                    with victim.hostile() as hostile:
                        queue = await _start(hostile, subscription)
                        scribble(queue)
                        _publish(queue)
                        samples = subscription.take(5)
                        assert bytes(samples[-1].message) == bytes(16)
                        assert samples[-1].info.sequence_number == queue.read("tail")
                        subscription.statistics()
                        del samples
                        await victim.serves(1)
                    await victim.settle()
                subscription.close()

    run(attack())


def test_a_bell_of_the_publishers_that_does_not_exist(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=KEEP_ALL)
            for bell in (1024, MOST_32):
                with victim.hostile() as hostile:
                    queue = await _start(hostile, subscription)
                    queue.write("publisher_bell", bell)
                    queue.write("publisher_waits", 1)
                    _publish(queue)
                    assert len(subscription.take(5)) == 1
                    subscription.take(5)
                    await victim.disconnects(hostile, "not a bell")

    run(attack())


def test_a_segment_that_never_comes_starves_nobody_else(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=KEEP_LAST)
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_LAST)
            await publisher.wait_for_subscribers(1, 10)
            for segment in (1, 2, 4095, 4096, (1 << 24) - 1):
                with victim.hostile() as hostile:
                    hostile.greet()
                    _, queue = hostile.publish_on(TOPIC, SEGMENT_BYTES)
                    await subscription.wait_for_publishers(2, 10)
                    _publish(queue, where=_at(0, segment))
                    for _ in range(3):
                        publisher.publish_nowait(b"honest")
                        assert bytes(await subscription.receive()) == b"honest"
                        assert subscription.take(1) == []
                    assert queue.read("head") == 0
                await victim.settle()
                assert subscription.publisher_count == 1

    run(attack())


def test_samples_outlive_the_peer_that_is_disconnected(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=KEEP_ALL)
            with victim.hostile() as hostile:
                queue = await _start(hostile, subscription)
                queue.write("publisher_waits", 1)
                for _ in range(3):
                    _publish(queue)
                first, second, third = subscription.take(3)
                view = memoryview(first)[4:8]
                del third  # released while the link lives
                lie, reason = LIES["more samples than fit"]
                lie(queue)
                assert subscription.take(1) == []
                await victim.disconnects(hostile, reason)
                del second
            del first
            assert bytes(view) == bytes(4)
            subscription.close()
            del view
            await victim.serves()

    run(attack())


@pytest.mark.parametrize("qos", [KEEP_LAST, KEEP_ALL], ids=["keep_last", "keep_all"])
def test_who_is_gone_publishes_nothing_more(qos: lunar.QoS, runtime_dir: Path) -> None:
    """The queue's memory may outlive the link in a hostile process; what it held at the end is all that counts."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=qos)
            with victim.hostile() as hostile:
                queue = await _start(hostile, subscription)
                _publish(queue)
                _publish(queue)
                hostile.send({"op": "bye"})
                hostile.socket.close()
                await victim.settle()
                assert subscription.publisher_count == 0
                _publish(queue)
                _publish(queue)
                assert len(subscription.take(1)) == 1
                _publish(queue)
                assert len(subscription.take(10)) == 1
                _publish(queue)
                assert subscription.take(10) == []
            await victim.serves()

    run(attack())


def test_samples_that_expire_as_fast_as_they_are_dropped(runtime_dir: Path) -> None:
    """One call drops no more of them than the queue can hold, so the loop turns."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=KEEP_ALL)
            with victim.hostile() as hostile:
                hostile.greet()
                mine = hostile.announce("publisher", TOPIC, qos={**hostile.remote(TOPIC)["qos"], "lifespan_s": 1e-9})
                hostile.pass_segment(mine, 0, SEGMENT_BYTES)
                queue = hostile.make_queue()
                hostile.offer(mine, TOPIC, queue)
                await subscription.wait_for_publishers(1, 10)
                for _ in range(queue.capacity):
                    _publish(queue)
                assert subscription.take(1) == []
                (match,) = subscription.statistics().matches
                assert match.lost_expired == queue.capacity == queue.read("lost_expired")
                await victim.serves()

    run(attack())


def test_a_publisher_of_the_future_stops_no_clock(runtime_dir: Path) -> None:
    """Its sample's time is far ahead. Once it is gone, deadlines and leases are watched over as before."""
    qos = lunar.QoS(depth=16, deadline_s=0.02, liveliness="manual_by_topic", lease_s=0.5)

    def is_ours(event: events.EndpointEvent) -> bool:
        """At the subscription, and of the honest publisher."""
        return event.local.kind == "subscription" and event.remote is not None and event.remote.node_name == "/victim"

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=qos)
            with victim.hostile() as hostile:
                queue = await _start(hostile, subscription)
                _publish(queue, time_ns=MOST)
                queue.write("alive_ns", MOST)
                assert len(subscription.take(1)) == 1
                await victim.outlive(0.1)  # some deadlines
            victim.node.create_publisher(bytes, TOPIC, qos=qos).publish_nowait(b"only one")
            await victim.event(lambda event: isinstance(event, events.DeadlineMissed) and is_ours(event))
            await victim.event(lambda event: isinstance(event, events.LivelinessLost) and is_ours(event))

    run(attack())


# ---- what it states about its queue and its segments -----------------------------------------------------------------

GEOMETRIES: dict[str, tuple[int, int]] = {
    "no power of two": (15, MIN_SLOTS),
    "slots that are no power of two": (16, MIN_SLOTS + 1),
    "fewer slots than ever": (16, 16),
    "more capacity than slots": (2 * MIN_SLOTS, MIN_SLOTS),
}
FIELDS: dict[str, dict[str, object]] = {
    "no capacity": {"capacity": 0},
    "a negative capacity": {"capacity": -16},
    "a capacity of a thousand digits": {"capacity": 10**1000},
    "a capacity in words": {"capacity": "16"},
    "a fractional capacity": {"capacity": 16.0},
    "a true capacity": {"capacity": True},
    "half the capacity": {"capacity": 8},
    "no slots": {"slots": 0},
    "half the slots": {"slots": MIN_SLOTS // 2},
    "slots of a thousand digits": {"slots": 10**1000},
    "no size": {"size_bytes": None},
    "a byte too few": {"size_bytes": queue_bytes(16, MIN_SLOTS) - 1},
    "a byte too many": {"size_bytes": queue_bytes(16, MIN_SLOTS) + 1},
    "a size of a thousand digits": {"size_bytes": 10**1000},
    "no answer whether it waits": {"waits": None},
    "a number for an answer": {"waits": 1},
    "no last sequence number": {"last_sequence": None},
    "a negative one": {"last_sequence": -1},
    "one of 65 bits": {"last_sequence": 1 << 64},
    "no publisher": {"publisher": None},
    "a publisher that was not announced": {"publisher": "00" * 16},
    "a publisher with a very long id": {"publisher": "0" * 100_000},
    "our own subscription as the publisher": {"publisher": "OURS"},
    "no subscription": {"subscription": None},
    "a subscription in a list": {"subscription": ["OURS"]},
    "an unknown operation": {"op": "mismatch"},
}


def test_a_queue_of_odd_geometry(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC)
            for name, (capacity, slots) in GEOMETRIES.items():
                print(name)
                with victim.hostile() as hostile:
                    hostile.greet()
                    mine = hostile.announce("publisher", TOPIC)
                    hostile.offer(mine, TOPIC, hostile.make_queue(capacity, slots))
                    await victim.disconnects(hostile, "attach to a match's queue")
            for name, fields in FIELDS.items():
                print(name)
                with victim.hostile() as hostile:
                    hostile.greet()
                    mine = hostile.announce("publisher", TOPIC)
                    ours = hostile.remote(TOPIC)["id"]
                    hostile.offer(
                        mine,
                        TOPIC,
                        hostile.make_queue(),
                        **{key: ours if value == "OURS" else value for key, value in fields.items()},
                    )
                    await victim.disconnects(hostile)
            for word in ("magic", "version"):
                with victim.hostile() as hostile:
                    hostile.greet()
                    queue = hostile.make_queue()
                    queue.write(word, 0)
                    hostile.offer(hostile.announce("publisher", TOPIC), TOPIC, queue)
                    await victim.disconnects(hostile, "attach to a match's queue")
            assert subscription.publisher_count == 0

    run(attack())


def test_a_match_that_was_not_agreed(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            strict = victim.node.create_subscription(bytes, "/strict", qos=lunar.QoS(durability="transient_local"))

            def twice(hostile: Hostile) -> None:
                mine, queue = hostile.publish_on(TOPIC)
                hostile.offer(mine, TOPIC, queue)

            def another_topic(hostile: Hostile) -> None:
                hostile.offer(hostile.announce("publisher", "/strict"), TOPIC, hostile.make_queue())

            def too_little_offered(hostile: Hostile) -> None:
                mine = hostile.announce("publisher", "/strict", qos=hostile.remote(TOPIC)["qos"])
                hostile.offer(mine, "/strict", hostile.make_queue())

            def another_type(hostile: Hostile) -> None:
                mine = hostile.announce("publisher", TOPIC, type_hash="00" * 16)
                hostile.offer(mine, TOPIC, hostile.make_queue())

            def subscription_as_publisher(hostile: Hostile) -> None:
                mine = hostile.announce("subscription", TOPIC)
                hostile.offer(mine, TOPIC, hostile.make_queue())

            def after_the_end(hostile: Hostile) -> None:
                mine, queue = hostile.publish_on(TOPIC)
                hostile.send({"op": "endpoint_gone", "id": mine})
                hostile.offer(mine, TOPIC, queue)

            for act in (
                twice,
                another_topic,
                too_little_offered,
                another_type,
                subscription_as_publisher,
                after_the_end,
            ):
                print(act.__name__)
                with victim.hostile() as hostile:
                    hostile.greet()
                    act(hostile)
                    await victim.disconnects(hostile, "offers a match|did not announce")
            assert strict.publisher_count == 0

    run(attack())


def test_a_match_for_a_subscription_that_is_gone(runtime_dir: Path) -> None:
    """The offer and the end of the subscription may cross: no fault, and nothing of it is kept."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                mine = hostile.announce("publisher", TOPIC)
                for _ in range(3):
                    hostile.offer(mine, TOPIC, hostile.make_queue(), subscription="00" * 16)
                await victim.serves()

    run(attack())


SEGMENTS: dict[str, dict[str, object]] = {
    "a negative index": {"index": -1},
    "an index beyond the last": {"index": 4096},
    "an index as large as can be": {"index": 1 << 24},
    "an index of a thousand digits": {"index": 10**1000},
    "an index in words": {"index": "1"},
    "no index": {"index": None},
    "no size": {"size_bytes": None},
    "no bytes": {"size_bytes": 0},
    "a negative size": {"size_bytes": -4096},
    "another size": {"size_bytes": 8192},
    "a size of a thousand digits": {"size_bytes": 10**1000},
    "a size larger than the address space": {"size_bytes": 1 << 60},
    "no publisher": {"publisher": None},
    "no name for a publisher": {"publisher": ""},
    "a publisher that was not announced": {"publisher": "00" * 16},
    "a publisher in a list": {"publisher": [1]},
}


def test_a_segment_of_odd_size_or_place(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            for name, fields in SEGMENTS.items():
                print(name)
                with victim.hostile() as hostile:
                    hostile.greet()
                    mine = hostile.announce("publisher", TOPIC)
                    fd = hostile.pass_segment(mine, 0, SEGMENT_BYTES)
                    body = {"op": "segment", "publisher": mine, "index": 1, "size_bytes": SEGMENT_BYTES, **fields}
                    hostile.transport(body, [fd])
                    await victim.disconnects(hostile)
            with victim.hostile() as hostile:
                hostile.greet()
                mine = hostile.announce("publisher", TOPIC)
                hostile.pass_segment(mine, 7, SEGMENT_BYTES)
                hostile.pass_segment(mine, 7, SEGMENT_BYTES)
                await victim.disconnects(hostile, "already there")
            for count in (0, 2):
                with victim.hostile() as hostile:
                    hostile.greet()
                    mine = hostile.announce("publisher", TOPIC)
                    body = {"op": "segment", "publisher": mine, "index": 0, "size_bytes": SEGMENT_BYTES}
                    hostile.transport(body, [hostile.bells_fd] * count)
                    await victim.disconnects(hostile, f"{count} descriptors came")

    run(attack())


def test_a_hostile_publisher_beside_an_honest_one(runtime_dir: Path) -> None:
    """On one subscription: what the honest one publishes arrives, all of it, whatever happens to the other."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC, qos=KEEP_ALL)
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_ALL)
            await publisher.wait_for_subscribers(1, 10)
            numbers = itertools.count()

            async def exchange() -> None:
                sent = [b"%d" % next(numbers) for _ in range(5)]
                await publisher.publish_all(sent)
                received: list[bytes] = []
                while len(received) < 5:
                    samples = await subscription.receive_many(100)
                    received += [bytes(message) for message, info in samples if info.publisher_id == publisher.id]
                assert received == sent

            for name, (lie, reason) in LIES.items():
                print(name)
                with victim.hostile() as hostile:
                    hostile.greet()
                    _, queue = hostile.publish_on(TOPIC, SEGMENT_BYTES)
                    await subscription.wait_for_publishers(2, 10)
                    _publish(queue)
                    _publish(queue)
                    while queue.read("head") < 2:
                        await exchange()
                    lie(queue)
                    await exchange()
                    await victim.disconnects(hostile, reason)
            (match,) = publisher.statistics().matches
            assert match.lost_overwritten == match.lost_held == 0

    run(attack())
