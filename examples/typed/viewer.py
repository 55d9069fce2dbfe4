"""Shows what publisher.py publishes. Start it first."""

from pathlib import Path

from wheel import Wheel

import lunar
from lunar.msgs import Imu

robot = lunar.messages.load(Path(__file__).with_name("robot.fbs"))
LOSSLESS = lunar.QoS(history="keep_all")


async def main() -> None:
    """Receive each message of publisher.py and end."""
    async with lunar.Node("viewer") as node:
        wheels = node.create_subscription(Wheel, "wheel", qos=LOSSLESS)
        states = node.create_subscription(robot.State, "state", qos=LOSSLESS)
        imus = node.create_subscription(Imu, "imu", qos=LOSSLESS)

        small = await wheels.receive()
        print(small)
        kept = small.copy()  # detached, equal, and free to be changed
        kept.label = "kept"

        # A view of the publisher's memory: `ticks` is a read-only array, and nothing was copied to get here.
        large = await wheels.receive()
        print(f"{len(large.ticks)} ticks at {large.speed} rad/s, the last {large.ticks[-1]}")

        blob = lunar.messages.encode(large)  # bytes, for a file or another library
        same = lunar.messages.decode(Wheel, blob, verify=True)
        print(f"{len(blob)} bytes as a FlatBuffer; equal when read back: {same == large}")

        match await states.receive():
            case robot.State(name=name, pose=robot.Pose(x=x, y=y)):
                print(f"{name} is at {x}, {y}")
        print(lunar.messages.to_json(await imus.receive()))
        print(kept)


lunar.run(main())
