"""A peer that keeps the rules is never taken for one that breaks them."""

import subprocess
import sys

import pytest

import lunar

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

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
