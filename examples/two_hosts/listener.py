"""Prints what `talker.py` publishes, and how long it was on its way, until Ctrl-C.

The same program serves one host and two: only LUNAR_RANGE=network is different.
"""

import lunar


@lunar.message
class Tick:
    """What the two programs agree on; each may have its own copy."""

    number: lunar.int32
    text: str


async def listener():
    async with lunar.Node("listener") as node:
        sub = node.create_subscription(Tick, "ticks")
        await sub.wait_for_publishers(1)
        while True:
            [sample] = await sub.receive_many(1)
            # Between two hosts this is as right as their clocks are alike.
            age_us = (sample.info.reception_time_ns - sample.info.source_time_ns) / 1000
            print(f"{sample.message.number}: {sample.message.text} ({age_us:.0f} us)", flush=True)


lunar.run(listener())
