"""Two processes on one core: spinning there only keeps the other side from answering."""

import asyncio
import os
import statistics
import subprocess
import sys
import time

import pytest

import lunar

QOS = lunar.QoS(history="keep_all", depth=16)
ROUNDS = 1000
PONG = """
import sys
import lunar

async def pong():
    qos = lunar.QoS(history="keep_all", depth=16)
    async with lunar.Node("pong") as node:
        publisher = node.create_publisher(bytes, "pong", qos=qos)
        subscription = node.create_subscription(bytes, "ping", qos=qos)
        async for message in subscription:
            if not message:
                return
            await publisher.publish(message)

lunar.run(pong(), loop=sys.argv[1])
"""


async def _ping() -> float:
    async with lunar.Node("ping") as node:
        publisher = node.create_publisher(bytes, "ping", qos=QOS)
        subscription = node.create_subscription(bytes, "pong", qos=QOS)
        async with asyncio.timeout(30):
            await publisher.wait_for_subscribers()
            await subscription.wait_for_publishers()
            times_ns = []
            for _ in range(ROUNDS):
                start_ns = time.perf_counter_ns()
                await publisher.publish(b"x")
                await subscription.receive()
                times_ns.append(time.perf_counter_ns() - start_ns)
            await publisher.publish(b"")
        return statistics.median(times_ns)


def _round_trip_ns(loop: str) -> float:
    with subprocess.Popen([sys.executable, "-c", PONG, loop]) as pong:
        median_ns = lunar.run(_ping(), loop=loop)  # type: ignore[arg-type]
        assert pong.wait(10) == 0
    return median_ns


@pytest.mark.usefixtures("no_leaks")
def test_the_spinning_loop_gives_up_spinning_where_it_does_not_pay() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        sleeping_ns, spinning_ns = _round_trip_ns("asyncio"), _round_trip_ns("lunar")
    finally:
        os.sched_setaffinity(0, cores)
    # Each side spinning in vain made it five times as slow as sleeping.
    assert spinning_ns < 3 * sleeping_ns
