"""A process that publishes and receives on the fast datapath, or does not ask for it."""

import asyncio
import hashlib
import sys

import lunar
from lunar import testing


def content(number: int, size_bytes: int) -> bytes:
    """What message `number` is made of: not the same twice."""
    return (hashlib.sha256(b"%d" % number).digest() * (size_bytes // 32 + 1))[:size_bytes]


async def main(name: str, datapath: str) -> None:
    qos = lunar.QoS(history="keep_all", depth=64, datapath="fast" if datapath == "fast" else "auto")
    async with lunar.Node(name) as node:
        pub = node.create_publisher(bytes, f"from_{name}", qos=qos)
        sub = node.create_subscription(bytes, "from_b" if name == "a" else "from_a", qos=qos)

        async def meet() -> None:
            await pub.wait_for_subscribers(timeout_s=20)
            await sub.wait_for_publishers(timeout_s=20)

        async def send(count: int, size_bytes: int) -> None:
            async with asyncio.timeout(30):
                for number in range(count):
                    await pub.publish(content(number, size_bytes))

        async def receive(count: int, size_bytes: int) -> int:
            """How many of them are not what was sent."""
            wrong = 0
            async with asyncio.timeout(30):
                for number in range(count):
                    wrong += bytes(await sub.receive()) != content(number, size_bytes)
            return wrong

        def losses() -> int:
            return sub.statistics().lost

        await testing.serve({"meet": meet, "send": send, "receive": receive, "losses": losses})


lunar.run(main(*sys.argv[1:]))
