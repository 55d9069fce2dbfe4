"""A peer that keeps the rules is never taken for one that breaks them."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

import lunar

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

SHALLOW = lunar.QoS(depth=1)

COMES_AND_GOES = """
import lunar

async def main():
    async with lunar.Node("fickle") as node:
        for _ in range(5):
            subscription = node.create_subscription(bytes, "chatter", qos=lunar.QoS(durability="transient_local"))
            assert bytes(await subscription.receive()) == b"kept"
            subscription.close()

lunar.run(main())
"""


def test_a_subscription_may_come_back() -> None:
    """What its process was told about the publisher's memory before, it must not be told again."""

    def serve() -> int:
        with lunar.Node("steady") as node:
            qos = lunar.QoS(durability="transient_local")
            publisher = node.create_publisher(bytes, "chatter", qos=qos)
            publisher.publish_nowait(b"kept")
            return subprocess.run([sys.executable, "-c", COMES_AND_GOES], timeout=30, check=False).returncode

    assert serve() == 0


def test_a_burst_that_overtakes_itself_is_no_lie(rounds: Callable[[int, int], int]) -> None:
    """What a burst overwrites before it has shown it must not look like counters that make no sense."""

    async def attack() -> None:
        async with lunar.Node("burst") as node:
            publisher = node.create_publisher(bytes, "burst", qos=SHALLOW)
            subscription = node.create_subscription(bytes, "burst", qos=SHALLOW)
            await publisher.wait_for_subscribers(1, 10)
            await subscription.wait_for_publishers(1, 10)
            done = threading.Event()

            def take() -> None:
                while not done.is_set():
                    subscription.take(1)

            taker = threading.Thread(target=take)
            taker.start()
            # Large enough that the lock is given up while the payload is copied.
            message = bytes(1 << 20)
            for _ in range(rounds(20, 400)):
                assert publisher.publish_many([message] * 8) == 8
            done.set()
            taker.join()
            assert publisher.subscriber_count == subscription.publisher_count == 1

    lunar.run(attack())


def test_a_long_promise_is_kept_waiting_for() -> None:
    """The longest deadline is 31 years, more than one call to the kernel can wait."""

    async def attack() -> None:
        async with lunar.Node("patient") as node:
            eternal = lunar.QoS(deadline_s=1e9, liveliness="manual_by_topic", lease_s=1e9)
            publisher = node.create_publisher(bytes, "slow", qos=eternal)
            subscription = node.create_subscription(bytes, "slow", qos=eternal)
            await publisher.wait_for_subscribers(1, 10)
            await subscription.wait_for_publishers(1, 10)
            publisher.publish_nowait(b"now")
            assert bytes(await subscription.receive()) == b"now"
            # The thread that waits for the promise still answers.
            node.create_subscription(bytes, "slow")
            await publisher.wait_for_subscribers(2, 10)

    lunar.run(attack())
