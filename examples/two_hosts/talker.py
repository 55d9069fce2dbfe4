"""Publishes a count every half second, until Ctrl-C; says on which hosts somebody listens.

Start it on one host and `listener.py` on another, both with LUNAR_RANGE=network.
"""

import asyncio
from itertools import count

import lunar
from lunar import events


@lunar.message
class Tick:
    """What the two programs agree on; each may have its own copy."""

    number: lunar.int32
    text: str


async def report(node):
    async for event in node.events():  # who comes and goes, what was lost, and why two ends do not match
        where = event.remote.host if isinstance(event, events.Matched) else ""
        print(f"matched with a listener on {where}" if where else event, flush=True)


async def talker():
    async with lunar.Node("talker") as node, asyncio.TaskGroup() as tasks:
        tasks.create_task(report(node))
        pub = node.create_publisher(Tick, "ticks")
        for number in count():
            await pub.publish(Tick(number=number, text="hello from the other host"))
            await asyncio.sleep(0.5)


lunar.run(talker())
