"""A peer that goes on writing while we look: what was checked must be what is used, and no loop may wait for it."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar
from tests.faults.hostile import WORDS, Hostile, Queue
from tests.faults.victim import Victim, attacked, run

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

TOPIC = "/scan"
SCRIBBLER = Path(__file__).parent / "programs" / "scribbler.py"


@contextlib.contextmanager
def scribbling(queue: Queue, **values: str) -> Iterator[None]:
    """Has another process write these values to these words, in turn and for ever."""
    words = [f"{WORDS[word][0] if word in WORDS else int(word[1:])}:{turns}" for word, turns in values.items()]
    child = subprocess.Popen(
        [sys.executable, str(SCRIBBLER), str(queue.fd), str(queue.size_bytes), *words],
        pass_fds=[queue.fd],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"scribbling\n"
        yield
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


async def _take(victim: Victim, subscription: lunar.Subscription[memoryview], hostile: Hostile) -> None:
    """Takes until the hostile publisher was disconnected, or often enough; then it is gone."""
    for _ in range(40):
        for _ in range(1000):
            subscription.take(1)
        await asyncio.sleep(0)
        if not subscription.publisher_count:
            break
    hostile.close()
    await victim.settle()
    assert not subscription.publisher_count
    victim.faults.clear()  # it may have been found out, or not


# Of capacity 16 and with tail at 5, a head of 1 is a lie only after 0 was seen again; one of 100 makes no sense, so we
# look again at once.
@pytest.mark.parametrize("heads", ["0,1", "0,100", "0,100,1", "5,100"])
def test_a_head_that_goes_back_and_forth(heads: str, runtime_dir: Path, rounds: Callable[[int, int], int]) -> None:
    """What lies in a missing segment must not be taken, whatever head says the moment after."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC)
            with victim.hostile() as owner:
                queue = owner.make_queue()
                queue.write("tail", 5)
                with scribbling(queue, head=heads):
                    for _ in range(rounds(2, 50)):
                        with victim.hostile() as hostile:
                            hostile.greet()
                            hostile.offer(hostile.announce("publisher", TOPIC), TOPIC, queue)
                            await subscription.wait_for_publishers(1, 10)
                            await _take(victim, subscription, hostile)

    run(attack())


def test_samples_that_only_seem_to_be_there_hold_no_other_thread_up(runtime_dir: Path) -> None:
    """A thread that is woken again and again for nothing must let the others run."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                queue = hostile.make_queue()
                for position in range(queue.capacity):
                    queue.write_entry(position, 1, where=1 << 40)  # in a segment that never comes
                with scribbling(queue, tail="1+", head="0+"):
                    hostile.offer(hostile.announce("publisher", TOPIC), TOPIC, queue)
                    await subscription.wait_for_publishers(1, 10)
                    waiting = threading.Thread(target=_wait_in_vain, args=[subscription])
                    waiting.start()
                    await victim.serves(20)
                    assert waiting.is_alive()
                    subscription.close()
                    waiting.join(10)
                    assert not waiting.is_alive()

    run(attack())


def _wait_in_vain(subscription: lunar.Subscription[memoryview]) -> None:
    with pytest.raises((lunar.ClosedError, lunar.TimeoutError)):
        subscription.receive_blocking(timeout_s=10)
