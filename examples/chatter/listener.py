"""Prints the beginning of every message of the topic `chatter`, until Ctrl-C."""

import lunar


async def listener():
    async with lunar.Node("listener") as node:
        sub = node.create_subscription(bytes, "chatter", qos=lunar.QoS(reliability="reliable", depth=100))
        async for message in sub:  # a read-only memoryview on the sender's memory; it keeps the
            print(bytes(message[:16]))  # sample alive as long as any view of it lives, and no longer


lunar.run(listener())
