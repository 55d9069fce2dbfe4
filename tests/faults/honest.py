"""An honest peer, run as a process of its own: it sends back whatever it receives, and loses nothing."""

import lunar

LOSSLESS = lunar.QoS(reliability="reliable", history="keep_all", depth=64)
DOWN, UP = "/honest/down", "/honest/up"


async def main() -> None:
    async with lunar.Node("honest") as node:
        up = node.create_publisher(bytes, UP, qos=LOSSLESS)
        down = node.create_subscription(bytes, DOWN, qos=LOSSLESS)
        async for message in down:
            if not len(message):
                return
            await up.publish(message)


if __name__ == "__main__":
    lunar.run(main())
