"""Publishes ten greetings, a frame of a million bytes that is filled in place, and one last word.

Start `listener.py` in another terminal first; the talker waits up to five seconds for it.
"""

import lunar


async def talker():
    async with lunar.Node("talker") as node:
        pub = node.create_publisher(bytes, "chatter", qos=lunar.QoS(reliability="reliable", depth=100))
        await pub.wait_for_subscribers(1, timeout_s=5)
        for i in range(10):
            await pub.publish(b"hello %d" % i)  # waits only when the profile says that nothing may be lost
        with pub.loan(1_000_000) as buffer:  # writable memoryview over shared memory
            buffer[:5] = b"frame"  # leaving the block publishes; an exception discards
        pub.publish_nowait(b"now")  # raises lunar.WouldBlock instead of waiting


lunar.run(talker())
