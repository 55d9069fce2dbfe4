"""A hostile subscription of an honest publisher: every word that it may write, and some that it may not."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import lunar
from tests.faults.hostile import Hostile, Queue
from tests.faults.victim import Victim, attacked, run

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

TOPIC = "/scan"
KEEP_LAST = lunar.QoS(depth=4)
KEEP_ALL = lunar.QoS(history="keep_all", depth=4)
MOST = (1 << 64) - 1

Scribble = Callable[[Queue], None]
Publisher = lunar.Publisher[object]


def _word(word: str, value: int) -> Scribble:
    return lambda queue: queue.write(word, value)


def _head_beyond_the_tail(queue: Queue) -> None:
    queue.write("head", queue.read("tail") + 1000)


def _return_of_what_was_never_lent(queue: Queue) -> None:
    queue.give_back(queue.slots - 1)


def _return_of_no_slot(queue: Queue) -> None:
    queue.give_back(queue.slots)


def _return_of_a_huge_slot(queue: Queue) -> None:
    queue.give_back((1 << 32) - 1)


def _return_twice(queue: Queue) -> None:
    entry = queue.take()
    assert entry is not None
    queue.give_back(entry[4])
    queue.give_back(entry[4])


def _return_of_more_than_there_are(queue: Queue) -> None:
    queue.write("return_tail", queue.read("return_tail") + queue.slots + 1)


LIES: dict[str, Scribble] = {
    "head goes backwards": _word("head", 0),
    "head is beyond the tail": _head_beyond_the_tail,
    "head is as large as can be": _word("head", MOST),
    "head is half of that": _word("head", 1 << 63),
    "a slot that was never lent": _return_of_what_was_never_lent,
    "a slot that does not exist": _return_of_no_slot,
    "a slot as large as can be": _return_of_a_huge_slot,
    "a slot returned twice": _return_twice,
    "more slots than there are": _return_of_more_than_there_are,
    "as many slots as can be": _word("return_tail", MOST),
    "a bell that does not exist": _word("subscription_bell", 1024),
    "a bell as large as can be": _word("subscription_bell", MOST),
}
# What the publisher has written itself, it does not believe when it stands in shared memory.
IGNORED: dict[str, Scribble] = {
    "no magic": _word("magic", 0),
    "another version": _word("version", 99),
    "a huge capacity": _word("capacity", 1 << 31),
    "no slots": _word("slots", 0),
    "another tail": _word("tail", MOST),
    "losses that were not": _word("lost_overwritten", MOST),
    "samples held that were not": _word("lost_held", MOST),
    "a life to come": _word("alive_ns", MOST),
    "another bell of the publisher's": _word("publisher_bell", MOST),
    "a publisher that waits": _word("publisher_waits", MOST),
    "all of them expired": _word("lost_expired", MOST),
    "another subscription's bell": _word("subscription_bell", 1023),
}


async def _subscribe(hostile: Hostile, publisher: Publisher) -> Queue:
    """Subscribes, and takes and gives back like an honest peer for a while."""
    hostile.greet()
    queue = hostile.subscribe(TOPIC)
    await publisher.wait_for_subscribers(1, 10)
    for _ in range(3 * queue.capacity):
        publisher.publish_nowait(b"warm")
        entry = queue.take()
        assert entry is not None
        queue.give_back(entry[4])
    return queue


async def _publish_until_found_out(victim: Victim, publisher: Publisher) -> None:
    """A lie is found out by the next look at the word that it stands in; some are looked at every 16 messages only."""
    for _ in range(64):
        publisher.publish_nowait(b"next")
        await victim.settle()
        if victim.faults:
            return
    pytest.fail("nobody noticed")


@pytest.mark.parametrize("held", [0, 3])
def test_a_lie_under_keep_last(held: int, runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_LAST)
            for name, lie in LIES.items():
                print(name)
                with victim.hostile() as hostile:
                    queue = await _subscribe(hostile, publisher)
                    for _ in range(2 + held):
                        publisher.publish_nowait(b"before")
                    for _ in range(held):
                        queue.take()
                    lie(queue)
                    await _publish_until_found_out(victim, publisher)
                    await victim.disconnects(hostile)
                assert publisher.subscriber_count == 0
                assert not publisher.statistics().matches

    run(attack())


def test_a_lie_under_keep_all(runtime_dir: Path) -> None:
    """Here the publisher waits for room and must be freed by the fault of who gave it none."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_ALL)
            for name, lie in LIES.items():
                if name in ("a slot that was never lent", "a slot that does not exist", "a slot as large as can be"):
                    continue  # looked at when no slot is free; the next test
                print(name)
                with victim.hostile() as hostile:
                    queue = await _subscribe(hostile, publisher)
                    publisher.publish_nowait(b"before")
                    publisher.publish_nowait(b"before")
                    queue.take()
                    lie(queue)
                    await publisher.publish_all([b"next"] * 64)
                    await victim.disconnects(hostile)
                assert publisher.subscriber_count == 0

    run(attack())


def test_everything_held_and_then_a_lie(runtime_dir: Path) -> None:
    """A subscription that takes and never gives back has all slots at some time; then the publisher looks closely."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for qos in (KEEP_LAST, KEEP_ALL):
                publisher = victim.node.create_publisher(bytes, TOPIC, qos=qos)
                for lie in (_return_of_no_slot, _return_of_a_huge_slot, _return_of_more_than_there_are):
                    with victim.hostile() as hostile:
                        queue = await _subscribe(hostile, publisher)
                        for _ in range(queue.slots):
                            publisher.publish_nowait(b"taken")
                            assert queue.take() is not None
                        lie(queue)
                        await publisher.publish(b"next")
                        await victim.disconnects(hostile, "returned a sample that it does not hold")
                publisher.close()

    run(attack())


def test_who_holds_everything_loses_and_is_counted(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_LAST)
            with victim.hostile() as hostile:
                queue = await _subscribe(hostile, publisher)
                for _ in range(queue.slots):
                    publisher.publish_nowait(b"taken")
                    assert queue.take() is not None
                for _ in range(10):
                    publisher.publish_nowait(b"lost")
                (match,) = publisher.statistics().matches
                assert (match.held, match.lost_held, match.queued) == (queue.slots, 10, 0)
                await victim.serves()

    run(attack())


def test_what_the_publisher_wrote_itself_it_does_not_believe(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_LAST)
            with victim.hostile() as hostile:
                queue = await _subscribe(hostile, publisher)
                for name, scribble in IGNORED.items():
                    print(name)
                    scribble(queue)
                    for _ in range(64):
                        publisher.publish_nowait(b"next")
                    assert queue.read("tail") - queue.read("head") == queue.capacity
                    (match,) = publisher.statistics().matches
                    assert match.queued == queue.capacity
                    assert match.lost_overwritten + match.lost_expired <= 2 * publisher.statistics().published
                await victim.serves()

    run(attack())


def test_a_queue_full_of_holes(runtime_dir: Path) -> None:
    """It cannot be cut, but its pages can be taken out: they read as zero, so head goes backwards."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_LAST)
            with victim.hostile() as hostile:
                queue = await _subscribe(hostile, publisher)
                with pytest.raises(PermissionError):
                    os.ftruncate(queue.fd, 0)
                for _ in range(queue.capacity + 1):
                    publisher.publish_nowait(b"next")
                libc = ctypes.CDLL(None, use_errno=True)
                keep_size, punch_hole = 1, 2
                size_bytes = ctypes.c_long(queue.size_bytes)
                assert libc.fallocate(queue.fd, keep_size | punch_hole, ctypes.c_long(0), size_bytes) == 0
                await _publish_until_found_out(victim, publisher)
                await victim.disconnects(hostile, "counters are out of range")

    run(attack())


def test_samples_taken_back_early_harm_their_owner_alone(runtime_dir: Path) -> None:
    """It gives back what it has not taken yet; the slot is lent again and the old entry is overwritten in turn."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(bytes, TOPIC, qos=KEEP_LAST)
            other = victim.node.create_subscription(bytes, TOPIC, qos=lunar.QoS(depth=1000))
            await other.wait_for_publishers(1, 10)
            with victim.hostile() as hostile:
                queue = await _subscribe(hostile, publisher)
                for number in range(400):
                    publisher.publish_nowait(b"%d" % number)
                    if number % 3:
                        queue.give_back(queue.entry(queue.read("tail") - 1)[4])
                    if victim.faults:
                        break
                await victim.settle()
                received = [bytes(sample.message) for sample in other.take(1000)]
                warm = [b"warm"] * (3 * queue.capacity)
                assert received == warm + [b"%d" % number for number in range(number + 1)]
                if victim.faults:
                    await victim.disconnects(hostile, "out of range|does not hold")

    run(attack())
